/**
 * The page: holds the choices, updates the context, and lets the view draw at the next frame.
 * @module
 */

import { compareView } from "./compare.js";
import { fill, h } from "./dom.js";
import { findingsView } from "./findings.js";
import { keyboard, keysBox } from "./keys.js";
import { layerView } from "./layer.js";
import { focusOf, matcher, shownRuns, timelineOf } from "./model.js";
import { overviewView } from "./overview.js";
import { copyText, nothing, tooltip } from "./parts.js";
import { columnAt } from "./payload.js";
import { propagationView } from "./propagation.js";
import { recipesView } from "./recipes_view.js";
import { residualsView } from "./residuals.js";
import { selectedBy } from "./selection.js";
import { createSession } from "./session.js";
import { fromLink, toLink } from "./state.js";
import { readTheme, theme } from "./surface.js";
import { toolbar } from "./toolbar.js";
import { unitsView } from "./units.js";
import { widthsView } from "./widths.js";
import { stepSlice } from "./zoom.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").View} View */

/** @type {Record<string, (ctx: Context) => View>} */
const MAKERS = {
  overview: overviewView,
  propagation: propagationView,
  residuals: residualsView,
  units: unitsView,
  layer: layerView,
  findings: findingsView,
  compare: compareView,
  recipes: recipesView,
  widths: widthsView,
};

/** Playing takes about this long, however many steps there are. */
const PLAY_SECONDS = 12;
const FRAME_MS = 60;
/** The address is written once input pauses: browsers refuse more than 100 changes in half a minute. */
const LINK_REST_MS = 400;

const GUIDE = `from init_monitor import InitMonitor

trainer = pl.Trainer(callbacks=[InitMonitor()])
trainer.fit(model)`;

/**
 * @param {HTMLElement} root
 * @param {import("./types.js").Source} source
 * @param {import("./types.js").Host} host
 */
