/**
 * The state of every rectifier's units: dead, always positive, or active.
 * @module
 */

import { barChart } from "./bars.js";
import { depthAt, depthOf, toggleBlock } from "./depth.js";
import { h } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { formatShare, formatStep } from "./format.js";
import { profile, rowsOf } from "./model.js";
import { BEYOND } from "./palette.js";
import { block, card, nothing, reading } from "./parts.js";
import { fewPositions } from "./quantities.js";
import { measuredAt, rangeOf } from "./ranges.js";
import { theme } from "./surface.js";

/** @typedef {import("./types.js").Context} Context */

/** Dead, always positive, both signs: distinguishable by lightness alone. */
const COLOURS = {
  light: ["#5b1a75", "#e69f00", "#d9e2ea", BEYOND.light],
  dark: ["#c9a0e0", "#e69f00", "#3a424c", BEYOND.dark],
};

const LABELS = ["dead (never positive)", "always positive (linear)", "both signs (working)", "not finite (NaN or ∞)"];

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function unitsView(ctx) {
  const legend = h("div.legend");
  const grid = h("div.grid.columns");
  const element = h(
    "div.view",
    {},
    h(
      "header.view-head",
      {},
      h("h2", {}, "Units of the rectifiers"),
      h(
        "p.explains",
        {},
        "Over the window of samples seen so far, is a unit's pre-activation always negative, always positive, or both? Only the last kind is nonlinear.",
      ),
    ),
    legend,
    grid,
  );
  /** @type {Map<string, ReturnType<typeof runBars>>} */
  const made = new Map();
  /** @type {string[]} */
  let order = [];

  return {
    element,
    update() {
      const colours = theme().dark ? COLOURS.dark : COLOURS.light;
      legend.replaceChildren(...LABELS.map((label, i) => block(colours[i], label)));
      const names = ctx.runs.map((run) => run.name);
      if (names.join("\n") !== order.join("\n")) {
        order = names;
        for (const name of names) if (!made.has(name)) made.set(name, runBars(ctx, name));
        grid.replaceChildren(
          ...names.map((name) => /** @type {ReturnType<typeof runBars>} */ (made.get(name)).element),
        );
      }
      for (const name of names) made.get(name)?.update(colours);
    },
    hovered() {
      for (const name of order) made.get(name)?.cursor();
    },
    depth: () => made.get(ctx.focus?.name ?? "")?.depth() ?? null,
  };
}

