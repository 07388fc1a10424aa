/**
 * What surrounds the cells of a heatmap: the bar of its colours, and the hatching where nothing was measured.
 * @module
 */

import { BEYOND } from "./palette.js";
import { font, theme } from "./surface.js";

/** @typedef {import("./axes.js").Box} Box */

const BAR = 8;
/** Height that a colour beyond the scale takes, with the gap to it. */
const APART = 16;

/**
 * The colours with their values; apart from them infinity above and zero below, which lie on no logarithmic scale.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box of the cells
 * @param {{scale: import("./scales.js").Scale, table: Uint32Array, infinite: boolean, none: string}} colours none: the
 *   colour of exact zeros, empty if there are none
 */
export function colourBar(g, box, { scale, table, infinite, none }) {
  const { soft, dark, line: ruled } = theme();
  const x = box.left + box.width + 10;
  const top = box.top + (infinite ? APART : 0);
  const height = box.height - (infinite ? APART : 0) - (none ? APART : 0);
  for (let i = 0; i < height; i += 1) {
    const colour = table[Math.round((1 - i / (height - 1)) * (table.length - 1))];
    g.fillStyle = `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
    g.fillRect(x, top + i, BAR, 1.5);
  }
  g.strokeStyle = ruled;
  g.strokeRect(x - 0.5, top - 0.5, BAR + 1, height + 1);
  g.font = font(11);
  g.textAlign = "left";
  g.textBaseline = "middle";
  g.fillStyle = soft;
  for (const { share, label } of scale.ticks) {
    const y = Math.max(top + 5, Math.min(top + (1 - share) * height, top + height - 5));
    g.fillText(label, x + BAR + 5, y);
  }
  if (infinite) apart(g, x, box.top, dark ? BEYOND.dark : BEYOND.light, "∞");
  if (none) apart(g, x, box.top + box.height - 9, none, "0");
}

/**
 * A colour that lies on no scale, and what it means.
 * @param {CanvasRenderingContext2D} g @param {number} x @param {number} y @param {string} colour @param {string} text
 */
function apart(g, x, y, colour, text) {
  g.fillStyle = colour;
  g.fillRect(x, y, BAR, 9);
  g.fillStyle = theme().soft;
  g.fillText(text, x + BAR + 5, y + 5);
}

/** @param {string} colour "#rrggbb" */
export function packed(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return ((255 << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/**
 * Grey with slanted lines: nothing was measured here.
 * @param {CanvasRenderingContext2D} g @param {Box} box
 */
export function hatch(g, box) {
  const { faint, line: ruled } = theme();
  g.save();
  g.beginPath();
  g.rect(box.left, box.top, box.width, box.height);
  g.clip();
  g.fillStyle = faint;
  g.fillRect(box.left, box.top, box.width, box.height);
  g.strokeStyle = ruled;
  g.lineWidth = 1;
  g.beginPath();
  for (let x = box.left - box.height; x < box.left + box.width; x += 7) {
    g.moveTo(x, box.top + box.height);
    g.lineTo(x + box.height, box.top);
  }
  g.stroke();
  g.restore();
}
