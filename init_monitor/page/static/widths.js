/**
 * A coordinate check: does what each layer computes, and what a training step changes of it, depend on the width?
 * @module
 */

import { fill, h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { formatNumber } from "./format.js";
import { runStyle } from "./palette.js";
import { card, nothing, pill, reading, swatch } from "./parts.js";
import { theme } from "./surface.js";
import { widthChart } from "./width_chart.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").WidthCheck} WidthCheck */
/** @typedef {"start" | "change"} Size */

const PANELS = /** @type {const} */ ([
  { of: "start", title: "Size before the first step" },
  { of: "change", title: "What a step changes of it" },
]);
/** Titles, and those of columns of words. */
const COLUMNS = ["Layer", "Grows", "Start", "Per step", "Own update", "On the width", "What it needs"];
const WORDS = ["Grows", "What it needs"];
const GUIDE = `checked = init_monitor.coordinate_check(make, widths=(64, 128, 256, 512), batch=batch)
checked.save("lightning_logs/width_check")`;

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function widthsView(ctx) {
  const choose = h("select.choose", {
    "aria-label": "Coordinate check",
    onchange: (/** @type {Event} */ event) => ctx.set({ check: /** @type {HTMLSelectElement} */ (event.target).value }),
  });
  const sentence = h("p.sentence");
  const body = h("tbody");
  /** @type {WidthCheck | null} */
  let check = null;
  /** The layer that the pointer is on. */
  let pointed = "";
  const panels = PANELS.map(({ of, title }) => {
    const framed = card(title, "", {
      png: () => savePng(`width-${of}`, title, [chart.canvas]),
      csv: () => saveCsv(`width-${of}`, ["layer", ...(check?.widths ?? []).map(String)], (check?.layers ?? []).map((one) => [one.layer, ...numbers(one[of])])),
    });
    const chart = widthChart({ label: title, onHover: (place, x, y) => hovered(of, place, x, y) });
    framed.body(chart.element);
    return { of, framed, chart };
  });
  const layers = card(
    "Powers of the width",
    "Root mean squares of each layer's output. A slope of 0 does not depend on the width; it counts where it is beyond 0.1 and beyond two standard errors.",
  );
  layers.body(
    h("div.scroll", {}, h("table.runs.widths", {}, h("thead", {}, h("tr", {}, ...COLUMNS.map((title) => h(WORDS.includes(title) ? "th.words" : "th", { scope: "col" }, title)))), body)),
  );
  const pictures = h("div.grid.columns", {}, ...panels.map((one) => one.framed.element));
  const holder = h("div.pictures");
  const element = h("div.view.explorer", {}, h("header.view-head", {}, h("h2", {}, "Coordinate check"), choose), sentence, holder);

  /** @param {Size} of @param {{layer: string, width: number} | null} place @param {number} x @param {number} y */
  function hovered(of, place, x, y) {
    const panel = panels.find((one) => one.of === of);
    const found = place && check?.layers.find((one) => one.layer === place.layer);
    mark(found ? found.layer : "");
    if (!place || !found || !check || !panel) {
      ctx.tip.hide();
      return;
    }
    ctx.tip.show(panel.chart.canvas, x, y, [
      h("div.tip-title", {}, found.layer),
      reading("width", String(place.width)),
      reading("size", formatNumber(numbers(found[of])[check.widths.indexOf(place.width)])),
      reading("power of the width", slopeText(found[of])),
    ]);
  }

  /** @param {string} layer */
  function mark(layer) {
    if (layer === pointed) return;
    pointed = layer;
    for (const { chart } of panels) chart.mark(layer);
    for (const row of body.querySelectorAll("tr")) row.classList.toggle("pointed", row.dataset.layer === layer);
  }

  function draw() {
    if (!check) return;
    const { dark } = theme();
    const { widths } = check;
    const lines = check.layers.map((one, k) => ({ ...one, ...runStyle(k, dark) }));
    for (const { of, framed, chart } of panels) {
      framed.legend(...lines.map((one) => swatch(one, one.layer)));
      chart.show({ widths, lines: lines.map((one) => ({ name: one.layer, colour: one.colour, dash: one.dash, values: numbers(one[of]) })) });
    }
    fill(
      body,
      ...lines.map((one) =>
        h(
          "tr",
          { "data-layer": one.layer, onmouseenter: () => mark(one.layer), onmouseleave: () => mark("") },
          h("th", { scope: "row" }, swatch(one, one.layer)),
          h("td.words", {}, one.kind),
          ...[one.start, one.change, one.own].map((size) => h(size.off ? "td.off" : "td", {}, slopeText(size))),
          h("td", {}, one.off ? pill("warning", "depends") : pill("fine", "does not")),
          h("td.words", {}, one.verdict),
        ),
      ),
    );
  }

  return {
    element,
    update() {
      const checks = ctx.session.checks();
      const name = checks.find((one) => one.name === ctx.state.check)?.name ?? checks[checks.length - 1]?.name ?? "";
      choose.hidden = checks.length < 2;
      fill(choose, ...checks.map((one) => h("option", { value: one.name, selected: one.name === name }, one.name)));
      const found = name ? ctx.session.widths(name) : null;
      if (!found) {
        check = null;
        sentence.textContent = "";
        fill(holder, ctx.session.busy() ? h("div.waiting", {}, "Loading …") : absent(ctx.session.trouble()));
        return;
      }
      if (found === check) return;
      check = found;
      const trained = `${found.steps} ${found.steps === 1 ? "step" : "steps"} of ${found.optimizer}, ${found.seeds} ${found.seeds === 1 ? "seed" : "seeds"}`;
      sentence.textContent = `${found.verdict} Widths ${found.widths.join(", ")}; ${trained}.`;
      fill(holder, pictures, layers.element);
      draw();
    },
    layers: () => check?.layers.map((one) => one.layer) ?? [],
  };
}

/** @param {import("./types.js").Growth} size */
function numbers({ values }) {
  return values.map((one) => one ?? NaN);
}

/** @param {import("./types.js").Growth} size */
function slopeText({ slope, error, values }) {
  if (slope === null) return values.every((one) => one === 0) ? "0" : "";
  return slope.toFixed(2) + (error === null ? "" : ` ± ${error.toFixed(2)}`);
}

/** @param {string} trouble */
function absent(trouble) {
  return nothing(
    trouble || "No coordinate check in this log directory",
    "It trains the same network at several widths for a few steps, and says of each layer which power of the width it goes with. Save one beside your runs:",
    h("pre", {}, h("code", {}, GUIDE)),
  );
}
