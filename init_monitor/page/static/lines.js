/**
 * Lines over depth or over steps, several runs in one picture.
 * @module
 */

import { depthAxis, line, nameRoom, stepAxis, valueAxis } from "./axes.js";
import { disc, ring, triangle } from "./marks.js";
import { extent, scaleOf } from "./scales.js";
import { font, surface, theme } from "./surface.js";

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {string} colour
 * @property {number[]} dash
 * @property {ArrayLike<number>} values one per place; NaN where there is none
 * @property {ArrayLike<number>} [low] the smallest of a folded block; NaN elsewhere
 * @property {ArrayLike<number>} [high] its largest
 * @property {boolean} [faded]
 */

/**
 * @typedef {object} LinesContent
 * @property {Line[]} lines
 * @property {import("./quantities.js").Quantity} quantity
 * @property {"log" | "linear"} wanted
 * @property {string[]} [names] places are layers
 * @property {import("./types.js").Label[]} [labels] of the layers
 * @property {number[]} [steps] places are steps
 * @property {boolean} [bare] no axis below: the next picture has it
 * @property {{value: number, label: string}[]} [guides]
 * @property {Set<string>} [marked] layers to tint: findings name them
 * @property {"line" | "stem"} [style]
 * @property {Set<string>} [hollow] places whose stems are drawn hollow
 * @property {ReturnType<typeof extent>} [range] if the values are to be compared with other steps
 */

const LEFT = 54;
const RIGHT = 14;
const TOP = 8;
const STEPS_BELOW = 24;
const MOST_NAME = 180;
const NAME_GAP = 16;
const POINTS_UP_TO = 80;

/** Of layers that findings name. */
export const TINT = { light: "rgba(200, 80, 20, 0.14)", dark: "rgba(255, 150, 90, 0.18)" };

/**
 * @param {object} acts
 * @param {string} acts.label
 * @param {number} acts.height of the plot itself
 * @param {(place: number | null, x: number, y: number) => void} acts.onHover
 * @param {(place: number) => void} acts.onPick
 * @param {(share: [number, number] | null) => void} [acts.onZoom] of the places; null for all of them. Without it the picture does not zoom
 */
