/**
 * What follows from the choices and the numbers: which runs, which step, which layers. Pure, except for caches.
 * @module
 */

import { columnAt } from "./payload.js";
import { runStyle } from "./palette.js";
import { worstFirst } from "./verdicts.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").RunEntry} RunEntry */
/** @typedef {import("./types.js").Outline} Outline */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./session.js").Session} Session */
/** @typedef {RunEntry & {colour: string, dash: number[]}} ShownRun */

/** Runs that are shown before the user chooses. */
const SHOWN_AT_FIRST = 5;

/**
 * The runs that are shown, in the order of the list, with their colours. Unless some were chosen, it is the worst.
 * @param {State} state @param {RunEntry[]} entries @param {boolean} dark
 * @param {{order: string[], selected: (name: string) => boolean}} board what TensorBoard knows: its runs in the order of
 *   their colours, and which of them are selected there
 * @returns {ShownRun[]}
 */
export function shownRuns(state, entries, dark, { order, selected }) {
  const styled = entries.map((entry, k) => {
    const known = order.indexOf(entry.name);
    return { ...entry, ...(known < 0 ? runStyle(k, dark) : runStyle(known, dark, true)) };
  });
  const chosen = styled.filter((run) => state.runs?.includes(run.name));
  if (state.runs && (chosen.length || !state.runs.length)) return chosen;
  const ticked = styled.filter((run) => selected(run.name));
  if (ticked.length && ticked.length < styled.length) return ticked;
  const worst = worstFirst(styled).slice(0, SHOWN_AT_FIRST);
  return styled.filter((run) => worst.includes(run) || run.name === state.focus);
}

/**
 * The run that pictures of one run show: the worst, unless one was chosen.
 * @param {State} state @param {ShownRun[]} runs
 */
export function focusOf(state, runs) {
  const chosen = runs.find((run) => run.name === state.focus);
  return chosen ?? worstFirst(runs)[0] ?? null;
}

/**
 * Every step at which a shown run was measured.
 * @param {ShownRun[]} runs @param {Session} session
 */
export function timelineOf(runs, session) {
  const steps = new Set();
  for (const run of runs) {
    for (const step of stepsOf(run, session)) steps.add(step);
  }
  return /** @type {number[]} */ ([...steps]).sort((a, b) => a - b);
}

/** @param {RunEntry} run @param {Session} session */
export function stepsOf(run, session) {
  const main = run.quantities.includes("variance") ? "variance" : run.quantities[0];
  return main === undefined ? [] : (session.series(run.name, main)?.steps ?? []);
}

/**
 * A test of names against the filter; a filter that is not a regular expression matches everything and is reported.
 * @param {string} filter
 * @returns {{test: (name: string) => boolean, error: string}}
 */
export function matcher(filter) {
  if (!filter) return { test: () => true, error: "" };
  try {
    const expression = new RegExp(filter, "i");
    return { test: (name) => expression.test(name), error: "" };
  } catch (error) {
    return { test: () => true, error: String(/** @type {Error} */ (error).message) };
  }
}

/** @type {WeakMap<Series, Map<string, number[]>>} */
const rowsKept = new WeakMap();

/**
 * Rows that the filter lets through and that hold a number at all.
 * @param {Series} series @param {string} filter @param {(name: string) => boolean} test
 * @returns {number[]}
 */
export function rowsOf(series, filter, test) {
  let known = rowsKept.get(series);
  if (!known) rowsKept.set(series, (known = new Map()));
  let rows = known.get(filter);
  if (!rows) {
    rows = series.names.flatMap((name, row) => (test(name) && measured(series, row) ? [row] : []));
    known.clear();
    known.set(filter, rows);
  }
  return rows;
}

/** @param {Series} series @param {number} row */
function measured(series, row) {
  const columns = series.steps.length;
  for (let i = row * columns; i < (row + 1) * columns; i += 1) {
    if (series.values[i] === series.values[i]) return true;
  }
  return false;
}

