/**
 * Signal propagation: variance over depth at one step, forward and backward, several runs in one picture.
 * @module
 */

import { attentionPanel } from "./attention.js";
import { h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { formatStep } from "./format.js";
import { lineChart } from "./lines.js";
import { mergedNames, profile, rowsOf } from "./model.js";
import { card, nothing, reading, swatch } from "./parts.js";
import { columnAt } from "./payload.js";
import { quantityOf, shownOn } from "./quantities.js";
import { extent } from "./scales.js";
import { worded } from "./overview.js";
import { shown } from "./heatmap.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */

/** Runs are laid over each other by name if at least this share of their layers has the same names. */
const ALIKE = 0.5;

/** @type {WeakMap<Series, {rows: number[], range: ReturnType<typeof extent>}>} */
const ranges = new WeakMap();

/**
 * Extremes over all steps, so that the axis stays fixed during playback.
 * @param {Series} series @param {number[]} rows
 */
export function rangeOf(series, rows) {
  const known = ranges.get(series);
  if (known?.rows === rows) return known.range;
  const range = extent(shown(series, rows));
  ranges.set(series, { rows, range });
  return range;
}

/** Numbers that are looked at to find the usual range: enough for a percentile. */
const LOOKED_AT = 20_000;
/** Left out at either end: a blow-up of a few steps does not flatten all the others, until it is selected. */
const RARE = 0.01;

/** @type {WeakMap<Series, {rows: number[], range: ReturnType<typeof extent>}>} */
const usual = new WeakMap();

/**
 * Where the numbers lie at nearly all steps.
 * @param {Series} series @param {number[]} rows
 */
function usualRange(series, rows) {
  const known = usual.get(series);
  if (known?.rows === rows) return known.range;
  const columns = series.steps.length;
  const count = rows.length * columns;
  const stride = Math.max(1, Math.floor(count / LOOKED_AT)) | 1;
  const finite = [];
  for (let i = 0; i < count; i += stride) {
    const value = series.values[rows[Math.floor(i / columns)] * columns + (i % columns)];
    if (Number.isFinite(value)) finite.push(value);
  }
  finite.sort((a, b) => a - b);
  const cut = Math.floor(finite.length * RARE);
  const range = extent(finite.slice(cut, finite.length - cut));
  usual.set(series, { rows, range });
  return range;
}

/**
 * The range of an axis that stays fixed during playback, except for outliers at the step itself. A run
 * that ended in NaN does not stretch it for the others.
 * @param {Context} ctx @param {(Series | null)[]} all @param {ArrayLike<number>[]} now
 */
export function steadyRange(ctx, all, now) {
  const drawn = now.map((one) => Array.from(one).some(Number.isFinite));
  const counted = drawn.some(Boolean) ? all.filter((_, k) => drawn[k]) : all;
  return joined([
    ...counted.flatMap((one) => (one ? [usualRange(one, rowsOf(one, ctx.state.filter, ctx.test))] : [])),
    ...now.map((one) => extent(Array.from(one))),
  ]);
}

/** @param {ReturnType<typeof extent>[]} all @returns {ReturnType<typeof extent>} */
export function joined(all) {
  return {
    positive: Math.min(...all.map((one) => one.positive)),
    low: Math.min(...all.map((one) => one.low)),
    high: Math.max(...all.map((one) => one.high)),
    infinite: all.some((one) => one.infinite),
    any: all.some((one) => one.any),
  };
}

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
  /** @type {{names: string[], own: string[][], alike: boolean}} */
  let depth = { names: [], own: [], alike: true };
  const panelIds = shownOn("propagation");
  const charts = panelIds.map((id, i) =>
    lineChart({
      label: `${quantityOf(id).title} over depth`,
      height: 230,
      onHover(place, x, y) {
        if (place === null) {
          ctx.tip.hide();
          ctx.point(null);
          return;
        }
        ctx.point({ layer: depth.names[place], step: null });
        const quantity = quantityOf(id);
        ctx.tip.show(charts[i].element, x, y, [
          h("div.tip-title", {}, depth.names[place]),
          ...ctx.runs.map((run, k) => {
            const name = depth.own[k]?.[place];
            const series = ctx.session.series(run.name, id);
            const value = name === undefined ? NaN : profile(series, [name], ctx.step)[0];
            return reading(run.name, worded(quantity, value), run);
          }),
        ]);
      },
      onPick: (place) => ctx.set({ layer: depth.names[place] }),
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
            const names = depth.own[k] ?? [];
            const columns = panelIds.map((id) => profile(ctx.session.series(run.name, id), names, ctx.step));
            return names.map((name, i) => [run.name, name, ...columns.map((one) => one[i])]);
          }),
        ),
    },
  );
  const panels = charts.map((chart, i) => h("div.panel", {}, h("h4", {}, quantityOf(panelIds[i]).title), chart.element));
  const attention = attentionPanel(ctx);
  const element = h("div.view", {}, holder.element, attention.element);

  return {
    element,
    update() {
      attention.update();
      const all = ctx.runs.map((run) => ctx.session.series(run.name, "variance"));
      const lists = all.map((series) =>
        series ? rowsOf(series, ctx.state.filter, ctx.test).map((row) => series.names[row]) : [],
      );
      holder.title("Signal propagation", `at step ${formatStep(ctx.step)}`);
      if (!lists.some((one) => one.length)) {
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
      depth = places(lists);
      holder.legend(
        ...ctx.runs.map((run, k) => swatch(run, `${run.name}${measuredAt(all[k], ctx.step)}`)),
        depth.alike ? null : h("span.muted", {}, "different networks: laid over each other by position"),
        wayBack(ctx, all),
      );
      const marked = new Set(
        ctx.focus
          ? (ctx.session.outline(ctx.focus.name)?.findings ?? [])
              .filter((one) => one.step <= ctx.step && one.severity !== "info")
              .flatMap((one) => one.layers)
          : [],
      );
      charts.forEach((chart, i) => {
        const quantity = quantityOf(panelIds[i]);
        const series = ctx.runs.map((run) => ctx.session.series(run.name, panelIds[i]));
        const now = ctx.runs.map((_, k) => profile(series[k], depth.own[k], ctx.step));
        chart.show({
          quantity,
          wanted: ctx.state.scale,
          names: depth.names,
          bare: i < charts.length - 1,
          marked,
          range: steadyRange(ctx, series, now),
          guides: quantity.guides,
          lines: ctx.runs.map((run, k) => ({
            name: run.name,
            colour: run.colour,
            dash: run.dash,
            faded: ended(series[k], ctx.step),
            values: now[k],
          })),
        });
      });
      if (panels[0].parentElement === null) holder.body(...panels);
      this.hovered?.();
    },
    hovered() {
      const hovered = depth.names.indexOf(ctx.hover.layer);
      const picked = depth.names.indexOf(ctx.state.layer);
      for (const chart of charts) {
        chart.cursor({ hovered: hovered < 0 ? null : hovered, picked: picked < 0 ? null : picked });
      }
    },
    layers: () => depth.names,
  };
}

