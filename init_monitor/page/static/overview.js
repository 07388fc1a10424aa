/**
 * One run at a glance: what was found, and four pictures of depth × step that share one crosshair.
 * @module
 */

import { fill, h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { formatNumber, formatShare, formatStep } from "./format.js";
import { heatmap, heightFor, leftFor } from "./heatmap.js";
import { mainParameters, ownerOf, relatedTo, rowsOf } from "./model.js";
import { card, nothing, reading } from "./parts.js";
import { columnAt } from "./payload.js";
import { fewPositions, quantityOf, shownOn } from "./quantities.js";
import { runList } from "./run_list.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./quantities.js").Quantity} Quantity */

/**
 * A value as its quantity is read.
 * @param {Quantity} quantity @param {number} value
 */
export function worded(quantity, value) {
  return quantity.form === "share" ? formatShare(value) : formatNumber(value);
}

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function overviewView(ctx) {
  const list = runList(ctx);
  const notices = h("div.notices");
  const readout = h("div.readout", { "aria-live": "polite" });
  const grid = h("div.grid.maps");
  const element = h("div.view", {}, list.element, notices, readout, grid);
  const shown = shownOn("overview");
  const maps = shown.map((id) => mapCard(ctx, quantityOf(id), () => ctx.focus?.name ?? ""));
  grid.append(...maps.map((one) => one.element));

  function read() {
    const outline = ctx.focus && ctx.session.outline(ctx.focus.name);
    const layer = ctx.hover.layer || ctx.state.layer;
    const step = ctx.hover.step ?? ctx.step;
    if (!layer || !outline) {
      fill(
        readout,
        h("span.muted", {}, "Point at a picture to read it. Click to select a step, click a name to open its layer."),
      );
      return;
    }
    const cells = shown.map((id) => {
      const quantity = quantityOf(id);
      const series = ctx.focus && ctx.session.series(ctx.focus.name, id);
      const name = relatedTo(outline, layer).find((one) => series?.index.has(one));
      const value = series && name !== undefined ? at(series, name, step) : NaN;
      return h("span.cell", {}, h("span.muted", {}, quantity.short), h("b", {}, worded(quantity, value)));
    });
    fill(
      readout,
      h("span.cell", {}, h("span.muted", {}, "step"), h("b", {}, formatStep(step))),
      h("button.link.name", { type: "button", onclick: () => ctx.set({ view: "layer", layer }) }, layer),
      ...cells,
    );
  }

  return {
    element,
    update() {
      const outline = ctx.focus && ctx.session.outline(ctx.focus.name);
      list.update();
      fill(notices, ...(outline?.notices ?? []).map((one) => h("p.notice", {}, one)));
      // One size and one left edge, so that the same step lies on one line in all of them.
      const shapes = maps.map((one) => one.names());
      const left = Math.max(...shapes.map(leftFor));
      const height = Math.max(...shapes.map((names) => heightFor(names.length)));
      for (const one of maps) one.update({ left, height });
      read();
    },
    hovered() {
      for (const one of maps) one.cross();
      read();
    },
    layers: () => maps[0].names(),
  };
}

/** @param {Series} series @param {string} name @param {number} step */
function at(series, name, step) {
  const column = columnAt(series.steps, step);
  const row = series.index.get(name) ?? 0;
  return column < 0 ? NaN : series.values[row * series.steps.length + column];
}

/**
 * A heatmap in a card; also what the comparison is made of.
 * @param {Context} ctx
 * @param {Quantity} first
 * @param {() => string} runName
 */
