/**
 * The median, as numpy has it: of an even number of values, the mean of the two in the middle.
 * @module
 */

/** @param {ArrayLike<number>} values without NaN @returns {number} NaN of none */
export function median(values) {
  const sorted = Array.from(values).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (!sorted.length) return NaN;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
