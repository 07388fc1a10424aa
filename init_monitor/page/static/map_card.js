/**
 * A picture of depth × step in a card: what the overview, the residuals and the comparison are made of.
 * @module
 */

import { depthAt, depthOf, stepsAt, toggleBlock, WHOLE } from "./depth.js";
import { h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { foldSeries } from "./fold.js";
import { formatNumber, formatStep } from "./format.js";
import { heatmap } from "./heatmap.js";
import { mainParameters, ownerOf, relatedTo, rowsOf, valueOf } from "./model.js";
import { card, nothing, reading } from "./parts.js";
import { columnAt } from "./payload.js";
import { fewPositions, quantityOf, worded } from "./quantities.js";
import { extent } from "./scales.js";
import { stepSlice } from "./zoom.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./types.js").Entry} Entry */
/** @typedef {import("./depth.js").Depth} Depth */
/** @typedef {import("./quantities.js").Quantity} Quantity */

/** What the rows of a picture are. */
const NOUNS = { layers: "layers", parameters: "weights", residuals: "additions", heads: "heads" };

/**
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
  /** @type {Depth | null} */
  let depth = null;
  /** A picture in which nothing is to be seen was asked for all the same. */
  let asked = false;
  const outlineOf = () => (runName() ? ctx.session.outline(runName()) : null);

  const picture = heatmap({
    label: `${first.title}: depth × step`,
    onHover(cell) {
      const entry = cell && depth?.entries[cell.row];
      if (!cell || !entry) {
        ctx.tip.hide();
        ctx.point(null);
        return;
      }
      ctx.point({ layer: entry.fold ? entry.name : ownerOf(outlineOf(), cell.name), step: cell.step });
      ctx.tip.show(picture.element, cell.x, cell.y, [
        h("div.tip-title", {}, cell.name),
        ...typeOf(cell.row),
        reading("step", formatStep(cell.step)),
        ...(entry.fold ? spreadOf(entry, cell.step) : [reading(quantity.short, worded(quantity, cell.value))]),
        ...countedOver(cell.name, cell.step),
      ]);
    },
    onPick(cell, onName) {
      const entry = depth?.entries[cell.row];
      if (!depth || !entry) return;
      if (entry.fold && onName) {
        toggleBlock(ctx, depth, entry.name);
        return;
      }
      const name = entry.fold ? farthest(entry, cell.step, cell.value) : cell.name;
      const layer = ownerOf(outlineOf(), name);
      if (onName) ctx.set({ view: "layer", layer });
      else ctx.set({ step: cell.step, layer });
    },
    onZoom({ x, y }) {
      if (!depth || !series) return;
      ctx.set({ ...stepsAt(ctx, series.steps, x), ...depthAt(ctx, depth, y) });
    },
    onWhole: () => ctx.set(WHOLE),
  });

  /** @param {number} row */
  function typeOf(row) {
    const kind = depth?.labels[row].kind;
    return kind ? [reading("type", kind)] : [];
  }

  /**
   * The layers of a folded block at a step, those with a number.
   * @param {Entry} entry @param {number} step
   */
  function within(entry, step) {
    const column = series ? columnAt(series.steps, step) : -1;
    return entry.rows.flatMap((row) => {
      const name = depth?.names[row] ?? "";
      const value = series && column >= 0 ? series.values[rows[row] * series.steps.length + column] : NaN;
      return value === value ? [{ name, value }] : [];
    });
  }

  /** @param {Entry} entry @param {number} step @param {number} value */
  function farthest(entry, step, value) {
    return within(entry, step).find((one) => one.value === value)?.name ?? depth?.names[entry.rows[0]] ?? "";
  }

  /** @param {Entry} entry @param {number} step */
  function spreadOf(entry, step) {
    const inside = within(entry, step);
    if (!inside.length) return [reading(quantity.short, worded(quantity, NaN))];
    const ordered = [...inside].sort((a, b) => a.value - b.value);
    return [ordered[0], ordered[ordered.length - 1]].map(({ name, value }, i) =>
      reading(`${i ? "largest" : "smallest"}: ${name.slice(entry.name.length + 1)}`, worded(quantity, value)),
    );
  }

  const seen = () =>
    quantity.id === "dead_fraction" && runName() ? ctx.session.series(runName(), "unit_samples") : null;

  /** @param {string} name @param {number} step */
  function countedOver(name, step) {
    const samples = seen();
    const count = samples?.index.has(name) ? valueOf(samples, name, step) : NaN;
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

  function find() {
    series = runName() ? ctx.session.series(runName(), quantity.id) : null;
    seen(); // fetched as well, so that it is there for the pointer
    rows = series ? rowsOf(series, ctx.state.filter, ctx.test) : [];
    if (series && quantity.of === "parameters") rows = mainParameters(outlineOf(), series, rows);
    const from = series;
    depth = from && depthOf(ctx, rows, () => rows.map((row) => from.names[row]), [outlineOf()], { noun: NOUNS[quantity.of] });
  }

  /** Nothing but zeros of a quantity that counts what is wrong: nothing to look at. */
  function quiet() {
    if (!series || !depth || (quantity.form !== "share" && quantity.form !== "count")) return false;
    const { low, high, any } = rangeKept(foldSeries(series, rows, depth.entries, quantity));
    return any && low === 0 && high === 0;
  }

  function cross() {
    const outline = outlineOf();
    const as = depth?.as ?? ((/** @type {string} */ name) => name);
    /** @param {string} layer */
    const marked = (layer) => new Set(layer ? [as(layer), ...relatedTo(outline, layer).map(as)] : []);
    picture.cross({
      names: marked(ctx.hover.layer),
      step: ctx.hover.step,
      picked: marked(ctx.state.layer),
      pickedStep: ctx.step,
    });
  }

  /** @param {import("./types.js").Label[] | null} labels */
  const slim = (labels) => holder.element.classList.toggle("slim", !labels);

  return {
    element: holder.element,
    card: holder,
    cross,
    depth: () => depth,
    /**
     * Labels of the rows that are shown; null if there is a sentence instead of a picture.
     * @param {Quantity} [other]
     */
    labels(other) {
      quantity = other ?? quantity;
      find();
      if (!series || !depth?.entries.length || (quiet() && !asked)) return null;
      return depth.shownLabels;
    },
    /**
     * @param {{quantity?: Quantity, range?: ReturnType<typeof extent>, left?: number, height?: number}} [other]
     */
    update(other = {}) {
      const labels = this.labels(other.quantity);
      holder.element.dataset.quantity = quantity.id;
      slim(labels);
      if (!labels || !series || !depth) {
        holder.body(series && depth?.entries.length ? allWell() : absent(ctx, runName(), quantity, series));
        return;
      }
      if (picture.element.parentElement === null) holder.body(picture.element);
      picture.show({
        series: foldSeries(series, rows, depth.entries, quantity),
        labels: depth.labels,
        view: { rows: depth.slice, columns: stepSlice(series.steps, ctx.state) },
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

  function allWell() {
    const show = h(
      "button.link",
      {
        type: "button",
        onclick: () => {
          asked = true;
          ctx.set({});
        },
      },
      "Show it",
    );
    const words = `${worded(quantity, 0)} in all ${rows.length} ${NOUNS[quantity.of]} at every step.`;
    return h("p.all-well", {}, h("span.sign.fine", {}, "✓"), ` ${words} `, show);
  }
}

/** @type {WeakMap<Series, ReturnType<typeof extent>>} */
const ranges = new WeakMap();

/** @param {Series} series */
function rangeKept(series) {
  let range = ranges.get(series);
  if (!range) ranges.set(series, (range = extent(series.values)));
  return range;
}

/**
 * Why there is no picture.
 * @param {Context} ctx @param {string} run @param {Quantity} quantity @param {Series | null} series
 */
function absent(ctx, run, quantity, series) {
  const entry = ctx.runs.find((one) => one.name === run);
  if (entry?.quantities.includes(quantity.id) && !series) return h("div.waiting", {}, "Loading …");
  if (series && ctx.state.filter)
    return h("p.all-well", {}, `No layer fits the filter: nothing here has a name that matches ${ctx.state.filter}.`);
  return h("p.all-well", {}, `Not measured in this run. ${quantityOf(quantity.id).absent || "It has no numbers of this kind."}`);
}

/**
 * The text where nothing can be drawn yet.
 * @param {Context} ctx
 */
export function mapNothing(ctx) {
  return ctx.session.busy() ? h("div.waiting", {}, "Loading …") : nothing("No run is shown", "Choose a run above.");
}
