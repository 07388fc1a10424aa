/**
 * Residual additions: how much each branch adds, how the stream grows, and whether skip and branch agree.
 * @module
 */

import { h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { formatNumber, formatStep } from "./format.js";
import { lineChart } from "./lines.js";
import { mergedNames, profile, rowsOf } from "./model.js";
import { mapCard, worded } from "./overview.js";
import { card, nothing, reading, swatch } from "./parts.js";
import { measuredAt, steadyRange, wayBack } from "./propagation.js";
import { quantityOf, shownOn } from "./quantities.js";

/** @typedef {import("./types.js").Context} Context */

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function residualsView(ctx) {
  /** @type {string[]} */
  let names = [];
  const panelIds = shownOn("residuals");
  const sentence = h("p.sentence");
  const charts = panelIds.map((id, i) =>
    lineChart({
      label: `${quantityOf(id).title} of each residual block`,
      height: 150,
      onHover(place, x, y) {
        if (place === null) {
          ctx.tip.hide();
          ctx.point(null);
          return;
        }
        ctx.point({ layer: names[place], step: null });
        ctx.tip.show(charts[i].element, x, y, [
          h("div.tip-title", {}, names[place]),
          ...ctx.runs.map((run) =>
            reading(
              run.name,
              worded(quantityOf(id), profile(ctx.session.series(run.name, id), [names[place]], ctx.step)[0]),
              run,
            ),
          ),
        ]);
      },
      onPick: (place) => ctx.set({ layer: names[place] }),
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
      names = mergedNames(
        all.flatMap((one) => (one ? [rowsOf(one, ctx.state.filter, ctx.test).map((row) => one.names[row])] : [])),
      );
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
        ctx.runs.flatMap((run) =>
          (ctx.session.outline(run.name)?.residuals ?? [])
            .filter((one) => one.nested || one.long)
            .map((one) => one.name),
        ),
      );
      charts.forEach((chart, i) => {
        const series = ctx.runs.map((run) => ctx.session.series(run.name, panelIds[i]));
        const now = series.map((one) => profile(one, names, ctx.step));
        const range = steadyRange(ctx, series, now);
        const guides = quantityOf(panelIds[i]).guides;
        for (const { value } of guides) {
          range.low = Math.min(range.low, value);
          range.high = Math.max(range.high, value);
          if (value > 0) range.positive = Math.min(range.positive, value);
        }
        chart.show({
          quantity: quantityOf(panelIds[i]),
          wanted: ctx.state.scale,
          names,
          bare: i < charts.length - 1,
          style: "stem",
          hollow: aside,
          guides,
          range,
          lines: ctx.runs.map((run, k) => ({
            name: run.name,
            colour: run.colour,
            dash: run.dash,
            values: now[k],
          })),
        });
      });
      if (panels[0].parentElement === null) holder.body(sentence, ...panels);
      for (const one of maps) one.update();
      this.hovered?.();
    },
    hovered() {
      const hovered = names.indexOf(ctx.hover.layer);
      const picked = names.indexOf(ctx.state.layer);
      for (const chart of charts) {
        chart.cursor({ hovered: hovered < 0 ? null : hovered, picked: picked < 0 ? null : picked });
      }
      for (const one of maps) one.cross();
    },
    layers: () => names,
  };
}

/**
 * How the stream grows, in words.
 * @param {Context} ctx
 */
function growthSentence(ctx) {
  const run = ctx.focus;
  const series = run && ctx.session.series(run.name, "residual_growth");
  const outline = run && ctx.session.outline(run.name);
  if (!series || !outline) return "";
  const beside = new Set(outline.residuals.filter((one) => one.nested || one.long).map((one) => one.name));
  const names = series.names.filter((name) => !beside.has(name));
  const logs = [...profile(series, names, ctx.step)].filter((one) => one > 0 && Number.isFinite(one)).map(Math.log);
  if (!logs.length) return "";
  const sum = logs.reduce((a, b) => a + b, 0);
  const blocks = `${logs.length} block${logs.length === 1 ? "" : "s"}`;
  return `In ${run.name} the variance is multiplied by ${formatNumber(Math.exp(sum / logs.length))} per block (geometric mean of ${blocks}); the product over all of them is ${formatNumber(Math.exp(sum))}.`;
}
