/**
 * A network of one's own with some of its switches on: measured for none, for one, and for all up to one; estimated for others.
 * @module
 */

/**
 * Mean, std, largest magnitude, std of the gradient, and whether every element is finite; null where it was not measured.
 * @typedef {[number | null, number | null, number | null, number | null, boolean] | null} Row
 */

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
 * @property {{name: string, kind: string, switch: number, beside: boolean}[]} layers beside: within a residual branch
 * @property {Switch[]} switches
 * @property {{base: Row[], single: Row[][], first: Row[][]}} moments by the last switch that is on
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
  const { base, single, first } = network.moments;
  const order = [...on].sort((a, b) => a - b);
  const last = order[order.length - 1];
  const known = order.length === 0 ? base : order.length === 1 ? single[last] : last === order.length - 1 ? first[last] : null;
  if (known) return { rows: known.map(shown), measured: true };
  // What a switch does beside one that is on already was measured after all before it, what it does alone by itself.
  const steps = order.map((k) => (on.has(k - 1) ? [first[k - 1], first[k]] : [base, single[k]]));
  const rows = base.map((row, i) => estimated(row, steps.map(([before, after]) => [before[i], after[i]])));
  return { rows, measured: false };
}

/**
 * The logarithms add up: a layer of another gain changes all that comes after by its factor.
 * @param {Row} base @param {Row[][]} steps before and after each switch
 * @returns {Shown}
 */
function estimated(base, steps) {
  const std = product(base, steps, 1);
  const before = base?.[1] ?? 0;
  return {
    // The mean moves with the size; where there was none, with that of the last switch.
    mean: before > 0 ? ((base?.[0] ?? NaN) * std) / before : (steps[steps.length - 1][1]?.[0] ?? NaN),
    std,
    variance: std ** 2,
    largest: product(base, steps, 2),
    gradient: product(base, steps, 3),
    finite: std === std && std < Infinity,
  };
}

/**
 * @param {Row} base @param {Row[][]} steps @param {1 | 2 | 3} of
 */
function product(base, steps, of) {
  let value = usable(base, of);
  for (const [before, after] of steps) {
    const from = usable(before, of);
    // What is 0 or infinite has no logarithm to add to: what was measured with the switch on stands in.
    value = value > 0 && from > 0 ? (value * usable(after, of)) / from : usable(after, of);
  }
  return value;
}

/** @param {Row} row @param {1 | 2 | 3} of */
function usable(row, of) {
  return row && row[4] ? (row[of] ?? NaN) : NaN;
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
