/**
 * The blocks of a network, by the names of its layers: `encoder.layers.3` holds `encoder.layers.3.norm1`. Pure.
 * @module
 */

/** A list of fewer than two modules, or modules of a single layer, gain nothing by being folded. */
const LEAST = 2;

const INDEX = /^\d+$/;
/** As some networks count: `layer2`, `denseblock1`. */
const COUNTED = /^[A-Za-z_]+\d+$/;
/** What ends the name of a module within the name of a layer, of a call, or of an addition. */
const ENDS = /[.#@/[]/g;

/**
 * The blocks: modules of a list that hold several layers each. Of lists within lists that with the most members counts,
 * so that neither the two halves of a model nor the two layers of an MLP are the blocks of a transformer.
 * @param {string[]} names of the layers
 * @returns {Set<string>}
 */
export function blocksOf(names) {
  const numbered = listsOf(names, INDEX);
  const lists = numbered.size ? numbered : listsOf(names, COUNTED);
  /** @type {Set<string>} */
  const blocks = new Set();
  for (const name of names) {
    let best = "";
    let most = 0;
    for (const [list, block] of modulesOn(name, lists.size === numbered.size ? INDEX : COUNTED)) {
      const members = lists.get(list)?.size ?? 0;
      if (members > most) [best, most] = [block, members];
    }
    if (best) blocks.add(best);
  }
  return blocks;
}

/**
 * Members with several layers of each list that has several of them.
 * @param {string[]} names @param {RegExp} counted
 */
function listsOf(names, counted) {
  /** @type {Map<string, Map<string, number>>} */
  const lists = new Map();
  for (const name of names) {
    for (const [list, block] of modulesOn(name, counted)) {
      const members = lists.get(list) ?? new Map();
      members.set(block, (members.get(block) ?? 0) + 1);
      lists.set(list, members);
    }
  }
  for (const [list, members] of lists) {
    for (const [block, layers] of members) if (layers < LEAST) members.delete(block);
    if (members.size < LEAST) lists.delete(list);
  }
  return lists;
}

/**
 * The counted modules on the path of a layer, outermost first, each with the list it is in.
 * @param {string} name @param {RegExp} counted
 * @returns {[string, string][]}
 */
function modulesOn(name, counted) {
  /** @type {[string, string][]} */
  const found = [];
  let start = 0;
  for (const { index } of name.matchAll(ENDS)) {
    const part = name.slice(start, index);
    if (counted.test(part)) found.push([`${name.slice(0, start)}${part.replace(/\d+$/, "")}`, name.slice(0, index)]);
    if (name[index] !== ".") break;
    start = index + 1;
  }
  return found;
}

/**
 * The block that a layer, a parameter or an addition belongs to; empty if to none.
 * @param {string} name @param {Set<string>} blocks
 */
export function blockOf(name, blocks) {
  if (!blocks.size) return "";
  for (const { index } of name.matchAll(ENDS)) {
    const module = name.slice(0, index);
    if (blocks.has(module)) return module;
  }
  return blocks.has(name) ? name : "";
}