export function startApp(root, source, host) {
  root.classList.add("im");
  const session = createSession(source, ask);
  /** @type {Context} */
  const ctx = {
    state: fromLink(host.readLink()),
    set,
    show,
    session,
    runs: [],
    focus: null,
    whole: [],
    timeline: [],
    step: 0,
    test: () => true,
    hover: { layer: "", step: null },
    point,
    tip: tooltip(root),
  };
  let asked = 0;
  let resting = 0;
  let playing = 0;
  /** @type {View | null} */
  let view = null;
  let viewName = "";
  /** Runs as TensorBoard orders them; empty until it said so. @type {string[]} */
  let order = [];
  let said = host.selection();

  const main = h("main.main", { tabindex: "-1" });
  const keys = {
    close: () => root.querySelector(".keys-box")?.remove(),
    toggle: () => (root.querySelector(".keys-box") ? keys.close() : root.append(keysBox(keys.close))),
  };
  const bar = toolbar(ctx, {
    play,
    playing: () => playing !== 0,
    copyLink: () => copyText(host.address(toLink({ ...ctx.state, step: ctx.step }))),
    showKeys: keys.toggle,
  });
  root.append(bar.element, main);

  /** @param {Partial<import("./types.js").State>} patch */
  function set(patch) {
    Object.assign(ctx.state, patch);
    if (patch.runs) share(patch.runs);
    if ("from" in patch || "depth" in patch) {
      // What was pointed at lies elsewhere now.
      ctx.tip.hide();
      point(null);
    }
    if ("step" in patch && playing && patch.step !== ctx.step) stop();
    clearTimeout(resting);
    resting = setTimeout(() => host.writeLink(toLink(ctx.state)), LINK_REST_MS);
    ask();
  }

  /** @param {string} run @param {Partial<import("./types.js").State>} [patch] */
  function show(run, patch = {}) {
    const shown = ctx.runs.map((one) => one.name);
    set({ focus: run, ...(shown.includes(run) ? {} : { runs: [...shown, run] }), ...patch });
  }

  /**
   * The other tabs show the same runs.
   * @param {string[]} runs
   */
  function share(runs) {
    const entries = session.entries() ?? [];
    host.select(Object.fromEntries(entries.map((one) => [one.name, runs.includes(one.name)])));
    said = host.selection();
  }

  function selectedElsewhere() {
    const now = host.selection();
    if (now === said) return;
    said = now;
    set({ runs: null });
  }

  /** @param {import("./types.js").Hover | null} hover */
  function point(hover) {
    const next = hover ?? { layer: "", step: null };
    if (next.layer === ctx.hover.layer && next.step === ctx.hover.step) return;
    ctx.hover = next;
    view?.hovered?.();
    bar.hovered();
  }

  function ask() {
    if (!asked) asked = requestAnimationFrame(update);
  }

  function update() {
    asked = 0;
    const entries = session.entries();
    const only = entries?.length === 0 && session.checks().length > 0;
    if (only) ctx.state.view = "widths";
    if (entries === null || (!entries.length && !only)) {
      bar.element.hidden = entries !== null || !session.trouble();
      fill(main, entries === null ? waiting() : empty());
      viewName = "";
      if (entries === null) bar.update();
      return;
    }
    bar.element.hidden = false;
    ctx.runs = shownRuns(ctx.state, entries, theme().dark, { order, selected: selectedBy(said) });
    ctx.focus = focusOf(ctx.state, ctx.runs);
    ctx.whole = timelineOf(ctx.runs, session);
    ctx.timeline = ctx.whole.slice(...stepSlice(ctx.whole, ctx.state));
    ctx.test = matcher(ctx.state.filter).test;
    ctx.step = stepOf();
    if (viewName !== ctx.state.view) {
      viewName = ctx.state.view;
      ctx.tip.hide();
      ctx.hover = { layer: "", step: null };
      view = MAKERS[viewName](ctx);
      fill(main, view.element);
      main.scrollTop = 0;
    }
    bar.update();
    view?.update();
    root.dataset.state = session.busy() ? "loading" : "ready";
    root.dataset.step = String(ctx.step);
  }

  function stepOf() {
    const { timeline, state } = ctx;
    if (!timeline.length) return state.step ?? 0;
    if (state.step === null) return timeline[timeline.length - 1];
    return timeline[Math.max(0, columnAt(timeline, state.step))];
  }

  function waiting() {
    return session.trouble()
      ? nothing("The numbers cannot be read", session.trouble())
      : h("div.waiting", {}, "Loading …");
  }

  function play() {
    if (playing) {
      stop();
      return;
    }
    const { timeline } = ctx;
    const stride = Math.max(1, Math.ceil((timeline.length * FRAME_MS) / (PLAY_SECONDS * 1000)));
    let place = columnAt(timeline, ctx.step);
    if (place >= timeline.length - 1) place = -stride;
    playing = setInterval(() => {
      place += stride;
      const last = place >= ctx.timeline.length - 1;
      ctx.step = ctx.timeline[Math.min(place, ctx.timeline.length - 1)];
      set({ step: ctx.step });
      if (last) stop();
    }, FRAME_MS);
    bar.playing();
  }

  function stop() {
    clearInterval(playing);
    playing = 0;
    bar.playing();
  }

  /** @type {HTMLElement} */
  const heard = host.whole ? root.ownerDocument.documentElement : root;
  heard.addEventListener(
    "keydown",
    keyboard(ctx, {
      layers: () => view?.layers?.() ?? [],
      depth: () => view?.depth?.() ?? null,
      play,
      filter: bar.filter,
      help: keys,
    }),
  );
  host.onDark((dark) => {
    root.classList.toggle("dark", dark);
    readTheme(root, dark);
    // What is drawn still has the old colours.
    viewName = "";
    ask();
  });
  host.onRuns((names) => {
    order = names;
    ask();
  });
  host.onSelection(selectedElsewhere);
  host.onReload(() => {
    selectedElsewhere();
    void session.refresh();
  });
  void session.refresh();
  root.dataset.state = "loading";
  return { ctx, refresh: session.refresh };
}

/** No run at all: what to do about it. */
function empty() {
  return nothing(
    "No run here was watched yet",
    "TensorBoard found no init_monitor data in this log directory. Add the monitor to your training; they appear here after its first step.",
    h("pre", {}, h("code", {}, GUIDE)),
    "If a training is already running: it writes through the Trainer's TensorBoardLogger, so check that it has one, and that TensorBoard was started on its log directory.",
  );
}
