/**
 * What is measured of an activation or a gradient, as init_monitor measures it: variance with correction 0.
 * @module
 */

/**
 * @typedef {object} Moments
 * @property {number} mean
 * @property {number} variance
 * @property {number} std
 * @property {number} largest of the magnitudes; infinite if an element is
 * @property {boolean} finite every element is
 */

/**
 * @param {Float32Array} values
 * @returns {Moments}
 */
export function momentsOf(values) {
  let sum = 0;
  let largest = 0;
  let finite = true;
  for (let i = 0; i < values.length; i += 1) {
    const size = Math.abs(values[i]);
    if (!(size < Infinity)) finite = false;
    if (size > largest) largest = size;
    sum += values[i];
  }
  const mean = sum / values.length;
  // Around the mean: squares minus the square of the mean would cancel.
  let squares = 0;
  for (let i = 0; i < values.length; i += 1) squares += (values[i] - mean) ** 2;
  const variance = squares / values.length;
  if (!finite) return { mean: NaN, variance: NaN, std: NaN, largest: Infinity, finite };
  return { mean, variance, std: Math.sqrt(variance), largest, finite };
}

/**
 * Which shares of the units are negative, and positive, for every sample.
 * @param {Float32Array} values [rows, units] @param {number} units
 */
export function signShares(values, units) {
  let negative = 0;
  let positive = 0;
  for (let u = 0; u < units; u += 1) {
    let above = false;
    let below = false;
    for (let i = u; i < values.length && !(above && below); i += units) {
      if (values[i] > 0) above = true;
      else below = true;
    }
    if (!above) negative += 1;
    else if (!below) positive += 1;
  }
  return { dead: negative / units, linear: (negative + positive) / units };
}
