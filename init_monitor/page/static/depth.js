/**
 * What an axis over depth shows: which layers, folded into blocks or not, and the part that was zoomed to.
 * @module
 */

import { blocksOf } from "./blocks.js";
import { entriesOf, shownAs, toggled } from "./fold.js";
import { kindOf, labelsOf } from "./labels.js";
import { depthSlice, sliceAt, stepSlice } from "./zoom.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Outline} Outline */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./types.js").Label} Label */

/**
 * @typedef {object} Depth
 * @property {string[]} names that the entries were made of
 * @property {Entry[]} entries all of them
 * @property {Label[]} labels of the entries
 * @property {import("./zoom.js").Slice} slice the part that is shown
 * @property {Entry[]} shown
 * @property {Label[]} shownLabels
 * @property {(name: string) => string} as the entry that shows a name
 */

/** @type {WeakMap<Outline, {blocks: Set<string>, places: Map<string, [number, number]>}>} */
const networks = new WeakMap();

/** @param {Outline} outline */
function networkOf(outline) {
  let known = networks.get(outline);
  if (known) return known;
  const blocks = blocksOf(outline.names);
  /** @type {Map<string, [number, number]>} */
  const places = new Map();
  outline.names.forEach((name, i) => places.set(name, [i, i]));
  for (const block of blocks) {
    const inside = outline.names.flatMap((name, i) => (name.startsWith(block) && /^[.#@/[]/.test(name.slice(block.length)) ? [i] : []));
    if (inside.length) places.set(block, [inside[0], inside[inside.length - 1]]);
  }
  for (const { name, parameters } of outline.layers) {
    const place = places.get(name);
    if (place) for (const one of parameters ?? []) places.set(one, place);
  }
  for (const { name, layers } of outline.residuals) {
    const at = Math.max(-1, ...(layers ?? []).map((one) => places.get(one)?.[1] ?? -1));
    if (at >= 0) places.set(name, [at, at]);
  }
  known = { blocks, places };
  networks.set(outline, known);
  return known;
}

/** @typedef {{open: string[] | null, focus: Outline | null, outlines: (Outline | null)[], depth: Depth}} Kept */

/** @type {WeakMap<object, Kept>} */
const kept = new WeakMap();

/**
 * @param {Context} ctx
 * @param {object} key what the names were made from, the same object as long as they are the same
 * @param {() => string[]} make the names
 * @param {(Outline | null)[]} outlines of the runs that have them
 * @param {{folds?: boolean, noun?: string}} [options] whether blocks may be folded, and what the names are of
 * @returns {Depth}
 */
export function depthOf(ctx, key, make, outlines, { folds = true, noun = "layers" } = {}) {
  const { open } = ctx.state;
  const focus = ctx.focus && ctx.session.outline(ctx.focus.name);
  let before = kept.get(key);
  if (
    !before ||
    before.open !== open ||
    before.focus !== focus ||
    before.outlines.length !== outlines.length ||
    before.outlines.some((one, i) => one !== outlines[i])
  ) {
    const names = make();
    const blocks = new Set(outlines.flatMap((one) => (one && folds ? [...networkOf(one).blocks] : [])));
    const entries = entriesOf(names, blocks, open);
    const labels = labelsOf(entries, (name) => kindOf(outlines, name), noun);
    const all = /** @type {import("./zoom.js").Slice} */ ([0, entries.length]);
    const as = shownAs(entries, names);
    before = {
      open,
      focus,
      outlines: [...outlines],
      depth: { names, entries, labels, slice: all, shown: entries, shownLabels: labels, as },
    };
    kept.set(key, before);
  }
  const { depth } = before;
  const [first, end] = sliceOf(ctx, depth, focus);
  if (first !== depth.slice[0] || end !== depth.slice[1]) {
    depth.slice = [first, end];
    depth.shown = depth.entries.slice(first, end);
    depth.shownLabels = depth.labels.slice(first, end);
  }
  return depth;
}

/** @param {Context} ctx @param {Depth} depth @param {Outline | null} focus */
function sliceOf(ctx, depth, focus) {
  const { places } = focus ? networkOf(focus) : { places: new Map() };
  const ends = ctx.state.depth;
  // A block stands for its first layer at the top, for its last one at the bottom.
  const bounds = ends && [places.get(ends[0])?.[0] ?? -1, places.get(ends[1])?.[1] ?? -1];
  return depthSlice(depth.entries, depth.names, bounds, (name) => places.get(name)?.[0] ?? -1);
}

/**
 * Names of a block, its layers, or a layer alone: what a click on a row selects.
 * @param {Depth} depth @param {string} name
 */
export function entryOf(depth, name) {
  return depth.entries.find((entry) => entry.name === name) ?? null;
}

/**
 * Open a folded block, fold an open one.
 * @param {Context} ctx @param {Depth} depth @param {string} block
 */
export function toggleBlock(ctx, depth, block) {
  ctx.set({ open: toggled(ctx.state.open, depth.entries, block) });
}

/**
 * Zoom or move over depth.
 * @param {Context} ctx @param {Depth} depth @param {[number, number] | null} shares
 * @returns {Partial<import("./types.js").State>}
 */
export function depthAt({ state }, depth, shares) {
  if (!shares) return {};
  const part = sliceAt(depth.entries.length, depth.slice, shares);
  if (part && state.depth && part[0] === depth.slice[0] && part[1] === depth.slice[1]) return {};
  return { depth: part && [depth.entries[part[0]].name, depth.entries[part[1] - 1].name] };
}

/**
 * Zoom or move over steps.
 * @param {Context} ctx @param {number[]} steps all that the picture has @param {[number, number] | null} shares
 * @returns {Partial<import("./types.js").State>}
 */
export function stepsAt({ state }, steps, shares) {
  if (!shares || !steps.length) return {};
  const part = sliceAt(steps.length, stepSlice(steps, state), shares);
  if (!part) return { from: null, until: null };
  // At either end it stays there as steps are added.
  return {
    from: part[0] > 0 ? steps[part[0]] : null,
    until: part[1] < steps.length ? steps[part[1] - 1] : null,
  };
}

/** Everything is shown again. */
export const WHOLE = { from: null, until: null, depth: null };
