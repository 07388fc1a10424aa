/**
 * Depth × step: each layer a row, the input on top; each sampled step a column.
 * @module
 */

import { line, nameAxis, nameRoom, stepAxis } from "./axes.js";
import { BEYOND, lookup } from "./palette.js";
import { extent, scaleOf } from "./scales.js";
import { font, surface, theme } from "./surface.js";

/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./scales.js").Scale} Scale */

const RIGHT = 58;
const TOP = 6;
const BOTTOM = 38;
const BAR = 8;
const LEAST_HEIGHT = 150;
const LEAST_LEFT = 30;
const MOST_LEFT = 170;
const NAME_GAP = 14;
const MOST_HEIGHT = 620;
/** Above this many layers each has one pixel; below, rows are easier to hit. */
const COMFORTABLE = 260;

/**
 * @typedef {object} HeatmapContent
 * @property {Series} series
 * @property {number[]} rows which rows are shown, in order
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
 */
export function heatmap({ label, onHover, onPick }) {
  /** @type {HeatmapContent | null} */
  let content = null;
  /** @type {Scale | null} */
  let scale = null;
  /** @type {HTMLCanvasElement} */
  let cells = document.createElement("canvas");
  let infinite = false;
  /** @type {{names: Set<string>, step: number | null, picked: Set<string>, pickedStep: number | null}} */
  let cross = { names: new Set(), step: null, picked: new Set(), pickedStep: null };
  let drawnKey = "";

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
  });

  function boxOf() {
    const { width, height } = on.size();
    const left = Math.min(content?.left ?? LEAST_LEFT, Math.max(LEAST_LEFT, width * 0.3));
    return { left, top: TOP, width: Math.max(1, width - left - RIGHT), height: Math.max(1, height - TOP - BOTTOM) };
  }

  /** @param {number} x @param {number} y @returns {Cell | null} */
  function cellAt(x, y) {
    if (!content || !content.rows.length || !content.series.steps.length) return null;
    const box = boxOf();
    if (y < box.top || y >= box.top + box.height || x >= box.left + box.width) return null;
    const row = content.rows[Math.floor(((y - box.top) / box.height) * content.rows.length)];
    const columns = content.series.steps.length;
    // On a name: the layer at the selected step.
    const picked = Math.max(0, nearest(content.series.steps, cross.pickedStep ?? Infinity));
    const column = x < box.left ? picked : Math.floor(((x - box.left) / box.width) * columns);
    return {
      name: content.series.names[row],
      step: content.series.steps[column],
      value: content.series.values[row * columns + column],
      x,
      y,
    };
  }

  function build() {
    if (!content) return;
    const { series, rows, quantity, palette } = content;
    const { dark } = theme();
    const columns = series.steps.length;
    const range = content.range ?? extent(shown(series, rows));
    infinite = range.infinite;
    scale = scaleOf(quantity, content.wanted, range, 6, { colour: true });
    cells = document.createElement("canvas");
    cells.width = Math.max(1, columns);
    cells.height = Math.max(1, rows.length);
    const g = /** @type {CanvasRenderingContext2D} */ (cells.getContext("2d"));
    const picture = g.createImageData(cells.width, cells.height);
    const pixels = new Uint32Array(picture.data.buffer);
    const table = lookup(quantity.palette, palette, dark);
    const beyond = packed(dark ? BEYOND.dark : BEYOND.light);
    const levels = table.length - 1;
    for (let i = 0; i < rows.length; i += 1) {
      const from = rows[i] * columns;
      for (let column = 0; column < columns; column += 1) {
        const value = series.values[from + column];
        // Not measured stays transparent: the hatching of the page shows through.
        if (value !== value) continue;
        pixels[i * columns + column] =
          value === Infinity || value === -Infinity ? beyond : table[Math.round(scale.at(value) * levels)];
      }
    }
    g.putImageData(picture, 0, 0);
  }

  /** @param {CanvasRenderingContext2D} g */
  function paint(g) {
    if (!content || !scale) return;
    const box = boxOf();
    const { line: ruled } = theme();
    const { series, rows } = content;
    hatch(g, box);
    g.imageSmoothingEnabled = false;
    if (rows.length && series.steps.length) g.drawImage(cells, box.left, box.top, box.width, box.height);
    g.strokeStyle = ruled;
    g.strokeRect(box.left - 0.5, box.top - 0.5, box.width + 1, box.height + 1);
    if (!rows.length) return;
    nameAxis(
      g,
      box,
      rows.map((row) => series.names[row]),
    );
    const column = box.width / series.steps.length;
    stepAxis(g, box, series.steps, (i) => box.left + (i + 0.5) * column, { even: true });
    colourBar(g, box);
    above();
  }

  /** @param {CanvasRenderingContext2D} g @param {import("./axes.js").Box} box */
  function colourBar(g, box) {
    if (!content || !scale) return;
    const { soft, dark, line: ruled } = theme();
    const x = box.left + box.width + 10;
    const table = lookup(content.quantity.palette, content.palette, dark);
    const top = box.top + (infinite ? 16 : 0);
    const height = box.height - (infinite ? 16 : 0);
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
    for (const { share, label: text } of scale.ticks) {
      const y = Math.max(top + 5, Math.min(top + (1 - share) * height, top + height - 5));
      g.fillText(text, x + BAR + 5, y);
    }
    if (infinite) {
      g.fillStyle = dark ? BEYOND.dark : BEYOND.light;
      g.fillRect(x, box.top, BAR, 9);
      g.fillStyle = soft;
      g.fillText("∞", x + BAR + 5, box.top + 5);
    }
  }

  function above() {
    on.overlay((g) => {
      if (!content || !content.rows.length) return;
      const box = boxOf();
      const { ink, accent } = theme();
      const rows = content.rows;
      const high = box.height / rows.length;
      const wide = box.width / content.series.steps.length;
      /** @param {Set<string>} names @param {string} colour @param {number[]} dash */
      const layers = (names, colour, dash) => {
        rows.forEach((row, i) => {
          if (!names.has(content?.series.names[row] ?? "")) return;
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
        const column = nearest(content?.series.steps ?? [], step);
        if (column < 0) return;
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
      const key = [
        next.rows.length,
        next.rows[0],
        next.quantity.id,
        next.wanted,
        next.palette,
        theme().dark,
        next.left,
        next.height,
        JSON.stringify(next.range ?? null),
      ].join("|");
      const same = content?.series === next.series && key === drawnKey && sameRows(content.rows, next.rows);
      content = { ...next, left: next.left ?? leftFor(next.rows.map((row) => next.series.names[row])) };
      if (same) return;
      drawnKey = key;
      build();
      on.resize(TOP + BOTTOM + (next.height ?? heightFor(next.rows.length)));
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
 * @param {string[]} names
 */
export function leftFor(names) {
  return Math.max(LEAST_LEFT, nameRoom(names, MOST_LEFT - NAME_GAP) + NAME_GAP);
}

/** @param {number} rows */
export function heightFor(rows) {
  const comfortable = Math.min(COMFORTABLE, rows * 14);
  return Math.max(LEAST_HEIGHT, Math.min(MOST_HEIGHT, Math.max(comfortable, rows)));
}

/** @param {number[]} a @param {number[]} b */
function sameRows(a, b) {
  return a === b || (a.length === b.length && a.every((one, i) => one === b[i]));
}

/**
 * The numbers that are shown.
 * @param {Series} series @param {number[]} rows
 */
export function* shown(series, rows) {
  const columns = series.steps.length;
  for (const row of rows) {
    for (let i = row * columns; i < (row + 1) * columns; i += 1) yield series.values[i];
  }
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

/** @param {string} colour "#rrggbb" */
function packed(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return ((255 << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/**
 * Grey with slanted lines: nothing was measured here.
 * @param {CanvasRenderingContext2D} g @param {import("./axes.js").Box} box
 */
function hatch(g, box) {
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
