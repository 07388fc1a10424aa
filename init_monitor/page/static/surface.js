/**
 * A canvas that knows its size, is sharp on every screen, and has a second one on top for what follows the pointer.
 * @module
 */

import { h } from "./dom.js";
import { gestures } from "./gestures.js";

/**
 * @typedef {object} Theme
 * @property {boolean} dark
 * @property {string} ink
 * @property {string} soft
 * @property {string} line
 * @property {string} faint
 * @property {string} surface
 * @property {string} accent
 * @property {string} critical
 * @property {string} font
 */

/**
 * @typedef {object} Surface
 * @property {HTMLElement} element
 * @property {HTMLCanvasElement} canvas
 * @property {() => void} redraw at the next frame
 * @property {(draw: (g: CanvasRenderingContext2D, width: number, height: number) => void) => void} overlay at once
 * @property {(height: number) => void} resize
 * @property {() => {width: number, height: number}} size
 */

/**
 * @param {object} options
 * @param {number} options.height in CSS pixels
 * @param {string} options.label what is shown, for people who cannot see it
 * @param {(g: CanvasRenderingContext2D, width: number, height: number) => void} options.draw
 * @param {(x: number, y: number) => void} [options.onMove]
 * @param {() => void} [options.onLeave]
 * @param {(x: number, y: number) => void} [options.onClick]
 * @param {Parameters<typeof gestures>[2]} [options.zoom] what zooms, and where
 * @returns {Surface}
 */
export function surface({ height, label, draw, onMove, onLeave, onClick, zoom }) {
  const canvas = /** @type {HTMLCanvasElement} */ (h("canvas.plot", { role: "img", "aria-label": label }));
  const over = /** @type {HTMLCanvasElement} */ (h("canvas.over", { "aria-hidden": "true" }));
  const element = h("div.surface", {}, canvas, over);
  element.style.height = `${height}px`;
  let width = 0;
  let asked = 0;

  function paint() {
    asked = 0;
    if (!element.isConnected || width <= 0) return;
    const ratio = window.devicePixelRatio || 1;
    for (const one of [canvas, over]) {
      const wide = Math.round(width * ratio);
      const high = Math.round(height * ratio);
      if (one.width !== wide || one.height !== high) {
        one.width = wide;
        one.height = high;
      }
    }
    const g = context(canvas, ratio);
    g.clearRect(0, 0, width, height);
    draw(g, width, height);
  }

  const surfaced = {
    element,
    canvas,
    redraw() {
      if (!asked) asked = requestAnimationFrame(paint);
    },
    /** @param {(g: CanvasRenderingContext2D, width: number, height: number) => void} above */
    overlay(above) {
      if (width <= 0) return;
      const g = context(over, window.devicePixelRatio || 1);
      g.clearRect(0, 0, width, height);
      above(g, width, height);
    },
    /** @param {number} to */
    resize(to) {
      if (to === height) return;
      height = to;
      element.style.height = `${height}px`;
      surfaced.redraw();
    },
    size: () => ({ width, height }),
  };

  new ResizeObserver((entries) => {
    const wide = Math.floor(entries[0].contentRect.width);
    if (wide !== width) {
      width = wide;
      // At once: a canvas that is stretched for a frame flickers.
      paint();
    }
  }).observe(element);

  /** @param {(x: number, y: number) => void} act */
  const placed = (act) => (/** @type {MouseEvent} */ event) => {
    const box = over.getBoundingClientRect();
    // Whole pixels, as a click has them: what is pointed at is what is clicked.
    act(Math.floor(event.clientX) - box.left, Math.floor(event.clientY) - box.top);
  };
  const hands = zoom ? gestures(element, over, zoom, onLeave) : null;
  if (onMove) {
    const move = placed(onMove);
    over.addEventListener("pointermove", (event) => {
      if (!hands?.dragging()) move(event);
    });
  }
  if (onLeave) over.addEventListener("pointerleave", onLeave);
  if (onClick) {
    const click = placed(onClick);
    over.addEventListener("click", (event) => {
      if (!hands?.dragged()) click(event);
    });
  }
  return surfaced;
}

/** @param {HTMLCanvasElement} canvas @param {number} ratio */
function context(canvas, ratio) {
  const g = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  return g;
}

/** @type {Theme} */
let current = {
  dark: false,
  ink: "#1c1e21",
  soft: "#5f6570",
  line: "#d5d8dd",
  faint: "#eceef1",
  surface: "#ffffff",
  accent: "#1a56a8",
  critical: "#b3261e",
  font: "sans-serif",
};

/** The colours of the page, as the style sheet has them. */
export function theme() {
  return current;
}

/**
 * Read the colours again: the page turned dark or light.
 * @param {Element} root
 * @param {boolean} dark
 */
export function readTheme(root, dark) {
  const style = getComputedStyle(root);
  /** @param {string} name */
  const token = (name) => style.getPropertyValue(`--${name}`).trim();
  current = {
    dark,
    ink: token("ink"),
    soft: token("soft"),
    line: token("line"),
    faint: token("faint"),
    surface: token("surface"),
    accent: token("accent"),
    critical: token("critical"),
    font: style.fontFamily,
  };
}

/** @param {number} size @param {string} [weight] */
export function font(size, weight = "400") {
  return `${weight} ${size}px ${current.font}`;
}
