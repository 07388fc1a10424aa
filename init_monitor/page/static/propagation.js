/**
 * Signal propagation: variance over depth at one step, forward and backward, several runs in one picture.
 * @module
 */

import { attentionPanel } from "./attention.js";
import { depthAt, depthOf, toggleBlock } from "./depth.js";
import { h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { lineOf, saidOf } from "./folded_lines.js";
import { formatStep } from "./format.js";
import { lineChart, TINT } from "./lines.js";
import { mergedNames, profile, rowsOf } from "./model.js";
import { block, card, nothing, reading, swatch } from "./parts.js";
import { quantityOf, shownOn, worded } from "./quantities.js";
import { measuredAt, steadyRange, wayBack } from "./ranges.js";
import { theme } from "./surface.js";
import { tintOf } from "./tint.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */

/** Runs are laid over each other by name if at least this share of their layers has the same names. */
const ALIKE = 0.5;

/**
 * The places of the depth axis, and what each run calls them.
 * @param {string[][]} lists names of each run
 */
function places(lists) {
  const merged = mergedNames(lists);
  const shared = lists.every((one) => one.length >= ALIKE * merged.length);
  if (shared) return { names: merged, own: lists.map(() => merged), alike: true };
  const longest = lists.reduce((a, b) => (b.length > a.length ? b : a), []);
  return { names: longest, own: lists, alike: false };
}

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function propagationView(ctx) {
  let merged = places([]);
  /** Rows that the places were made from. @type {number[][]} */
  let made = [];
  /** @type {import("./depth.js").Depth | null} */
  let depth = null;
  const panelIds = shownOn("propagation");
  /** @type {import("./lines.js").Line[][]} */
  const drawn = panelIds.map(() => []);
  const charts = panelIds.map((id, i) =>
    lineChart({
      label: `${quantityOf(id).title} over depth`,
      height: 230,
      onHover(place, x, y) {
        const entry = place === null ? null : depth?.shown[place];
        if (place === null || !entry || !depth) {
          ctx.tip.hide();
          ctx.point(null);
          return;
        }
        ctx.point({ layer: entry.name, step: null });
        const quantity = quantityOf(id);
        const { kind } = depth.shownLabels[place];
        ctx.tip.show(charts[i].element, x, y, [
          h("div.tip-title", {}, entry.name),
          ...(kind ? [reading("type", kind)] : []),
          ...ctx.runs.map((run, k) =>
            reading(run.name, saidOf(drawn[i][k], place, (value) => worded(quantity, value)), run),
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
    "Signal propagation",
    "Variance of every layer's output, from the input (left) to the output (right), and below it of the loss gradient there. Level lines train; slopes vanish or explode.",
    {
      png: () =>
        savePng(
          "signal-propagation",
          `Signal propagation at step ${formatStep(ctx.step)}`,
          charts.map((one) => one.canvas),
        ),
      csv: () =>
        saveCsv(
          `signal-propagation-step-${ctx.step}`,
          ["run", "layer", ...panelIds],
          ctx.runs.flatMap((run, k) => {
            const names = merged.own[k] ?? [];
            const columns = panelIds.map((id) => profile(ctx.session.series(run.name, id), names, ctx.step));
            return names.map((name, i) => [run.name, name, ...columns.map((one) => one[i])]);
          }),
        ),
    },
  );
  const panels = charts.map((chart, i) => h("div.panel", {}, h("h4", {}, quantityOf(panelIds[i]).title), chart.element));
  const attention = attentionPanel(ctx);
  const element = h("div.view", {}, holder.element, attention.element);

  /** @param {(Series | null)[]} all */
  function find(all) {
    const rows = all.map((series) => (series ? rowsOf(series, ctx.state.filter, ctx.test) : []));
    if (rows.length !== made.length || rows.some((one, k) => one !== made[k])) {
      made = rows;
      merged = places(rows.map((own, k) => own.map((row) => /** @type {Series} */ (all[k]).names[row])));
    }
    const outlines = ctx.runs.map((run) => ctx.session.outline(run.name));
    // Different networks lie over each other by position: a block of one is none of the other.
    const longest = merged.own.findIndex((one) => one === merged.names);
    depth = depthOf(ctx, merged, () => merged.names, merged.alike ? outlines : [outlines[longest] ?? null], { folds: merged.alike });
  }

  return {
    element,
    update() {
      attention.update();
      const all = ctx.runs.map((run) => ctx.session.series(run.name, "variance"));
      find(all);
      holder.title("Signal propagation", `at step ${formatStep(ctx.step)}`);
      if (!depth || !merged.names.length) {
        holder.legend();
        holder.body(
          ctx.session.busy()
            ? h("div.waiting", {}, "Loading …")
            : nothing(
                "Nothing to draw",
                ctx.state.filter
                  ? "No layer of these runs fits the filter."
                  : ctx.runs.length
                    ? "No layer of these runs has a number: each was NaN at every step, or not measured."
                    : "Choose a run above.",
              ),
        );
        return;
      }
      const tint = tintOf(ctx);
      const { as, shown } = depth;
      const names = shown.map((entry) => entry.name);
      const marked = new Set([...tint.layers].map(as).filter((name) => names.includes(name)));
      holder.legend(
        ...ctx.runs.map((run, k) => swatch(run, `${run.name}${measuredAt(all[k], ctx.step)}`)),
        marked.size ? block(TINT[theme().dark ? "dark" : "light"], tint.words) : null,
        merged.alike ? null : h("span.muted", {}, "different networks: laid over each other by position"),
        wayBack(ctx, all),
        h("button.live", { type: "button", title: "What recipes would make of this signal", onclick: () => ctx.set({ view: "recipes" }) }, "Try recipes"),
      );
      charts.forEach((chart, i) => {
        const quantity = quantityOf(panelIds[i]);
        const series = ctx.runs.map((run) => ctx.session.series(run.name, panelIds[i]));
        drawn[i] = ctx.runs.map((run, k) => ({
          ...lineOf(run, series[k], merged.own[k], /** @type {import("./depth.js").Depth} */ (depth), ctx.step),
          faded: ended(series[k], ctx.step),
        }));
        const part = new Set(shown.flatMap((entry) => entry.rows));
        const own = merged.own.map((list) => list.filter((_, place) => part.has(place)));
        chart.show({
          quantity,
          wanted: ctx.state.scale,
          names,
          labels: depth?.shownLabels ?? [],
          bare: i < charts.length - 1,
          marked,
          range: steadyRange(ctx, series, drawn[i].map((one) => one.values), ctx.state.depth ? own : null),
          guides: quantity.guides,
          lines: drawn[i],
        });
      });
      if (panels[0].parentElement === null) holder.body(...panels);
      this.hovered?.();
    },
    hovered() {
      const place = (/** @type {string} */ layer) => {
        const name = layer && depth ? depth.as(layer) : "";
        const at = depth?.shown.findIndex((entry) => entry.name === name) ?? -1;
        return at < 0 ? null : at;
      };
      for (const chart of charts) chart.cursor({ hovered: place(ctx.hover.layer), picked: place(ctx.state.layer) });
    },
    depth: () => depth,
  };
}

/** @param {Series | null} series @param {number} step */
function ended(series, step) {
  return !!series && series.steps.length > 0 && step > series.steps[series.steps.length - 1];
}