/**
 * Words for a run that was not measured at the step itself.
 * @param {Series | null} series @param {number} step
 */
export function measuredAt(series, step) {
  if (!series) return "";
  const column = columnAt(series.steps, step);
  if (column < 0) return ` (begins at step ${formatStep(series.steps[0] ?? 0)})`;
  if (!finiteAt(series, column)) return " (no finite number at this step)";
  return series.steps[column] === step ? "" : ` (step ${formatStep(series.steps[column])})`;
}

/** @param {Series} series @param {number} column */
function finiteAt(series, column) {
  const columns = series.steps.length;
  return series.names.some((_, row) => Number.isFinite(series.values[row * columns + column]));
}

/**
 * Where every shown run has become NaN: a link back to the last step with numbers.
 * @param {Context} ctx @param {(Series | null)[]} all
 */
export function wayBack(ctx, all) {
  const begun = all.flatMap((series) => {
    const column = series ? columnAt(series.steps, ctx.step) : -1;
    return series && column >= 0 ? [{ series, column }] : [];
  });
  if (!begun.length || begun.some(({ series, column }) => finiteAt(series, column))) return null;
  const found = begun.flatMap(({ series, column }) => {
    let last = column;
    while (last >= 0 && !finiteAt(series, last)) last -= 1;
    return last < 0 ? [] : [series.steps[last]];
  });
  const step = Math.max(...found);
  return h(
    "p.way-back",
    {},
    "Nothing is finite at this step. ",
    found.length
      ? h("button.link", { type: "button", onclick: () => ctx.set({ step }) }, `Go back to step ${formatStep(step)}`)
      : "Nothing was finite before, either.",
  );
}

/** @param {Series | null} series @param {number} step */
function ended(series, step) {
  return !!series && series.steps.length > 0 && step > series.steps[series.steps.length - 1];
}
