/**
 * Variance through the layers, forward and backward, beside the line of theory; dead units below.
 * @module
 */

import { h } from "../static/dom.js";
import { formatNumber, formatShare } from "../static/format.js";
import { lineChart } from "../static/lines.js";
import { runStyle } from "../static/palette.js";
import { card, reading, swatch } from "../static/parts.js";
import { theme } from "../static/surface.js";
import { ACTIVATIONS } from "./activations.js";
import { FORMS } from "./residual.js";
import { expected } from "./theory.js";

/** @typedef {import("./explore.js").Explorer} Explorer */

const PICTURES = [
  { id: "forward", title: "Forward: variance of the output", form: "log" },
  { id: "backward", title: "Backward: variance of its gradient, relative to the last", form: "log" },
  { id: "dead", title: "Units on one side of 0 for every sample", form: "share" },
];

/**
 * @param {Explorer} page
 */
export function varianceView(page) {
  const charts = PICTURES.map(({ id, title, form }) => {
    const framed = card(title, "");
    const chart = lineChart({
      label: title,
      height: id === "dead" ? 110 : 190,
      onHover: (place, x, y) => pointed(place, x, y, id),
      onPick: () => {},
    });
    framed.body(chart.element);
    return { id, form, framed, chart };
  });
  const sentence = h("p.sentence");
  const element = h("div.pictures", {}, sentence, ...charts.map((one) => one.framed.element));
  /** @type {Record<string, {name: string, values: number[]}[]>} */
  let shown = {};

  /** @param {number | null} place @param {number} x @param {number} y @param {string} id */
  function pointed(place, x, y, id) {
    const one = charts.find((chart) => chart.id === id);
    for (const { chart } of charts) chart.cursor({ hovered: place, picked: null });
    if (place === null || !one || !shown[id]) {
      page.tip.hide();
      return;
    }
    const say = one.form === "share" ? formatShare : formatNumber;
    const lines = shown[id].map(({ name, values }) => reading(name, say(values[place])));
    page.tip.show(one.chart.canvas, x, y, [h("div.tip-title", {}, `${page.unit()} ${place + 1}`), ...lines]);
  }

  function update() {
    const { measured, setting } = page;
    const theory = expected(setting);
    const { taps, gradients } = measured;
    const count = setting.depth;
    const steps = Array.from({ length: count }, (_, i) => i + 1);
    const all = (/** @type {(i: number) => number | undefined} */ of) => steps.map((_, i) => of(i) ?? NaN);
    const scale = gradients[count - 1]?.variance ?? 1;
    const rectifies = ACTIVATIONS[setting.act].rectifies;
    shown = {
      forward: [
        { name: "computed", values: all((i) => overflowed(taps[i]?.pre)) },
        { name: "theory", values: theory.forward },
      ],
      backward: [
        { name: "computed", values: all((i) => overflowed(gradients[i]) / scale) },
        { name: "theory", values: theory.backward },
      ],
      dead: [
        { name: rectifies ? "dead (never on)" : "always below 0", values: all((i) => taps[i]?.dead) },
        { name: "linear (always on, or never)", values: all((i) => taps[i]?.linear) },
      ],
    };
    const { dark, soft } = theme();
    for (const { id, form, framed, chart } of charts) {
      const lines = shown[id].map((one, k) => ({
        ...one,
        colour: one.name === "theory" ? soft : runStyle(id === "dead" ? k + 1 : id === "forward" ? 0 : 2, dark).colour,
        dash: one.name === "theory" ? [5, 4] : [],
      }));
      framed.title(PICTURES.find((one) => one.id === id)?.title ?? id, `over the ${page.unit()}s`);
      framed.legend(...lines.map((one) => swatch(one, one.name)));
      const quantity = /** @type {any} */ ({ form, bounds: form === "share" ? [0, 1] : null, centre: null });
      const guides = form === "log" ? [{ value: 1, label: "" }] : [];
      chart.show({ lines, quantity, wanted: "log", steps, guides });
    }
    sentence.textContent = told(theory.forward, page);
  }

  return { element, update, numbers: () => shown };
}

/**
 * What is no number any more grew beyond the format.
 * @param {import("./moments.js").Moments | undefined} moments
 */
function overflowed(moments) {
  return moments === undefined ? NaN : moments.finite ? moments.variance : Infinity;
}

/** @param {number[]} forward of theory @param {Explorer} page */
function told(forward, { measured, setting, unit }) {
  const factor = forward.length > 1 ? (forward[forward.length - 1] / forward[0]) ** (1 / (forward.length - 1)) : 1;
  const gone = measured.taps.findIndex((tap) => !tap.pre.finite);
  const silent = measured.taps.findIndex((tap) => tap.pre.variance === 0);
  const per = `In theory each ${unit()} multiplies the variance by ${formatNumber(factor)}`;
  const form = FORMS[setting.res];
  const formula = form ? `A block is ${form.formula}, and F is activation, weights, activation, weights.` : "";
  const end = `${formatNumber(forward[forward.length - 1])} after ${setting.depth}`;
  if (gone >= 0) return `${per}. float32 overflows at ${unit()} ${gone + 1}.`;
  if (silent >= 0) return `${per}. The signal is exactly 0 from ${unit()} ${silent + 1} on.`;
  return `${per}: ${end}. ${formula}`;
}
