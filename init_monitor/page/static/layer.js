/**
 * Everything that is known about one layer, over steps.
 * @module
 */

import { stepsAt, WHOLE } from "./depth.js";
import { fill, h, iconButton } from "./dom.js";
import { saveCsv, savePng } from "./download.js";
import { formatStep } from "./format.js";
import { kindOf } from "./labels.js";
import { lineChart } from "./lines.js";
import { ownerOf, relatedTo } from "./model.js";
import { mapNothing } from "./map_card.js";
import { nothing, pill, reading, card } from "./parts.js";
import { everyQuantity, worded } from "./quantities.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {{quantity: import("./quantities.js").Quantity, name: string, rows: (Float32Array | null)[]}} Shown */

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function layerView(ctx) {
  const head = h("header.view-head.layer-head");
  const grid = h("div.grid.small");
  const element = h("div.view", {}, head, grid);
  /** @type {Map<string, ReturnType<typeof smallChart>>} */
  const made = new Map();
  /** @type {string[]} */
  let order = [];
  /** What the page was drawn from: if only the step changed, only the cursors move. @type {unknown[]} */
  let drawn = [];

  const known = () => {
    const outline = ctx.focus && ctx.session.outline(ctx.focus.name);
    return outline ? [...outline.names, ...outline.residual_names] : [];
  };

  return {
    element,
    update() {
      const outline = ctx.focus && ctx.session.outline(ctx.focus.name);
      const names = known().filter((name) => ctx.test(name));
      if (!outline) {
        drawn = [];
        fill(grid, mapNothing(ctx));
        return;
      }
      const layer = layerIn(ctx.state.layer, known()) || names[0] || "";
      const all = ctx.runs.map((run) => {
        const own = ctx.session.outline(run.name);
        return own ? ctx.session.layer(run.name, relatedTo(own, ownerOf(own, layer))) : null;
      });
      const runs = ctx.runs.map((run) => `${run.name}\n${run.colour}`).join("\n");
      const { scale, filter } = ctx.state;
      const { length } = ctx.timeline;
      const from = [layer, outline, runs, scale, filter, length, ctx.timeline[0], ctx.timeline[length - 1], ctx.session.busy(), ...all];
      if (from.length === drawn.length && from.every((one, i) => one === drawn[i])) {
        for (const key of order) made.get(key)?.cursor();
        return;
      }
      drawn = from;
      fill(head, ...heading(ctx, layer, names));
      if (!layer) {
        fill(grid, nothing("No layer", "No layer of this run fits the filter."));
        order = [];
        return;
      }
      const shown = chartsOf(ctx, all);
      if (!shown.length) {
        fill(
          grid,
          ctx.session.busy()
            ? h("div.waiting", {}, "Loading …")
            : nothing("No numbers", `Nothing was measured of ${layer} in these runs.`),
        );
        order = [];
        return;
      }
      const keys = shown.map((one) => `${one.quantity.id}\n${one.name}`);
      for (const one of shown) {
        const key = `${one.quantity.id}\n${one.name}`;
        if (!made.has(key)) made.set(key, smallChart(ctx, one.quantity, one.name));
      }
      if (keys.join("\n\n") !== order.join("\n\n")) {
        order = keys;
        fill(grid, ...keys.map((key) => made.get(key)?.element ?? null));
        for (const key of made.keys()) if (!keys.includes(key)) made.delete(key);
      }
      for (const one of shown) made.get(`${one.quantity.id}\n${one.name}`)?.update(one, layer);
    },
    hovered() {
      for (const key of order) made.get(key)?.cursor();
    },
    layers: () => known().filter((name) => ctx.test(name)),
  };
}

/**
 * A layer that there is; of a block its first one.
 * @param {string} layer @param {string[]} names
 */
function layerIn(layer, names) {
  if (names.includes(layer)) return layer;
  return names.find((name) => name.startsWith(`${layer}.`)) ?? layer;
}

/** @param {Context} ctx @param {string} layer @param {string[]} names */
function heading(ctx, layer, names) {
  const outline = /** @type {import("./types.js").Outline} */ (ctx.focus && ctx.session.outline(ctx.focus.name));
  const described = outline.layers.find((one) => one.name === layer);
  const residual = outline.residuals.find((one) => one.name === layer);
  const at = names.indexOf(layer);
  const facts = described
    ? [
        described.kind,
        described.role === "weight" && described.fan_in
          ? `fan_in ${described.fan_in}, fan_out ${described.fan_out}`
          : "",
        described.activation && described.role !== "activation" ? `followed by ${described.activation}` : "",
        described.dtype ?? "",
      ]
    : [
        residual
          ? `residual addition (${residual.nested ? "nested" : residual.long ? "long skip" : residual.kind})`
          : "",
      ];
  const go = (/** @type {number} */ to) => () => ctx.set({ layer: names[to] ?? layer });
  const choose = h(
    "select.choose",
    {
      "aria-label": "Layer",
      onchange: (/** @type {Event} */ event) =>
        ctx.set({ layer: /** @type {HTMLSelectElement} */ (event.target).value }),
    },
    ...(at < 0 && layer ? [layer, ...names] : names).map((name) =>
      h("option", { value: name, selected: name === layer }, [name, kindOf([outline], name)].filter(Boolean).join(" · ")),
    ),
  );
  const position = at < 0 ? "" : `${at + 1} of ${names.length}`;
  const found = outline.findings.filter((one) => one.layers.includes(layer));
  return [
    h(
      "div.layer-line",
      {},
      iconButton("left", "Previous layer (↑)", go(at - 1)),
      iconButton("right", "Next layer (↓)", go(at + 1)),
      choose,
      h("span.muted", {}, position),
    ),
    h("p.explains", {}, facts.filter(Boolean).join(" · ")),
    found.length
      ? h(
          "div.layer-findings",
          {},
          ...found.map((one) =>
            h(
              "button.link.finding-link",
              { type: "button", onclick: () => ctx.set({ view: "findings" }) },
              pill(one.severity, one.code),
              `step ${formatStep(one.step)}: ${one.message}`,
            ),
          ),
        )
      : null,
  ];
}

