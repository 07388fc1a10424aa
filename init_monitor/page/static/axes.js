/**
 * Ticks and labels around a plot.
 * @module
 */

import { fitted, formatStep } from "./format.js";
import { spread } from "./scales.js";
import { font, theme } from "./surface.js";

/** @typedef {{left: number, top: number, width: number, height: number}} Box */
/** @typedef {import("./types.js").Label} Label */

const TICK = 11;
/** Between a label and the axis. */
const TICK_GAP = 7;
/** Letters of a type that are shown at least: fewer say nothing. */
const LEAST_KIND = 4;

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
  if (!scale.zero) return;
  // A cut between zero and the smallest power of ten: no distance is meant.
  const cut = Math.round(box.top + (1 - scale.zero / 2) * box.height) + 0.5;
  line(g, box.left, cut, box.left + box.width, cut, soft, [1, 4]);
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

/** Between a name and its type, and the step in of a layer within an open block. */
const GAP = 8;
const STEP_IN = 10;
/** A type is cut at this width: the name tells more. */
const MOST_KIND = 96;

const FOLDS = { "": "", folded: "▸ ", open: "▾ " };

/**
 * @param {string} kind @param {number} room @param {(text: string) => number} measure
 * @returns {string} empty where there is too little room
 */
function fittedKind(kind, room, measure) {
  const shown = kind && room > 0 ? fitted(kind, room, measure) : "";
  return shown === kind || shown.length >= LEAST_KIND ? shown : "";
}

/** @param {Label} label */
const named = (label) => `${FOLDS[label.fold]}${label.text}`;

/**
 * Layers on the left: names without their common part, and at the axis their types.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 * @param {Label[]} labels
 * @param {number} room that they may take
 * @param {number} pitch pixels per name
 */
export function nameAxis(g, box, labels, room, pitch = 14) {
  const { ink, soft, line: ruled } = theme();
  g.font = font(TICK);
  g.textBaseline = "middle";
  /** @param {string} text */
  const measure = (text) => g.measureText(text).width;
  const row = box.height / labels.length;
  for (const i of spread(labels.length, box.height - row, pitch)) {
    const label = labels[i];
    const y = box.top + (i + 0.5) * row;
    line(g, box.left - 4, Math.round(y) + 0.5, box.left, Math.round(y) + 0.5, ruled);
    const from = box.left - room + (label.inside ? STEP_IN : 0);
    const whole = box.left - TICK_GAP - from;
    const text = fitted(named(label), whole, measure);
    const left = whole - measure(text) - GAP;
    g.textAlign = "left";
    g.fillStyle = label.fold ? ink : soft;
    g.fillText(text, from, y);
    const kind = fittedKind(label.kind, left, measure);
    if (!kind) continue;
    g.textAlign = "right";
    g.fillStyle = soft;
    g.globalAlpha = 0.75;
    g.fillText(kind, box.left - TICK_GAP, y);
    g.globalAlpha = 1;
  }
}

/** @type {CanvasRenderingContext2D | null} */
let ruler = null;

/**
 * How much room the longest of these takes as a label, in pixels.
 * @param {Label[]} labels
 * @param {number} most
 */
export function nameRoom(labels, most) {
  ruler ??= /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  ruler.font = font(TICK);
  // Names within a network look alike: a few hundred of them show how long they get.
  const stride = Math.ceil(labels.length / 300);
  let room = 0;
  for (let i = 0; i < labels.length; i += stride) {
    const { kind, inside } = labels[i];
    const width = ruler.measureText(named(labels[i])).width + (inside ? STEP_IN : 0);
    room = Math.max(room, width + (kind ? GAP + Math.min(MOST_KIND, ruler.measureText(kind).width) : 0));
    if (room > most) return most;
  }
  return Math.ceil(room);
}

/**
 * Layers below a plot over depth: upright names with their types, as many as there is room for.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 * @param {Label[]} labels
 * @param {(i: number) => number} at x of the i-th name
 * @param {number} room height for the names
 */
export function depthAxis(g, box, labels, at, room) {
  const { ink, soft, line: ruled } = theme();
  const bottom = box.top + box.height;
  g.font = font(TICK);
  /** @param {string} text */
  const measure = (text) => g.measureText(text).width;
  for (const i of spread(labels.length, box.width, 15)) {
    const label = labels[i];
    const x = at(i);
    line(g, Math.round(x) + 0.5, bottom, Math.round(x) + 0.5, bottom + 4, ruled);
    g.save();
    g.translate(x, bottom + 8);
    g.rotate(-Math.PI / 2);
    g.textAlign = "right";
    g.textBaseline = "middle";
    const text = fitted(named(label), room - 10, measure);
    const left = room - 10 - measure(text) - GAP;
    const kind = fittedKind(label.kind, Math.min(left, MOST_KIND), measure);
    if (kind) {
      g.fillStyle = soft;
      g.globalAlpha = 0.75;
      g.fillText(kind, 0, 0);
      g.globalAlpha = 1;
    }
    g.fillStyle = label.fold ? ink : soft;
    g.fillText(text, kind ? -measure(kind) - GAP : 0, 0);
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
