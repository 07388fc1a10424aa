/**
 * Where the numbers come from. Everything else asks through this interface and does not know which one it is.
 * @module
 */

import { decodePayload } from "./payload.js";

/** @typedef {import("./types.js").Source} Source */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./types.js").RunEntry} RunEntry */
/** @typedef {import("./types.js").Outline} Outline */

/**
 * TensorBoard's backend.
 * @param {string} base address of the plugin's routes, with a slash at its end
 * @returns {Source}
 */
export function serverSource(base) {
  /** @param {string} route @param {Record<string, string | string[]>} [query] */
  async function ask(route, query = {}) {
    const address = new URL(route, base);
    for (const [key, value] of Object.entries(query)) {
      for (const one of Array.isArray(value) ? value : [value]) address.searchParams.append(key, one);
    }
    let response;
    try {
      response = await fetch(address);
    } catch {
      throw new Error("TensorBoard does not answer. Is it still running?");
    }
    if (!response.ok) {
      const said = await response.json().catch(() => ({}));
      throw new Error(said.error ?? `TensorBoard answered with status ${response.status}. Its log says why.`);
    }
    return response;
  }
  return {
    live: true,
    runs: async () => (await ask("runs")).json(),
    outline: async (run) => (await ask("run", { run })).json(),
    recipes: async (run) => (await ask("recipes", { run })).json(),
    widths: async (folder) => (await ask("widths", { run: folder })).json(),
    losses: async () => (await ask("losses")).json(),
    series: async (run, quantity) => decodePayload(await (await ask("series", { run, quantity })).arrayBuffer()),
    layer: async (run, names) => decodePayload(await (await ask("layer", { run, name: names })).arrayBuffer()),
  };
}

/**
 * What page/document.py puts into a report.
 * @typedef {object} Embedded
 * @property {RunEntry[]} runs
 * @property {import("./quantities.js").Quantity[]} quantities
 * @property {Record<string, Outline>} outlines
 * @property {Record<string, import("./types.js").Recipes>} recipes
 * @property {Record<string, Record<string, string>>} series base64 of each payload, by run and quantity
 */

/**
 * The file that the page lies in.
 * @param {Embedded} embedded
 * @returns {Source}
 */
export function embeddedSource(embedded) {
  /** @param {string} run @param {string} quantity */
  function series(run, quantity) {
    const bytes = Uint8Array.from(atob(embedded.series[run][quantity]), (one) => one.charCodeAt(0));
    return decodePayload(bytes.buffer);
  }
  return {
    live: false,
    runs: async () => embedded,
    outline: async (run) => embedded.outlines[run],
    recipes: async (run) => embedded.recipes[run],
    widths: async (folder) => {
      throw new Error(`A report holds no coordinate check (${folder}).`);
    },
    losses: async () =>
      Object.fromEntries(Object.entries(embedded.outlines).map(([run, outline]) => [run, outline.losses ?? null])),
    series: async (run, quantity) => series(run, quantity),
    layer: async (run, names) =>
      rowsOf(
        Object.keys(embedded.series[run]).map((quantity) => ({ quantity, series: series(run, quantity) })),
        names,
      ),
  };
}

/**
 * The named rows of several quantities in one series.
 * @param {{quantity: string, series: Series}[]} all
 * @param {string[]} names
 * @returns {Series}
 */
function rowsOf(all, names) {
  const wanted = new Set(names);
  const steps = [...new Set(all.flatMap(({ series }) => series.steps))].sort((a, b) => a - b);
  const column = new Map(steps.map((step, i) => [step, i]));
  /** @type {{quantity: string, name: string, numbers: Float32Array}[]} */
  const rows = [];
  for (const { quantity, series } of all) {
    series.names.forEach((name, row) => {
      if (!wanted.has(name)) return;
      const numbers = new Float32Array(steps.length).fill(NaN);
      series.steps.forEach((step, i) => {
        numbers[column.get(step) ?? 0] = series.values[row * series.steps.length + i];
      });
      rows.push({ quantity, name, numbers });
    });
  }
  const values = new Float32Array(rows.length * steps.length);
  rows.forEach((row, i) => values.set(row.numbers, i * steps.length));
  return {
    names: rows.map((row) => row.name),
    quantities: rows.map((row) => row.quantity),
    steps,
    sampled: steps.length,
    values,
    index: new Map(rows.map((row, i) => [row.name, i])),
  };
}
