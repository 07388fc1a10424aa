/**
 * Layers in fewer rows: those of a block share one until the block is opened. Pure, except for caches.
 * @module
 */

import { blockOf } from "./blocks.js";

/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./quantities.js").Quantity} Quantity */

/** Rows that are shown before blocks are folded by themselves: about as many names as fit beside a picture. */
const MOST_ROWS = 40;

/** What stands for every block in the list of the open ones. */
export const EVERY = "*";

/**
 * @param {string[]} names @param {Set<string>} blocks @param {string[] | null} open blocks that are open; null: all of
 *   them as long as the names are few
 * @returns {Entry[]}
 */
export function entriesOf(names, blocks, open) {
  /** @type {Map<string, number[]>} */
  const members = new Map();
  names.forEach((name, i) => {
    const block = blockOf(name, blocks);
    if (block) members.set(block, [...(members.get(block) ?? []), i]);
  });
  const wide = open === null && names.length <= MOST_ROWS;
  /** @type {Entry[]} */
  const entries = [];
  const begun = new Set();
  names.forEach((name, i) => {
    const block = blockOf(name, blocks);
    const rows = members.get(block) ?? [];
    if (rows.length < 2 || wide) {
      entries.push({ name, rows: [i], fold: "", inside: "" });
      return;
    }
    if (begun.has(block)) return;
    begun.add(block);
    const opened = !!open && (open.includes(EVERY) || open.includes(block));
    entries.push({ name: block, rows, fold: opened ? "open" : "folded", inside: "" });
    if (opened) entries.push(...rows.map((row) => ({ name: names[row], rows: [row], fold: /** @type {""} */ (""), inside: block })));
  });
  return entries;
}

/**
 * The row that shows a name: its own, or that of its block.
 * @param {Entry[]} entries @param {string[]} names that the entries were made of
 * @returns {(name: string) => string}
 */
export function shownAs(entries, names) {
  const known = new Map();
  for (const entry of entries) {
    if (entry.fold !== "folded") known.set(entry.name, entry.name);
    else for (const row of entry.rows) known.set(names[row], entry.name);
  }
  for (const entry of entries) if (entry.fold === "folded" && !known.has(entry.name)) known.set(entry.name, entry.name);
  return (name) => known.get(name) ?? name;
}

/**
 * Which of several numbers stands for a block: the one that is farthest from what is healthy, so that a single layer gone
 * wrong is seen; where that is not known, the middle one.
 * @param {Quantity} quantity
 * @returns {(values: number[]) => number} of numbers without NaN, at least one
 */
export function standsFor(quantity) {
  const { form, centre } = quantity;
  if (form === "log" && !centre) return middle;
  /** @type {(value: number) => number} */
  let distance = Math.abs;
  if (form === "log") {
    const level = Math.log(/** @type {number} */ (centre));
    distance = (value) => (value > 0 ? Math.abs(Math.log(value) - level) : Infinity);
  }
  return (values) => {
    let best = values[0];
    let far = distance(best);
    for (let i = 1; i < values.length; i += 1) {
      const here = distance(values[i]);
      if (here > far) [best, far] = [values[i], here];
    }
    return best;
  };
}

/**
 * The middle one; of an even number the smaller of the two, so that it is one that was measured.
 * @param {number[]} values at least one
 */
export function middle(values) {
  return [...values].sort((a, b) => a - b)[(values.length - 1) >> 1];
}

/**
 * @param {ArrayLike<number>} values one per name
 * @param {Entry} entry
 */
export function known(values, entry) {
  const numbers = [];
  for (const row of entry.rows) if (values[row] === values[row]) numbers.push(values[row]);
  return numbers;
}

/**
 * One number per entry, of a block the middle one, with the smallest and the largest within it.
 * @param {ArrayLike<number>} values one per name
 * @param {Entry[]} entries
 */
export function foldValues(values, entries) {
  const made = { values: new Float32Array(entries.length).fill(NaN), low: new Float32Array(0), high: new Float32Array(0) };
  made.low = made.values.slice();
  made.high = made.values.slice();
  entries.forEach((entry, i) => {
    const numbers = entry.rows.length === 1 ? [values[entry.rows[0]]] : known(values, entry);
    if (!numbers.length) return;
    made.values[i] = numbers.length === 1 ? numbers[0] : middle(numbers);
    if (entry.fold) {
      made.low[i] = Math.min(...numbers);
      made.high[i] = Math.max(...numbers);
    }
  });
  return made;
}

/** @type {WeakMap<Series, {rows: number[], entries: Entry[], id: string, folded: Series}>} */
const kept = new WeakMap();

/**
 * The same steps with a row per entry.
 * @param {Series} series @param {number[]} rows of it that the entries were made of @param {Entry[]} entries
 * @param {Quantity} quantity
 * @returns {Series}
 */
export function foldSeries(series, rows, entries, quantity) {
  const before = kept.get(series);
  if (before?.rows === rows && before.entries === entries && before.id === quantity.id) return before.folded;
  const columns = series.steps.length;
  const values = new Float32Array(entries.length * columns);
  const choose = standsFor(quantity);
  entries.forEach((entry, i) => {
    if (entry.rows.length === 1) {
      const from = rows[entry.rows[0]] * columns;
      values.set(series.values.subarray(from, from + columns), i * columns);
      return;
    }
    const starts = entry.rows.map((row) => rows[row] * columns);
    for (let column = 0; column < columns; column += 1) {
      const numbers = [];
      for (const start of starts) {
        const value = series.values[start + column];
        if (value === value) numbers.push(value);
      }
      values[i * columns + column] = numbers.length ? choose(numbers) : NaN;
    }
  });
  const names = entries.map((entry) => entry.name);
  const folded = { ...series, names, values, index: new Map(names.map((name, i) => [name, i])) };
  kept.set(series, { rows, entries, id: quantity.id, folded });
  return folded;
}

/**
 * The choice after a block was opened or closed.
 * @param {string[] | null} open @param {Entry[]} entries what is shown now @param {string} block
 * @returns {string[]}
 */
export function toggled(open, entries, block) {
  const now = entries.filter((entry) => entry.fold === "open").map((entry) => entry.name);
  const elsewhere = (open ?? []).filter((one) => one !== EVERY && !entries.some((entry) => entry.name === one));
  const next = now.includes(block) ? now.filter((one) => one !== block) : [...now, block];
  return [...elsewhere, ...next];
}
