/**
 * What has been fetched so far. Asking for something that is not there yet fetches it and returns null; `onChange` is
 * called when it has arrived. While a run that grew is fetched again, the old numbers stay.
 * @module
 */

import { learnQuantities } from "./quantities.js";

/** @typedef {import("./types.js").Source} Source */
/** @typedef {import("./types.js").RunEntry} RunEntry */
/** @typedef {import("./types.js").Outline} Outline */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./types.js").Losses} Losses */

/**
 * @typedef {object} Kept
 * @property {unknown} value null until it has arrived
 * @property {number} version of the run it belongs to
 * @property {boolean} asked
 */

/**
 * @param {Source} source
 * @param {() => void} onChange
 */
export function createSession(source, onChange) {
  /** @type {Map<string, Kept>} */
  const kept = new Map();
  /** @type {RunEntry[] | null} */
  let entries = null;
  /** @type {{name: string, time: number}[]} */
  let checks = [];
  /** @type {string} */
  let trouble = "";
  let waiting = 0;

  /** @param {string} run */
  const versionOf = (run) => {
    const entry = entries?.find((one) => one.name === run);
    return entry ? entry.time + entry.step + (entry.written ?? 0) : 0;
  };

  /** Of all runs together. */
  const versionOfAll = () => (entries ?? []).reduce((sum, one) => sum + versionOf(one.name), entries?.length ?? 0);

  /**
   * @param {number} version of what is asked for
   * @param {string} key
   * @param {() => Promise<unknown>} fetchIt
   */
  function get(version, key, fetchIt) {
    const known = kept.get(key) ?? { value: null, version: NaN, asked: false };
    kept.set(key, known);
    if (known.version !== version && !known.asked) {
      known.asked = true;
      waiting += 1;
      fetchIt()
        .then((value) => {
          known.value = value;
          trouble = "";
        })
        .catch((error) => {
          trouble = String(error.message ?? error);
        })
        .finally(() => {
          known.version = version;
          known.asked = false;
          waiting -= 1;
          onChange();
        });
    }
    return known.value;
  }

  return {
    live: source.live,
    /** The runs, null until they have arrived. */
    entries: () => entries,
    /** What went wrong last, empty if nothing did. */
    trouble: () => trouble,
    busy: () => waiting > 0,
    /** @param {string} run @returns {Outline | null} */
    outline: (run) => /** @type {Outline | null} */ (get(versionOf(run), `outline\n${run}`, () => source.outline(run))),
    /** Folders with a coordinate check. */
    checks: () => checks,
    /** @param {string} folder @returns {import("./types.js").WidthCheck | null} */
    widths: (folder) =>
      /** @type {import("./types.js").WidthCheck | null} */ (
        get(checks.find((one) => one.name === folder)?.time ?? 0, `widths\n${folder}`, () => source.widths(folder))
      ),
    /** @param {string} run @returns {import("./types.js").Recipes | null} */
    recipes: (run) =>
      /** @type {import("./types.js").Recipes | null} */ (get(versionOf(run), `recipes\n${run}`, () => source.recipes(run))),
    /** The training loss of every run as a small curve. @returns {Record<string, Losses | null> | null} */
    losses: () =>
      /** @type {Record<string, Losses | null> | null} */ (get(versionOfAll(), "losses", () => source.losses())),
    /** @param {string} run @param {string} quantity @returns {Series | null} */
    series(run, quantity) {
      const entry = entries?.find((one) => one.name === run);
      if (!entry?.quantities.includes(quantity)) return null;
      const key = `series\n${run}\n${quantity}`;
      return /** @type {Series | null} */ (get(versionOf(run), key, () => source.series(run, quantity)));
    },
    /** @param {string} run @param {string[]} names @returns {Series | null} */
    layer(run, names) {
      const key = `layer\n${run}\n${names.join("\n")}`;
      return /** @type {Series | null} */ (get(versionOf(run), key, () => source.layer(run, names)));
    },
    /** Look for new runs and new steps. */
    async refresh() {
      try {
        const { runs, quantities, widths } = await source.runs();
        learnQuantities(quantities);
        entries = runs;
        checks = widths ?? [];
        trouble = "";
      } catch (error) {
        trouble = String(/** @type {Error} */ (error).message ?? error);
      }
      onChange();
    },
  };
}

/** @typedef {ReturnType<typeof createSession>} Session */
