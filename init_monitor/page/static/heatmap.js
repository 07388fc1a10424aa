/**
 * Depth × step: each layer a row, the input on top; each sampled step a column.
 * @module
 */

import { line, nameAxis, nameRoom, stepAxis } from "./axes.js";
import { colourBar, hatch, packed } from "./heat_parts.js";
import { BEYOND, lookup, zeroColour } from "./palette.js";
import { extent, scaleOf } from "./scales.js";
import { surface, theme } from "./surface.js";

/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./scales.js").Scale} Scale */

const RIGHT = 58;
const TOP = 6;
const BOTTOM = 38;
const LEAST_HEIGHT = 150;
const LEAST_LEFT = 30;
const MOST_LEFT = 220;
const NAME_GAP = 14;
/** Left of the names. */
const NAME_EDGE = 4;
const MOST_HEIGHT = 620;
/** Above this many layers each has one pixel; below, rows are easier to hit. */
const COMFORTABLE = 260;

/**
 * @typedef {object} HeatmapContent
 * @property {Series} series a row for each that is drawn
 * @property {import("./types.js").Label[]} labels of the rows
 * @property {{rows: import("./zoom.js").Slice, columns: import("./zoom.js").Slice}} view the part that is shown
 * @property {import("./quantities.js").Quantity} quantity
 * @property {"log" | "linear"} wanted
 * @property {string} palette
 * @property {ReturnType<typeof extent>} [range] of all pictures that are compared; of this one if left out
 * @property {number} [left] room for names, if pictures are to be aligned
 * @property {number} [height] of the cells, likewise
 */

/**
 * @typedef {object} Cell
 * @property {string} name
 * @property {number} row
 * @property {number} step
 * @property {number} value
 * @property {number} x
 * @property {number} y
 */

/**
 * @param {object} acts
 * @param {string} acts.label
 * @param {(cell: Cell | null) => void} acts.onHover
 * @param {(cell: Cell, onName: boolean) => void} acts.onPick
 * @param {(shares: import("./gestures.js").Shares) => void} acts.onZoom
 * @param {() => void} acts.onWhole
 */
