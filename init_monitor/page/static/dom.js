/**
 * Elements in one expression. Text is always set as text, so that a layer may have any name.
 * @module
 */

/**
 * @param {string} tag element name, with classes after dots
 * @param {Record<string, unknown>} [attributes] `on…` are listeners; false and undefined leave the attribute out
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on") && typeof value === "function") {
      element.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    } else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  fill(element, ...children);
  return element;
}

/**
 * Replace what is inside.
 * @param {Element} element
 * @param {...(Node | string | null | undefined | false)} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false));
}

/** @type {WeakMap<Element, string>} */
const shownKeys = new WeakMap();

/**
 * Replace the children only if they would change: during playback, a button that is pressed down must still be
 * there when it is released, or there is no click. The focus stays on the button at the same position.
 * @param {Element} element
 * @param {unknown} key all that the inside is made of
 * @param {() => (Node | null)[]} make
 */
export function refill(element, key, make) {
  const text = JSON.stringify(key);
  if (shownKeys.get(element) === text) return;
  shownKeys.set(element, text);
  const focusable = () => /** @type {HTMLElement[]} */ ([...element.querySelectorAll("button, summary")]);
  const place = focusable().findIndex((one) => one === document.activeElement);
  fill(element, ...make());
  if (place >= 0) focusable()[place]?.focus({ preventScroll: true });
}

/**
 * A small drawing for a button.
 * @param {string} path of a 16 × 16 view box, drawn as strokes
 * @param {boolean} [solid]
 */
export function icon(path, solid = false) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", solid ? "icon solid" : "icon");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS(space, "path");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  return svg;
}

export const ICONS = {
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z",
  link: "M6.5 9.5l3-3M7 4.5l1.2-1.2a3 3 0 0 1 4.3 4.3L11 8.8M9 11.5l-1.2 1.2a3 3 0 0 1-4.3-4.3L5 7.2",
  picture: "M2 3h12v10H2zM2 11l3.5-3.5 3 3L11 8l3 3",
  table: "M2 3h12v10H2zM2 6.5h12M2 10h12M6.5 3v10",
  copy: "M5 5h8v8H5zM5 11H3V3h8v2",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  close: "M4 4l8 8M12 4l-8 8",
};

/**
 * @param {string} name of an icon
 * @param {string} label what the button does
 * @param {() => void} act
 * @param {boolean} [solid]
 */
export function iconButton(name, label, act, solid = false) {
  const path = /** @type {Record<string, string>} */ (ICONS)[name];
  return h(
    "button.icon-button",
    { type: "button", title: label, "aria-label": label, onclick: act },
    icon(path, solid),
  );
}
