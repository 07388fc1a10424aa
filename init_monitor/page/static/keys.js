/**
 * The keyboard.
 * @module
 */

import { depthAt, entryOf, stepsAt, toggleBlock, WHOLE } from "./depth.js";
import { h } from "./dom.js";
import { EVERY } from "./fold.js";
import { columnAt } from "./payload.js";
import { VIEWS } from "./state.js";
import { around, CLOSER } from "./zoom.js";

/** @typedef {import("./types.js").Context} Context */

const LEAP = 10;
/** How far a key moves, as a share of what is shown. */
const MOVE = 0.25;

const HELP = [
  ["← →", "one step back, one step on (with Shift: ten)"],
  ["Home End", "first step, newest step"],
  ["↑ ↓", "layer above, layer below"],
  ["Enter", "open the selected layer; open or fold the selected block"],
  ["f", "fold or open all blocks"],
  ["+ −", "fewer or more steps, around the selected one"],
  ["] [", "fewer or more layers, around the selected one"],
  [", .", "move to earlier or later steps"],
  ["{ }", "move to layers above or below"],
  ["0", "show everything again"],
  ["Space", "play through the steps"],
  [`1 … ${Object.keys(VIEWS).length}`, "the views"],
  ["/", "filter layers"],
  ["Esc", "let go of the layer, or close this"],
  ["?", "these keys"],
];

/**
 * @param {Context} ctx
 * @param {object} acts
 * @param {() => string[]} acts.layers what the view shows
 * @param {() => import("./depth.js").Depth | null} acts.depth the same, where it is shown over depth
 * @param {() => void} acts.play
 * @param {HTMLInputElement} acts.filter
 * @param {{toggle: () => void, close: () => void}} acts.help
 * @returns {(event: KeyboardEvent) => void}
 */
export function keyboard(ctx, { layers, depth, play, filter, help }) {
  /** @param {number} by */
  function step(by) {
    const last = ctx.timeline.length - 1;
    const place = Math.max(0, Math.min(last, columnAt(ctx.timeline, ctx.step) + by));
    ctx.set({ step: place === last && ctx.session.live ? null : ctx.timeline[place] });
  }

  /** @param {number} by */
  function layer(by) {
    const shown = depth();
    const names = shown ? shown.shown.map((entry) => entry.name) : layers();
    if (!names.length) return;
    const at = names.indexOf(shown ? shown.as(ctx.state.layer) : ctx.state.layer);
    const next = at < 0 ? (by > 0 ? 0 : names.length - 1) : at + by;
    ctx.set({ layer: names[Math.max(0, Math.min(names.length - 1, next))] });
  }

  /** @param {number} factor */
  function zoomSteps(factor) {
    const last = ctx.timeline.length - 1;
    const about = last > 0 ? columnAt(ctx.timeline, ctx.step) / last : 0.5;
    ctx.set(stepsAt(ctx, ctx.whole, around(about, factor)));
  }

  /** @param {number} factor */
  function zoomLayers(factor) {
    const shown = depth();
    if (!shown) return;
    const at = shown.shown.findIndex((entry) => entry.name === shown.as(ctx.state.layer));
    const about = at < 0 || shown.shown.length < 2 ? 0.5 : at / (shown.shown.length - 1);
    ctx.set(depthAt(ctx, shown, around(about, factor)));
  }

  /** @param {number} by share of what is shown */
  function moveLayers(by) {
    const shown = depth();
    if (shown) ctx.set(depthAt(ctx, shown, [by, 1 + by]));
  }

  function fold() {
    const entries = depth()?.entries ?? [];
    const folded = entries.some((entry) => entry.fold === "folded");
    ctx.set({ open: folded ? [EVERY] : [] });
  }

  function enter() {
    const shown = depth();
    if (!ctx.state.layer) return;
    if (shown && entryOf(shown, ctx.state.layer)?.fold) toggleBlock(ctx, shown, ctx.state.layer);
    else ctx.set({ view: "layer" });
  }

  /** @param {number} k */
  function view(k) {
    const id = Object.keys(VIEWS)[k];
    if (id) ctx.set({ view: id });
  }

  return (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = target.matches?.("input:not([type=range]), select, textarea");
    if (event.key === "Escape") {
      if (typing) target.blur();
      else if (!document.querySelector(".keys-box")) ctx.set({ layer: "" });
      help.close();
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const leap = event.shiftKey ? LEAP : 1;
    // Space and Enter press a focused button anyway.
    const pressed = target.matches?.("button, summary, a");
    /** @type {Record<string, () => void>} */
    const acts = {
      ArrowLeft: () => step(-leap),
      ArrowRight: () => step(leap),
      Home: () => ctx.set({ step: ctx.timeline[0] ?? null }),
      End: () => ctx.set({ step: ctx.session.live ? null : (ctx.timeline[ctx.timeline.length - 1] ?? null) }),
      ArrowUp: () => layer(-leap),
      ArrowDown: () => layer(leap),
      "/": () => filter.focus(),
      "?": help.toggle,
      f: fold,
      "+": () => zoomSteps(CLOSER),
      "=": () => zoomSteps(CLOSER),
      "-": () => zoomSteps(1 / CLOSER),
      "]": () => zoomLayers(CLOSER),
      "[": () => zoomLayers(1 / CLOSER),
      ",": () => ctx.set(stepsAt(ctx, ctx.whole, [-MOVE, 1 - MOVE])),
      ".": () => ctx.set(stepsAt(ctx, ctx.whole, [MOVE, 1 + MOVE])),
      "{": () => moveLayers(-MOVE),
      "}": () => moveLayers(MOVE),
      0: () => ctx.set(WHOLE),
      ...(pressed ? {} : { " ": play, Enter: enter }),
    };
    const act = acts[event.key] ?? (/^[1-9]$/.test(event.key) ? () => view(Number(event.key) - 1) : null);
    if (!act) return;
    event.preventDefault();
    act();
  };
}

/** @param {() => void} close */
export function keysBox(close) {
  return h(
    "div.keys-box",
    { role: "dialog", "aria-label": "Keys", onclick: close },
    h(
      "div.keys",
      {},
      h("h2", {}, "Keys"),
      h("dl", {}, ...HELP.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)])),
    ),
  );
}
