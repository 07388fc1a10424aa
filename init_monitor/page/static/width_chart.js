/**
 * Sizes over widths, both logarithmic: a line per layer, of which one can be brought forward.
 * @module
 */

import { line, valueAxis } from "./axes.js";
import { disc } from "./marks.js";
import { logScale } from "./scales.js";
import { font, surface, theme } from "./surface.js";

/**
 * @typedef {object} Sizes
 * @property {number[]} widths ascending
 * @property {{name: string, colour: string, dash: number[], values: number[]}[]} lines NaN where there is no number
 */

const LEFT = 54;
const RIGHT = 18;
const TOP = 10;
const BELOW = 40;
const HEIGHT = 260;
const INSET = 14;
/** A line is pointed at from this near, in pixels. */
const NEAR = 28;

/**
 * @param {object} acts
 * @param {string} acts.label
 * @param {(place: {layer: string, width: number} | null, x: number, y: number) => void} acts.onHover
 */
export function widthChart({ label, onHover }) {
  /** @type {Sizes | null} */
  let content = null;
  let marked = "";
  /** @type {import("./scales.js").Scale | null} */
  let scale = null;

  const on = surface({
    height: HEIGHT + TOP + BELOW,
    label,
    draw: paint,
    onMove: (x, y) => onHover(nearest(x, y), x, y),
    onLeave: () => onHover(null, 0, 0),
  });

  function boxOf() {
    return { left: LEFT, top: TOP, width: Math.max(1, on.size().width - LEFT - RIGHT), height: HEIGHT };
  }

  /** @param {number} width */
  function xOf(width) {
    const box = boxOf();
    const widths = content?.widths ?? [];
    const [first, last] = [widths[0], widths[widths.length - 1]].map(Math.log);
    return box.left + INSET + (last > first ? ((Math.log(width) - first) / (last - first)) * (box.width - 2 * INSET) : 0);
  }

  /** @param {number} value */
  function yOf(value) {
    const box = boxOf();
    return box.top + (1 - (scale?.at(value) ?? NaN)) * box.height;
  }

  /** @param {number} x @param {number} y */
  function nearest(x, y) {
    let found = null;
    let least = NEAR;
    for (const { name, values } of content?.lines ?? []) {
      for (const [i, width] of (content?.widths ?? []).entries()) {
        const away = Math.hypot(x - xOf(width), y - yOf(values[i]));
        if (away < least) {
          least = away;
          found = { layer: name, width };
        }
      }
    }
    return found;
  }

  /** @param {CanvasRenderingContext2D} g */
  function paint(g) {
    if (!content || !scale) return;
    const box = boxOf();
    const { soft, faint } = theme();
    valueAxis(g, box, scale);
    g.textBaseline = "top";
    g.textAlign = "center";
    g.font = font(11);
    for (const width of content.widths) {
      const x = Math.round(xOf(width)) + 0.5;
      line(g, x, box.top, x, box.top + box.height, faint);
      g.fillStyle = soft;
      g.fillText(String(width), x, box.top + box.height + 7);
    }
    g.fillText("width", box.left + box.width / 2, box.top + box.height + 23);
    // The one that is pointed at lies above the others.
    for (const one of [...content.lines].sort((a, b) => Number(a.name === marked) - Number(b.name === marked))) curve(g, one);
    g.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} g @param {Sizes["lines"][0]} one */
  function curve(g, { name, colour, dash, values }) {
    const points = values.flatMap((value, i) => {
      const y = yOf(value);
      return y === y ? [{ x: xOf(content?.widths[i] ?? NaN), y }] : [];
    });
    g.globalAlpha = marked && name !== marked ? 0.35 : 1;
    g.strokeStyle = g.fillStyle = colour;
    g.lineWidth = name === marked ? 3 : 1.75;
    g.setLineDash(dash);
    g.beginPath();
    for (const { x, y } of points) g.lineTo(x, y);
    g.stroke();
    g.setLineDash([]);
    for (const { x, y } of points) disc(g, x, y, name === marked ? 4 : 3);
  }

  return {
    element: on.element,
    canvas: on.canvas,
    /** @param {Sizes} next */
    show(next) {
      content = next;
      const every = next.lines.flatMap((one) => one.values).filter((one) => one >= 0);
      const positive = every.filter((one) => one > 0);
      scale = logScale(Math.min(...positive), Math.max(...positive), Math.floor(HEIGHT / 32), { decades: 1, zero: every.includes(0) });
      on.redraw();
    },
    /** @param {string} layer */
    mark(layer) {
      marked = layer;
      on.redraw();
    },
  };
}
