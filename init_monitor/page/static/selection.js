/**
 * Which runs are selected elsewhere in TensorBoard, as far as its address says so. Pure.
 *
 * Text, Images and the other older tabs keep their choice in the address after `#`: `runSelectionState` is an object of
 * names, in base64, and `regexInput` a filter. Time Series keeps its filter of runs before it, as `runFilter`; the ticks
 * of its table of runs are kept nowhere.
 * @module
 */

const STATE = "runSelectionState";
const OLDER_FILTER = "regexInput";
const NEWER_FILTER = "runFilter";

/**
 * The words after `#`, without the name of the tab.
 * @param {string} hash
 * @returns {[string, string][]}
 */
export function wordsOf(hash) {
  return hash
    .slice(1)
    .split("&")
    .flatMap((part) => {
      const at = part.indexOf("=");
      if (at < 0) return [];
      try {
        return [[decodeURIComponent(part.slice(0, at)), decodeURIComponent(part.slice(at + 1))]];
      } catch {
        // Half a character: the link was cut. The rest still counts.
        return [];
      }
    });
}

/** @param {[string, string][]} words */
export function hashOf(words) {
  return words.map(([key, value]) => `&${encodeURIComponent(key)}=${encodeURIComponent(value)}`).join("");
}

/**
 * What the address says of the runs; the same text as long as it says the same.
 * @param {string} hash @param {string} query
 */
export function saidOf(hash, query) {
  const words = Object.fromEntries(wordsOf(hash));
  return JSON.stringify([words[STATE] ?? "", words[OLDER_FILTER] ?? "", new URLSearchParams(query).get(NEWER_FILTER) ?? ""]);
}

/**
 * Is a run selected? One of which nothing is said is.
 * @param {string} said
 * @returns {(name: string) => boolean}
 */
export function selectedBy(said) {
  const [state, ...filters] = /** @type {string[]} */ (JSON.parse(said));
  const ticked = ticksOf(state);
  const tests = filters.filter(Boolean).map(testOf);
  return (name) => ticked[name] !== false && tests.every((test) => test(name));
}

/**
 * The words after `#` with another selection in them.
 * @param {[string, string][]} words @param {Record<string, boolean>} ticked
 * @returns {[string, string][]}
 */
export function withSelection(words, ticked) {
  const others = words.filter(([key]) => key !== STATE);
  try {
    return [...others, [STATE, btoa(JSON.stringify(ticked))]];
  } catch {
    // TensorBoard's own form has no room for letters beyond Latin-1: its tabs keep what they had.
    return words;
  }
}

/** @param {string} state @returns {Record<string, boolean>} */
function ticksOf(state) {
  try {
    const ticks = state ? JSON.parse(atob(state)) : {};
    return ticks && typeof ticks === "object" ? ticks : {};
  } catch {
    return {};
  }
}

/** @param {string} filter @returns {(name: string) => boolean} */
function testOf(filter) {
  try {
    const expression = new RegExp(filter, "i");
    return (name) => expression.test(name);
  } catch {
    return () => true;
  }
}
