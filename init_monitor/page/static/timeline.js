/**
 * Where a step lies along the slider, whose positions are the measured steps, evenly spaced.
 * @module
 */

import { columnAt } from "./payload.js";

/** Half the width of the slider's thumb: its middle moves between this distance from either end. */
const THUMB = 8;
/** Steps before the first and after the last measured one get as much room as they are, within these shares. */
const LEAST = 0.04;
const MOST = 0.2;

/**
 * @typedef {object} Axis
 * @property {number} head share of the width before the slider: steps before the first that was measured
 * @property {number} tail share of the width after it
 * @property {(step: number, width: number) => number} at where a step lies, in pixels
 * @property {(x: number, width: number) => number} stepAt which step lies there
 * @property {(width: number) => number[]} edges where the slider begins and ends, if there is something beyond
 */

/**
 * @param {number[]} timeline the measured steps, ascending
 * @param {number[][]} lists steps that are drawn, ascending
 * @returns {Axis}
 */
export function axisOf(timeline, lists) {
  const all = lists.filter((one) => one.length);
  const first = Math.min(...all.map((one) => one[0]), timeline[0] ?? Infinity);
  const last = Math.max(...all.map((one) => one[one.length - 1]), timeline[timeline.length - 1] ?? -Infinity);
  const from = timeline[0] ?? first;
  const until = timeline[timeline.length - 1] ?? last;
  const span = Math.max(1, last - first);
  // A single measured step takes no room: the drawing takes all of it.
  const single = timeline.length < 2;
  const head = single ? 0 : room((from - first) / span);
  const tail = single ? 0 : room((last - until) / span);

  /** @param {number} width */
  function ends(width) {
    return { left: head * width + THUMB, right: (1 - tail) * width - THUMB, far: width - (tail ? 1 : THUMB) };
  }

  /** @param {number} low @param {number} high @param {number} step */
  const share = (low, high, step) => (high > low ? Math.max(0, Math.min(1, (step - low) / (high - low))) : 0);

  return {
    head,
    tail,
    at(step, width) {
      const { left, right, far } = ends(width);
      if (single) return left + share(first, last, step) * (far - left);
      if (step < from) return 1 + share(first, from, step) * (left - 1);
      if (step > until) return right + share(until, last, step) * (far - right);
      const place = columnAt(timeline, step);
      const between = place + 1 < timeline.length ? share(timeline[place], timeline[place + 1], step) : 0;
      return left + ((place + between) / (timeline.length - 1)) * (right - left);
    },
    stepAt(x, width) {
      const { left, right, far } = ends(width);
      if (single) return first + share(left, far, x) * (last - first);
      if (x < left) return head ? first + share(1, left, x) * (from - first) : from;
      if (x > right) return tail ? until + share(right, far, x) * (last - until) : until;
      const place = share(left, right, x) * (timeline.length - 1);
      const column = Math.min(Math.floor(place), timeline.length - 2);
      return timeline[column] + (place - column) * (timeline[column + 1] - timeline[column]);
    },
    edges(width) {
      const { left, right } = ends(width);
      return [...(head ? [Math.round(left) + 0.5] : []), ...(tail ? [Math.round(right) + 0.5] : [])];
    },
  };
}

/** @param {number} share */
function room(share) {
  return share > 0 ? Math.max(LEAST, Math.min(MOST, share)) : 0;
}
