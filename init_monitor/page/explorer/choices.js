/**
 * What can be set, between which values, and how it stands in a link.
 * @module
 */

import { ACTIVATIONS } from "./activations.js";
import { fansOf } from "./network.js";
import { RECIPES } from "./recipes.js";
import { FORMS } from "./residual.js";

export const VIEWS = {
  variance: "Variance over depth",
  weights: "Weight distributions",
  signal: "Signal, layer by layer",
  race: "Training race",
  own: "Your network",
};

const POWERS = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096];

/** Values that a slider goes through. @type {Record<string, number[]>} */
export const STOPS = {
  depth: Array.from({ length: 99 }, (_, i) => i + 2),
  width: [16, 32, 64, 128, 256],
  samples: [64, 256],
  sigma: [0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 1, 2],
  seed: Array.from({ length: 100 }, (_, i) => i),
  fanIn: POWERS,
  fanOut: POWERS,
  hidden: Array.from({ length: 20 }, (_, i) => i + 1),
  rate: [0.003, 0.01, 0.03, 0.1, 0.3, 1],
};

/** Values that a list offers. @type {Record<string, Record<string, string>>} */
export const LISTS = {
  view: VIEWS,
  act: titles(ACTIVATIONS),
  init: titles(RECIPES),
  dist: { normal: "normal", uniform: "uniform" },
  mode: { fan_in: "fan_in", fan_out: "fan_out" },
  shape: { even: "all alike", alternate: "every other twice" },
  res: { none: "none", ...titles(FORMS) },
};

/**
 * @typedef {object} Choices
 * @property {string} view
 * @property {number} depth
 * @property {number} width
 * @property {string} shape
 * @property {number} samples
 * @property {string} act
 * @property {string} init
 * @property {"normal" | "uniform"} dist
 * @property {"fan_in" | "fan_out"} mode
 * @property {number} sigma
 * @property {string} res
 * @property {number} seed
 * @property {number} fanIn
 * @property {number} fanOut
 * @property {number} hidden
 * @property {number} rate
 * @property {string} on switches of one's own network
 */

/** @type {Choices} */
export const DEFAULTS = {
  view: "variance",
  depth: 30,
  width: 128,
  shape: "even",
  samples: 64,
  act: "relu",
  init: "xavier",
  dist: "normal",
  mode: "fan_in",
  sigma: 1,
  res: "none",
  seed: 0,
  fanIn: 512,
  fanOut: 256,
  hidden: 5,
  rate: 0.1,
  on: "",
};

/**
 * A link may hold anything: what is not offered is left at its default.
 * @param {Record<string, string>} link
 * @returns {Choices}
 */
export function fromLink(link) {
  const choices = /** @type {Record<string, unknown>} */ ({ ...DEFAULTS });
  for (const [key, text] of Object.entries(link)) {
    if (key in STOPS && STOPS[key].includes(Number(text))) choices[key] = Number(text);
    else if (key === "on" && /^(all|[\d.]*)$/.test(text)) choices[key] = text;
    else if (key in LISTS && Object.hasOwn(LISTS[key], text)) choices[key] = text;
  }
  return /** @type {Choices} */ (choices);
}

/**
 * Only what differs from the defaults.
 * @param {Choices} choices
 */
export function toLink(choices) {
  /** @type {Record<string, string>} */
  const link = {};
  for (const [key, value] of Object.entries(choices)) {
    if (value !== /** @type {Record<string, unknown>} */ (DEFAULTS)[key]) link[key] = String(value);
  }
  return link;
}

/**
 * The network that is set.
 * @param {Choices} choices
 * @returns {import("./network.js").Setting}
 */
export function settingOf(choices) {
  return { ...choices, fans: fansOf(choices.width, choices.shape) };
}

/** @param {Record<string, {title: string} | null>} table */
function titles(table) {
  return Object.fromEntries(Object.entries(table).flatMap(([key, one]) => (one ? [[key, one.title]] : [])));
}
