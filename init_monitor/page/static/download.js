/**
 * A picture as PNG, its numbers as CSV.
 * @module
 */

import { font, theme } from "./surface.js";

const MARGIN = 16;
const TITLE = 34;

/**
 * @param {string} name @param {Blob} blob
 */
function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/**
 * Canvases one below the other, under a title.
 * @param {string} name of the file, without its ending
 * @param {string} title
 * @param {HTMLCanvasElement[]} canvases
 */
export function savePng(name, title, canvases) {
  const ratio = window.devicePixelRatio || 1;
  const whole = document.createElement("canvas");
  whole.width = Math.max(...canvases.map((one) => one.width)) + 2 * MARGIN * ratio;
  whole.height = canvases.reduce((sum, one) => sum + one.height, (TITLE + MARGIN) * ratio);
  const g = /** @type {CanvasRenderingContext2D} */ (whole.getContext("2d"));
  const { surface, ink } = theme();
  g.fillStyle = surface;
  g.fillRect(0, 0, whole.width, whole.height);
  g.fillStyle = ink;
  g.font = font(14 * ratio, "600");
  g.textBaseline = "middle";
  g.fillText(title, MARGIN * ratio, (TITLE / 2) * ratio);
  let top = TITLE * ratio;
  for (const one of canvases) {
    g.drawImage(one, MARGIN * ratio, top);
    top += one.height;
  }
  whole.toBlob((blob) => {
    if (blob) save(`${name}.png`, blob);
  });
}

/**
 * @param {string} name of the file, without its ending
 * @param {string[]} header
 * @param {(string | number)[][]} rows
 */
export function saveCsv(name, header, rows) {
  save(`${name}.csv`, new Blob([csvText(header, rows)], { type: "text/csv" }));
}

/**
 * RFC 4180, with numbers as JavaScript writes them; a NaN is an empty cell.
 * @param {string[]} header
 * @param {(string | number)[][]} rows
 */
export function csvText(header, rows) {
  /** @param {string | number} cell */
  const written = (cell) => {
    if (typeof cell === "number") return Number.isNaN(cell) ? "" : String(cell);
    return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  };
  return [header, ...rows].map((row) => `${row.map(written).join(",")}\r\n`).join("");
}
