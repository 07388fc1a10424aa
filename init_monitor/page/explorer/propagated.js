/**
 * What switches that were not measured together make of a network: the recursion of the variances (He et al. 2015, Eq. 8
 * and 14), layer by layer from what was measured. Biases keep their share unless a recipe zeroes them, activations
 * pass what they make of a normal number, normalisations take the scale out, additions sum skip and branch.
 * @module
 */

import { placesOf } from "./graph.js";
import { passed } from "./passing.js";

/** @typedef {import("./graph.js").Place} Place */
/** @typedef {import("./graph.js").LayerFacts} LayerFacts */
/** @typedef {import("./graph.js").AdditionFacts} AdditionFacts */

/**
 * What was measured, with some switches on.
 * @typedef {object} Anchor
 * @property {import("./switched.js").Row[]} rows
 * @property {([number | null, number | null, number | null, number | null] | null)[]} sums per addition Var(branch)/Var(skip), Var(sum)/Var(skip),
 *   Var(sum), variance of its gradient
 * @property {Set<number>} on
 */

/**
 * What a place hands on: as measured, and as it would be.
 * @typedef {{mean: number, variance: number, then: {mean: number, variance: number}}} Flow
 */

const RECURRENT = /^(LSTM|GRU|RNN)(Cell)?$/;
/** Each output sums what it receives, times one row of the weight. */
const ROWS = /^(Linear|Conv[123]d)$/;
/** A scale that changes by less leaves what a recurrent layer makes of it as it is. */
const SAME = 0.05;
/** Below this share of the variance what the bias leaves over is not read off the measurement. */
const LEAST_SIGNAL = 0.1;
/** The variance over the units of a draw scatters by sqrt(2/units), of these by 25 %: of fewer it says little of another draw. */
const MANY_UNITS = 32;

/** Whatever comes from outside has, as far as is known, variance 1, and stays as it is. @type {Flow} */
const OUTSIDE = { mean: 0, variance: 1, then: { mean: 0, variance: 1 } };

/**
 * @param {LayerFacts[]} layers @param {AdditionFacts[]} additions
 * @param {Anchor} anchor
 * @param {Set<number>} fresh the switches that come in addition to those of the anchor
 * @returns {import("./switched.js").Shown[]} a row per layer; NaN where it cannot be told
 */
export function propagated(layers, additions, anchor, fresh) {
  const places = placesOf(layers, additions);
  /** @type {Map<string, Flow>} */
  const flows = new Map();
  const flowOf = (/** @type {string} */ name) => flows.get(name) ?? OUTSIDE;
  for (const place of places) {
    const given = place.reads.map(flowOf);
    flows.set(place.name, place.layer ? throughLayer(place.layer, anchor.rows[place.at], given, anchor, fresh) : throughSum(place, given, anchor));
  }
  const gradients = backward(places, flows, anchor, fresh);
  return layers.map((layer, i) => {
    const row = anchor.rows[i];
    const { then, variance: before } = /** @type {Flow} */ (flows.get(layer.name));
    const grown = Math.sqrt(then.variance / before);
    const std = row ? Math.sqrt(then.variance) : NaN;
    return {
      mean: row ? then.mean : NaN,
      std,
      variance: std ** 2,
      largest: before > 0 ? (row?.[2] ?? NaN) * grown : NaN,
      gradient: (row?.[3] ?? NaN) > 0 ? (row?.[3] ?? NaN) * Math.sqrt(gradients.factor.get(layer.name) ?? NaN) : Math.sqrt(gradients.absolute.get(layer.name) ?? NaN),
      finite: std < Infinity || std !== std,
    };
  });
}

/**
 * @param {LayerFacts} layer @param {import("./switched.js").Row} row @param {Flow[]} given @param {Anchor} anchor @param {Set<number>} fresh
 * @returns {Flow}
 */
