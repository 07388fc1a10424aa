/**
 * Ticks and labels around a plot.
 * @module
 */

import { fitted, formatStep, shortNames } from "./format.js";
import { spread } from "./scales.js";
import { font, theme } from "./surface.js";

/** @typedef {{left: number, top: number, width: number, height: number}} Box */

const TICK = 11;

/**
 * Numbers on the left, with faint lines across.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 * @param {import("./scales.js").Scale} scale
 */
export function valueAxis(g, box, scale) {
  const { soft, faint } = theme();
  g.font = font(TICK);
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const { share, label } of scale.ticks) {
    const y = Math.round(box.top + (1 - share) * box.height) + 0.5;
    line(g, box.left, y, box.left + box.width, y, faint);
    g.fillStyle = soft;
    g.fillText(label, box.left - 6, y);
  }
}

/**
 * Steps below: the first, the last, and what there is room for.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 * @param {number[]} steps
 * @param {(i: number) => number} at x of the i-th step
 * @param {{even?: boolean}} options even: a column per measured step, whatever lies between two of them
 */
export function stepAxis(g, box, steps, at, { even = false } = {}) {
  const { soft, line: ruled } = theme();
  g.font = font(TICK);
  g.textBaseline = "top";
  const bottom = box.top + box.height;
  const pitch = g.measureText(formatStep(steps[steps.length - 1] ?? 0)).width + 28;
  for (const i of spread(steps.length, box.width, pitch)) {
    const x = at(i);
    line(g, x, bottom, x, bottom + 4, ruled);
    const label = formatStep(steps[i]);
    const half = g.measureText(label).width / 2;
    g.textAlign = "center";
    g.fillStyle = soft;
    g.fillText(label, Math.max(box.left + half - 4, Math.min(x, box.left + box.width - half + 4)), bottom + 7);
  }
  if (even && new Set(steps.slice(1).map((step, i) => step - steps[i])).size > 1) {
    g.textAlign = "center";
    g.fillStyle = soft;
    g.fillText("measured steps, not to scale", box.left + box.width / 2, bottom + 22);
  }
}

/**
 * Layer names on the left, without their common part.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 * @param {string[]} names
 * @param {number} pitch pixels per name
 */
export function nameAxis(g, box, names, pitch = 14) {
  const { soft, line: ruled } = theme();
  const short = shortNames(names);
  g.font = font(TICK);
  g.textAlign = "right";
  g.textBaseline = "middle";
  const row = box.height / names.length;
  for (const i of spread(names.length, box.height - row, pitch)) {
    const y = box.top + (i + 0.5) * row;
    line(g, box.left - 4, Math.round(y) + 0.5, box.left, Math.round(y) + 0.5, ruled);
    g.fillStyle = soft;
    g.fillText(
      fitted(short[i], box.left - 10, (text) => g.measureText(text).width),
      box.left - 7,
      y,
    );
  }
}

/** @type {CanvasRenderingContext2D | null} */
let ruler = null;

/**
 * How much room the longest of these names takes as a label, in pixels.
 * @param {string[]} names
 * @param {number} most
 */
export function nameRoom(names, most) {
  ruler ??= /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  ruler.font = font(TICK);
  const short = shortNames(names);
  // Names within a network look alike: a few hundred of them show how long they get.
  const stride = Math.ceil(names.length / 300);
  let room = 0;
  for (let i = 0; i < names.length; i += stride) {
    room = Math.max(room, ruler.measureText(short[i]).width);
    if (room > most) return most;
  }
  return Math.ceil(room);
}

/**
 * Layers below a plot over depth: upright numbers of the position, names while there is room for them.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 * @param {string[]} names
 * @param {(i: number) => number} at x of the i-th name
 * @param {number} room height for the names
 */
export function depthAxis(g, box, names, at, room) {
  const { soft, line: ruled } = theme();
  const short = shortNames(names);
  const bottom = box.top + box.height;
  g.font = font(TICK);
  g.fillStyle = soft;
  for (const i of spread(names.length, box.width, 15)) {
    const x = at(i);
    line(g, Math.round(x) + 0.5, bottom, Math.round(x) + 0.5, bottom + 4, ruled);
    g.save();
    g.translate(x, bottom + 8);
    g.rotate(-Math.PI / 2);
    g.textAlign = "right";
    g.textBaseline = "middle";
    g.fillStyle = soft;
    g.fillText(
      fitted(short[i], room - 10, (text) => g.measureText(text).width),
      0,
      0,
    );
    g.restore();
  }
}

/**
 * @param {CanvasRenderingContext2D} g
 * @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2
 * @param {string} colour
 * @param {number[]} [dash]
 */
export function line(g, x1, y1, x2, y2, colour, dash = []) {
  g.strokeStyle = colour;
  g.lineWidth = 1;
  g.setLineDash(dash);
  g.beginPath();
  g.moveTo(x1, y1);
  g.lineTo(x2, y2);
  g.stroke();
  g.setLineDash([]);
}
