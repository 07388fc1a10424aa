/**
 * Random numbers that a seed decides, so that a link shows everyone the same network.
 * @module
 */

/**
 * @typedef {object} Random
 * @property {() => number} uniform in [0, 1)
 * @property {() => number} normal standard normal
 */

/**
 * Mulberry32 (32 bits of state: enough for pictures, not for anything else), and Box and Muller's normal numbers.
 * @param {number} seed
 * @returns {Random}
 */
export function randomOf(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  let kept = NaN;
  function uniform() {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 4294967296;
  }
  function normal() {
    if (kept === kept) {
      const value = kept;
      kept = NaN;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    kept = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
  return { uniform, normal };
}