function throughLayer(layer, row, given, anchor, fresh) {
  const [mean, std] = row ?? [0, 1];
  const variance = row && !row[4] ? NaN : (std ?? NaN) ** 2;
  const at = mean ?? 0;
  const sum = (/** @type {(one: Flow) => number} */ of) => given.reduce((total, one) => total + of(one), 0) / Math.max(1, given.length);
  const now = { variance: sum((one) => one.variance), mean: sum((one) => one.mean) };
  const then = { variance: sum((one) => one.then.variance), mean: sum((one) => one.then.mean) };
  const flow = (/** @type {number} */ spread, /** @type {number} */ middle) => ({ mean: at, variance, then: { mean: middle, variance: spread } });
  if (layer.role === "weight") {
    const known = given.every((one) => one !== OUTSIDE);
    const spread = mixed(layer, variance, now, then, { anchor, fresh, known });
    return flow(spread, variance > 0 ? at * Math.sqrt(spread / variance) : 0);
  }
  if (layer.role === "normalisation") {
    const act = layer.acts.find((one) => fresh.has(one.switch));
    if (act) return act.target === 0 ? flow(0, 0) : flow(1, 0);
    return then.variance === 0 ? flow(0, at) : flow(variance, at);
  }
  if (/softmax/i.test(layer.kind)) return flow(variance, at);
  const [before, after] = layer.role === "activation" ? [now, then].map((one) => passed(layer.kind, layer.slope, one.mean, one.variance)) : [null, null];
  if (before && after && before.variance > 0) return flow((variance * after.variance) / before.variance, at + after.mean - before.mean);
  const factor = now.variance > 0 ? then.variance / now.variance : 1;
  return flow(variance * factor, at * Math.sqrt(factor));
}

/**
 * The variance that a layer with weights makes.
 * @param {LayerFacts} layer @param {number} variance as measured
 * @param {{mean: number, variance: number}} now what it receives @param {{mean: number, variance: number}} then
 * @param {{anchor: Anchor, fresh: Set<number>, known: boolean}} from known: what it receives was measured
 */
function mixed(layer, variance, now, then, { anchor, fresh, known }) {
  const acts = layer.acts.filter((one) => fresh.has(one.switch));
  const zeroed = layer.acts.some((one) => anchor.on.has(one.switch) && one.zeroes);
  const bias = zeroed ? 0 : (layer.bias ?? 0);
  const kept = acts.some((one) => one.zeroes) ? 0 : bias;
  const centred = acts.some((one) => one.centred);
  const [square, later] = [now.variance + now.mean ** 2, then.variance + (centred ? 0 : then.mean ** 2)];
  const factor = square > 0 ? later / square : NaN;
  if (RECURRENT.test(layer.kind)) return acts.length || !(Math.abs(Math.log(factor)) < SAME) ? NaN : variance;
  const used = layer.acts.find((one) => anchor.on.has(one.switch));
  const weights = used ? used.target : (layer.acts[0]?.current ?? null);
  const expected = layer.forward_terms * (weights ?? NaN) * square;
  // What the bias adds is not multiplied; where little else is left, theory says how little.
  const measured = variance - bias;
  const signal = measured > LEAST_SIGNAL * variance || !(expected > 0) ? Math.max(0, measured) : Math.min(expected, variance);
  let ratio = 1;
  for (const act of acts) {
    if (act.target === null) continue;
    if (act.target > 0 && !((act.current ?? 0) > 0)) return layer.forward_terms * act.target * later + kept;
    ratio *= act.target / (act.current ?? NaN);
  }
  if (ratio === 0) return kept;
  const drawn = layer.forward_terms * (weights ?? NaN) * ratio * later + kept;
  if (known && acts.length && layer.backward_terms < MANY_UNITS && ROWS.test(layer.kind) && drawn > 0) return drawn;
  // What was 0 or not finite has no ratio: theory alone is left.
  if (!(signal > 0) || !(factor >= 0)) return drawn;
  return signal * ratio * factor + kept;
}

/**
 * Var(αx + F) = α²Var(x) + Var(F) + twice their covariance, which goes with both.
 * @param {Place} place @param {Flow[]} given skip and branch @param {Anchor} anchor
 * @returns {Flow}
 */
