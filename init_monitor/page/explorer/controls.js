/**
 * Sliders and lists with a name and the value that is set.
 * @module
 */

import { h } from "../static/dom.js";
import { LISTS, STOPS } from "./choices.js";

/**
 * @typedef {object} Control
 * @property {HTMLElement} element
 * @property {(choices: import("./choices.js").Choices) => void} update
 */

/**
 * @param {string} key of STOPS
 * @param {string} label
 * @param {(patch: Partial<import("./choices.js").Choices>) => void} set
 * @returns {Control}
 */
export function slider(key, label, set) {
  const stops = STOPS[key];
  const shown = h("output");
  const input = /** @type {HTMLInputElement} */ (
    h("input.slider", {
      type: "range",
      min: "0",
      max: String(stops.length - 1),
      name: key,
      "aria-label": label,
      oninput: () => set({ [key]: stops[Number(input.value)] }),
    })
  );
  return {
    element: h("label.control", {}, h("span", {}, label), shown, input),
    update(choices) {
      const value = /** @type {Record<string, any>} */ (choices)[key];
      input.value = String(stops.indexOf(value));
      input.setAttribute("aria-valuetext", String(value));
      shown.textContent = value.toLocaleString("en");
    },
  };
}

/**
 * @param {string} key of LISTS
 * @param {string} label
 * @param {(patch: Partial<import("./choices.js").Choices>) => void} set
 * @param {(choices: import("./choices.js").Choices) => boolean} [offered] whether it makes a difference
 * @returns {Control}
 */
export function list(key, label, set, offered = () => true) {
  const input = /** @type {HTMLSelectElement} */ (
    h(
      "select.choose",
      { name: key, "aria-label": label, onchange: () => set({ [key]: input.value }) },
      ...Object.entries(LISTS[key]).map(([value, title]) => h("option", { value }, title)),
    )
  );
  const element = h("label.control", {}, h("span", {}, label), input);
  return {
    element,
    update(choices) {
      input.value = /** @type {Record<string, any>} */ (choices)[key];
      element.hidden = !offered(choices);
    },
  };
}