/**
 * One chart per quantity and name that any run measured.
 * @param {Context} ctx @param {(Series | null)[]} all
 * @returns {Shown[]}
 */
function chartsOf(ctx, all) {
  /** @type {Map<string, Shown>} */
  const shown = new Map();
  const every = everyQuantity();
  all.forEach((series, k) => {
    series?.names.forEach((name, row) => {
      const id = series.quantities?.[row] ?? "";
      const numbers = series.values.subarray(row * series.steps.length, (row + 1) * series.steps.length);
      if (numbers.every((one) => one !== one)) return;
      const quantity = every.find((one) => one.id === id);
      if (!quantity) return;
      // Counts that are 0 throughout add nothing, so they are left out.
      if (quantity.form === "count" && numbers.every((one) => !(one > 0))) return;
      const key = `${id}\n${name}`;
      const one = shown.get(key) ?? { quantity, name, rows: ctx.runs.map(() => null) };
      one.rows[k] = onTimeline(numbers, series.steps, ctx.timeline);
      shown.set(key, one);
    });
  });
  const rank = new Map(every.map((one, i) => [one.id, i]));
  return [...shown.values()].sort((a, b) => (rank.get(a.quantity.id) ?? 0) - (rank.get(b.quantity.id) ?? 0));
}

/** @param {Float32Array} numbers @param {number[]} steps @param {number[]} timeline */
function onTimeline(numbers, steps, timeline) {
  if (steps.length === timeline.length && steps.every((step, i) => step === timeline[i])) return numbers;
  const values = new Float32Array(timeline.length).fill(NaN);
  let place = 0;
  steps.forEach((step, i) => {
    while (place < timeline.length && timeline[place] < step) place += 1;
    if (timeline[place] === step) values[place] = numbers[i];
  });
  return values;
}

/** @param {Context} ctx @param {import("./quantities.js").Quantity} quantity @param {string} name */
function smallChart(ctx, quantity, name) {
  /** @type {Shown | null} */
  let content = null;
  const chart = lineChart({
    label: `${quantity.title} of ${name} over steps`,
    height: 120,
    onHover(place, x, y) {
      if (place === null) {
        ctx.tip.hide();
        ctx.point(null);
        return;
      }
      ctx.point({ layer: "", step: ctx.timeline[place] });
      ctx.tip.show(chart.element, x, y, [
        h("div.tip-title", {}, `step ${formatStep(ctx.timeline[place])}`),
        ...ctx.runs.flatMap((run, k) => {
          const value = content?.rows[k]?.[place] ?? NaN;
          return Number.isNaN(value) ? [] : [reading(run.name, worded(quantity, value), run)];
        }),
      ]);
    },
    onPick: (place) => ctx.set({ step: ctx.timeline[place] }),
    onZoom: (share) => ctx.set(share ? stepsAt(ctx, ctx.whole, share) : WHOLE),
  });
  const holder = card(quantity.title, quantity.explains, {
    png: () => savePng(`${name}-${quantity.id}`, `${quantity.title} · ${name}`, [chart.canvas]),
    csv: () =>
      saveCsv(
        `${name}-${quantity.id}`,
        ["step", ...ctx.runs.map((run) => run.name)],
        ctx.timeline.map((step, i) => [step, ...(content?.rows ?? []).map((row) => row?.[i] ?? NaN)]),
      ),
  });
  holder.element.dataset.quantity = quantity.id;
  holder.body(chart.element);

  function cursor() {
    const place = ctx.hover.step === null ? -1 : ctx.timeline.indexOf(ctx.hover.step);
    chart.cursor({ hovered: place < 0 ? null : place, picked: ctx.timeline.indexOf(ctx.step) });
  }

  return {
    element: holder.element,
    cursor,
    /** @param {Shown} next @param {string} layer */
    update(next, layer) {
      content = next;
      holder.title(
        quantity.title,
        next.name === layer ? "" : next.name.startsWith(`${layer}.`) ? next.name.slice(layer.length + 1) : next.name,
      );
      chart.show({
        quantity,
        wanted: ctx.state.scale,
        steps: ctx.timeline,
        guides:
          quantity.form === "log" && quantity.centre !== null && quantity.of !== "parameters"
            ? [{ value: quantity.centre, label: "" }]
            : [],
        lines: ctx.runs.flatMap((run, k) => {
          const values = next.rows[k];
          return values ? [{ name: run.name, colour: run.colour, dash: run.dash, values }] : [];
        }),
      });
      cursor();
    },
  };
}
