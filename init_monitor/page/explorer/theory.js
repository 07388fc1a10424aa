/**
 * What theory says of the same network: He et al. 2015 layer by layer, and for blocks the sum of two uncorrelated parts.
 * @module
 */

import { passedSlope, passedSquare } from "./activations.js";
import { RECIPES } from "./recipes.js";
import { FORMS } from "./residual.js";

/**
 * @typedef {object} Expected
 * @property {number[]} forward variance of each layer's output (of the sum, where there are blocks)
 * @property {number[]} backward variance of its gradient, where that of the last one is 1
 */

/**
 * @param {import("./network.js").Setting} set
 * @returns {Expected}
 */
export function expected(set) {
  return FORMS[set.res] ? ofBlocks(set) : ofLayers(set);
}

/**
 * @param {import("./network.js").Setting} set
 * @returns {Expected}
 */
function ofLayers(set) {
  const forward = [];
  const terms = [];
  let square = 1;
  for (let k = 1; k <= set.depth; k += 1) {
    const [fanIn, fanOut] = set.fans(k);
    const variance = RECIPES[set.init].variance(set, fanIn, fanOut);
    forward.push(fanIn * variance * square);
    terms.push(fanOut * variance);
    square = passedSquare(set.act, forward[k - 1]);
  }
  const backward = new Array(set.depth).fill(1);
  for (let k = set.depth - 2; k >= 0; k -= 1) {
    backward[k] = backward[k + 1] * terms[k + 1] * passedSlope(set.act, forward[k]);
  }
  return { forward, backward };
}

/**
 * @param {import("./network.js").Setting} set
 * @returns {Expected}
 */
function ofBlocks(set) {
  const form = /** @type {import("./residual.js").Form} */ (FORMS[set.res]);
  const forward = [];
  /** @type {number[]} */
  const passed = [];
  let stream = 1;
  for (let k = 1; k <= set.depth; k += 1) {
    const { alpha, beta } = form.factors(k, set.depth);
    const [[inner, hidden], [back, outer]] = [set.fans(1), set.fans(2)];
    const factor = form.branch(k, set.depth);
    const first = RECIPES[set.init].variance(set, inner, hidden) * factor;
    const second = form.zeroEnds ? 0 : RECIPES[set.init].variance(set, back, outer) * factor;
    const given = form.normed ? 1 : stream;
    const middle = inner * first * passedSquare(set.act, given);
    const branch = back * second * passedSquare(set.act, middle);
    const slopes = passedSlope(set.act, given) * hidden * first * passedSlope(set.act, middle) * outer * second;
    passed.push(alpha ** 2 + beta ** 2 * (form.normed ? slopes / stream : slopes));
    stream = alpha ** 2 * stream + beta ** 2 * branch;
    forward.push(stream);
  }
  const backward = new Array(set.depth).fill(1);
  for (let k = set.depth - 2; k >= 0; k -= 1) backward[k] = backward[k + 1] * passed[k + 1];
  return { forward, backward };
}
