/**
 * Initial weights: what each recipe draws, its variance, its bound, and its call in torch.nn.init. One table for every view.
 * @module
 */

import { ACTIVATIONS } from "./activations.js";

/**
 * What is set.
 * @typedef {object} Recipe
 * @property {string} init key of RECIPES
 * @property {"normal" | "uniform"} dist
 * @property {"fan_in" | "fan_out"} mode
 * @property {number} sigma of N(0, σ²)
 * @property {string} act key of ACTIVATIONS
 */

/**
 * @typedef {object} Facts
 * @property {string} title
 * @property {boolean} [dists] it comes normal and uniform
 * @property {boolean} [modes] it comes for fan_in and fan_out
 * @property {(given: Recipe, fanIn: number, fanOut: number) => number} variance of a weight
 * @property {(given: Recipe) => string} code a call of torch.nn.init with `weight`
 */

/** @param {Recipe} given */
const heName = (given) => (given.act === "leaky_relu" ? "nonlinearity='leaky_relu', a=0.1" : "nonlinearity='relu'");

/** @param {Recipe} given */
const heGain = (given) => (given.act === "leaky_relu" ? ACTIVATIONS.leaky_relu.gain : Math.SQRT2);

/** @type {Record<string, Facts>} */
export const RECIPES = {
  normal: {
    title: "N(0, σ²)",
    dists: true,
    variance: (given) => given.sigma ** 2,
    code: (given) =>
      given.dist === "normal"
        ? `nn.init.normal_(weight, std=${short(given.sigma)})`
        : `nn.init.uniform_(weight, -${short(given.sigma * Math.sqrt(3))}, ${short(given.sigma * Math.sqrt(3))})`,
  },
  xavier: {
    title: "Xavier (Glorot)",
    dists: true,
    variance: (_, fanIn, fanOut) => 2 / (fanIn + fanOut),
    code: (given) => `nn.init.xavier_${given.dist}_(weight)`,
  },
  he: {
    title: "He (Kaiming)",
    dists: true,
    modes: true,
    variance: (given, fanIn, fanOut) => heGain(given) ** 2 / (given.mode === "fan_in" ? fanIn : fanOut),
    code: (given) => `nn.init.kaiming_${given.dist}_(weight, mode='${given.mode}', ${heName(given)})`,
  },
  lecun: {
    title: "LeCun",
    dists: true,
    variance: (_, fanIn) => 1 / fanIn,
    code: (given) => `nn.init.kaiming_${given.dist}_(weight, nonlinearity='linear')`,
  },
  orthogonal: {
    title: "orthogonal",
    variance: (given, fanIn, fanOut) => ACTIVATIONS[given.act].gain ** 2 / Math.max(fanIn, fanOut),
    code: (given) => `nn.init.orthogonal_(weight, gain=${short(ACTIVATIONS[given.act].gain)})`,
  },
  torch: {
    title: "PyTorch's default",
    variance: (_, fanIn) => 1 / (3 * fanIn),
    code: () => "nn.init.kaiming_uniform_(weight, a=5**0.5)",
  },
  zeros: { title: "zeros", variance: () => 0, code: () => "nn.init.zeros_(weight)" },
};

/**
 * The form that a recipe has, whatever is set: the default draws uniform numbers, an orthogonal matrix neither.
 * @param {Recipe} given
 */
export function distOf(given) {
  if (RECIPES[given.init].dists) return given.dist;
  return given.init === "torch" ? "uniform" : given.init;
}

/**
 * @param {Recipe} given
 */
export function titleOf(given) {
  const facts = RECIPES[given.init];
  if (given.init === "normal") return given.dist === "normal" ? `N(0, ${short(given.sigma)}²)` : `U(±${short(given.sigma * Math.sqrt(3))})`;
  return [facts.title, facts.dists && given.dist, facts.modes && given.mode].filter(Boolean).join(", ");
}

/**
 * The largest weight of a uniform recipe; NaN of one without.
 * @param {Recipe} given @param {number} fanIn @param {number} fanOut
 */
export function boundOf(given, fanIn, fanOut) {
  return distOf(given) === "uniform" ? Math.sqrt(3 * RECIPES[given.init].variance(given, fanIn, fanOut)) : NaN;
}

/**
 * Draw a matrix of shape [fanOut, fanIn]; hands the time back now and then.
 * @param {Recipe} given @param {number} fanOut @param {number} fanIn
 * @param {import("./random.js").Random} random
 * @param {number} [factor] on the variance
 * @returns {Generator<void, Float32Array, void>}
 */
export function* drawn(given, fanOut, fanIn, random, factor = 1) {
  const weights = new Float32Array(fanOut * fanIn);
  const spread = Math.sqrt(RECIPES[given.init].variance(given, fanIn, fanOut) * factor);
  const dist = distOf(given);
  if (dist === "orthogonal") return yield* orthogonal(fanOut, fanIn, spread * Math.sqrt(Math.max(fanIn, fanOut)), random);
  const bound = spread * Math.sqrt(3);
  for (let o = 0; o < fanOut; o += 1) {
    for (let i = o * fanIn; i < (o + 1) * fanIn; i += 1) {
      weights[i] = dist === "uniform" ? bound * (2 * random.uniform() - 1) : spread * random.normal();
    }
    if (o % 16 === 15) yield;
  }
  return weights;
}

/**
 * Rows (or columns, where there are more rows) of unit length at right angles, times the gain: Gram and Schmidt's way, twice,
 * which is as exact as it gets (Giraud et al. 2005).
 * @param {number} fanOut @param {number} fanIn @param {number} gain @param {import("./random.js").Random} random
 * @returns {Generator<void, Float32Array, void>}
 */
function* orthogonal(fanOut, fanIn, gain, random) {
  const turned = fanOut > fanIn;
  const count = turned ? fanIn : fanOut;
  const length = turned ? fanOut : fanIn;
  const rows = new Float64Array(count * length);
  for (let r = 0; r < count; r += 1) {
    const row = rows.subarray(r * length, (r + 1) * length);
    for (let i = 0; i < length; i += 1) row[i] = random.normal();
    for (let pass = 0; pass < 2; pass += 1) {
      for (let before = 0; before < r; before += 1) {
        const other = rows.subarray(before * length, (before + 1) * length);
        let dot = 0;
        for (let i = 0; i < length; i += 1) dot += row[i] * other[i];
        for (let i = 0; i < length; i += 1) row[i] -= dot * other[i];
      }
    }
    let square = 0;
    for (let i = 0; i < length; i += 1) square += row[i] * row[i];
    const scale = 1 / Math.sqrt(square);
    for (let i = 0; i < length; i += 1) row[i] *= scale;
    if (r % 4 === 3) yield;
  }
  const weights = new Float32Array(fanOut * fanIn);
  for (let o = 0; o < fanOut; o += 1) {
    for (let i = 0; i < fanIn; i += 1) {
      weights[o * fanIn + i] = gain * (turned ? rows[i * length + o] : rows[o * length + i]);
    }
  }
  return weights;
}

/** @param {number} value */
export function short(value) {
  return String(Number(value.toPrecision(4)));
}
