/**
 * Residual additions: how much each branch adds, how the stream grows, and whether skip and branch agree.
 * @module
 */

import { depthAt, depthOf, toggleBlock } from "./depth.js";
import { h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { lineOf, saidOf } from "./folded_lines.js";
import { formatStep } from "./format.js";
import { lineChart } from "./lines.js";
import { mapCard } from "./map_card.js";
import { mergedNames, profile, rowsOf } from "./model.js";
import { card, nothing, reading, swatch } from "./parts.js";
import { quantityOf, shownOn, worded } from "./quantities.js";
import { measuredAt, steadyRange, wayBack } from "./ranges.js";
import { growthSentence } from "./stream.js";

/** @typedef {import("./types.js").Context} Context */

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function residualsView(ctx) {
  /** @type {{names: string[]}} */
  let merged = { names: [] };
  /** Rows that the names were made from. @type {number[][]} */
  let made = [];
  /** @type {import("./depth.js").Depth | null} */
  let depth = null;
  const panelIds = shownOn("residuals");
  /** @type {import("./lines.js").Line[][]} */
  const drawn = panelIds.map(() => []);
  const sentence = h("p.sentence");
  const charts = panelIds.map((id, i) =>
    lineChart({
      label: `${quantityOf(id).title} of each residual block`,
      height: 150,
      onHover(place, x, y) {
        const entry = place === null ? null : depth?.shown[place];
        if (place === null || !entry || !depth) {
          ctx.tip.hide();
          ctx.point(null);
          return;
        }
        ctx.point({ layer: entry.name, step: null });
        const { kind } = depth.shownLabels[place];
        ctx.tip.show(charts[i].element, x, y, [
          h("div.tip-title", {}, entry.name),
          ...(kind ? [reading("kind", kind)] : []),
          ...ctx.runs.map((run, k) =>
            reading(run.name, saidOf(drawn[i][k], place, (value) => worded(quantityOf(id), value)), run),
          ),
        ]);
      },
      onPick(place) {
        const entry = depth?.shown[place];
        if (!entry || !depth) return;
        if (entry.fold) toggleBlock(ctx, depth, entry.name);
        else ctx.set({ layer: entry.name });
      },
      onZoom: (share) => depth && ctx.set(share ? depthAt(ctx, depth, share) : { depth: null }),
    }),
  );
  const holder = card(
    "Residual blocks",
    "Each block adds a branch F to its skip x. Hollow marks are blocks outside the main stream (nested, or with a long skip).",
    {
      png: () =>
        savePng(
          "residual-blocks",
          `Residual blocks at step ${formatStep(ctx.step)}`,
          charts.map((one) => one.canvas),
        ),
      csv: () =>
        saveCsv(
          `residual-blocks-step-${ctx.step}`,
          ["run", "residual", ...panelIds],
          ctx.runs.flatMap((run) => {
            const { names } = merged;
            const columns = panelIds.map((id) => profile(ctx.session.series(run.name, id), names, ctx.step));
            return names.map((name, i) => [run.name, name, ...columns.map((one) => one[i])]);
          }),
        ),
    },
  );
  const panels = charts.map((chart, i) =>
    h(
      "div.panel",
      { title: quantityOf(panelIds[i]).explains },
      h("h4", {}, quantityOf(panelIds[i]).title, h("span.muted", {}, ` ${quantityOf(panelIds[i]).explains}`)),
      chart.element,
    ),
  );
  const maps = shownOn("residual_maps").map((id) =>
    mapCard(ctx, quantityOf(id), () => ctx.focus?.name ?? ""),
  );
  const grid = h("div.grid.maps", {}, ...maps.map((one) => one.element));
  const element = h("div.view", {}, holder.element, grid);

  return {
    element,
    update() {
      const all = ctx.runs.map((run) => ctx.session.series(run.name, panelIds[0]));
      const rows = all.map((one) => (one ? rowsOf(one, ctx.state.filter, ctx.test) : []));
      if (rows.length !== made.length || rows.some((one, k) => one !== made[k])) {
        made = rows;
        merged = { names: mergedNames(rows.map((own, k) => own.map((row) => all[k]?.names[row] ?? ""))) };
      }
      const outlines = ctx.runs.map((run) => ctx.session.outline(run.name));
      depth = depthOf(ctx, merged, () => merged.names, outlines, { noun: "additions" });
      const { shown } = depth;
      const names = shown.map((entry) => entry.name);
      grid.hidden = !names.length;
      holder.title("Residual blocks", `at step ${formatStep(ctx.step)}`);
      if (!names.length) {
        holder.legend();
        holder.body(
          ctx.session.busy()
            ? h("div.waiting", {}, "Loading …")
            : nothing(
                "No residual blocks",
                ctx.state.filter
                  ? "No block of these runs fits the filter."
                  : "No addition of a skip and a branch was seen in these networks. One inside a fused or scripted block cannot be seen.",
              ),
        );
        return;
      }
      holder.legend(
        ...ctx.runs.flatMap((run, k) =>
          all[k] ? [swatch(run, `${run.name}${measuredAt(all[k], ctx.step)}`)] : [],
        ),
        wayBack(ctx, all),
      );
      sentence.textContent = growthSentence(ctx);
      const aside = new Set(
        outlines.flatMap((one) => (one?.residuals ?? []).filter((own) => own.nested || own.long).map((own) => own.name)),
      );
      charts.forEach((chart, i) => {
        const series = ctx.runs.map((run) => ctx.session.series(run.name, panelIds[i]));
        const quantity = quantityOf(panelIds[i]);
        const { guides } = quantity;
        drawn[i] = ctx.runs.map((run, k) =>
          lineOf(run, series[k], merged.names, /** @type {import("./depth.js").Depth} */ (depth), ctx.step),
        );
        const range = steadyRange(ctx, series, drawn[i].map((one) => one.values));
        for (const { value } of guides) {
          range.low = Math.min(range.low, value);
          range.high = Math.max(range.high, value);
          if (value > 0) range.positive = Math.min(range.positive, value);
        }
        chart.show({
          quantity,
          wanted: ctx.state.scale,
          names,
          labels: depth?.shownLabels ?? [],
          bare: i < charts.length - 1,
          style: "stem",
          hollow: aside,
          guides,
          range,
          lines: drawn[i],
        });
      });
      if (panels[0].parentElement === null) holder.body(sentence, ...panels);
      for (const one of maps) one.update();
      this.hovered?.();
    },
    hovered() {
      const place = (/** @type {string} */ layer) => {
        const name = layer && depth ? depth.as(layer) : "";
        const at = depth?.shown.findIndex((entry) => entry.name === name) ?? -1;
        return at < 0 ? null : at;
      };
      for (const chart of charts) chart.cursor({ hovered: place(ctx.hover.layer), picked: place(ctx.state.layer) });
      for (const one of maps) one.cross();
    },
    depth: () => depth,
  };
}
