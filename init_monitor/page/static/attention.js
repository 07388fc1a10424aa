/**
 * Attention: heads × depth at the selected step. A row per attention, a column per head.
 * @module
 */

import { h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { formatStep, shortNames } from "./format.js";
import { heatmap } from "./heatmap.js";
import { card, reading } from "./parts.js";
import { columnAt } from "./payload.js";
import { quantityOf, shownOn, worded } from "./quantities.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */

/** A head's name: that of its attention, and its number. */
const HEAD = /^(.*)\[(\d+)\]$/;

/** @type {WeakMap<Series, {column: number, filter: string, grid: Series}>} */
const kept = new WeakMap();

/**
 * One step of a series over heads, as rows of attentions and columns of heads; NaN where an attention has fewer.
 * @param {Series} series @param {number} step @param {string} filter @param {(name: string) => boolean} test
 * @returns {Series | null} its steps are the numbers of the heads
 */
export function headsByDepth(series, step, filter, test) {
  const column = columnAt(series.steps, step);
  if (column < 0) return null;
  const known = kept.get(series);
  if (known?.column === column && known.filter === filter) return known.grid;
  /** @type {{name: string, head: number, value: number}[]} */
  const cells = series.names.flatMap((full, row) => {
    const found = HEAD.exec(full);
    return found && test(full)
      ? [{ name: found[1], head: Number(found[2]), value: series.values[row * series.steps.length + column] }]
      : [];
  });
  const names = [...new Set(cells.map((one) => one.name))];
  const index = new Map(names.map((name, row) => [name, row]));
  const heads = 1 + Math.max(-1, ...cells.map((one) => one.head));
  const values = new Float32Array(names.length * heads).fill(NaN);
  for (const { name, head, value } of cells) values[(index.get(name) ?? 0) * heads + head] = value;
  const grid = { names, steps: Array.from({ length: heads }, (_, i) => i), sampled: heads, values, index };
  kept.set(series, { column, filter, grid });
  return grid;
}

/**
 * Pictures of every quantity of the heads; hidden where a run has no attention.
 * @param {Context} ctx
 */
export function attentionPanel(ctx) {
  const grid = h("div.grid.maps");
  const element = h(
    "section.attention",
    { hidden: true, "aria-label": "Attention" },
    h(
      "header.view-head",
      {},
      h("h2", {}, "Attention"),
      h("p.explains", {}, "Each attention of the network is a row, the input on top; each of its heads a column, at the selected step."),
    ),
    grid,
  );
  /** @type {ReturnType<typeof headMap>[]} */
  let maps = [];

  return {
    element,
    update() {
      const run = ctx.focus;
      const measured = run ? shownOn("attention").filter((id) => run.quantities.includes(id)) : [];
      element.hidden = !measured.length;
      if (!measured.length) return;
      if (!maps.length) {
        maps = shownOn("attention").map((id) => headMap(ctx, id));
        grid.replaceChildren(...maps.map((one) => one.element));
      }
      for (const one of maps) one.update();
    },
  };
}

/** @type {WeakMap<Series, import("./types.js").Label[]>} */
const labelled = new WeakMap();

/** @param {Series} heads */
function labelsOf(heads) {
  let labels = labelled.get(heads);
  if (!labels) {
    const texts = shortNames(heads.names);
    labels = texts.map((text) => ({ text, kind: "", fold: "", inside: false }));
    labelled.set(heads, labels);
  }
  return labels;
}

/** @param {Context} ctx @param {string} id */
function headMap(ctx, id) {
  const quantity = quantityOf(id);
  /** @type {Series | null} */
  let heads = null;
  const picture = heatmap({
    label: `${quantity.title}: heads × depth`,
    onHover(cell) {
      if (!cell) {
        ctx.tip.hide();
        return;
      }
      ctx.tip.show(picture.element, cell.x, cell.y, [
        h("div.tip-title", {}, cell.name),
        reading("head", String(cell.step)),
        reading(quantity.short, worded(quantity, cell.value)),
      ]);
    },
    onPick(cell) {
      const layers = (ctx.focus && ctx.session.outline(ctx.focus.name)?.layers) ?? [];
      const inside = layers.find((one) => one.name === cell.name || one.name.startsWith(`${cell.name}.`));
      if (inside) ctx.set({ view: "layer", layer: inside.name });
    },
    // A few rows and columns: there is nothing to come closer to.
    onZoom() {},
    onWhole() {},
  });
  const holder = card(quantity.title, quantity.explains, {
    png: () => savePng(`${ctx.focus?.name}-${id}`, `${quantity.title} at step ${formatStep(ctx.step)}`, [picture.canvas]),
    csv: () => {
      const from = heads;
      if (!from) return;
      const wide = from.steps.length;
      saveCsv(
        `${ctx.focus?.name}-${id}-step-${ctx.step}`,
        ["attention", ...from.steps.map((head) => `head ${head}`)],
        from.names.map((name, row) => [name, ...from.values.subarray(row * wide, (row + 1) * wide)]),
      );
    },
  });
  holder.element.dataset.quantity = id;

  return {
    element: holder.element,
    update() {
      const series = ctx.focus && ctx.session.series(ctx.focus.name, id);
      heads = series ? headsByDepth(series, ctx.step, ctx.state.filter, ctx.test) : null;
      holder.element.hidden = !heads?.names.length;
      if (!heads?.names.length) return;
      holder.title(quantity.title, `at step ${formatStep(ctx.step)}`);
      if (picture.element.parentElement === null) holder.body(picture.element);
      picture.show({
        series: heads,
        labels: labelsOf(heads),
        view: { rows: [0, heads.names.length], columns: [0, heads.steps.length] },
        quantity,
        wanted: ctx.state.scale,
        palette: ctx.state.palette,
      });
    },
  };
}
