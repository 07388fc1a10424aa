/**
 * The course of a training loss, small enough for a line of a list.
 * @module
 */

import { figureNumber, formatNumber } from "./format.js";
import { LOG_FROM } from "./scales.js";

/** @typedef {import("./types.js").Losses} Losses */

const SPACE = "http://www.w3.org/2000/svg";
const WIDE = 120;
const HIGH = 22;
const PAD = 2;

/**
 * @param {string} tag @param {Record<string, string | number>} attributes
 */
function drawn(tag, attributes) {
  const element = document.createElementNS(SPACE, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/**
 * @param {Losses} losses
 * @param {string} colour
 */
export function sparkLine(losses, colour) {
  const values = losses.values.map(figureNumber);
  const finite = values.filter(Number.isFinite);
  const svg = drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "spark", role: "img" });
  const last = values[values.length - 1];
  svg.setAttribute("aria-label", `training loss from ${worded(values[0])} to ${worded(last)}`);
  let low = Math.min(...finite);
  let high = Math.max(...finite);
  const log = low > 0 && high / low > LOG_FROM;
  const placed = log ? Math.log10 : (/** @type {number} */ one) => one;
  [low, high] = [placed(low), placed(high)];
  const from = losses.steps[0];
  const span = Math.max(1, losses.steps[losses.steps.length - 1] - from);
  /** @param {number} i */
  const xOf = (i) => PAD + ((losses.steps[i] - from) / span) * (WIDE - 2 * PAD);
  let path = "";
  let drawing = false;
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) {
      drawing = false;
      return;
    }
    const share = high > low ? (placed(value) - low) / (high - low) : 0.5;
    path += `${drawing ? "L" : "M"}${xOf(i).toFixed(1)} ${(PAD + (1 - share) * (HIGH - 2 * PAD)).toFixed(1)}`;
    drawing = true;
  });
  const turned = losses.nonfinite_from;
  if (turned !== null) {
    const x = PAD + Math.max(0, (turned - from) / span) * (WIDE - 2 * PAD);
    svg.append(drawn("rect", { x: Math.min(x, WIDE - 4), y: 0, width: Math.max(4, WIDE - x), height: HIGH, class: "broken" }));
  }
  svg.append(drawn("path", { d: path, stroke: colour }));
  return { picture: svg, last: worded(last) };
}

/** @param {number} value */
function worded(value) {
  return Number.isNaN(value) ? "NaN" : formatNumber(value);
}

/**
 * A run's line, as the charts draw it: colour and dash.
 * @param {string} colour @param {number[]} dash
 */
export function runMark(colour, dash) {
  const svg = drawn("svg", { viewBox: "0 0 18 10", class: "run-mark", "aria-hidden": "true" });
  const line = drawn("line", { x1: 0, y1: 5, x2: 18, y2: 5, stroke: colour });
  if (dash.length) line.setAttribute("stroke-dasharray", dash.join(" "));
  svg.append(line);
  return svg;
}
