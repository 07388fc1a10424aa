/**
 * Pieces that several views use: a titled card, the box that follows the pointer, words for what is missing.
 * @module
 */

import { fill, h, iconButton } from "./dom.js";
import { runMark } from "./spark.js";

/**
 * @typedef {object} Card
 * @property {HTMLElement} element
 * @property {(title: string, more?: string) => void} title
 * @property {(...nodes: (Node | null)[]) => void} legend
 * @property {(...nodes: Node[]) => void} body
 */

/**
 * @param {string} title
 * @param {string} explains
 * @param {{png?: () => void, csv?: () => void}} [saves]
 * @returns {Card}
 */
export function card(title, explains, saves = {}) {
  const heading = h("h3", {}, title);
  const legend = h("div.legend");
  const body = h("div.card-body");
  const element = h(
    "section.card",
    { "aria-label": title },
    h(
      "header.card-head",
      {},
      h("div.card-title", {}, heading, h("p.explains", { title: explains }, explains)),
      h(
        "div.card-acts",
        {},
        saves.png && iconButton("picture", `Save “${title}” as a picture (PNG)`, saves.png),
        saves.csv && iconButton("table", `Save the numbers of “${title}” (CSV)`, saves.csv),
      ),
    ),
    legend,
    body,
  );
  return {
    element,
    title(text, more) {
      fill(heading, text, more ? h("span.muted", {}, ` ${more}`) : null);
    },
    legend: (...nodes) => fill(legend, ...nodes),
    body: (...nodes) => fill(body, ...nodes),
  };
}

/**
 * A run by its line and name.
 * @param {{colour: string, dash: number[]}} run @param {string} text
 */
export function swatch(run, text) {
  return h("span.key", {}, runMark(run.colour, run.dash), text);
}

/** @param {string} colour @param {string} text */
export function block(colour, text) {
  const mark = h("i.block");
  mark.style.background = colour;
  return h("span.key", {}, mark, text);
}

/** @param {string} severity @param {string} text */
export function pill(severity, text) {
  return h(`span.pill.${severity}`, {}, text);
}

/**
 * Nothing to show, and why.
 * @param {string} title @param {...(Node | string)} words
 */
export function nothing(title, ...words) {
  return h(
    "div.nothing",
    {},
    h("h3", {}, title),
    ...words.map((one) => (typeof one === "string" ? h("p", {}, one) : one)),
  );
}

/**
 * The box that follows the pointer.
 * @param {HTMLElement} root
 */
export function tooltip(root) {
  const element = h("div.tooltip", { role: "status" });
  element.hidden = true;
  root.append(element);
  return {
    /**
     * @param {Element} over the picture @param {number} x @param {number} y within it
     * @param {(Node | string)[]} lines
     */
    show(over, x, y, lines) {
      fill(element, ...lines.map((one) => (typeof one === "string" ? h("div", {}, one) : one)));
      element.hidden = false;
      const box = over.getBoundingClientRect();
      const wide = document.documentElement.clientWidth;
      const high = document.documentElement.clientHeight;
      let left = box.left + x + 14;
      if (left + element.offsetWidth > wide - 8) left = box.left + x - element.offsetWidth - 14;
      const top = Math.min(box.top + y + 14, high - element.offsetHeight - 8);
      element.style.transform = `translate(${Math.round(Math.max(4, left))}px, ${Math.round(Math.max(4, top))}px)`;
    },
    hide() {
      element.hidden = true;
    },
  };
}

/**
 * A name and a number, in two columns.
 * @param {string} name @param {string} value
 * @param {string | {colour: string, dash: number[]}} [mark] a colour, or a run with its line
 */
export function reading(name, value, mark) {
  const key = h("span", {}, name);
  if (typeof mark === "object") key.prepend(runMark(mark.colour, mark.dash));
  else if (mark) {
    const tile = h("i.block");
    tile.style.background = mark;
    key.prepend(tile);
  }
  return h("div.reading", {}, key, h("b", {}, value));
}

/** @param {string} text */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without permission, or on a page that is not trusted, the old way still works.
    const area = /** @type {HTMLTextAreaElement} */ (h("textarea"));
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
