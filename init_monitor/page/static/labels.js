/**
 * Layers as the axes and boxes call them: name and type, and for a folded block how many layers it holds.
 * @module
 */

import { shortNames } from "./format.js";

/** @typedef {import("./types.js").Outline} Outline */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Label} Label */

const FIRST = "#1";

/** @type {WeakMap<Outline, Map<string, string>>} */
const kept = new WeakMap();

/**
 * The type of a layer, of a parameter's layer, or of an addition; empty where it is not known.
 * @param {(Outline | null)[]} outlines @param {string} name
 */
export function kindOf(outlines, name) {
  for (const outline of outlines) {
    if (!outline) continue;
    let kinds = kept.get(outline);
    if (!kinds) {
      kinds = new Map(outline.residuals.map((one) => [one.name, besides(one)]));
      for (const layer of outline.layers) {
        for (const own of layer.parameters ?? []) kinds.set(own, layer.kind);
        kinds.set(layer.name, layer.kind);
      }
      kept.set(outline, kinds);
    }
    const kind = kinds.get(name);
    if (kind) return kind;
  }
  return "";
}

/** @param {import("./types.js").Residual} residual */
function besides(residual) {
  return [residual.nested && "nested", residual.long && "long"].filter(Boolean).join(" ") || residual.kind;
}

/**
 * @param {Entry[]} entries
 * @param {(name: string) => string} kind
 * @param {string} noun what a block holds several of
 * @returns {Label[]}
 */
export function labelsOf(entries, kind, noun) {
  const outer = entries.filter((entry) => !entry.inside).map((entry) => entry.name);
  // Most are the first call, or the first addition, of their module: where all are, nothing is lost without it.
  const first = outer.every((name) => name.endsWith(FIRST));
  const short = shortNames(first ? outer.map((name) => name.slice(0, -FIRST.length)) : outer);
  let at = 0;
  return entries.map((entry) => ({
    text: entry.inside ? entry.name.slice(entry.inside.length).replace(/^[.#@/[]/, "") : short[at++],
    kind: entry.fold ? `${entry.rows.length} ${noun}` : kind(entry.name),
    fold: entry.fold,
    inside: !!entry.inside,
  }));
}
