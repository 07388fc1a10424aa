/**
 * Stacked bars: one per layer, its parts adding up to all of its units.
 * @module
 */

import { line, nameAxis, nameRoom } from "./axes.js";
import { formatShare } from "./format.js";
import { font, surface, theme } from "./surface.js";

/**
 * @typedef {object} BarsContent
 * @property {string[]} names
 * @property {import("./types.js").Label[]} labels
 * @property {{label: string, colour: string, values: ArrayLike<number>}[]} parts each value in [0, 1]
 */

const RIGHT = 24;
const MOST_NAME = 240;
const NAME_GAP = 14;
const TOP = 4;
const BOTTOM = 24;
const MOST_PITCH = 20;
const MOST_HEIGHT = 900;

/**
 * @param {object} acts
 * @param {string} acts.label
 * @param {(row: number | null, x: number, y: number) => void} acts.onHover
 * @param {(row: number) => void} acts.onPick
 * @param {(share: [number, number] | null) => void} acts.onZoom of the rows; null for all of them
 */
export function barChart({ label, onHover, onPick, onZoom }) {
  /** @type {BarsContent | null} */
  let content = null;
  /** @type {{hovered: string, picked: string}} */
  let cursor = { hovered: "", picked: "" };
  /** Room that the names take at the left. */
  let named = 0;

  const on = surface({
    height: 100,
    label,
    draw: paint,
    onMove: (x, y) => onHover(rowAt(y), x, y),
    onLeave: () => onHover(null, 0, 0),
    onClick: (_, y) => {
      const row = rowAt(y);
      if (row !== null) onPick(row);
    },
    zoom: {
      box: boxOf,
      axes: { x: false, y: true },
      count: () => ({ x: 1, y: content?.names.length ?? 0 }),
      onZoom: ({ y }) => y && onZoom(y),
      onWhole: () => onZoom(null),
    },
  });

  function boxOf() {
    const { width, height } = on.size();
    const left = Math.min(named, Math.max(60, width * 0.4));
    return { left, top: TOP, width: Math.max(1, width - left - RIGHT), height: height - TOP - BOTTOM };
  }

  /** @param {number} y */
  function rowAt(y) {
    const box = boxOf();
    if (!content?.names.length || y < box.top || y >= box.top + box.height) return null;
    return Math.floor(((y - box.top) / box.height) * content.names.length);
  }

  /** @param {CanvasRenderingContext2D} g */
  function paint(g) {
    if (!content?.names.length) return;
    const box = boxOf();
    const { soft, faint, line: ruled } = theme();
    g.font = font(11);
    g.textAlign = "center";
    g.textBaseline = "top";
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const x = Math.round(box.left + share * box.width) + 0.5;
      line(g, x, box.top, x, box.top + box.height + 4, share ? faint : ruled);
      g.fillStyle = soft;
      g.fillText(formatShare(share), x, box.top + box.height + 7);
    }
    const pitch = box.height / content.names.length;
    const gap = pitch > 8 ? Math.min(4, pitch * 0.2) : 0;
    content.names.forEach((_, row) => {
      let from = 0;
      const y = box.top + row * pitch + gap / 2;
      for (const part of content?.parts ?? []) {
        const value = part.values[row];
        if (!(value > 0)) continue;
        g.fillStyle = part.colour;
        g.fillRect(box.left + from * box.width, y, value * box.width, Math.max(0.75, pitch - gap));
        from += value;
      }
    });
    nameAxis(g, box, content.labels, box.left - 4);
    above();
  }

  function above() {
    on.overlay((g) => {
      if (!content) return;
      const box = boxOf();
      const { ink, accent } = theme();
      const pitch = box.height / content.names.length;
      for (const [name, colour] of [
        [cursor.picked, accent],
        [cursor.hovered, ink],
      ]) {
        const row = content.names.indexOf(name);
        if (row < 0) continue;
        g.strokeStyle = colour;
        g.strokeRect(box.left - 0.5, Math.round(box.top + row * pitch) + 0.5, box.width + 1, Math.max(2, pitch - 1));
      }
    });
  }

  return {
    element: on.element,
    canvas: on.canvas,
    /** @param {BarsContent} next */
    show(next) {
      content = next;
      named = nameRoom(next.labels, MOST_NAME) + NAME_GAP;
      const pitch = Math.max(1, Math.min(MOST_PITCH, MOST_HEIGHT / Math.max(1, next.names.length)));
      on.resize(TOP + BOTTOM + Math.max(20, Math.round(pitch * next.names.length)));
      on.redraw();
    },
    /** @param {typeof cursor} next */
    cursor(next) {
      cursor = next;
      above();
    },
  };
}
