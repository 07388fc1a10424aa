/**
 * Matrix products on typed arrays, a few rows at a time, so that the page stays alive between.
 * @module
 */

/** Multiplications between two breaks: about three milliseconds. */
const SLICE = 1 << 20;

/**
 * y = x Wᵀ, with x [rows, fanIn] and W [fanOut, fanIn].
 * @param {Float32Array} x @param {Float32Array} weights @param {number} rows @param {number} fanIn @param {number} fanOut
 * @returns {Generator<void, Float32Array, void>}
 */
export function* forwardLinear(x, weights, rows, fanIn, fanOut) {
  const y = new Float32Array(rows * fanOut);
  let done = 0;
  for (let r = 0; r < rows; r += 1) {
    for (let o = 0; o < fanOut; o += 1) {
      // Four sums, which the processor adds side by side.
      let a = 0;
      let b = 0;
      let c = 0;
      let d = 0;
      let i = 0;
      const from = r * fanIn;
      const of = o * fanIn;
      for (; i + 3 < fanIn; i += 4) {
        a += x[from + i] * weights[of + i];
        b += x[from + i + 1] * weights[of + i + 1];
        c += x[from + i + 2] * weights[of + i + 2];
        d += x[from + i + 3] * weights[of + i + 3];
      }
      for (; i < fanIn; i += 1) a += x[from + i] * weights[of + i];
      y[r * fanOut + o] = a + b + (c + d);
    }
    done += fanIn * fanOut;
    if (done >= SLICE) {
      done = 0;
      yield;
    }
  }
  return y;
}

/**
 * The gradient of x: g W, with g [rows, fanOut].
 * @param {Float32Array} g @param {Float32Array} weights @param {number} rows @param {number} fanIn @param {number} fanOut
 * @returns {Generator<void, Float32Array, void>}
 */
export function* backwardLinear(g, weights, rows, fanIn, fanOut) {
  const result = new Float32Array(rows * fanIn);
  const sums = new Float64Array(fanIn);
  let done = 0;
  for (let r = 0; r < rows; r += 1) {
    sums.fill(0);
    for (let o = 0; o < fanOut; o += 1) {
      const factor = g[r * fanOut + o];
      if (factor === 0) continue;
      const of = o * fanIn;
      for (let i = 0; i < fanIn; i += 1) sums[i] += factor * weights[of + i];
    }
    result.set(sums, r * fanIn);
    done += fanIn * fanOut;
    if (done >= SLICE) {
      done = 0;
      yield;
    }
  }
  return result;
}
