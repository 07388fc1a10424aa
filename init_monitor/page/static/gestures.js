/**
 * Zoom and pan of a picture, as in TensorBoard's own charts: drag a box to zoom into it, drag with Shift to move, turn the
 * wheel with Ctrl, ⌘ or Alt (or pinch) to come closer, double-click to see everything.
 * @module
 */

import { h } from "./dom.js";
import { around, CLOSER } from "./zoom.js";

/** @typedef {{left: number, top: number, width: number, height: number}} Box */
/** @typedef {{x: [number, number] | null, y: [number, number] | null}} Shares of what is shown, along each axis that zooms */

/** A press that moves less is a click. */
const LEAST_DRAG = 6;
/** Pixels of a wheel's turn that count as one: browsers send them in pieces. */
const TURN = 40;

/**
 * @param {HTMLElement} element holds the canvases
 * @param {HTMLCanvasElement} over the upper one
 * @param {object} acts
 * @param {() => Box} acts.box of the plot within them
 * @param {{x: boolean, y: boolean}} acts.axes that zoom
 * @param {() => {x: number, y: number}} acts.count columns and rows that are shown
 * @param {(shares: Shares) => void} acts.onZoom
 * @param {() => void} acts.onWhole
 * @param {() => void} [onDrag] a press has become a drag
 * @returns {{dragging: () => boolean, dragged: () => boolean}} whether a drag is going on, and whether the last press was one
 */
export function gestures(element, over, { box, axes, count, onZoom, onWhole }, onDrag) {
  const band = h("div.band", { "aria-hidden": "true" });
  band.hidden = true;
  element.append(band);
  /** @type {{x: number, y: number, pan: boolean, moved: boolean} | null} */
  let press = null;
  let ended = false;
  let turned = 0;

  /** @param {MouseEvent} event */
  function placeOf(event) {
    const outer = over.getBoundingClientRect();
    return { x: event.clientX - outer.left, y: event.clientY - outer.top };
  }

  /** @param {number} x */
  const acrossOf = (x) => (x - box().left) / box().width;
  /** @param {number} y */
  const downOf = (y) => (y - box().top) / box().height;
  /** @param {number} share @param {number} parts */
  const whole = (share, parts) => Math.trunc(share * parts) / Math.max(1, parts);
  /** @param {number} share */
  const clamp = (share) => Math.max(0, Math.min(1, share));

  over.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    const { x, y } = placeOf(event);
    ended = false;
    const { left, top, width, height } = box();
    if (x < left || y < top || x > left + width || y > top + height) return;
    press = { x, y, pan: event.shiftKey, moved: false };
    over.setPointerCapture(event.pointerId);
  });

  over.addEventListener("pointermove", (event) => {
    if (!press) return;
    const { x, y } = placeOf(event);
    if (!press.moved && Math.hypot(x - press.x, y - press.y) < LEAST_DRAG) return;
    if (!press.moved) onDrag?.();
    press.moved = true;
    if (press.pan) {
      // Whole columns and rows; what is left of the way counts with the next piece.
      const dx = axes.x ? whole(acrossOf(press.x) - acrossOf(x), count().x) : 0;
      const dy = axes.y ? whole(downOf(press.y) - downOf(y), count().y) : 0;
      press.x -= dx * box().width;
      press.y -= dy * box().height;
      if (dx || dy) onZoom({ x: dx ? [dx, 1 + dx] : null, y: dy ? [dy, 1 + dy] : null });
      return;
    }
    const area = box();
    const across = axes.x ? [press.x, x].sort((a, b) => a - b) : [area.left, area.left + area.width];
    const down = axes.y ? [press.y, y].sort((a, b) => a - b) : [area.top, area.top + area.height];
    band.hidden = false;
    band.style.left = `${Math.max(area.left, across[0])}px`;
    band.style.top = `${Math.max(area.top, down[0])}px`;
    band.style.width = `${Math.min(area.left + area.width, across[1]) - Math.max(area.left, across[0])}px`;
    band.style.height = `${Math.min(area.top + area.height, down[1]) - Math.max(area.top, down[0])}px`;
  });

  /** @param {PointerEvent} event */
  function release(event) {
    const from = press;
    press = null;
    band.hidden = true;
    if (!from?.moved) return;
    ended = true;
    if (from.pan || event.type !== "pointerup") return;
    const { x, y } = placeOf(event);
    /** @param {number} a @param {number} b @returns {[number, number] | null} */
    const shares = (a, b) => (Math.abs(a - b) > 0 ? [clamp(Math.min(a, b)), clamp(Math.max(a, b))] : null);
    onZoom({
      x: axes.x && Math.abs(x - from.x) >= LEAST_DRAG ? shares(acrossOf(from.x), acrossOf(x)) : null,
      y: axes.y && Math.abs(y - from.y) >= LEAST_DRAG ? shares(downOf(from.y), downOf(y)) : null,
    });
  }
  over.addEventListener("pointerup", release);
  over.addEventListener("pointercancel", release);

  over.addEventListener(
    "wheel",
    (event) => {
      // Without a key the wheel moves the page.
      if (!event.ctrlKey && !event.metaKey && !event.altKey) return;
      event.preventDefault();
      turned += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : TURN * event.deltaY;
      const turns = Math.trunc(turned / TURN);
      if (!turns) return;
      turned -= turns * TURN;
      const { x, y } = placeOf(event);
      const factor = CLOSER ** -Math.max(-3, Math.min(3, turns));
      onZoom({
        x: axes.x ? around(clamp(acrossOf(x)), factor) : null,
        y: axes.y ? around(clamp(downOf(y)), factor) : null,
      });
    },
    { passive: false },
  );
  over.addEventListener("dblclick", onWhole);

  return {
    dragging: () => !!press?.moved,
    dragged: () => ended,
  };
}
