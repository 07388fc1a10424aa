/**
 * Ranges of axes that stay where they are while the steps go by, and words for steps at which a run was not measured.
 * @module
 */

import { h } from "./dom.js";
import { formatStep } from "./format.js";
import { numbersOf, rowsOf } from "./model.js";
import { columnAt } from "./payload.js";
import { extent } from "./scales.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */

/** @type {WeakMap<Series, {rows: number[], range: ReturnType<typeof extent>}>} */
const ranges = new WeakMap();

/**
 * Extremes over all steps, so that the axis stays fixed during playback.
 * @param {Series} series @param {number[]} rows
 */
export function rangeOf(series, rows) {
  const known = ranges.get(series);
  if (known?.rows === rows) return known.range;
  const range = extent(numbersOf(series, rows));
  ranges.set(series, { rows, range });
  return range;
}

/** Numbers that are looked at to find the usual range: enough for a percentile. */
const LOOKED_AT = 20_000;
/** Left out at either end: a blow-up of a few steps does not flatten all the others, until it is selected. */
const RARE = 0.01;

/** @type {WeakMap<Series, {rows: number[], range: ReturnType<typeof extent>}>} */
const usual = new WeakMap();

/**
 * Where the numbers lie at nearly all steps.
 * @param {Series} series @param {number[]} rows
 */
function usualRange(series, rows) {
  const known = usual.get(series);
  if (known?.rows === rows) return known.range;
  const columns = series.steps.length;
  const count = rows.length * columns;
  const stride = Math.max(1, Math.floor(count / LOOKED_AT)) | 1;
  const finite = [];
  for (let i = 0; i < count; i += stride) {
    const value = series.values[rows[Math.floor(i / columns)] * columns + (i % columns)];
    if (Number.isFinite(value)) finite.push(value);
  }
  finite.sort((a, b) => a - b);
  const cut = Math.floor(finite.length * RARE);
  const range = extent(finite.slice(cut, finite.length - cut));
  usual.set(series, { rows, range });
  return range;
}

/** @type {WeakMap<Series, {key: string, rows: number[]}>} */
const parts = new WeakMap();

/**
 * Rows of a part of the layers; the same array as long as it is the same part.
 * @param {Series} series @param {string[]} names
 */
function rowsNamed(series, names) {
  const key = `${names.length}\n${names[0]}\n${names[names.length - 1]}`;
  let known = parts.get(series);
  if (known?.key !== key) {
    known = { key, rows: names.flatMap((name) => series.index.get(name) ?? []) };
    parts.set(series, known);
  }
  return known.rows;
}

/**
 * The range of an axis that stays fixed during playback, except for outliers at the step itself. A run
 * that ended in NaN does not stretch it for the others.
 * @param {Context} ctx @param {(Series | null)[]} all @param {ArrayLike<number>[]} now
 * @param {string[][] | null} own names of each run, if only a part of the layers is shown
 */
export function steadyRange(ctx, all, now, own = null) {
  const drawn = now.map((one) => Array.from(one).some(Number.isFinite));
  const any = drawn.some(Boolean);
  const usualOf = (/** @type {Series} */ one, /** @type {number} */ k) =>
    usualRange(one, own ? rowsNamed(one, own[k]) : rowsOf(one, ctx.state.filter, ctx.test));
  return joined([
    ...all.flatMap((one, k) => (one && (drawn[k] || !any) ? [usualOf(one, k)] : [])),
    ...now.map((one) => extent(Array.from(one))),
  ]);
}

/** @param {ReturnType<typeof extent>[]} all @returns {ReturnType<typeof extent>} */
export function joined(all) {
  return {
    positive: Math.min(...all.map((one) => one.positive)),
    low: Math.min(...all.map((one) => one.low)),
    high: Math.max(...all.map((one) => one.high)),
    infinite: all.some((one) => one.infinite),
    any: all.some((one) => one.any),
    zero: all.some((one) => one.zero),
  };
}

/**
 * Words for a run that was not measured at the step itself.
 * @param {Series | null} series @param {number} step
 */
export function measuredAt(series, step) {
  if (!series) return "";
  const column = columnAt(series.steps, step);
  if (column < 0) return ` (begins at step ${formatStep(series.steps[0] ?? 0)})`;
  if (!finiteAt(series, column)) return " (no finite number at this step)";
  return series.steps[column] === step ? "" : ` (step ${formatStep(series.steps[column])})`;
}

/** @param {Series} series @param {number} column */
function finiteAt(series, column) {
  const columns = series.steps.length;
  return series.names.some((_, row) => Number.isFinite(series.values[row * columns + column]));
}

/**
 * Where every shown run has become NaN: a link back to the last step with numbers.
 * @param {Context} ctx @param {(Series | null)[]} all
 */
export function wayBack(ctx, all) {
  const begun = all.flatMap((series) => {
    const column = series ? columnAt(series.steps, ctx.step) : -1;
    return series && column >= 0 ? [{ series, column }] : [];
  });
  if (!begun.length || begun.some(({ series, column }) => finiteAt(series, column))) return null;
  const found = begun.flatMap(({ series, column }) => {
    let last = column;
    while (last >= 0 && !finiteAt(series, last)) last -= 1;
    return last < 0 ? [] : [series.steps[last]];
  });
  const step = Math.max(...found);
  return h(
    "p.way-back",
    {},
    "Nothing is finite at this step. ",
    found.length
      ? h("button.link", { type: "button", onclick: () => ctx.set({ step }) }, `Go back to step ${formatStep(step)}`)
      : "Nothing was finite before, either.",
  );
}

