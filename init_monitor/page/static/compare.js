/**
 * Runs side by side: the same picture of each with the same colours, and a table with a row of figures for each.
 * @module
 */

import { fill, h } from "./dom.js";
import { saveCsv } from "./download.js";
import { formatStep } from "./format.js";
import { median } from "./median.js";
import { mapCard } from "./map_card.js";
import { mainParameters, profile, rowsOf, stepsOf } from "./model.js";
import { card, nothing } from "./parts.js";
import { everyQuantity, quantityOf, worded } from "./quantities.js";
import { joined, rangeOf } from "./ranges.js";
import { runMark } from "./spark.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./model.js").ShownRun} ShownRun */
/** @typedef {{title: string, explains: string, of: (run: ShownRun) => string}} Row */

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function compareView(ctx) {
  const choose = h("select.choose", {
    "aria-label": "Quantity",
    onchange: (/** @type {Event} */ event) =>
      ctx.set({ quantity: /** @type {HTMLSelectElement} */ (event.target).value }),
  });
  const grid = h("div.grid.columns");
  const table = h("table.runs");
  const holder = card("At the selected step", "", {
    csv: () =>
      saveCsv(
        `runs-step-${ctx.step}`,
        ["run", ...rows.map((row) => row.title)],
        ctx.runs.map((run) => [run.name, ...rows.map((row) => row.of(run))]),
      ),
  });
  holder.body(table);
  const element = h(
    "div.view",
    {},
    h("header.view-head.compare-head", {}, h("h2", {}, "Runs side by side"), choose),
    grid,
    holder.element,
  );
  /** @type {Map<string, ReturnType<typeof mapCard>>} */
  const made = new Map();
  let order = "";
  const rows = rowsFor(ctx);

  return {
    element,
    update() {
      const quantity = quantityOf(ctx.state.quantity);
      const there = everyQuantity().filter((one) => ctx.runs.some((run) => run.quantities.includes(one.id)));
      fill(choose, ...there.map((one) => h("option", { value: one.id, selected: one.id === quantity.id }, one.title)));
      const key = ctx.runs.map((run) => run.name).join("\n");
      if (key !== order) {
        order = key;
        for (const { name } of ctx.runs)
          if (!made.has(name))
            made.set(
              name,
              mapCard(ctx, quantity, () => name),
            );
        fill(
          grid,
          ...ctx.runs.map((run) => made.get(run.name)?.element ?? null),
          ctx.runs.length ? null : nothing("No run is shown", "Choose a run above."),
        );
      }
      const series = ctx.runs.map((run) => ctx.session.series(run.name, quantity.id));
      const known = series.flatMap((one) => (one ? [rangeOf(one, rowsOf(one, ctx.state.filter, ctx.test))] : []));
      for (const run of ctx.runs) {
        const one = made.get(run.name);
        one?.update({ quantity, ...(known.length ? { range: joined(known) } : {}) });
        one?.card.title(run.name, quantity.title);
      }
      holder.title("At the selected step", formatStep(ctx.step));
      holder.element.hidden = !ctx.runs.length;
      fill(
        table,
        h(
          "thead",
          {},
          h("tr", {}, h("th", {}, "run"), ...rows.map((row) => h("th", { title: row.explains, scope: "col" }, row.title))),
        ),
        h(
          "tbody",
          {},
          ...ctx.runs.map((run) =>
            h(
              "tr",
              { "data-run": run.name },
              h("th", { scope: "row" }, runMark(run.colour, run.dash), run.name),
              ...rows.map((row) => h("td", {}, ...breakable(row.of(run)))),
            ),
          ),
        ),
      );
    },
    hovered() {
      for (const run of ctx.runs) made.get(run.name)?.cross();
    },
    depth: () => made.get(ctx.focus?.name ?? "")?.depth() ?? null,
  };
}

/**
 * A number that may be broken before its power of ten, and nowhere else.
 * @param {string} text
 */
function breakable(text) {
  const at = text.indexOf("×10") + 1;
  return at ? [text.slice(0, at), h("wbr"), text.slice(at)] : [text];
}

/** @param {Context} ctx @returns {Row[]} */
function rowsFor(ctx) {
  /** @param {ShownRun} run @param {string} id */
  const measured = (run, id) => {
    const series = ctx.session.series(run.name, id);
    if (!series) return [];
    const every = series.names.map((_, row) => row);
    const rows =
      quantityOf(id).of === "parameters" ? mainParameters(ctx.session.outline(run.name), series, every) : every;
    const names = rows.map((row) => series.names[row]);
    return [...profile(series, names, ctx.step)].filter((one) => one === one);
  };
  /** @param {string} title @param {string} id @param {(all: number[]) => number} reduce @returns {Row} */
  const figure = (title, id, reduce) => ({
    title,
    explains: quantityOf(id).explains,
    of: (run) => {
      const all = measured(run, id);
      return all.length ? worded(quantityOf(id), reduce(all)) : "–";
    },
  });
  /** @param {number[]} all */
  const lastOverFirst = (all) => all[all.length - 1] / all[0];
  /** @type {Row} */
  const found = {
    title: "critical, warnings",
    explains: "Findings in the whole run",
    of: (run) => {
      const outline = ctx.session.outline(run.name);
      if (!outline) return "–";
      return ["critical", "warning"]
        .map((severity) => outline.findings.filter((one) => one.severity === severity).length)
        .join(", ");
    },
  };
  return [
    { title: "newest step", explains: "", of: (run) => formatStep(run.step) },
    {
      title: "sampled steps",
      explains: "Steps that are shown",
      of: (run) => formatStep(stepsOf(run, ctx.session).length),
    },
    { title: "layers", explains: "", of: (run) => String(ctx.session.outline(run.name)?.names.length ?? "–") },
    found,
    figure("variance, last over first layer", "variance", lastOverFirst),
    figure("gradient, first over last layer", "gradient_variance", (all) => 1 / lastOverFirst(all)),
    figure("most dead units in a layer", "dead_fraction", (all) => Math.max(...all)),
    ...everyQuantity()
      .filter((one) => one.compared)
      .map((one) => figure(`median ${one.compared}`, one.id, median)),
  ];
}