function throughSum(place, [skip, branch], anchor) {
  const [ratio, growth, sum] = anchor.sums[place.at] ?? [null, null, null];
  const scale = place.addition?.skip_scale ?? 1;
  const mean = skip.mean + branch.mean;
  const middle = skip.then.mean + branch.then.mean;
  const variance = sum ?? skip.variance * scale ** 2 + branch.variance;
  const along = skip.variance > 0 ? skip.then.variance / skip.variance : 1;
  if (ratio === null || growth === null || !(growth > 0)) {
    return { mean, variance, then: { mean: middle, variance: scale ** 2 * skip.then.variance + branch.then.variance } };
  }
  const added = branch.variance > 0 ? (ratio * branch.then.variance) / branch.variance : branch.then.variance / skip.variance;
  const shared = branch.variance > 0 ? (growth - scale ** 2 - ratio) * Math.sqrt((along * branch.then.variance) / branch.variance) : 0;
  return { mean, variance, then: { mean: middle, variance: (variance * Math.max(0, scale ** 2 * along + added + shared)) / growth } };
}

/**
 * By how much the variance of each gradient changes, from the last layer to the first.
 * @param {Place[]} places @param {Map<string, Flow>} flows @param {Anchor} anchor @param {Set<number>} fresh
 */
function backward(places, flows, anchor, fresh) {
  /** @type {Map<string, number>} */
  const factor = new Map();
  /** @type {Map<string, number>} */
  const absolute = new Map();
  const baseOf = (/** @type {Place} */ one) => (one.layer ? (anchor.rows[one.at]?.[3] ?? NaN) ** 2 : (anchor.sums[one.at]?.[3] ?? NaN));
  for (const place of [...places].reverse()) {
    const base = baseOf(place);
    if (!place.feeds.length) {
      factor.set(place.name, 1);
      absolute.set(place.name, base);
      continue;
    }
    const straight = place.feeds.find((one) => one.skip);
    const scale = straight?.to.addition?.skip_scale ?? 1;
    const direct = straight ? share((scale ** 2 * baseOf(straight.to)) / base) : 0;
    const others = place.feeds.filter((one) => one !== straight);
    let total = 0;
    let made = 0;
    for (const edge of place.feeds) {
      const part = edge === straight ? (others.length ? direct : 1) : (1 - direct) / others.length;
      const later = factor.get(edge.to.name) ?? 1;
      const { ratio, terms } = slopeThrough(edge.to, flows, place, fresh);
      const over = absolute.get(edge.to.name) ?? NaN;
      if (terms > 0) made += terms * over;
      else total += part * later * ratio;
    }
    factor.set(place.name, total + (made > 0 && base > 0 ? made / base : 0));
    absolute.set(place.name, base > 0 ? base * (factor.get(place.name) ?? NaN) : made);
  }
  return { factor, absolute };
}

/** @param {number} value */
const share = (value) => (value === value ? Math.min(1, Math.max(0, value)) : 0.5);

/**
 * By how much what a place hands back changes.
 * @param {Place} to @param {Map<string, Flow>} flows @param {Place} from @param {Set<number>} fresh
 * @returns {{ratio: number, terms: number}} terms: of weights that were zero, what they make of the gradient
 */
function slopeThrough({ layer }, flows, from, fresh) {
  if (!layer) return { ratio: 1, terms: 0 };
  const given = flows.get(from.name) ?? OUTSIDE;
  const acts = layer.acts.filter((one) => fresh.has(one.switch));
  if (layer.role === "normalisation") {
    if (acts.some((one) => one.target === 0)) return { ratio: 0, terms: 0 };
    return { ratio: given.then.variance > 0 ? given.variance / given.then.variance : 1, terms: 0 };
  }
  if (layer.role === "activation") {
    const [now, then] = [given, given.then].map((one) => passed(layer.kind, layer.slope, one.mean, one.variance));
    return { ratio: now && then && now.slopes > 0 ? then.slopes / now.slopes : 1, terms: 0 };
  }
  let ratio = 1;
  for (const act of acts) {
    if (RECURRENT.test(layer.kind)) return { ratio: NaN, terms: 0 };
    if (act.target === null) continue;
    if (act.target > 0 && !((act.current ?? 0) > 0)) return { ratio: 0, terms: layer.backward_terms * act.target };
    if (act.target === 0) return { ratio: 0, terms: 0 };
    ratio *= act.target / (act.current ?? NaN);
  }
  return { ratio, terms: 0 };
}
