/**
 * Which part of the steps and of the layers is shown. Pure.
 *
 * A part is chosen for all pictures together, by the numbers of its first and last step and by the names of its first and
 * last layer, so that it fits into a link and means the same in each of them.
 * @module
 */

/** @typedef {[number, number]} Slice first index, and the one after the last */
/** @typedef {import("./types.js").State} State */

/** Columns or rows that are shown at least. */
const LEAST = 2;
/** How much a turn of the wheel or a key takes away, as a share of what is shown. */
export const CLOSER = 0.8;

/**
 * @param {number[]} steps ascending
 * @param {State} state
 * @returns {Slice} all of them, where the part holds none
 */
export function stepSlice(steps, { from, until }) {
  let first = 0;
  let end = steps.length;
  if (from !== null) while (first < end && steps[first] < from) first += 1;
  if (until !== null) while (end > first && steps[end - 1] > until) end -= 1;
  return first < end ? [first, end] : [0, steps.length];
}

/**
 * @param {import("./types.js").Entry[]} entries @param {string[]} names that they were made of
 * @param {number[] | null} bounds places of the first and of the last layer of the part
 * @param {(name: string) => number} place where a name lies in the network; −1 if that is not known
 * @returns {Slice} all of them, where the part holds none
 */
export function depthSlice(entries, names, bounds, place) {
  const [top, bottom] = bounds ?? [-1, -1];
  if (top < 0 || bottom < top) return [0, entries.length];
  /** @param {import("./types.js").Entry} entry */
  const within = (entry) =>
    entry.rows.some((row) => {
      const at = place(names[row]);
      return at >= top && at <= bottom;
    });
  let first = 0;
  let end = entries.length;
  while (first < end && !within(entries[first])) first += 1;
  while (end > first && !within(entries[end - 1])) end -= 1;
  return first < end ? [first, end] : [0, entries.length];
}

/**
 * The part that lies between two shares of what is shown now; shares beyond 0 and 1 widen or move it.
 * @param {number} count of all there is
 * @param {Slice} shown
 * @param {[number, number]} shares
 * @returns {Slice | null} null for all of it
 */
export function sliceAt(count, [first, end], [low, high]) {
  const span = end - first;
  const wide = Math.max(Math.min(LEAST, count), Math.min(count, Math.round((high - low) * span)));
  // One that is narrowed loses a column at least, one that is widened gains one.
  const size = high - low < 1 && wide === span && span > LEAST ? span - 1 : high - low > 1 && wide === span ? span + 1 : wide;
  if (size >= count) return null;
  const begin = Math.max(0, Math.min(count - size, Math.round(first + low * span)));
  return [begin, begin + size];
}

/**
 * Shares of a zoom about a place.
 * @param {number} about in [0, 1] @param {number} factor below 1 to come closer
 * @returns {[number, number]}
 */
export function around(about, factor) {
  return [about - about * factor, about + (1 - about) * factor];
}
