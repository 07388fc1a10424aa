/**
 * The state of every rectifier's units: dead, always positive, or active.
 * @module
 */

import { h } from "./dom.js";
import { barChart } from "./bars.js";
import { saveCsv, savePng } from "./download.js";
import { formatShare, formatStep } from "./format.js";
import { profile, rowsOf } from "./model.js";
import { BEYOND } from "./palette.js";
import { block, card, nothing, reading } from "./parts.js";
import { measuredAt } from "./propagation.js";
import { fewPositions } from "./quantities.js";
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
    layers: () => made.get(ctx.focus?.name ?? "")?.names() ?? [],
  };
}

/** @param {Context} ctx @param {string} run */
function runBars(ctx, run) {
  /** @type {string[]} */
  let names = [];
  /** @type {Float32Array[]} */
  let parts = [];
  const chart = barChart({
    label: `Unit categories of ${run}`,
    onHover(row, x, y) {
      if (row === null) {
        ctx.tip.hide();
        ctx.point(null);
        return;
      }
      ctx.point({ layer: names[row], step: null });
      ctx.tip.show(chart.element, x, y, [
        h("div.tip-title", {}, names[row]),
        ...LABELS.map((label, i) =>
          reading(label, formatShare(parts[i][row]), (theme().dark ? COLOURS.dark : COLOURS.light)[i]),
        ),
      ]);
    },
    onPick: (row) => ctx.set({ view: "layer", layer: names[row] }),
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
  const cursor = () => chart.cursor({ hovered: ctx.hover.layer, picked: ctx.state.layer });

  return {
    element: holder.element,
    cursor,
    names: () => names,
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
      if (chart.element.parentElement === null) holder.body(chart.element);
      chart.show({ names, parts: parts.map((values, i) => ({ label: LABELS[i], colour: colours[i], values })) });
      cursor();
    },
  };
}
