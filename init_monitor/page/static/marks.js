/**
 * Points of a line: a number, exactly zero, and what lies beyond the picture.
 * @module
 */

import { theme } from "./surface.js";

/** @param {CanvasRenderingContext2D} g @param {number} x @param {number} y @param {number} radius */
export function disc(g, x, y, radius) {
  g.beginPath();
  g.arc(x, y, radius, 0, 2 * Math.PI);
  g.fill();
}

/** @param {CanvasRenderingContext2D} g @param {number} x @param {number} y */
export function ring(g, x, y) {
  g.lineWidth = 1.5;
  g.beginPath();
  g.arc(x, y, 2.5, 0, 2 * Math.PI);
  g.fillStyle = theme().surface;
  g.fill();
  g.stroke();
  g.fillStyle = g.strokeStyle;
}

/**
 * @param {CanvasRenderingContext2D} g @param {number} x @param {number} y @param {boolean} up
 */
export function triangle(g, x, y, up) {
  const tip = up ? -4 : 4;
  g.beginPath();
  g.moveTo(x - 4, y - tip);
  g.lineTo(x + 4, y - tip);
  g.lineTo(x, y + tip);
  g.fill();
}
