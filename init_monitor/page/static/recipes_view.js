/**
 * The explorer on the run that is shown: its signal at the first step that was measured, and what the textbook's recipes would
 * make of it, switched layer by layer.
 * @module
 */

import { codeBlock } from "../explorer/code.js";
import { ownView } from "../explorer/own_view.js";
import { switchedCode, switchesOf } from "../explorer/switched.js";
import { fill, h } from "./dom.js";
import { formatStep } from "./format.js";
import { nothing } from "./parts.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Series} Series */
/** @typedef {import("../explorer/switched.js").Network} Network */

const SIGNAL = ["mean", "variance", "abs_max", "gradient_variance", "nonfinite_count"];
const SUMS = ["residual_variance_ratio", "residual_growth", "residual_sum_var", "residual_sum_gradient_var"];
const WEIGHTS = "weight_variance";

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function recipesView(ctx) {
  const holder = h("div.shown-side");
  const element = h("div.view.explorer", {}, holder);
  /** @type {{network: Network, view: ReturnType<typeof ownView>, code: ReturnType<typeof codeBlock>} | null} */
  let made = null;
  let drawn = "";

  return {
    element,
    update() {
      const run = ctx.focus;
      const network = run ? networkOf(ctx, run.name) : null;
      if (!run || !network) {
        made = null;
        fill(holder, ctx.session.busy() ? h("div.waiting", {}, "Loading …") : absent());
        return;
      }
      const whole = made?.network !== network;
      if (!made || whole) {
        const code = codeBlock();
        const { warns } = /** @type {import("./types.js").Recipes} */ (ctx.session.recipes(run.name));
        const view = ownView({ network, choices: ctx.state, tip: ctx.tip, warns, set: ctx.set, test: (name) => ctx.test(name) });
        made = { network, view, code };
        fill(holder, view.element, h("section.card.as-code", { "aria-label": "As code" }, h("h3", {}, "As code"), code.element));
      }
      const key = [ctx.state.on, ctx.state.filter].join("\n");
      if (!whole && key === drawn) return;
      drawn = key;
      made.view.update();
      made.code.show(switchedCode(network, switchesOf(ctx.state.on, network.switches.length)));
    },
    layers: () => made?.network.layers.map((layer) => layer.name) ?? [],
  };
}

function absent() {
  return nothing(
    "Nothing to try recipes on",
    "They are tried on the first step of a run that was measured, of the run that is shown. Its file holds no layers, or no variances, of such a step.",
  );
}

/** Made once for the numbers it was made from. @type {WeakMap<object, {key: unknown[], network: Network}>} */
const kept = new WeakMap();

/**
 * The network as the explorer shows it; null until everything has arrived.
 * @param {Context} ctx @param {string} run
 * @returns {Network | null}
 */
function networkOf(ctx, run) {
  const recipes = ctx.session.recipes(run);
  const series = [...SIGNAL, ...SUMS, WEIGHTS].map((id) => ctx.session.series(run, id));
  if (!recipes || !series[1]?.steps.length || ctx.session.busy()) return kept.get(recipes ?? ctx)?.network ?? null;
  const step = series[1].steps[0];
  const known = kept.get(recipes);
  // More steps change nothing of the first.
  if (known && known.key[0] === step && known.key[1] === series[1].names.length) return known.network;
  const of = Object.fromEntries([...SIGNAL, ...SUMS, WEIGHTS].map((id, i) => [id, at(series[i], step)]));
  const weights = of[WEIGHTS];
  /** @type {Network} */
  const network = {
    name: run,
    header: recipes.header,
    layers: recipes.layers.map((layer) => ({
      ...layer,
      bias: weights(layer.parameter),
      acts: layer.acts.map((act) => ({ ...act, current: weights(act.parameter ?? "") })),
    })),
    additions: recipes.additions,
    switches: recipes.switches.map((one) => ({ ...one, current: weights(one.parameter) })),
    moments: {
      base: recipes.layers.map(({ name }) => {
        const [mean, variance, largest, gradient, nonfinite] = SIGNAL.map((id) => of[id](name));
        if (variance === null && !nonfinite) return null;
        return [mean, root(variance), largest, root(gradient), !nonfinite];
      }),
      single: [],
      first: [],
    },
    sums: {
      base: recipes.additions.map(({ name }) => {
        const [ratio, growth, sum, gradient] = SUMS.map((id) => of[id](name));
        return [ratio, growth, sum, gradient];
      }),
      single: [],
      first: [],
    },
    where: `at step ${formatStep(step)}, the first that was measured`,
    left: recipes.left,
  };
  kept.set(recipes, { key: [step, series[1].names.length], network });
  return network;
}

/**
 * A number of a name at a step; null where there is none.
 * @param {Series | null} series @param {number} step
 * @returns {(name: string) => number | null}
 */
function at(series, step) {
  // Of a quantity that is measured later (a gradient), its own first step.
  const column = series ? Math.max(0, series.steps.indexOf(step)) : 0;
  return (name) => {
    const row = series?.index.get(name);
    if (!series || row === undefined) return null;
    const value = series.values[row * series.steps.length + column];
    return Number.isFinite(value) ? value : null;
  };
}

/** @param {number | null} value */
function root(value) {
  return value === null ? null : Math.sqrt(value);
}
