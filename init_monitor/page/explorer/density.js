/**
 * Densities of weights: the curve of each recipe over the weight, and the histogram of weights that were really drawn.
 * @module
 */

import { line } from "../static/axes.js";
import { linearScale } from "../static/scales.js";
import { font, surface, theme } from "../static/surface.js";

/**
 * @typedef {object} Curve
 * @property {string} colour
 * @property {"normal" | "uniform"} dist
 * @property {number} std
 * @property {Float32Array | null} drawn
 */

const LEFT = 14;
const RIGHT = 14;
const TOP = 10;
const BELOW = 24;
const BINS = 60;
const POINTS = 240;

/** @param {number} height */
export function densityChart(height) {
  /** @type {Curve[]} */
  let curves = [];
  const on = surface({ height, label: "Densities of the weights by recipe", draw: paint });

  /** @param {CanvasRenderingContext2D} g @param {number} width @param {number} whole */
  function paint(g, width, whole) {
    const { soft, faint, line: ruled } = theme();
    const box = { left: LEFT, top: TOP, width: width - LEFT - RIGHT, height: whole - TOP - BELOW };
    const reach = 3.2 * Math.max(1e-12, ...curves.map((one) => one.std));
    const peak = Math.max(1e-12, ...curves.filter((one) => one.std > 0).map((one) => densityOf(one, 0)));
    const xOf = (/** @type {number} */ weight) => box.left + ((weight + reach) / (2 * reach)) * box.width;
    const yOf = (/** @type {number} */ density) => box.top + box.height * (1 - Math.min(1, density / (1.05 * peak)));
    const scale = linearScale(-reach, reach, 6);
    g.font = font(11);
    g.textBaseline = "top";
    g.textAlign = "center";
    scale.ticks.forEach(({ share, label }) => {
      const weight = scale.low + share * (scale.high - scale.low);
      if (Math.abs(weight) > reach) return;
      const x = Math.round(xOf(weight)) + 0.5;
      line(g, x, box.top, x, box.top + box.height, faint);
      g.fillStyle = soft;
      g.fillText(label, x, box.top + box.height + 6);
    });
    line(g, box.left, box.top + box.height + 0.5, box.left + box.width, box.top + box.height + 0.5, ruled);
    for (const one of curves) {
      g.strokeStyle = g.fillStyle = one.colour;
      if (one.std === 0) {
        line(g, xOf(0), box.top, xOf(0), box.top + box.height, one.colour);
        continue;
      }
      if (one.drawn) histogram(g, one, reach, xOf, yOf, box.top + box.height);
      g.lineWidth = 2;
      g.beginPath();
      for (let i = 0; i <= POINTS; i += 1) {
        const weight = -reach + (2 * reach * i) / POINTS;
        g.lineTo(xOf(weight), yOf(densityOf(one, weight)));
      }
      g.stroke();
    }
  }

  return {
    element: on.element,
    canvas: on.canvas,
    /** @param {Curve[]} next */
    show(next) {
      curves = next;
      on.redraw();
    },
  };
}

/** @param {Curve} curve @param {number} weight */
function densityOf({ dist, std }, weight) {
  if (dist === "uniform") return Math.abs(weight) <= std * Math.sqrt(3) ? 1 / (2 * std * Math.sqrt(3)) : 0;
  return Math.exp(-((weight / std) ** 2) / 2) / (std * Math.sqrt(2 * Math.PI));
}

/**
 * @param {CanvasRenderingContext2D} g @param {Curve} curve @param {number} reach
 * @param {(weight: number) => number} xOf @param {(density: number) => number} yOf @param {number} bottom
 */
function histogram(g, { drawn }, reach, xOf, yOf, bottom) {
  if (!drawn) return;
  const counts = new Float64Array(BINS);
  for (const weight of drawn) {
    const bin = Math.floor(((weight + reach) / (2 * reach)) * BINS);
    if (bin >= 0 && bin < BINS) counts[bin] += 1;
  }
  const size = (2 * reach) / BINS;
  g.globalAlpha = 0.22;
  counts.forEach((count, i) => {
    const y = yOf(count / drawn.length / size);
    const x = xOf(-reach + i * size);
    g.fillRect(x, y, xOf(-reach + (i + 1) * size) - x - 0.5, bottom - y);
  });
  g.globalAlpha = 1;
}
