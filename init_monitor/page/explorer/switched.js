/**
 * A network of one's own with some of its switches on: measured for none, for one, and for all up to one; estimated for others.
 * @module
 */

import { propagated } from "./propagated.js";

/**
 * Mean, std, largest magnitude, std of the gradient, and whether every element is finite; null where it was not measured.
 * @typedef {[number | null, number | null, number | null, number | null, boolean] | null} Row
 */

/** @typedef {import("./propagated.js").Anchor["sums"]} Sums */

/**
 * @typedef {object} Switch
 * @property {string[]} layers
 * @property {string} recipe
 * @property {string} reason
 * @property {number | null} current Var(W) now
 * @property {number | null} target
 * @property {{names: string[], comment: string, statements: string[]}[]} code
 */

/**
 * @typedef {object} Network
 * @property {string} name
 * @property {string[]} header
 * @property {(import("./graph.js").LayerFacts & {switch: number, beside: boolean})[]} layers beside: within a residual branch
 * @property {import("./graph.js").AdditionFacts[]} additions
 * @property {Switch[]} switches
 * @property {{base: Row[], single: Row[][], first: Row[][]}} moments by the last switch that is on
 * @property {{base: Sums, single: Sums[], first: Sums[]}} sums the same of the additions
 * @property {string} [where] it was measured, in words
 * @property {string[]} [left] modules that no recipe is known for
 */

/**
 * @typedef {import("./moments.js").Moments & {gradient: number}} Shown
 */

/**
 * Every layer with these switches on.
 * @param {Network} network
 * @param {Set<number>} on
 * @returns {{rows: Shown[], measured: boolean}}
 */
export function switchedRows(network, on) {
  const order = [...on].sort((a, b) => a - b);
  const anchor = anchorOf(network, order);
  if (anchor.on.size === on.size) return { rows: anchor.rows.map(shown), measured: true };
  const fresh = new Set(order.filter((k) => !anchor.on.has(k)));
  return { rows: propagated(network.layers, network.additions, anchor, fresh), measured: false };
}

/**
 * The measurement that is nearest: with the first switches on as far as all of them are, with one, or with none.
 * @param {Network} network @param {number[]} order the switches that are on
 * @returns {import("./propagated.js").Anchor}
 */
function anchorOf({ moments, sums }, order) {
  let last = 0;
  while (last < order.length && order[last] === last) last += 1;
  if (last && moments.first[last - 1]) return { rows: moments.first[last - 1], sums: sums.first[last - 1], on: new Set(order.slice(0, last)) };
  const [only] = order;
  if (order.length === 1 && moments.single[only]) return { rows: moments.single[only], sums: sums.single[only], on: new Set(order) };
  return { rows: moments.base, sums: sums.base, on: new Set() };
}

/**
 * @param {Row} row
 * @returns {Shown}
 */
function shown(row) {
  if (!row) return { mean: NaN, std: NaN, variance: NaN, largest: NaN, gradient: NaN, finite: true };
  const [mean, std, largest, gradient, finite] = row.map((one) => one ?? NaN);
  const size = Number(std);
  return {
    mean: Number(mean),
    std: size,
    variance: size ** 2,
    largest: finite ? Number(largest) : Infinity,
    gradient: Number(gradient),
    finite: Boolean(finite),
  };
}

/**
 * The function that does what is switched on; layers with the same statements share a loop.
 * @param {Network} network @param {Set<number>} on
 */
export function switchedCode(network, on) {
  /** @type {Map<string, {names: string[], comment: string, statements: string[]}>} */
  const groups = new Map();
  network.switches.forEach((one, k) => {
    if (!on.has(k)) return;
    for (const { names, comment, statements } of one.code) {
      const key = statements.join("\n");
      const known = groups.get(key);
      if (known) known.names.push(...names);
      else groups.set(key, { names: [...names], comment, statements });
    }
  });
  const lines = [...groups.values()].flatMap(({ names, comment, statements }) => [
    `    # ${comment}`,
    `    for name in [${names.map((name) => JSON.stringify(name)).join(", ")}]:`,
    "        layer = model.get_submodule(name)",
    ...statements.map((line) => `        ${line}`),
  ]);
  return [...network.header, ...(lines.length ? lines : ["    # Nothing is switched on.", "    return"])].join("\n");
}

/**
 * Which switches a link says are on.
 * @param {string} text numbers with dots between, or "all"
 * @param {number} count
 */
export function switchesOf(text, count) {
  if (text === "all") return new Set(Array.from({ length: count }, (_, k) => k));
  return new Set(text.split(".").filter((one) => /^\d+$/.test(one) && Number(one) < count).map(Number));
}

/** @param {Set<number>} on @param {number} count */
export function switchesText(on, count) {
  return on.size === count && count > 0 ? "all" : [...on].sort((a, b) => a - b).join(".");
}
