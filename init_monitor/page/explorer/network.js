/**
 * A network that is really computed: forward with standard normal inputs, backward with standard normal gradients.
 *
 * Without a residual form: `depth` weight layers, each followed by the activation. With one: `depth` blocks whose branch is
 * activation, weights, activation, weights (He et al. 2016, "Identity mappings"), so that with He's weights Var(F(x)) ≈ Var(x).
 * @module
 */

import { ACTIVATIONS } from "./activations.js";
import { backwardLinear, forwardLinear } from "./linear.js";
import { momentsOf, signShares } from "./moments.js";
import { randomOf } from "./random.js";
import { drawn } from "./recipes.js";
import { FORMS } from "./residual.js";

/**
 * @typedef {object} Size
 * @property {number} depth
 * @property {number} samples
 * @property {string} res key of FORMS
 * @property {number} seed
 * @property {(k: number) => [number, number]} fans of the k-th weight layer (of a branch, its first and its second)
 */

/** @typedef {import("./recipes.js").Recipe & Size} Setting */

/**
 * What a layer (or a block) shows. `out` is what the next one takes: after the activation, or the sum.
 * @typedef {object} Tap
 * @property {import("./moments.js").Moments} pre output of the weights, or the sum
 * @property {import("./moments.js").Moments} out
 * @property {number} dead share of units that no sample switches on
 * @property {number} linear share of units that are on the same side of 0 for every sample
 */

/**
 * @typedef {object} Measured
 * @property {import("./moments.js").Moments} input
 * @property {Tap[]} taps complete up to the layer that is computed
 * @property {import("./moments.js").Moments[]} gradients from the last layer back: index as in taps, filled from the end
 */

/**
 * Widths: all alike, or every other twice as wide, which is where fan_in and fan_out differ.
 * @param {number} width @param {string} shape
 * @returns {(k: number) => [number, number]}
 */
export function fansOf(width, shape) {
  if (shape !== "alternate") return () => [width, width];
  return (k) => (k % 2 ? [width, 2 * width] : [2 * width, width]);
}

/**
 * Compute it, a few milliseconds between two breaks; what is done so far is in `measured`.
 * @param {Setting} set
 * @param {Measured} measured
 * @returns {Generator<void, void, void>}
 */
export function* computed(set, measured) {
  const random = randomOf(set.seed);
  const rows = set.samples;
  const x = new Float32Array(rows * set.fans(1)[0]);
  for (let i = 0; i < x.length; i += 1) x[i] = random.normal();
  measured.input = momentsOf(x);
  if (FORMS[set.res]) yield* blocks(set, measured, random, x);
  else yield* layers(set, measured, random, x);
}

/**
 * @param {Setting} set @param {Measured} measured @param {import("./random.js").Random} random @param {Float32Array} input
 * @returns {Generator<void, void, void>}
 */
function* layers(set, measured, random, input) {
  const kept = [];
  let x = /** @type {Float32Array} */ (input);
  for (let k = 1; k <= set.depth; k += 1) {
    const [fanIn, fanOut] = set.fans(k);
    const weights = yield* drawn(set, fanOut, fanIn, random);
    const pre = yield* forwardLinear(x, weights, set.samples, fanIn, fanOut);
    x = activated(set.act, pre);
    measured.taps.push({ pre: momentsOf(pre), out: momentsOf(x), ...signShares(pre, fanOut) });
    kept.push({ weights, pre });
    yield;
  }
  let g = noise(random, x.length);
  for (let k = set.depth; k >= 1; k -= 1) {
    const [fanIn, fanOut] = set.fans(k);
    measured.gradients[k - 1] = momentsOf(g);
    if (k > 1) g = sloped(set.act, yield* backwardLinear(g, kept[k - 1].weights, set.samples, fanIn, fanOut), kept[k - 2].pre);
    yield;
  }
}

/**
 * @param {Setting} set @param {Measured} measured @param {import("./random.js").Random} random @param {Float32Array} input
 * @returns {Generator<void, void, void>}
 */
