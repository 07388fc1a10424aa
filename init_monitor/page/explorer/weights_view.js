/**
 * Weight distributions by recipe as fan_in and fan_out slide: curves, weights that are drawn, Var(W) and bound.
 * @module
 */

import { fill, h } from "../static/dom.js";
import { formatNumber } from "../static/format.js";
import { runStyle } from "../static/palette.js";
import { card, swatch } from "../static/parts.js";
import { theme } from "../static/surface.js";
import { densityChart } from "./density.js";
import { momentsOf } from "./moments.js";
import { randomOf } from "./random.js";
import { boundOf, distOf, drawn, RECIPES, titleOf } from "./recipes.js";

/** @typedef {import("./explore.js").Explorer} Explorer */

/** Weights that are drawn of the recipe that is set: enough for a smooth histogram, at once. */
const DRAWN = 40_000;

/** @param {Explorer} page */
export function weightsView(page) {
  const chart = densityChart(300);
  const framed = card("Density of the weights", "Curves are the recipes', the bars are weights that were really drawn from the one that is set.");
  framed.body(chart.element);
  const body = h("tbody");
  const table = h(
    "table.signal",
    {},
    h("thead", {}, h("tr", {}, ...["Recipe", "Var(W)", "std", "bound", "drawn: Var(W)"].map((title) => h("th", { scope: "col" }, title)))),
    body,
  );
  const element = h("div.pictures", {}, framed.element, h("section.card", { "aria-label": "Variances" }, h("div.scroll", {}, table)));

  /** Every recipe with a distribution of its own, and the one that is set. */
  function compared() {
    const { choices } = page;
    const set = { ...choices, init: choices.init };
    const others = ["normal", "xavier", "he", "lecun", "torch"]
      .filter((init) => init !== choices.init && (init !== "normal" || choices.sigma < 0.5))
      .map((init) => ({ ...choices, init }));
    return [set, ...others];
  }

  /** @returns {{title: string, variance: number, std: number, bound: number, drawn: number, set: boolean, colour: string, dist: string, weights: Float32Array | null}[]} */
  function rows() {
    const { fanIn, fanOut } = page.choices;
    const { dark } = theme();
    return compared().map((given, k) => {
      const variance = RECIPES[given.init].variance(given, fanIn, fanOut);
      // An orthogonal matrix of this size would take seconds; its elements are nearly normal.
      const dist = distOf(given);
      const weights = dist === "normal" || dist === "uniform" ? sampled(given, fanIn, fanOut, page.choices.seed + k) : null;
      return {
        title: titleOf(given),
        variance,
        std: Math.sqrt(variance),
        bound: boundOf(given, fanIn, fanOut),
        drawn: weights ? momentsOf(weights).variance : NaN,
        set: k === 0,
        colour: runStyle(k, dark).colour,
        dist: dist === "uniform" ? "uniform" : "normal",
        weights,
      };
    });
  }

  function update() {
    const all = rows();
    chart.show(
      all.map(({ colour, dist, std, set, weights }) => ({
        colour,
        dist: /** @type {"normal" | "uniform"} */ (dist),
        std,
        drawn: set ? weights : null,
      })),
    );
    framed.legend(...all.map((one) => swatch({ colour: one.colour, dash: [] }, one.title)));
    fill(
      body,
      ...all.map((one) =>
        h(
          "tr",
          { class: one.set ? "set" : "" },
          h("th", { scope: "row" }, one.title),
          h("td", {}, formatNumber(one.variance, 4)),
          h("td", {}, formatNumber(one.std, 4)),
          h("td", {}, one.bound === one.bound ? `±${formatNumber(one.bound, 4)}` : "none"),
          h("td", {}, one.drawn === one.drawn ? formatNumber(one.drawn, 4) : ""),
        ),
      ),
    );
  }

  return {
    element,
    update,
    numbers: () => rows().map(({ title, variance, bound, drawn: sample, set }) => ({ title, variance, bound, drawn: sample, set })),
  };
}

/** @param {import("./recipes.js").Recipe} given @param {number} fanIn @param {number} fanOut @param {number} seed */
function sampled(given, fanIn, fanOut, seed) {
  const variance = RECIPES[given.init].variance(given, fanIn, fanOut);
  // A matrix of the right number of weights with the variance of the wanted one.
  const work = drawn({ ...given, init: "normal", dist: distOf(given) === "uniform" ? "uniform" : "normal", sigma: Math.sqrt(variance) }, DRAWN / 100, 100, randomOf(seed));
  let piece = work.next();
  while (!piece.done) piece = work.next();
  return piece.value;
}
