/**
 * What the user chose, and the link that restores it.
 * @module
 */

/** @typedef {import("./types.js").State} State */

/** @type {State} */
export const DEFAULTS = {
  view: "overview",
  runs: null,
  focus: "",
  step: null,
  layer: "",
  filter: "",
  scale: "log",
  palette: "auto",
  quantity: "variance",
  severity: "",
  from: null,
  until: null,
  depth: null,
  open: null,
  on: "",
  check: "",
};

/** Numbers with dots between, or all of them. */
const SWITCHES = /^(all|\d+(\.\d+)*)$/;

/** The pages, in the order of their keys 1, 2, 3, … */
export const VIEWS = {
  overview: "Overview",
  propagation: "Propagation",
  residuals: "Residuals",
  units: "Units",
  layer: "Layer",
  findings: "Findings",
  compare: "Compare",
  recipes: "Recipes",
  widths: "Coordinate check",
};

/**
 * What differs from the default, as words.
 * @param {State} state
 * @returns {Record<string, string>}
 */
export function toLink(state) {
  /** @type {Record<string, string>} */
  const link = {};
  for (const key of /** @type {(keyof State)[]} */ (Object.keys(DEFAULTS))) {
    const value = state[key];
    if (value === DEFAULTS[key] || value === null) continue;
    // A name may hold any character: each is written so that a comma between two cannot be mistaken.
    link[key] = Array.isArray(value) ? value.map((one) => encodeURIComponent(one)).join(",") : String(value);
  }
  return link;
}

/**
 * @param {Record<string, string>} link
 * @returns {State}
 */
export function fromLink(link) {
  const state = { ...DEFAULTS };
  if (Object.hasOwn(VIEWS, link.view ?? "")) state.view = link.view;
  if (link.runs !== undefined) {
    const names = link.runs.split(",").filter(Boolean);
    const runs = names.flatMap(decoded);
    // A link to no run shows none; one in which every name is broken shows the default.
    state.runs = runs.length || !names.length ? runs : null;
  }
  for (const key of /** @type {const} */ (["step", "from", "until"])) {
    const step = Number(link[key]);
    if (link[key] && Number.isFinite(step)) state[key] = step;
  }
  if (link.depth !== undefined) {
    const [top, bottom] = link.depth.split(",").flatMap(decoded);
    if (top && bottom) state.depth = [top, bottom];
  }
  if (link.open !== undefined) state.open = link.open.split(",").filter(Boolean).flatMap(decoded);
  if (link.scale === "linear") state.scale = "linear";
  if (link.on !== undefined && SWITCHES.test(link.on)) state.on = link.on;
  for (const key of /** @type {const} */ (["focus", "layer", "filter", "palette", "quantity", "severity", "check"])) {
    if (link[key] !== undefined) state[key] = link[key];
  }
  return state;
}

/**
 * A name as it was, or nothing if the link was cut in the middle of one of its characters.
 * @param {string} name
 */
function decoded(name) {
  try {
    return [decodeURIComponent(name)];
  } catch {
    return [];
  }
}
