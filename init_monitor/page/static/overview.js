/**
 * One run at a glance: what was found, and four pictures of depth × step that share one crosshair.
 * @module
 */

import { entryOf } from "./depth.js";
import { fill, h } from "./dom.js";
import { formatStep } from "./format.js";
import { heightFor, leftFor } from "./heatmap.js";
import { kindOf } from "./labels.js";
import { mapCard } from "./map_card.js";
import { relatedTo, valueOf } from "./model.js";
import { quantityOf, shownOn, worded } from "./quantities.js";
import { runList } from "./run_list.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("./quantities.js").Quantity} Quantity */

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
        h(
          "span.muted",
          {},
          "Point at a picture to read it. Click to select a step, click a name to open its layer or ▸ block, drag to zoom.",
        ),
      );
      return;
    }
    const cells = shown.map((id) => {
      const quantity = quantityOf(id);
      const series = ctx.focus && ctx.session.series(ctx.focus.name, id);
      return h("span.cell", {}, h("span.muted", {}, quantity.short), h("b", {}, said(quantity, series, layer, step)));
    });
    fill(
      readout,
      h("span.cell", {}, h("span.muted", {}, "step"), h("b", {}, formatStep(step))),
      h("button.link.name", { type: "button", onclick: () => ctx.set({ view: "layer", layer }) }, layer),
      h("span.muted", {}, kindOf([outline], layer)),
      ...cells,
    );
  }

  /**
   * One number, or of a block from the smallest to the largest.
   * @param {import("./quantities.js").Quantity} quantity @param {Series | null} series
   * @param {string} layer @param {number} step
   */
  function said(quantity, series, layer, step) {
    const outline = ctx.focus && ctx.session.outline(ctx.focus.name);
    const own = relatedTo(outline, layer).find((one) => series?.index.has(one));
    if (series && own !== undefined) return worded(quantity, valueOf(series, own, step));
    const depth = maps.find((one) => quantity.id === one.element.dataset.quantity)?.depth();
    const inside = (depth && entryOf(depth, layer)?.rows) ?? [];
    const values = inside
      .map((row) => (series && depth ? valueOf(series, depth.names[row], step) : NaN))
      .filter((one) => one === one);
    if (!values.length) return worded(quantity, NaN);
    return `${worded(quantity, Math.min(...values))} … ${worded(quantity, Math.max(...values))}`;
  }

  return {
    element,
    update() {
      const outline = ctx.focus && ctx.session.outline(ctx.focus.name);
      list.update();
      fill(notices, ...(outline?.notices ?? []).map((one) => h("p.notice", {}, one)));
      // One size and one left edge, so that the same step lies on one line in all of them.
      const labels = maps.flatMap((one) => one.labels() ?? []);
      const left = leftFor(labels);
      const height = Math.max(0, ...maps.map((one) => heightFor(one.labels()?.length ?? 0)));
      for (const one of maps) one.update({ left, height });
      read();
    },
    hovered() {
      for (const one of maps) one.cross();
      read();
    },
    depth: () => maps[0].depth(),
  };
}
