/**
 * What an activation makes of a normal number: mean, variance, and the mean square of its slope.
 * @module
 */

import { ACTIVATIONS } from "./activations.js";

const SELU = [1.0507009873554805, 1.6732632423543772];
const LEAKY = 0.01;

/** @param {number} low @param {number} high */
const clamped = (low, high) => (/** @type {number} */ x) => Math.min(high, Math.max(low, x));
const logistic = ACTIVATIONS.sigmoid.value;
/** @param {number} x */
const softplus = (x) => (x > 30 ? x : Math.log1p(Math.exp(x)));

/** By the name in torch.nn, in small letters without underscores. @type {Record<string, (x: number, slope: number) => number>} */
const VALUES = {
  relu: (x) => Math.max(0, x),
  relu6: clamped(0, 6),
  leakyrelu: (x, slope) => (x > 0 ? x : slope * x),
  prelu: (x, slope) => (x > 0 ? x : slope * x),
  rrelu: (x, slope) => (x > 0 ? x : slope * x),
  tanh: Math.tanh,
  hardtanh: clamped(-1, 1),
  sigmoid: logistic,
  hardsigmoid: (x) => clamped(0, 1)(x / 6 + 0.5),
  gelu: ACTIVATIONS.gelu.value,
  silu: (x) => x * logistic(x),
  swish: (x) => x * logistic(x),
  hardswish: (x) => x * clamped(0, 1)(x / 6 + 0.5),
  mish: (x) => x * Math.tanh(softplus(x)),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  celu: (x) => (x > 0 ? x : Math.expm1(x)),
  selu: (x) => SELU[0] * (x > 0 ? x : SELU[1] * Math.expm1(x)),
  softplus,
  softsign: (x) => x / (1 + Math.abs(x)),
};

const POINTS = 240;
const REACH = 7;
/** Between the two values that a slope is taken from. */
const NEAR = 1e-4;

/** Normal weights, which sum to 1. */
const GRID = Array.from({ length: POINTS + 1 }, (_, i) => -REACH + (2 * REACH * i) / POINTS);
const WEIGHTS = GRID.map((z) => Math.exp((-z * z) / 2));
const TOTAL = WEIGHTS.reduce((sum, one) => sum + one, 0);

/**
 * @param {string} kind class or function of the activation
 * @param {number | null} slope below zero
 * @param {number} mean @param {number} variance of what it gets
 * @returns {{mean: number, variance: number, slopes: number} | null} null for one that is not known
 */
export function passed(kind, slope, mean, variance) {
  const value = VALUES[kind.toLowerCase().replaceAll("_", "").split("#")[0]];
  if (!value || !(variance >= 0) || !Number.isFinite(variance + mean)) return null;
  const spread = Math.sqrt(variance);
  const below = slope ?? LEAKY;
  let [first, second, slopes] = [0, 0, 0];
  GRID.forEach((z, i) => {
    const x = mean + spread * z;
    const weight = WEIGHTS[i] / TOTAL;
    const y = value(x, below);
    const step = NEAR * Math.max(1e-30, spread);
    const rise = (value(x + step, below) - value(x - step, below)) / (2 * step);
    first += weight * y;
    second += weight * y * y;
    slopes += weight * rise * rise;
  });
  return { mean: first, variance: Math.max(0, second - first * first), slopes };
}
