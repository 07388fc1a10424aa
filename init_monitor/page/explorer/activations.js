/**
 * What lies between the weight layers: its value, its slope, and the gain that torch.nn.init gives it.
 * @module
 */

/**
 * @typedef {object} Activation
 * @property {string} title as in torch.nn
 * @property {(x: number) => number} value
 * @property {(x: number) => number} slope
 * @property {number} gain of torch.nn.init.calculate_gain; 1 where that knows none
 * @property {boolean} rectifies it is flat below 0, so that a unit can be dead
 */

const LEAK = 0.1;

/** @param {number} x */
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** @param {number} x */
const normalDensity = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);

/**
 * The share of a standard normal below x: Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
 * @param {number} x
 */
function normalShare(x) {
  const size = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * size);
  const tail =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const share = 1 - tail * Math.exp(-size * size);
  return x < 0 ? (1 - share) / 2 : (1 + share) / 2;
}

/** @type {Record<string, Activation>} */
export const ACTIVATIONS = {
  relu: {
    title: "ReLU",
    value: (x) => (x > 0 ? x : x === x ? 0 : x),
    slope: (x) => (x > 0 ? 1 : 0),
    gain: Math.SQRT2,
    rectifies: true,
  },
  leaky_relu: {
    title: "LeakyReLU(0.1)",
    value: (x) => (x > 0 ? x : LEAK * x),
    slope: (x) => (x > 0 ? 1 : LEAK),
    gain: Math.sqrt(2 / (1 + LEAK * LEAK)),
    rectifies: false,
  },
  tanh: { title: "Tanh", value: Math.tanh, slope: (x) => 1 - Math.tanh(x) ** 2, gain: 5 / 3, rectifies: false },
  sigmoid: {
    title: "Sigmoid",
    value: sigmoid,
    slope: (x) => sigmoid(x) * (1 - sigmoid(x)),
    gain: 1,
    rectifies: false,
  },
  gelu: {
    title: "GELU",
    value: (x) => x * normalShare(x),
    slope: (x) => normalShare(x) + x * normalDensity(x),
    gain: 1,
    rectifies: false,
  },
  identity: { title: "none (linear)", value: (x) => x, slope: () => 1, gain: 1, rectifies: false },
};

const POINTS = 400;
const REACH = 9;

/**
 * The mean over a normal number of mean 0: by the trapezoidal rule, which is exact to rounding for smooth functions here.
 * @param {(x: number) => number} of
 * @param {number} variance
 */
export function gaussianMean(of, variance) {
  const spread = Math.sqrt(variance);
  if (!Number.isFinite(spread)) return NaN;
  let sum = 0;
  let weights = 0;
  for (let i = 0; i <= POINTS; i += 1) {
    const z = -REACH + (2 * REACH * i) / POINTS;
    const weight = normalDensity(z);
    sum += weight * of(spread * z);
    weights += weight;
  }
  return sum / weights;
}

/**
 * E[φ(h)²] for a normal h of mean 0. Without a scale of its own an activation passes a share that does not depend on h.
 * @param {string} id @param {number} variance of h
 */
export function passedSquare(id, variance) {
  const act = ACTIVATIONS[id];
  if (isHomogeneous(id)) return variance * ((act.value(1) ** 2 + act.value(-1) ** 2) / 2);
  return gaussianMean((x) => act.value(x) ** 2, variance);
}

/**
 * E[φ'(h)²] for the same.
 * @param {string} id @param {number} variance
 */
export function passedSlope(id, variance) {
  const act = ACTIVATIONS[id];
  if (isHomogeneous(id)) return (act.slope(1) ** 2 + act.slope(-1) ** 2) / 2;
  return gaussianMean((x) => act.slope(x) ** 2, variance);
}

/** @param {string} id */
function isHomogeneous(id) {
  return id === "relu" || id === "leaky_relu" || id === "identity";
}