/**
 * The numbers of some rows.
 * @param {Series} series @param {number[]} rows
 */
export function* numbersOf(series, rows) {
  const columns = series.steps.length;
  for (const row of rows) {
    for (let i = row * columns; i < (row + 1) * columns; i += 1) yield series.values[i];
  }
}

/**
 * What had been measured of a name by a step; NaN if nothing.
 * @param {Series} series @param {string} name one that it has @param {number} step
 */
export function valueOf(series, name, step) {
  const column = columnAt(series.steps, step);
  const row = series.index.get(name) ?? 0;
  return column < 0 ? NaN : series.values[row * series.steps.length + column];
}

/** @type {WeakMap<Outline, Map<string, string>>} */
const ownersKept = new WeakMap();

/**
 * The layer that a parameter belongs to; any other name is its own.
 * @param {Outline | null} outline @param {string} name
 */
export function ownerOf(outline, name) {
  if (!outline) return name;
  let owners = ownersKept.get(outline);
  if (!owners) {
    owners = new Map(outline.layers.flatMap((layer) => (layer.parameters ?? []).map((one) => [one, layer.name])));
    ownersKept.set(outline, owners);
  }
  return owners.get(name) ?? name;
}

/** @type {WeakMap<number[], number[]>} */
const mainKept = new WeakMap();

/**
 * Rows of the weights: biases and scales start at 0 or 1, and would be every other line of the picture.
 * @param {Outline | null} outline @param {Series} series @param {number[]} rows
 */
export function mainParameters(outline, series, rows) {
  if (!outline) return rows;
  let kept = mainKept.get(rows);
  if (!kept) {
    const weights = new Set(outline.weights);
    kept = rows.filter((row) => weights.has(series.names[row]));
    if (!kept.length) kept = rows;
    mainKept.set(rows, kept);
  }
  return kept;
}

/**
 * Everything that belongs to a layer: itself, its parameters, the residual addition around it.
 * @param {Outline | null} outline @param {string} layer
 */
export function relatedTo(outline, layer) {
  const names = [layer];
  names.push(...(outline?.layers.find((one) => one.name === layer)?.parameters ?? []));
  const around = outline?.residuals.filter((one) => one.layers?.includes(layer)) ?? [];
  // The innermost block: it holds the fewest layers.
  around.sort((a, b) => (a.layers?.length ?? 0) - (b.layers?.length ?? 0));
  if (around.length) names.push(around[0].name);
  return names;
}

/**
 * Every name once, in an order that respects each list.
 * @param {string[][]} lists
 */
export function mergedNames(lists) {
  let merged = [...(lists[0] ?? [])];
  const known = new Set(merged);
  for (const names of lists.slice(1)) {
    /** @type {Map<string, string[]>} */
    const followers = new Map();
    let before = "";
    for (const name of names) {
      if (known.has(name)) before = name;
      else followers.set(before, [...(followers.get(before) ?? []), name]);
    }
    if (!followers.size) continue;
    names.forEach((name) => known.add(name));
    merged = [...(followers.get("") ?? []), ...merged.flatMap((name) => [name, ...(followers.get(name) ?? [])])];
  }
  return merged;
}

/**
 * One number per name at a step: the last measured one, while the run continues; NaN before its first step.
 * @param {Series | null} series @param {string[]} names @param {number} step
 */
export function profile(series, names, step) {
  const values = new Float32Array(names.length).fill(NaN);
  if (!series) return values;
  const column = columnAt(series.steps, step);
  if (column < 0) return values;
  names.forEach((name, i) => {
    const row = series.index.get(name);
    if (row !== undefined) values[i] = series.values[row * series.steps.length + column];
  });
  return values;
}

/**
 * The most severe first.
 * @param {import("./types.js").Finding[]} findings
 */
export function bySeverity(findings) {
  const rank = { critical: 0, warning: 1, info: 2 };
  return [...findings].sort((a, b) => (rank[a.severity] ?? 3) - (rank[b.severity] ?? 3) || a.step - b.step);
}
