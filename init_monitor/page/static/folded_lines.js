/**
 * The lines of several runs over depth: one place per layer, or per folded block with its range.
 * @module
 */

import { foldValues } from "./fold.js";
import { profile } from "./model.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./lines.js").Line} Line */

/**
 * @param {import("./model.js").ShownRun} run
 * @param {Series | null} series
 * @param {string[]} names what the run calls the places before they were folded
 * @param {import("./depth.js").Depth} depth
 * @param {number} step
 * @returns {Line}
 */
export function lineOf(run, series, names, depth, step) {
  const { values, low, high } = foldValues(profile(series, names, step), depth.shown);
  return { name: run.name, colour: run.colour, dash: run.dash, values, low, high };
}

/**
 * What the box at the pointer says of a place: the number, or the range of a block.
 * @param {Line | undefined} line @param {number} place
 * @param {(value: number) => string} worded
 */
export function saidOf(line, place, worded) {
  if (!line) return worded(NaN);
  const [low, high] = [line.low?.[place] ?? NaN, line.high?.[place] ?? NaN];
  return low === low && low !== high ? `${worded(low)} … ${worded(high)}` : worded(line.values[place]);
}
