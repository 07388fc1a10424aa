/**
 * The keyboard.
 * @module
 */

import { h } from "./dom.js";
import { columnAt } from "./payload.js";
import { VIEWS } from "./state.js";

/** @typedef {import("./types.js").Context} Context */

const LEAP = 10;

const HELP = [
  ["← →", "one step back, one step on (with Shift: ten)"],
  ["Home End", "first step, newest step"],
  ["↑ ↓", "layer above, layer below"],
  ["Enter", "open the selected layer"],
  ["Space", "play through the steps"],
  ["1 … 7", "the views"],
  ["/", "filter layers"],
  ["Esc", "let go of the layer, or close this"],
  ["?", "these keys"],
];

/**
 * @param {Context} ctx
 * @param {object} acts
 * @param {() => string[]} acts.layers what the view shows
 * @param {() => void} acts.play
 * @param {HTMLInputElement} acts.filter
 * @param {{toggle: () => void, close: () => void}} acts.help
 * @returns {(event: KeyboardEvent) => void}
 */
export function keyboard(ctx, { layers, play, filter, help }) {
  /** @param {number} by */
  function step(by) {
    const last = ctx.timeline.length - 1;
    const place = Math.max(0, Math.min(last, columnAt(ctx.timeline, ctx.step) + by));
    ctx.set({ step: place === last && ctx.session.live ? null : ctx.timeline[place] });
  }

  /** @param {number} by */
  function layer(by) {
    const names = layers();
    if (!names.length) return;
    const at = names.indexOf(ctx.state.layer);
    const next = at < 0 ? (by > 0 ? 0 : names.length - 1) : at + by;
    ctx.set({ layer: names[Math.max(0, Math.min(names.length - 1, next))] });
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
      ...(pressed ? {} : { " ": play, Enter: () => ctx.state.layer && ctx.set({ view: "layer" }) }),
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
