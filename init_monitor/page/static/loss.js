/**
 * The training loss over the slider: a line per shown run, over the same steps as the slider and the heatmaps.
 * @module
 */

import { line } from "./axes.js";
import { stepsAt } from "./depth.js";
import { fill, h } from "./dom.js";
import { figureNumber, formatNumber, formatStep } from "./format.js";
import { reading } from "./parts.js";
import { columnAt } from "./payload.js";
import { extent, LOG_FROM } from "./scales.js";
import { surface, theme } from "./surface.js";
import { axisOf } from "./timeline.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Losses} Losses */
/** @typedef {{name: string, colour: string, dash: number[], focused: boolean, losses: Losses, values: number[]}} Curve */

const HEIGHT = 46;
const PAD = 5;

/** @type {WeakMap<Losses, number[]>} */
const numbers = new WeakMap();

/** @param {Losses} losses */
function valuesOf(losses) {
  let known = numbers.get(losses);
  if (!known) numbers.set(losses, (known = losses.values.map(figureNumber)));
  return known;
}

/**
 * A loss in words; unlike a layer that was not measured, one that is NaN was computed.
 * @param {number} value
 */
function formatLoss(value) {
  return Number.isNaN(value) ? "NaN" : formatNumber(value);
}

/** @param {Losses} losses @param {number} step @returns {string} empty before the first known loss */
function lossAt(losses, step) {
  const column = columnAt(losses.steps, step);
  return column < 0 ? "" : formatLoss(valuesOf(losses)[column]);
}

/**
 * The text next to the slider: the loss at the selected step, and where it became non-finite.
 * @param {Context} ctx
 */
export function lossWords(ctx) {
  const losses = ctx.focus && ctx.session.outline(ctx.focus.name)?.losses;
  if (!losses) return null;
  const turned = losses.nonfinite_from;
  return h(
    "div.loss",
    {},
    h("span.muted", {}, "loss "),
    h("b", {}, lossAt(losses, ctx.step) || "not known"),
    turned === null ? null : h("span.broken", {}, ` not finite from step ${formatStep(turned)}`),
  );
}

/**
 * @param {Context} ctx
 * @param {(step: number) => void} choose
 */
