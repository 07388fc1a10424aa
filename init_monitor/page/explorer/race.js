/**
 * One classifier of handwritten digits per recipe, trained side by side on the same batches: forward, backward, SGD.
 * @module
 */

import { forwardLinear, backwardLinear } from "./linear.js";
import { randomOf } from "./random.js";
import { drawn } from "./recipes.js";

export const PIXELS = 64;
export const CLASSES = 10;
const UNITS = 64;
const BATCH = 64;
const TESTED = 200;
/** Grey values of the 1,797 digits have this mean and standard deviation. */
const GREY_MEAN = 4.88;
const GREY_STD = 6.02;

/**
 * @typedef {object} Digits
 * @property {Float32Array} pixels [samples, 64], standardised
 * @property {Uint8Array} labels
 */

/**
 * A letter per grey value from "a" (0) to "q" (16), a digit before each picture.
 * @param {string} text
 * @returns {Digits}
 */
export function digitsOf(text) {
  const count = Math.floor(text.length / (PIXELS + 1));
  const pixels = new Float32Array(count * PIXELS);
  const labels = new Uint8Array(count);
  for (let n = 0; n < count; n += 1) {
    const start = n * (PIXELS + 1);
    labels[n] = Number(text[start]);
    for (let i = 0; i < PIXELS; i += 1) {
      pixels[n * PIXELS + i] = (text.charCodeAt(start + 1 + i) - 97 - GREY_MEAN) / GREY_STD;
    }
  }
  return { pixels, labels };
}

/**
 * @typedef {object} Runner
 * @property {string} title
 * @property {import("./recipes.js").Recipe} recipe
 * @property {number[]} losses one per step; infinite where it is no number
 * @property {number} accuracy on digits it has not seen, NaN before the end
 */

/**
 * Train all of them for some steps; the runners' losses grow meanwhile.
 * @param {Runner[]} runners
 * @param {Digits} digits
 * @param {{hidden: number, rate: number, steps: number, seed: number}} how
 * @returns {Generator<void, void, void>}
 */
export function* race(runners, digits, { hidden, rate, steps, seed }) {
  const sizes = [PIXELS, ...new Array(hidden).fill(UNITS), CLASSES];
  const nets = [];
  for (const [k, runner] of runners.entries()) {
    const random = randomOf(seed + 1000 * k);
    const weights = [];
    for (let l = 1; l < sizes.length; l += 1) weights.push(yield* drawn(runner.recipe, sizes[l], sizes[l - 1], random));
    nets.push({ weights, biases: sizes.slice(1).map((size) => new Float32Array(size)) });
  }
  const order = randomOf(seed);
  const known = digits.labels.length - TESTED;
  for (let step = 0; step < steps; step += 1) {
    const batch = Array.from({ length: BATCH }, () => Math.floor(order.uniform() * known));
    for (const [k, runner] of runners.entries()) {
      if (runner.losses.length && !Number.isFinite(runner.losses[runner.losses.length - 1])) continue;
      runner.losses.push(yield* step_(nets[k], sizes, digits, batch, rate));
    }
  }
  const unseen = Array.from({ length: TESTED }, (_, i) => known + i);
  for (const [k, runner] of runners.entries()) {
    const { logits } = yield* passed(nets[k], sizes, digits, unseen);
    runner.accuracy = unseen.filter((n, r) => highest(logits, r) === digits.labels[n]).length / TESTED;
    yield;
  }
}

/** @typedef {{weights: Float32Array[], biases: Float32Array[]}} Net */

/**
 * @param {Net} net @param {number[]} sizes @param {Digits} digits @param {number[]} batch
 * @returns {Generator<void, {logits: Float32Array, inputs: Float32Array[]}, void>}
 */
function* passed(net, sizes, digits, batch) {
  let x = /** @type {Float32Array} */ (new Float32Array(batch.length * PIXELS));
  batch.forEach((n, r) => x.set(digits.pixels.subarray(n * PIXELS, (n + 1) * PIXELS), r * PIXELS));
  const inputs = [];
  for (let l = 1; l < sizes.length; l += 1) {
    inputs.push(x);
    const y = yield* forwardLinear(x, net.weights[l - 1], batch.length, sizes[l - 1], sizes[l]);
    const last = l === sizes.length - 1;
    for (let i = 0; i < y.length; i += 1) {
      const value = y[i] + net.biases[l - 1][i % sizes[l]];
      y[i] = last || value > 0 || value !== value ? value : 0;
    }
    x = y;
  }
  return { logits: x, inputs };
}

/**
 * One step of SGD; returns the loss before it.
 * @param {Net} net @param {number[]} sizes @param {Digits} digits @param {number[]} batch @param {number} rate
 * @returns {Generator<void, number, void>}
 */
function* step_(net, sizes, digits, batch, rate) {
  const { logits, inputs } = yield* passed(net, sizes, digits, batch);
  let loss = 0;
  let g = /** @type {Float32Array} */ (new Float32Array(logits.length));
  for (let r = 0; r < batch.length; r += 1) {
    const row = logits.subarray(r * CLASSES, (r + 1) * CLASSES);
    const top = Math.max(...row);
    let sum = 0;
    for (const value of row) sum += Math.exp(value - top);
    const label = digits.labels[batch[r]];
    loss += (top + Math.log(sum) - row[label]) / batch.length;
    for (let c = 0; c < CLASSES; c += 1) {
      g[r * CLASSES + c] = (Math.exp(row[c] - top) / sum - (c === label ? 1 : 0)) / batch.length;
    }
  }
  for (let l = sizes.length - 1; l >= 1; l -= 1) {
    const x = inputs[l - 1];
    const back = l > 1 ? yield* backwardLinear(g, net.weights[l - 1], batch.length, sizes[l - 1], sizes[l]) : g;
    descended(net, l - 1, g, x, batch.length, sizes[l - 1], sizes[l], rate);
    if (l > 1) for (let i = 0; i < back.length; i += 1) if (x[i] <= 0) back[i] = 0;
    g = back;
  }
  yield;
  return loss === loss ? loss : Infinity;
}

/**
 * W −= rate · gᵀ x, b −= rate · Σ g.
 * @param {Net} net @param {number} l @param {Float32Array} g @param {Float32Array} x
 * @param {number} rows @param {number} fanIn @param {number} fanOut @param {number} rate
 */
function descended(net, l, g, x, rows, fanIn, fanOut, rate) {
  const weights = net.weights[l];
  const biases = net.biases[l];
  const sums = new Float64Array(fanIn);
  for (let o = 0; o < fanOut; o += 1) {
    sums.fill(0);
    let bias = 0;
    for (let r = 0; r < rows; r += 1) {
      const factor = g[r * fanOut + o];
      if (factor === 0) continue;
      bias += factor;
      for (let i = 0; i < fanIn; i += 1) sums[i] += factor * x[r * fanIn + i];
    }
    biases[o] -= rate * bias;
    for (let i = 0; i < fanIn; i += 1) weights[o * fanIn + i] -= rate * sums[i];
  }
}

/** @param {Float32Array} logits @param {number} row */
function highest(logits, row) {
  let best = 0;
  for (let c = 1; c < CLASSES; c += 1) if (logits[row * CLASSES + c] > logits[row * CLASSES + best]) best = c;
  return best;
}
