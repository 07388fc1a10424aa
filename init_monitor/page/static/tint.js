/**
 * Which layers are tinted: those that findings of the run in focus name, up to the step that is shown.
 * @module
 */

import { formatStep } from "./format.js";

/** @typedef {import("./types.js").Context} Context */

/** Rules that the legend names. */
const NAMED = 3;

/**
 * @param {Context} ctx
 * @returns {{layers: Set<string>, words: string}}
 */
export function tintOf(ctx) {
  const found = (ctx.focus && ctx.session.outline(ctx.focus.name)?.findings) ?? [];
  const told = found.filter((one) => one.step <= ctx.step && one.severity !== "info" && one.layers.length);
  const rules = [...new Map(told.map((one) => [one.code, `${one.code} ${one.rule}`])).values()];
  const named = rules.slice(0, NAMED).join(", ") + (rules.length > NAMED ? ` and ${rules.length - NAMED} more` : "");
  return {
    layers: new Set(told.flatMap((one) => one.layers)),
    words: `named by findings of ${ctx.focus?.name ?? ""} up to step ${formatStep(ctx.step)}: ${named}`,
  };
}