export function lossStrip(ctx, choose) {
  /** @type {Curve[]} */
  let curves = [];
  /** @type {(value: number) => number} share of the height; NaN where there is none */
  let at = () => NaN;
  let axis = axisOf([], []);
  /** @type {unknown[]} */
  let drawn = [];

  const on = surface({
    height: HEIGHT,
    label: "Training loss over the steps",
    draw: paint,
    onMove: point,
    onLeave: () => {
      ctx.tip.hide();
      ctx.point(null);
    },
    onClick: (x) => choose(axis.stepAt(x, on.size().width)),
    zoom: {
      box: () => ({ left: 0, top: 0, width: Math.max(1, on.size().width), height: HEIGHT }),
      axes: { x: true, y: false },
      count: () => ({ x: ctx.timeline.length, y: 1 }),
      onZoom: ({ x }) => x && ctx.set(stepsAt(ctx, ctx.whole, x)),
      onWhole: () => ctx.set({ from: null, until: null }),
    },
  });
  const element = h("div.strip");
  const scale = h("div.strip-scale", { "aria-hidden": "true" });

  /** @param {number} x @param {number} y */
  function point(x, y) {
    const step = Math.round(axis.stepAt(x, on.size().width));
    ctx.point({ layer: "", step });
    ctx.tip.show(on.element, x, y, [
      h("div.tip-title", {}, "Training loss"),
      reading("step", formatStep(step)),
      ...curves.map((one) =>
        reading(
          curves.length > 1 ? one.name : "loss",
          lossAt(one.losses, step) || "not known",
          curves.length > 1 ? one : undefined,
        ),
      ),
    ]);
  }

  /** @param {number} step */
  const xOf = (step) => axis.at(step, on.size().width);

  /** @param {number} value */
  const yOf = (value) => PAD + (1 - at(value)) * (HEIGHT - 2 * PAD);

  /** @param {CanvasRenderingContext2D} g @param {number} width */
  function paint(g, width) {
    const { faint, line: ruled } = theme();
    line(g, 0, HEIGHT - 0.5, width, HEIGHT - 0.5, faint);
    for (const edge of axis.edges(width)) line(g, edge, 0, edge, HEIGHT, ruled, [2, 3]);
    // The run in focus is drawn on top.
    for (const one of [...curves].sort((a, b) => Number(a.focused) - Number(b.focused))) curve(g, one, width);
    above();
  }

  /** @param {CanvasRenderingContext2D} g @param {Curve} one @param {number} width */
  function curve(g, one, width) {
    const { critical } = theme();
    const { steps, nonfinite_from: turned } = one.losses;
    g.globalAlpha = one.focused ? 1 : 0.45;
    if (turned !== null && one.focused) {
      g.fillStyle = critical;
      g.globalAlpha = 0.14;
      g.fillRect(xOf(turned), 0, Math.max(2, width - xOf(turned)), HEIGHT);
      g.globalAlpha = 1;
    }
    g.strokeStyle = one.colour;
    g.lineWidth = 1.5;
    g.lineJoin = "round";
    g.setLineDash(one.dash);
    g.beginPath();
    let drawing = false;
    one.values.forEach((value, i) => {
      // A loss that is not finite is a gap, not a line to somewhere.
      if (!Number.isFinite(value)) drawing = false;
      else if (drawing) g.lineTo(xOf(steps[i]), yOf(value));
      else {
        g.moveTo(xOf(steps[i]), yOf(value));
        g.lineTo(xOf(steps[i]) + 0.5, yOf(value));
        drawing = true;
      }
    });
    g.stroke();
    g.setLineDash([]);
    one.values.forEach((value, i) => {
      if (Number.isFinite(value) || (turned !== null && steps[i] > turned)) return;
      line(g, xOf(steps[i]), 0, xOf(steps[i]), HEIGHT, critical);
    });
    g.globalAlpha = 1;
  }

  function above() {
    on.overlay((g) => {
      const { ink, accent } = theme();
      /** @param {number | null} step @param {string} colour @param {number[]} dash */
      const upright = (step, colour, dash) => {
        if (step === null) return;
        const x = Math.round(xOf(step)) + 0.5;
        line(g, x, 0, x, HEIGHT, colour, dash);
        for (const { losses, values, colour: own } of curves) {
          const column = columnAt(losses.steps, step);
          if (column < 0 || !Number.isFinite(values[column])) continue;
          g.fillStyle = own;
          g.beginPath();
          g.arc(x, yOf(values[column]), 3, 0, 2 * Math.PI);
          g.fill();
        }
      };
      upright(ctx.step, accent, []);
      upright(ctx.hover.step, ink, [3, 2]);
    });
  }

  return {
    element,
    /** The ends of the range, next to the line. */
    scale,
    update() {
      curves = ctx.runs.flatMap((run) => {
        const losses = ctx.session.outline(run.name)?.losses;
        const { name, colour, dash } = run;
        const part = losses && partOf(losses, ctx.state);
        return part ? [{ name, colour, dash, losses: part, focused: run === ctx.focus, values: valuesOf(part) }] : [];
      });
      /** @type {unknown[]} */
      const now = [ctx.state.scale, theme().dark, ctx.timeline.length, ctx.timeline[0], ctx.timeline.at(-1), ctx.focus?.name];
      now.push(...curves.map((one) => one.losses), ...curves.map((one) => one.name));
      if (now.length === drawn.length && now.every((one, i) => one === drawn[i])) {
        above();
        return axis;
      }
      drawn = now;
      axis = axisOf(
        ctx.timeline,
        curves.map((one) => one.losses.steps),
      );
      const range = extent(curves.flatMap((one) => one.values));
      const log = ctx.state.scale === "log" && range.low > 0 && range.high / range.low > LOG_FROM;
      at = shares(range.low, range.high, log);
      const ends = range.high >= range.low ? [formatNumber(range.high), log ? "log" : "", formatNumber(range.low)] : [];
      fill(scale, ...ends.map((one) => h("span", {}, one)));
      scale.hidden = !ends.length;
      fill(element, curves.length ? on.element : null);
      on.redraw();
      return axis;
    },
    hovered: above,
  };
}

/** @type {WeakMap<Losses, {key: string, part: Losses}>} */
const parts = new WeakMap();

/**
 * The losses of the steps that are shown; the same object as long as it is the same part.
 * @param {Losses} losses @param {import("./types.js").State} state
 */
function partOf(losses, { from, until }) {
  if (from === null && until === null) return losses;
  const key = `${from} ${until}`;
  let known = parts.get(losses);
  if (known?.key !== key) {
    const kept = losses.steps.flatMap((step, i) => (step >= (from ?? step) && step <= (until ?? step) ? [i] : []));
    const part = { ...losses, steps: kept.map((i) => losses.steps[i]), values: kept.map((i) => losses.values[i]) };
    known = { key, part };
    parts.set(losses, known);
  }
  return known.part.steps.length ? known.part : null;
}

/**
 * Where a loss lies between the smallest and the largest.
 * @param {number} low @param {number} high @param {boolean} log
 * @returns {(value: number) => number}
 */
function shares(low, high, log) {
  const placed = log ? Math.log10 : (/** @type {number} */ value) => value;
  const from = placed(low);
  const span = placed(high) - from;
  return (value) => (span > 0 ? (placed(value) - from) / span : 0.5);
}