/** @param {Context} ctx @param {string} run */
function runBars(ctx, run) {
  /** Rectifiers with a number at this step. @type {string[]} */
  let names = [];
  /** @type {Float32Array[]} */
  let parts = [];
  /** @type {import("./depth.js").Depth | null} */
  let depth = null;
  /** Of each row that is shown the layer whose units it shows: of a folded block the one with most dead ones. @type {number[]} */
  let stands = [];
  /** The bars were asked for although every unit works. */
  let asked = false;
  let listed = "";
  /** Stands for the names, as long as they are the same. */
  let handle = {};
  const chart = barChart({
    label: `Unit categories of ${run}`,
    onHover(row, x, y) {
      const entry = row === null ? null : depth?.shown[row];
      if (row === null || !entry || !depth) {
        ctx.tip.hide();
        ctx.point(null);
        return;
      }
      const i = stands[row];
      const { kind } = depth.shownLabels[row];
      ctx.point({ layer: entry.name, step: null });
      ctx.tip.show(chart.element, x, y, [
        h("div.tip-title", {}, entry.fold ? `${entry.name}: most dead in ${names[i].slice(entry.name.length + 1)}` : entry.name),
        ...(kind ? [reading("type", kind)] : []),
        ...LABELS.map((label, k) =>
          reading(label, formatShare(parts[k][i]), (theme().dark ? COLOURS.dark : COLOURS.light)[k]),
        ),
      ]);
    },
    onPick(row) {
      const entry = depth?.shown[row];
      if (!entry || !depth) return;
      if (entry.fold) toggleBlock(ctx, depth, entry.name);
      else ctx.set({ view: "layer", layer: entry.name });
    },
    onZoom: (share) => depth && ctx.set(share ? depthAt(ctx, depth, share) : { depth: null }),
  });
  const holder = card(run, "", {
    png: () => savePng(`${run}-units`, `Units of ${run} at step ${formatStep(ctx.step)}`, [chart.canvas]),
    csv: () =>
      saveCsv(
        `${run}-units-step-${ctx.step}`,
        ["layer", ...LABELS],
        names.map((name, i) => [name, ...parts.map((one) => one[i])]),
      ),
  });
  function cursor() {
    const as = (/** @type {string} */ layer) => (layer && depth ? depth.as(layer) : layer);
    chart.cursor({ hovered: as(ctx.hover.layer), picked: as(ctx.state.layer) });
  }

  /**
   * Is it 0 for every rectifier at every step?
   * @param {import("./types.js").Series | null} series
   */
  function none(series) {
    return !series || rangeOf(series, rowsOf(series, ctx.state.filter, ctx.test)).high === 0;
  }

  /** The layer of a row that is shown. @param {import("./types.js").Entry} entry */
  function standsFor(entry) {
    return entry.rows.reduce((best, row) => (parts[0][row] > parts[0][best] || parts[3][row] > parts[3][best] ? row : best));
  }

  return {
    element: holder.element,
    cursor,
    depth: () => depth,
    /** @param {string[]} colours */
    update(colours) {
      const dead = ctx.session.series(run, "dead_fraction");
      const positive = ctx.session.series(run, "all_positive_fraction");
      names = dead ? rowsOf(dead, ctx.state.filter, ctx.test).map((row) => dead.names[row]) : [];
      const broken = profile(ctx.session.series(run, "nonfinite_count"), names, ctx.step);
      const lost = profile(dead, names, ctx.step);
      const linear = profile(positive, names, ctx.step);
      const known = names.flatMap((_, i) => (Number.isNaN(lost[i]) ? [] : [i]));
      names = known.map((i) => names[i]);
      const first = Float32Array.from(known, (i) => lost[i]);
      const second = Float32Array.from(known, (i) => linear[i] || 0);
      const rest = first.map((one, i) => Math.max(0, 1 - one - second[i]));
      // NaN is neither dead nor always positive, but a layer that outputs it does not work.
      const lies = (/** @type {number} */ i) => broken[known[i]] > 0;
      parts = [first, second, rest.map((one, i) => (lies(i) ? 0 : one)), rest.map((one, i) => (lies(i) ? one : 0))];
      const seen = profile(ctx.session.series(run, "unit_samples"), names, ctx.step).filter((one) => one === one);
      const fewest = seen.length ? Math.min(...seen) : NaN;
      const few = fewest < fewPositions() ? `: from ${formatStep(fewest)} positions per unit, too few to call one dead` : "";
      holder.title(run, `at step ${formatStep(ctx.step)}${measuredAt(dead, ctx.step)}${few}`);
      if (!names.length) {
        depth = null;
        holder.element.classList.remove("slim");
        holder.body(
          ctx.session.busy()
            ? h("div.waiting", {}, "Loading …")
            : nothing(
                "No units to judge",
                ctx.state.filter
                  ? "No rectifier fits the filter."
                  : "This network has no rectifier, or too few samples were seen to call a unit dead.",
              ),
        );
        return;
      }
      const key = names.join("\n");
      if (key !== listed) {
        listed = key;
        handle = {};
      }
      depth = depthOf(ctx, handle, () => names, [ctx.session.outline(run)]);
      const working = [dead, positive].every(none) && parts[3].every((one) => one === 0);
      holder.element.classList.toggle("slim", working && !asked);
      if (working && !asked) {
        holder.body(
          h(
            "p.all-well",
            {},
            h("span.sign.fine", {}, "✓"),
            ` Every unit of all ${names.length} rectifiers works at every step. `,
            h("button.link", { type: "button", onclick: () => ((asked = true), ctx.set({})) }, "Show them"),
          ),
        );
        return;
      }
      if (chart.element.parentElement === null) holder.body(chart.element);
      stands = depth.shown.map(standsFor);
      chart.show({
        names: depth.shown.map((entry) => entry.name),
        labels: depth.shownLabels,
        parts: parts.map((values, i) => ({
          label: LABELS[i],
          colour: colours[i],
          values: stands.map((row) => values[row]),
        })),
      });
      cursor();
    },
  };
}
