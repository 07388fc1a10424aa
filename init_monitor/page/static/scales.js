/**
 * From values to positions and back to round numbers.
 * @module
 */

import { formatNumber, formatShare, power } from "./format.js";

/**
 * @typedef {object} Scale
 * @property {boolean} log
 * @property {number} low in the unit of positions: a logarithm if `log`
 * @property {number} high
 * @property {number} zero share of the axis, at its low end, that is kept for exact zeros; 0 if there are none
 * @property {(value: number) => number} at share of the way from low to high, 0 to 1; NaN for NaN
 * @property {{share: number, label: string}[]} ticks
 */

const LEAST_DECADES = 2;
/** Share of a logarithmic axis that exact zeros get. */
const ZERO_ROOM = 0.12;

/** A loss that falls further than this, as a ratio, is a flat line at the bottom of a linear scale. */
export const LOG_FROM = 100;

/**
 * Whole powers of ten around the values.
 * @param {number} low smallest positive value
 * @param {number} high largest finite value
 * @param {number} most ticks
 * @param {{decades?: number, centre?: number | null, zero?: boolean}} [wanted] least powers of ten; a value that lies
 *   in the middle; whether there are exact zeros, which have no logarithm
 * @returns {Scale}
 */
export function logScale(low, high, most, { decades = LEAST_DECADES, centre = null, zero = false } = {}) {
  let first = Number.isFinite(low) && low > 0 ? Math.floor(Math.log10(low) + 1e-9) : -1;
  let last = Number.isFinite(high) && high > 0 ? Math.ceil(Math.log10(high) - 1e-9) : 1;
  if (centre !== null) {
    const middle = Math.log10(centre);
    const reach = Math.max(Math.abs(first - middle), Math.abs(last - middle), decades / 2);
    first = middle - Math.ceil(reach);
    last = middle + Math.ceil(reach);
  } else {
    while (last - first < decades) {
      last += 1;
      if (last - first < decades) first -= 1;
    }
  }
  const room = zero ? ZERO_ROOM : 0;
  const stride = Math.max(1, Math.ceil((last - first) / Math.max(1, most * (1 - room))));
  const ticks = zero ? [{ share: 0, label: "0" }] : [];
  const anchor = centre === null ? 0 : Math.round(Math.log10(centre));
  for (let exponent = first; exponent <= last; exponent += 1) {
    if ((exponent - anchor) % stride !== 0) continue;
    ticks.push({ share: room + ((1 - room) * (exponent - first)) / (last - first), label: power(exponent) });
  }
  const span = last - first;
  return {
    log: true,
    low: first,
    high: last,
    zero: room,
    at: (value) => (value > 0 ? room + (1 - room) * clamp((Math.log10(value) - first) / span) : value <= 0 ? 0 : NaN),
    ticks,
  };
}

/**
 * @param {number} low
 * @param {number} high
 * @param {number} most ticks
 * @param {(value: number) => string} [label]
 * @returns {Scale}
 */
export function linearScale(low, high, most, label = formatNumber) {
  if (!(Number.isFinite(low) && Number.isFinite(high))) [low, high] = [0, 1];
  if (high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high), 1e-300)) {
    const around = Math.abs(high) || 1;
    [low, high] = [low - around / 2, high + around / 2];
  }
  const raw = (high - low) / Math.max(1, most);
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = size * ([1, 2, 2.5, 5, 10].find((one) => one * size >= raw) ?? 10);
  const first = Math.floor(low / step + 1e-9) * step;
  const last = Math.ceil(high / step - 1e-9) * step;
  const ticks = [];
  for (let i = 0; first + i * step <= last + step / 2; i += 1) {
    const value = first + i * step;
    ticks.push({ share: (i * step) / (last - first), label: label(Math.abs(value) < step * 1e-9 ? 0 : value) });
  }
  return { log: false, zero: 0, low: first, high: last, at: (value) => clamp((value - first) / (last - first)), ticks };
}

/**
 * From 0 to 1, in percent.
 * @param {number} most ticks
 */
export function shareScale(most) {
  return linearScale(0, 1, most, formatShare);
}

/** @param {number} share */
function clamp(share) {
  // NaN passes through.
  return share < 0 ? 0 : share > 1 ? 1 : share;
}

/**
 * Smallest positive, smallest and largest finite value, and whether there is an infinity or a zero.
 * @param {Iterable<number>} values
 */
export function extent(values) {
  let positive = Infinity;
  let low = Infinity;
  let high = -Infinity;
  let infinite = false;
  let any = false;
  let zero = false;
  for (const value of values) {
    if (value !== value) continue;
    any = true;
    if (value === Infinity || value === -Infinity) {
      infinite = true;
      continue;
    }
    if (value < low) low = value;
    if (value > high) high = value;
    if (value > 0 && value < positive) positive = value;
    else if (value === 0) zero = true;
  }
  return { positive, low, high, infinite, any, zero };
}

/**
 * The scale that suits a quantity.
 * @param {import("./quantities.js").Quantity} quantity
 * @param {"log" | "linear"} wanted
 * @param {ReturnType<typeof extent>} range
 * @param {number} most ticks
 * @param {{colour?: boolean}} [purpose] colours need a wide span, so that noise looks even
 * @returns {Scale}
 */
export function scaleOf(quantity, wanted, range, most, { colour = false } = {}) {
  if (quantity.form === "share") return shareScale(most);
  if (quantity.form === "log" && wanted === "log") {
    return logScale(
      range.positive,
      range.high,
      most,
      // As a colour, zero has one that lies on no scale.
      colour ? { decades: 6, centre: quantity.centre } : { zero: range.zero },
    );
  }
  let { low, high } = range;
  if (quantity.bounds) [low, high] = quantity.bounds;
  else if (quantity.form === "signed" && colour) {
    const reach = Math.max(Math.abs(low), Math.abs(high));
    [low, high] = [-reach, reach];
  } else if (quantity.form !== "signed") low = 0;
  if (quantity.form === "count" && high <= 0) high = 1;
  return linearScale(low, high, most);
}

/**
 * Indices to label: every n-th from the first on, and the last. No two of them are closer than `pitch`, except the
 * first and the last themselves.
 * @param {number} count
 * @param {number} room from the first to the last
 * @param {number} pitch least room per label
 */
export function spread(count, room, pitch) {
  if (count <= 2) return [0, 1].slice(0, count);
  const last = count - 1;
  const stride = Math.min(last, Math.max(1, Math.ceil((pitch * last) / Math.max(room, 1) - 1e-9)));
  const indices = [];
  // The last is always labelled; one too close before it is dropped.
  for (let i = 0; i <= last - stride; i += stride) indices.push(i);
  return [...indices, last];
}