export function heatmap({ label, onHover, onPick, onZoom, onWhole }) {
  /** @type {HeatmapContent | null} */
  let content = null;
  /** @type {Scale | null} */
  let scale = null;
  /** @type {HTMLCanvasElement} */
  let cells = document.createElement("canvas");
  let infinite = false;
  /** Colour of exact zeros, empty if there are none. */
  let none = "";
  /** @type {{names: Set<string>, step: number | null, picked: Set<string>, pickedStep: number | null}} */
  let cross = { names: new Set(), step: null, picked: new Set(), pickedStep: null };
  let drawnKey = "";
  let drawnPlace = "";

  const on = surface({
    height: LEAST_HEIGHT,
    label,
    draw: paint,
    onMove: (x, y) => onHover(cellAt(x, y)),
    onLeave: () => onHover(null),
    onClick: (x, y) => {
      const cell = cellAt(x, y);
      if (cell) onPick(cell, x < boxOf().left);
    },
    zoom: {
      box: boxOf,
      axes: { x: true, y: true },
      count: () => ({ x: part().columns, y: part().rows }),
      onZoom,
      onWhole,
    },
  });

  function boxOf() {
    const { width, height } = on.size();
    const left = Math.min(content?.left ?? LEAST_LEFT, Math.max(LEAST_LEFT, width * 0.34));
    return { left, top: TOP, width: Math.max(1, width - left - RIGHT), height: Math.max(1, height - TOP - BOTTOM) };
  }

  /** What is shown: rows and columns, and how many. */
  function part() {
    const [top, bottom] = content?.view.rows ?? [0, 0];
    const [from, until] = content?.view.columns ?? [0, 0];
    return { top, from, rows: bottom - top, columns: until - from };
  }

  /** @param {number} x @param {number} y @returns {Cell | null} */
  function cellAt(x, y) {
    const { top, from, rows, columns } = part();
    if (!content || !rows || !columns) return null;
    const box = boxOf();
    if (y < box.top || y >= box.top + box.height || x >= box.left + box.width) return null;
    const row = top + Math.floor(((y - box.top) / box.height) * rows);
    const { series } = content;
    // On a name: the layer at the selected step.
    const picked = Math.max(0, nearest(series.steps, cross.pickedStep ?? Infinity));
    const column = x < box.left ? picked : from + Math.floor(((x - box.left) / box.width) * columns);
    return {
      name: series.names[row],
      row,
      step: series.steps[column],
      value: series.values[row * series.steps.length + column],
      x,
      y,
    };
  }

  function build() {
    if (!content) return;
    const { series, quantity, palette } = content;
    const { dark } = theme();
    const columns = series.steps.length;
    const rows = series.names.length;
    const range = content.range ?? extent(series.values);
    infinite = range.infinite;
    scale = scaleOf(quantity, content.wanted, range, 6, { colour: true });
    cells = document.createElement("canvas");
    cells.width = Math.max(1, columns);
    cells.height = Math.max(1, rows);
    const g = /** @type {CanvasRenderingContext2D} */ (cells.getContext("2d"));
    const picture = g.createImageData(cells.width, cells.height);
    const pixels = new Uint32Array(picture.data.buffer);
    const table = lookup(quantity.palette, palette, dark);
    const beyond = packed(dark ? BEYOND.dark : BEYOND.light);
    none = scale.log && range.zero ? zeroColour(palette, dark) : "";
    const zero = packed(none || "#000000");
    const levels = table.length - 1;
    for (let i = 0; i < rows * columns; i += 1) {
      const value = series.values[i];
      // Not measured stays transparent: the hatching of the page shows through.
      if (value !== value) continue;
      if (value === Infinity || value === -Infinity) pixels[i] = beyond;
      else if (none && value === 0) pixels[i] = zero;
      else pixels[i] = table[Math.round(scale.at(value) * levels)];
    }
    g.putImageData(picture, 0, 0);
  }

  /** @param {CanvasRenderingContext2D} g */
  function paint(g) {
    if (!content || !scale) return;
    const box = boxOf();
    const { line: ruled } = theme();
    const { top, from, rows, columns } = part();
    hatch(g, box);
    g.imageSmoothingEnabled = false;
    if (rows && columns) {
      g.drawImage(cells, from, top, columns, rows, box.left, box.top, box.width, box.height);
    }
    g.strokeStyle = ruled;
    g.strokeRect(box.left - 0.5, box.top - 0.5, box.width + 1, box.height + 1);
    if (!rows) return;
    nameAxis(g, box, content.labels.slice(top, top + rows), box.left - NAME_EDGE);
    const column = box.width / columns;
    const steps = content.series.steps.slice(from, from + columns);
    stepAxis(g, box, steps, (i) => box.left + (i + 0.5) * column, { even: true });
    colourBar(g, box, { scale, table: lookup(content.quantity.palette, content.palette, theme().dark), infinite, none });
    above();
  }

  function above() {
    on.overlay((g) => {
      const { top, from, rows, columns } = part();
      if (!content || !rows || !columns) return;
      const box = boxOf();
      const { ink, accent } = theme();
      const high = box.height / rows;
      const wide = box.width / columns;
      const names = content.series.names.slice(top, top + rows);
      /** @param {Set<string>} marked @param {string} colour @param {number[]} dash */
      const layers = (marked, colour, dash) => {
        names.forEach((name, i) => {
          if (!marked.has(name)) return;
          const y = box.top + i * high;
          if (high >= 5) {
            g.strokeStyle = colour;
            g.setLineDash(dash);
            g.strokeRect(box.left - 0.5, Math.round(y) + 0.5, box.width + 1, Math.max(1, Math.round(high) - 1));
            g.setLineDash([]);
          } else line(g, box.left, y + high / 2, box.left + box.width, y + high / 2, colour, dash);
        });
      };
      /** @param {number | null} step @param {string} colour @param {number[]} dash */
      const at = (step, colour, dash) => {
        if (step === null) return;
        const column = nearest(content?.series.steps ?? [], step) - from;
        if (column < 0 || column >= columns) return;
        const x = Math.round(box.left + (column + 0.5) * wide) + 0.5;
        line(g, x, box.top, x, box.top + box.height, colour, dash);
      };
      layers(cross.picked, accent, []);
      at(cross.pickedStep, accent, []);
      layers(cross.names, ink, [3, 2]);
      at(cross.step, ink, [3, 2]);
    });
  }

  return {
    element: on.element,
    canvas: on.canvas,
    /** @param {HeatmapContent} next */
    show(next) {
      const { view } = next;
      const key = [next.quantity.id, next.wanted, next.palette, theme().dark, JSON.stringify(next.range ?? null)].join("|");
      const place = [...view.rows, ...view.columns, next.left, next.height].join("|");
      const same = content?.series === next.series && key === drawnKey;
      const there = place === drawnPlace && content?.labels === next.labels;
      content = { ...next, left: next.left ?? leftFor(next.labels) };
      if (same && there) return;
      if (!same) build();
      drawnKey = key;
      drawnPlace = place;
      on.resize(TOP + BOTTOM + (next.height ?? heightFor(view.rows[1] - view.rows[0])));
      on.redraw();
    },
    /** @param {typeof cross} next */
    cross(next) {
      cross = next;
      above();
    },
  };
}

/**
 * Room for names at the left.
 * @param {import("./types.js").Label[]} labels
 */
export function leftFor(labels) {
  return Math.max(LEAST_LEFT, nameRoom(labels, MOST_LEFT - NAME_GAP) + NAME_GAP);
}

/** @param {number} rows */
export function heightFor(rows) {
  const comfortable = Math.min(COMFORTABLE, rows * 14);
  return Math.max(LEAST_HEIGHT, Math.min(MOST_HEIGHT, Math.max(comfortable, rows)));
}

/** @param {number[]} steps @param {number} step */
function nearest(steps, step) {
  let best = -1;
  // The last column that is not after the step: what had been measured by then.
  for (let low = 0, high = steps.length - 1; low <= high;) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) {
      best = middle;
      low = middle + 1;
    } else high = middle - 1;
  }
  return best;
}