export function lineChart({ label, height, onHover, onPick, onZoom }) {
  /** @type {LinesContent | null} */
  let content = null;
  /** @type {import("./scales.js").Scale | null} */
  let scale = null;
  /** @type {{hovered: number | null, picked: number | null}} */
  let cursor = { hovered: null, picked: null };
  /** Room that the names take below. */
  let named = 0;

  const on = surface({
    height: height + TOP + STEPS_BELOW,
    label,
    draw: paint,
    onMove: (x, y) => onHover(placeAt(x), x, y),
    onLeave: () => onHover(null, 0, 0),
    onClick: (x) => {
      const place = placeAt(x);
      if (place !== null) onPick(place);
    },
    ...(onZoom ? { zoom: zoomed(onZoom) } : {}),
  });

  const count = () => content?.names?.length ?? content?.steps?.length ?? 0;

  /** @param {(share: [number, number] | null) => void} act */
  function zoomed(act) {
    return {
      box: boxOf,
      axes: { x: true, y: false },
      count: () => ({ x: count(), y: 1 }),
      onZoom: (/** @type {import("./gestures.js").Shares} */ { x }) => x && act(x),
      onWhole: () => act(null),
    };
  }

  function boxOf() {
    const { width, height: whole } = on.size();
    return { left: LEFT, top: TOP, width: Math.max(1, width - LEFT - RIGHT), height: whole - TOP - below() };
  }

  function below() {
    if (content?.bare) return 8;
    return content?.names ? named : STEPS_BELOW;
  }

  /** @param {number} place */
  function xOf(place) {
    const box = boxOf();
    const inset = content?.style === "stem" ? 0.5 : 0;
    const spaces = count() - 1 + 2 * inset;
    return box.left + (spaces > 0 ? ((place + inset) / spaces) * box.width : box.width / 2);
  }

  /** @param {number} x */
  function placeAt(x) {
    if (!count()) return null;
    const box = boxOf();
    if (x < box.left - 8 || x > box.left + box.width + 8) return null;
    const inset = content?.style === "stem" ? 0.5 : 0;
    const place = Math.round(((x - box.left) / box.width) * (count() - 1 + 2 * inset) - inset);
    return Math.max(0, Math.min(count() - 1, place));
  }

  /** @param {CanvasRenderingContext2D} g */
  function paint(g) {
    if (!content || !scale) return;
    const box = boxOf();
    tint(g, box);
    valueAxis(g, box, scale);
    if (!content.bare) {
      if (content.labels) depthAxis(g, box, content.labels, xOf, below());
      else if (content.steps?.length) stepAxis(g, box, content.steps, xOf);
    }
    g.save();
    g.beginPath();
    g.rect(box.left - 5, box.top - 5, box.width + 10, box.height + 10);
    g.clip();
    content.lines.forEach((one, k) => {
      ranges(g, box, one, k);
      if (content?.style === "stem") stems(g, box, one, k);
      else curve(g, box, one);
    });
    g.restore();
    guides(g, box);
    above();
  }

  /**
   * How far the layers of a folded block lie apart.
   * @param {CanvasRenderingContext2D} g @param {import("./axes.js").Box} box @param {Line} one @param {number} k
   */
  function ranges(g, box, one, k) {
    if (!scale || !one.low || !one.high) return;
    g.strokeStyle = one.colour;
    g.lineWidth = 5;
    g.globalAlpha = one.faded ? 0.15 : 0.3;
    g.beginPath();
    for (let i = 0; i < one.values.length; i += 1) {
      const [from, to] = [scale.at(one.low[i]), scale.at(one.high[i])];
      if (from !== from || to !== to) continue;
      const x = xOf(i) + (content?.style === "stem" ? shiftOf(k, box) : 0);
      g.moveTo(x, box.top + (1 - from) * box.height + 0.5);
      g.lineTo(x, box.top + (1 - to) * box.height - 0.5);
    }
    g.stroke();
    g.globalAlpha = 1;
  }

  /**
   * Stems of several runs stand side by side.
   * @param {number} k @param {import("./axes.js").Box} box
   */
  function shiftOf(k, box) {
    const runs = content?.lines.length ?? 1;
    return (k - (runs - 1) / 2) * Math.min(7, box.width / Math.max(1, count()) / (runs + 1));
  }

  /** @param {CanvasRenderingContext2D} g @param {import("./axes.js").Box} box @param {Line} one */
  function curve(g, box, one) {
    if (!scale) return;
    g.globalAlpha = one.faded ? 0.4 : 1;
    g.strokeStyle = g.fillStyle = one.colour;
    g.lineWidth = 1.75;
    g.lineJoin = "round";
    g.setLineDash(one.dash);
    g.beginPath();
    let drawing = false;
    let points = 0;
    const { values } = one;
    for (let i = 0; i < values.length; i += 1) {
      const share = scale.at(values[i]);
      if (share !== share) {
        // Over steps a gap is a step at which another run was measured; over depth a layer without the quantity.
        continue;
      }
      points += 1;
      const y = box.top + (1 - share) * box.height;
      if (drawing) g.lineTo(xOf(i), y);
      else g.moveTo(xOf(i), y);
      drawing = true;
    }
    g.stroke();
    g.setLineDash([]);
    const dots = points <= POINTS_UP_TO;
    for (let i = 0; i < values.length; i += 1) {
      const share = scale.at(values[i]);
      if (share !== share) continue;
      const y = box.top + (1 - share) * box.height;
      // Zero has a place of its own, below the powers of ten.
      if (scale.log && values[i] === 0) ring(g, xOf(i), y);
      else if (!Number.isFinite(values[i]) || (scale.log && values[i] < 0)) triangle(g, xOf(i), y, values[i] > 0);
      else if (dots) disc(g, xOf(i), y, points > 40 ? 1.75 : 2.5);
    }
    g.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} g @param {import("./axes.js").Box} box @param {Line} one @param {number} k */
  function stems(g, box, one, k) {
    if (!scale || !content) return;
    const { surface: paper } = theme();
    const runs = content.lines.length;
    const room = box.width / Math.max(1, count());
    const base = scale.log ? scale.at(content.guides?.[0]?.value ?? 0) : scale.at(0);
    const shift = shiftOf(k, box);
    const size = Math.max(1.5, Math.min(4, room / (2.5 * runs)));
    g.globalAlpha = one.faded ? 0.4 : 1;
    for (let i = 0; i < one.values.length; i += 1) {
      const share = scale.at(one.values[i]);
      if (share !== share) continue;
      const x = xOf(i) + shift;
      const y = box.top + (1 - share) * box.height;
      g.strokeStyle = g.fillStyle = one.colour;
      g.lineWidth = 1.5;
      g.beginPath();
      g.moveTo(x, box.top + (1 - base) * box.height);
      g.lineTo(x, y);
      g.stroke();
      if (!Number.isFinite(one.values[i])) triangle(g, x, y, one.values[i] > 0);
      else {
        if (content.hollow?.has(content.names?.[i] ?? "")) g.fillStyle = paper;
        g.beginPath();
        g.arc(x, y, size, 0, 2 * Math.PI);
        g.fill();
        g.stroke();
      }
    }
    g.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} g @param {import("./axes.js").Box} box */
  function tint(g, box) {
    if (!content?.marked?.size || !content.names) return;
    const { dark } = theme();
    const half = box.width / Math.max(1, content.names.length - 1) / 2;
    g.fillStyle = TINT[dark ? "dark" : "light"];
    content.names.forEach((name, i) => {
      if (!content?.marked?.has(name)) return;
      const from = Math.max(box.left, xOf(i) - half);
      g.fillRect(from, box.top, Math.min(xOf(i) + half, box.left + box.width) - from, box.height);
    });
  }

  /** @param {CanvasRenderingContext2D} g @param {import("./axes.js").Box} box */
  function guides(g, box) {
    if (!scale || !content?.guides) return;
    const { soft, surface: paper } = theme();
    for (const { value, label: text } of content.guides) {
      const share = scale.at(value);
      if (!(share >= 0 && share <= 1)) continue;
      const y = Math.round(box.top + (1 - share) * box.height) + 0.5;
      line(g, box.left, y, box.left + box.width, y, soft, [4, 3]);
      g.font = font(11);
      g.fillStyle = soft;
      g.textAlign = "right";
      g.textBaseline = share > 0.9 ? "top" : "bottom";
      // An outline in the page's colour keeps the words readable where lines cross them.
      g.strokeStyle = paper;
      g.lineWidth = 4;
      g.strokeText(text, box.left + box.width - 2, share > 0.9 ? y + 3 : y - 3);
      g.fillText(text, box.left + box.width - 2, share > 0.9 ? y + 3 : y - 3);
    }
  }

  function above() {
    on.overlay((g) => {
      if (!content) return;
      const box = boxOf();
      const { ink, accent } = theme();
      /** @param {number | null} place @param {string} colour @param {number[]} dash */
      const upright = (place, colour, dash) => {
        if (place === null || place < 0 || place >= count()) return;
        const x = Math.round(xOf(place)) + 0.5;
        line(g, x, box.top, x, box.top + box.height, colour, dash);
      };
      upright(cursor.picked, accent, []);
      upright(cursor.hovered, ink, [3, 2]);
      const place = cursor.hovered;
      if (place === null || !scale || content.style === "stem") return;
      for (const one of content.lines) {
        const share = scale.at(one.values[place]);
        if (share !== share) continue;
        g.fillStyle = one.colour;
        disc(g, xOf(place), box.top + (1 - share) * box.height, 4);
      }
    });
  }

  return {
    element: on.element,
    canvas: on.canvas,
    /** @param {LinesContent} next */
    show(next) {
      content = next;
      if (next.labels && !next.bare) named = nameRoom(next.labels, MOST_NAME) + NAME_GAP;
      const range = next.range ?? extent(allValues(next));
      scale = scaleOf(next.quantity, next.wanted, range, Math.max(2, Math.floor(height / 32)));
      on.resize(height + TOP + below());
      on.redraw();
    },
    /** @param {typeof cursor} next */
    cursor(next) {
      cursor = next;
      above();
    },
  };
}

/** @param {LinesContent} content */
function* allValues(content) {
  for (const one of content.lines) {
    for (const values of [one.values, one.low ?? [], one.high ?? []]) yield* Array.from(values);
  }
  for (const { value } of content.guides ?? []) yield value;
}