export function mapCard(ctx, first, runName) {
  let quantity = first;
  /** @type {Series | null} */
  let series = null;
  /** @type {number[]} */
  let rows = [];
  const outlineOf = () => (runName() ? ctx.session.outline(runName()) : null);

  const picture = heatmap({
    label: `${first.title}: depth × step`,
    onHover(cell) {
      if (!cell) {
        ctx.tip.hide();
        ctx.point(null);
        return;
      }
      ctx.point({ layer: ownerOf(outlineOf(), cell.name), step: cell.step });
      ctx.tip.show(picture.element, cell.x, cell.y, [
        h("div.tip-title", {}, cell.name),
        reading("step", formatStep(cell.step)),
        reading(quantity.short, worded(quantity, cell.value)),
        ...countedOver(cell.name, cell.step),
      ]);
    },
    onPick(cell, onName) {
      const layer = ownerOf(outlineOf(), cell.name);
      if (onName) ctx.set({ view: "layer", layer });
      else ctx.set({ step: cell.step, layer });
    },
  });
  const seen = () =>
    quantity.id === "dead_fraction" && runName() ? ctx.session.series(runName(), "unit_samples") : null;

  /** @param {string} name @param {number} step */
  function countedOver(name, step) {
    const samples = seen();
    const count = samples?.index.has(name) ? at(samples, name, step) : NaN;
    return count >= 0 ? [reading("positions per unit", `${formatNumber(count)}${count < fewPositions() ? " (few)" : ""}`)] : [];
  }

  const holder = card(quantity.title, quantity.explains, {
    png: () => savePng(`${runName()}-${quantity.id}`, `${quantity.title} · ${runName()}`, [picture.canvas]),
    csv: () => {
      const from = series;
      if (!from) return;
      const { steps, values, names } = from;
      saveCsv(
        `${runName()}-${quantity.id}`,
        ["name", ...steps.map(String)],
        rows.map((row) => [names[row], ...values.subarray(row * steps.length, (row + 1) * steps.length)]),
      );
    },
  });
  holder.element.dataset.quantity = quantity.id;

  function find() {
    series = runName() ? ctx.session.series(runName(), quantity.id) : null;
    seen(); // fetched as well, so that it is there for the pointer
    rows = series ? rowsOf(series, ctx.state.filter, ctx.test) : [];
    if (series && quantity.of === "parameters") rows = mainParameters(outlineOf(), series, rows);
  }

  function cross() {
    const outline = outlineOf();
    picture.cross({
      names: new Set(ctx.hover.layer ? relatedTo(outline, ctx.hover.layer) : []),
      step: ctx.hover.step,
      picked: new Set(ctx.state.layer ? relatedTo(outline, ctx.state.layer) : []),
      pickedStep: ctx.step,
    });
  }

  return {
    element: holder.element,
    card: holder,
    cross,
    names() {
      find();
      return series ? rows.map((row) => /** @type {Series} */ (series).names[row]) : [];
    },
    /**
     * @param {{quantity?: Quantity, range?: ReturnType<typeof import("./scales.js").extent>, left?: number,
     *   height?: number}} [other]
     */
    update(other = {}) {
      quantity = other.quantity ?? quantity;
      holder.element.dataset.quantity = quantity.id;
      find();
      if (!series || !rows.length) {
        holder.body(absent(ctx, runName(), quantity, series));
        return;
      }
      if (picture.element.parentElement === null) holder.body(picture.element);
      picture.show({
        series,
        rows,
        quantity,
        wanted: ctx.state.scale,
        palette: ctx.state.palette,
        ...(other.range ? { range: other.range } : {}),
        ...(other.left ? { left: other.left } : {}),
        ...(other.height ? { height: other.height } : {}),
      });
      cross();
    },
  };
}

/**
 * Why there is no picture.
 * @param {Context} ctx @param {string} run @param {Quantity} quantity @param {Series | null} series
 */
function absent(ctx, run, quantity, series) {
  const entry = ctx.runs.find((one) => one.name === run);
  if (entry?.quantities.includes(quantity.id) && !series) return h("div.waiting", {}, "Loading …");
  if (series && ctx.state.filter)
    return nothing("No layer fits the filter", `Nothing here has a name that matches ${ctx.state.filter}.`);
  return nothing("Not measured in this run", quantity.absent || "The run has no numbers of this kind.");
}

/**
 * The text where nothing can be drawn yet.
 * @param {Context} ctx
 */
export function mapNothing(ctx) {
  return ctx.session.busy() ? h("div.waiting", {}, "Loading …") : nothing("No run is shown", "Choose a run above.");
}