function* blocks(set, measured, random, input) {
  const form = /** @type {import("./residual.js").Form} */ (FORMS[set.res]);
  const kept = [];
  const [[width, hidden]] = [set.fans(1)];
  let x = input;
  for (let k = 1; k <= set.depth; k += 1) {
    const factor = form.branch(k, set.depth);
    const { alpha, beta } = form.factors(k, set.depth);
    const normed = form.normed ? normalised(x, width) : { y: x, scales: new Float32Array() };
    const first = yield* drawn(set, hidden, width, random, factor);
    const middle = yield* forwardLinear(activated(set.act, normed.y), first, set.samples, width, hidden);
    const second = yield* drawn(set, width, hidden, random, form.zeroEnds ? 0 : factor);
    const branch = yield* forwardLinear(activated(set.act, middle), second, set.samples, hidden, width);
    const sum = new Float32Array(x.length);
    for (let i = 0; i < sum.length; i += 1) sum[i] = alpha * x[i] + beta * branch[i];
    kept.push({ x, normed, first, middle, second, alpha, beta });
    x = sum;
    const moments = momentsOf(sum);
    measured.taps.push({ pre: moments, out: moments, ...signShares(middle, hidden) });
    yield;
  }
  let g = noise(random, x.length);
  for (let k = set.depth; k >= 1; k -= 1) {
    measured.gradients[k - 1] = momentsOf(g);
    if (k === 1) break;
    const { normed, first, middle, second, alpha, beta } = kept[k - 1];
    const scaled = g.map((value) => beta * value);
    let back = sloped(set.act, yield* backwardLinear(scaled, second, set.samples, hidden, width), middle);
    back = sloped(set.act, yield* backwardLinear(back, first, set.samples, width, hidden), normed.y);
    if (form.normed) back = unnormalised(back, normed, width);
    const sum = new Float32Array(g.length);
    for (let i = 0; i < sum.length; i += 1) sum[i] = alpha * g[i] + back[i];
    g = sum;
    yield;
  }
}

/** @param {import("./random.js").Random} random @param {number} count @returns {Float32Array} */
function noise(random, count) {
  const made = new Float32Array(count);
  for (let i = 0; i < count; i += 1) made[i] = random.normal();
  return made;
}

/** @param {string} id @param {Float32Array} pre @returns {Float32Array} */
function activated(id, pre) {
  return pre.map(ACTIVATIONS[id].value);
}

/** @param {string} id @param {Float32Array} g @param {Float32Array} pre */
function sloped(id, g, pre) {
  const { slope } = ACTIVATIONS[id];
  for (let i = 0; i < g.length; i += 1) g[i] *= slope(pre[i]);
  return g;
}

/**
 * Every sample to mean 0 and variance 1 over its units, as nn.LayerNorm does.
 * @param {Float32Array} x @param {number} units
 */
function normalised(x, units) {
  const y = new Float32Array(x.length);
  const scales = new Float32Array(x.length / units);
  for (let r = 0; r < scales.length; r += 1) {
    const { mean, variance } = momentsOf(x.subarray(r * units, (r + 1) * units));
    scales[r] = 1 / Math.sqrt(variance + 1e-5);
    for (let i = r * units; i < (r + 1) * units; i += 1) y[i] = (x[i] - mean) * scales[r];
  }
  return { y, scales };
}

/**
 * The gradient before the norm: without what would move the mean or the size, which the norm takes out.
 * @param {Float32Array} g @param {{y: Float32Array, scales: Float32Array}} normed @param {number} units
 */
function unnormalised(g, { y, scales }, units) {
  const result = new Float32Array(g.length);
  for (let r = 0; r < scales.length; r += 1) {
    let mean = 0;
    let along = 0;
    for (let i = r * units; i < (r + 1) * units; i += 1) {
      mean += g[i] / units;
      along += (g[i] * y[i]) / units;
    }
    for (let i = r * units; i < (r + 1) * units; i += 1) result[i] = scales[r] * (g[i] - mean - along * y[i]);
  }
  return result;
}
