/**
 * Keys: the views by number, the depth by arrows, a seed further, playing.
 * @module
 */

import { h } from "../static/dom.js";
import { STOPS, VIEWS } from "./choices.js";

const HELP = [
  ["1 … 5", "the views"],
  ["← →", "one layer less, one more (with Shift: ten)"],
  ["n", "the next seed: other weights of the same recipe"],
  ["Space", "play, or stop"],
  ["Tab", "from control to control; arrows move a slider"],
  ["Esc", "leave a control, or close this"],
  ["?", "these keys"],
];

/**
 * @param {import("./explore.js").Explorer} page
 * @param {object} acts
 * @param {(patch: Partial<import("./choices.js").Choices>) => void} acts.set
 * @param {() => void} acts.play
 * @param {{toggle: () => void, close: () => void}} acts.help
 * @returns {(event: KeyboardEvent) => void}
 */
export function explorerKeys(page, { set, play, help }) {
  /** @param {number} by */
  function deeper(by) {
    const key = page.choices.view === "race" ? "hidden" : "depth";
    const stops = STOPS[key];
    const at = stops.indexOf(page.choices[key]) + by;
    set({ [key]: stops[Math.max(0, Math.min(stops.length - 1, at))] });
  }

  return (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape") {
      target.blur?.();
      help.close();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches?.("input, select, textarea")) return;
    const leap = event.shiftKey ? 10 : 1;
    /** @type {Record<string, () => void>} */
    const acts = {
      ArrowLeft: () => deeper(-leap),
      ArrowRight: () => deeper(leap),
      n: () => set({ seed: (page.choices.seed + 1) % STOPS.seed.length }),
      "?": help.toggle,
      // Space presses a focused button anyway.
      ...(target.matches?.("button, summary, a") ? {} : { " ": play }),
    };
    const view = Object.keys(VIEWS)[Number(event.key) - 1];
    const act = acts[event.key] ?? (view ? () => set({ view }) : null);
    if (!act) return;
    event.preventDefault();
    act();
  };
}

/** @param {() => void} close */
export function explorerKeysBox(close) {
  return h(
    "div.keys-box",
    { role: "dialog", "aria-label": "Keys", onclick: close },
    h("div.keys", {}, h("h2", {}, "Keys"), h("dl", {}, ...HELP.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)]))),
  );
}
