/**
 * Zeros, N(0, 1), Xavier and He learn handwritten digits side by side; their losses are drawn while they train.
 * @module
 */

import { fill, h } from "../static/dom.js";
import { formatNumber, formatShare } from "../static/format.js";
import { lineChart } from "../static/lines.js";
import { runStyle } from "../static/palette.js";
import { card, reading, swatch } from "../static/parts.js";
import { extent } from "../static/scales.js";
import { theme } from "../static/surface.js";
import { digitsOf, race } from "./race.js";
import { worker } from "./slices.js";

/** @typedef {import("./explore.js").Explorer} Explorer */
/** @typedef {import("./race.js").Runner} Runner */

const STEPS = 300;
/** A loss beyond is drawn at the upper edge: N(0, 1) starts at ten thousands, and the others would lie flat. */
const HIGHEST = 100;
const STARTERS = [
  { title: "zeros", init: "zeros" },
  { title: "N(0, 1)", init: "normal" },
  { title: "Xavier", init: "xavier" },
  { title: "He", init: "he" },
];

/** @param {Explorer} page */
export function raceView(page) {
  const digits = digitsOf(page.digits);
  /** @type {Runner[]} */
  let runners = [];
  const chart = lineChart({
    label: "Loss of each network over the steps",
    height: 280,
    onHover: pointed,
    onPick: () => {},
  });
  const framed = card("Training loss", "Cross-entropy on each batch of 64 digits; ln 10 = 2.303 is guessing. A line that ends has left float32; losses above 100 lie on the upper edge.");
  framed.body(chart.element);
  const body = h("tbody");
  const button = h("button.live", { type: "button", onclick: () => play() });
  const element = h(
    "div.pictures",
    {},
    h("div.view-head", {}, button, h("span.muted", {}, "ReLU layers of 64 units, plain SGD, 1,000 digits of 8 × 8 pixels (UCI, CC BY 4.0)")),
    framed.element,
    h(
      "section.card",
      { "aria-label": "Standing" },
      h("table.signal", {}, h("thead", {}, h("tr", {}, ...["Start", "Steps", "First loss", "Last loss", "Accuracy"].map((title) => h("th", { scope: "col" }, title)))), body),
    ),
  );
  const training = worker(draw);

  /** @param {number | null} place @param {number} x @param {number} y */
  function pointed(place, x, y) {
    chart.cursor({ hovered: place, picked: null });
    if (place === null) page.tip.hide();
    else page.tip.show(chart.canvas, x, y, [h("div.tip-title", {}, `step ${place + 1}`), ...runners.map((one) => reading(one.title, formatNumber(one.losses[place] ?? NaN)))]);
  }

  function start() {
    const { choices } = page;
    runners = STARTERS.map(({ title, init }) => ({
      title,
      recipe: { init, dist: "normal", mode: "fan_in", sigma: 1, act: "relu" },
      losses: [],
      accuracy: NaN,
    }));
    training.run(race(runners, digits, { hidden: choices.hidden, rate: choices.rate, steps: STEPS, seed: choices.seed }));
    draw();
  }

  function play() {
    if (training.busy()) {
      training.stop();
      draw();
    } else start();
  }

  function draw() {
    const { dark } = theme();
    const steps = Array.from({ length: STEPS }, (_, i) => i + 1);
    const lines = runners.map((one, k) => ({
      name: one.title,
      ...runStyle(k, dark),
      values: steps.map((_, i) => one.losses[i] ?? NaN),
    }));
    const quantity = /** @type {any} */ ({ form: "log", bounds: null, centre: null });
    const tame = runners.flatMap((one) => one.losses.filter((loss) => loss <= HIGHEST));
    const range = extent([Math.log(10), ...tame, ...(tame.length < runners.flatMap((one) => one.losses).length ? [HIGHEST] : [])]);
    chart.show({ lines, quantity, wanted: "log", steps, range, guides: [{ value: Math.log(10), label: "guessing" }] });
    framed.legend(...lines.map((one) => swatch(one, one.name)));
    fill(
      body,
      ...runners.map((one) => {
        const last = one.losses[one.losses.length - 1] ?? NaN;
        return h(
          "tr",
          {},
          h("th", { scope: "row" }, one.title),
          h("td", {}, String(one.losses.length)),
          h("td", {}, formatNumber(one.losses[0] ?? NaN)),
          h("td", {}, Number.isFinite(last) || last !== last ? formatNumber(last) : "not finite"),
          h("td", {}, one.accuracy === one.accuracy ? formatShare(one.accuracy) : "…"),
        );
      }),
    );
    fill(button, training.busy() ? "Stop" : "Start again");
    page.changed();
  }

  return {
    element,
    /** @param {boolean} anew something was set that the race depends on */
    update(anew = false) {
      if (anew || !runners.length) start();
      else draw();
    },
    leave: training.stop,
    play,
    busy: training.busy,
    pieces: training.pieces,
    numbers: () => runners.map(({ title, losses, accuracy }) => ({ title, losses, accuracy })),
  };
}
