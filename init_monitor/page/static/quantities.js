/**
 * What can be shown: names, units, and how each is read. The list itself comes with the runs, from the one table in
 * records/quantities.py.
 * @module
 */

import { formatNumber, formatShare } from "./format.js";

/**
 * @typedef {object} Quantity
 * @property {string} id
 * @property {string} title
 * @property {string} short
 * @property {string} unit
 * @property {"layers" | "parameters" | "residuals" | "heads"} of
 * @property {"log" | "share" | "signed" | "count"} form "log" follows the log/linear switch
 * @property {"diverging" | "sequential" | "share"} palette
 * @property {number | null} centre what a healthy network shows, where that is one number
 * @property {[number, number] | null} bounds ends of its axis, where it has ends
 * @property {[number | null, number | null] | null} healthy the healthy range
 * @property {{value: number, label: string}[]} guides values that a chart marks
 * @property {string[]} pages where it is shown, besides the page of a layer
 * @property {string} explains
 * @property {string} compared what the comparison calls its median; empty if that is not compared
 * @property {string} absent why there may be none
 */

/** @type {Map<string, Quantity>} */
let known = new Map();

/**
 * Use the list that came with the runs.
 * @param {Quantity[]} quantities
 */
export function learnQuantities(quantities) {
  known = new Map(quantities.map((one) => [one.id, one]));
}

/** Every quantity, those of the overview first. */
export function everyQuantity() {
  const all = [...known.values()];
  const first = (/** @type {Quantity} */ one) => one.pages.includes("overview");
  return [...all.filter(first), ...all.filter((one) => !first(one))];
}

/**
 * Names of the quantities that a page shows.
 * @param {string} page
 */
export function shownOn(page) {
  return [...known.values()].filter((one) => one.pages.includes(page)).map((one) => one.id);
}

/**
 * @param {string} id
 * @returns {Quantity}
 */
export function quantityOf(id) {
  return (
    known.get(id) ?? {
      id,
      title: id,
      short: id,
      unit: "",
      of: "layers",
      form: "log",
      palette: "sequential",
      centre: null,
      bounds: null,
      healthy: null,
      guides: [],
      pages: [],
      explains: "",
      compared: "",
      absent: "",
    }
  );
}

/**
 * A value as its quantity is read.
 * @param {Quantity} quantity @param {number} value
 */
export function worded(quantity, value) {
  return quantity.form === "share" ? formatShare(value) : formatNumber(value);
}

/** Positions per unit below which a unit is not called dead. */
export function fewPositions() {
  return quantityOf("unit_samples").healthy?.[0] ?? 0;
}
