/**
 * How the variance grows along the stream of residual sums, in the words of the console (display/residual_rows.py).
 * @module
 */

import { formatNumber, power } from "./format.js";
import { profile } from "./model.js";

/** @typedef {import("./types.js").Context} Context */

/** Powers of ten up to here are written out as a number. */
const GREATEST_DECADE = 300;

/**
 * Of the run in focus, or of the first that has residual additions.
 * @param {Context} ctx
 * @returns {string} empty where no block of a stream was measured
 */
export function growthSentence(ctx) {
  const runs = [...(ctx.focus ? [ctx.focus] : []), ...ctx.runs];
  const run = runs.find((one) => one.quantities.includes("residual_growth"));
  return run ? sentenceOf(ctx, run) : "";
}

/** @param {Context} ctx @param {import("./model.js").ShownRun} run */
function sentenceOf(ctx, run) {
  const series = ctx.session.series(run.name, "residual_growth");
  const outline = ctx.session.outline(run.name);
  if (!series || !outline) return "";
  const known = new Map(outline.residuals.map((one) => [one.name, one]));
  const names = series.names.filter((name) => !known.get(name)?.nested && !known.get(name)?.long);
  const growths = profile(series, names, ctx.step);
  /** @type {Map<string, number>} */
  const logs = new Map();
  names.forEach((name, i) => {
    if (growths[i] > 0 && Number.isFinite(growths[i])) logs.set(name, Math.log10(growths[i]));
  });
  const count = logs.size;
  if (!count) return "";
  const sum = [...logs.values()].reduce((a, b) => a + b, 0);
  const blocks = `${count} block${count === 1 ? "" : "s"}`;
  const start = `In ${run.name} the variance is multiplied by ${raised(sum / count)} per block (geometric mean of ${blocks})`;
  const stream = longestStream([...logs.keys()], known);
  if (count === 1 || !stream.length) return `${start}.`;
  if (stream.length === 1) {
    return `${start}; each is followed by a normalisation or another layer, so it does not build up.`;
  }
  const total = raised(stream.reduce((all, name) => all + (logs.get(name) ?? 0), 0));
  return stream.length === count
    ? `${start}; the product over all of them is ${total}.`
    : `${start}; over the longest unbroken stream, ${stream.length} blocks up to ${stream[stream.length - 1]}, it is ${total}.`;
}

/**
 * The longest run of blocks that no normalisation and no other layer interrupts.
 * @param {string[]} names @param {Map<string, import("./types.js").Residual>} known
 */
function longestStream(names, known) {
  /** @type {Map<string, string[]>} */
  const streams = new Map();
  for (const name of names) {
    const own = known.get(name);
    if (!own) continue;
    const before = own.follows ?? "";
    const unbroken = streams.has(before) && !known.get(before)?.normalised;
    streams.set(name, [...(unbroken ? (streams.get(before) ?? []) : []), name]);
  }
  return [...streams.values()].reduce((a, b) => (b.length > a.length ? b : a), []);
}

/** @param {number} log10 */
function raised(log10) {
  return Math.abs(log10) < GREATEST_DECADE ? formatNumber(10 ** log10) : power(Math.round(log10));
}
