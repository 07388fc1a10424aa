/**
 * The runs above every view: which are shown, which is looked at, and how bad each is.
 * @module
 */

import { h, refill } from "./dom.js";
import { formatStep } from "./format.js";
import { runMark } from "./spark.js";
import { SIGNS, standingOf, standingWords, worstFirst } from "./verdicts.js";

/** @typedef {import("./types.js").Context} Context */

/** Chips before the rest is asked for: two lines of a usual window. */
const MOST = 12;

/** @param {Context} ctx */
export function runChips(ctx) {
  const element = h("div.run-list", { role: "group", "aria-label": "Runs" });
  let whole = false;

  /** @param {string} name */
  function toggle(name) {
    const names = ctx.runs.map((run) => run.name);
    ctx.set({ runs: names.includes(name) ? names.filter((one) => one !== name) : [...names, name] });
  }

  function update() {
    const entries = ctx.session.entries() ?? [];
    const byName = new Map(ctx.runs.map((run) => [run.name, run]));
    const worst = new Set(worstFirst(entries).slice(0, MOST));
    // Those that are shown always have their chip; the others as far as there is room, the worst of them.
    const listed = whole ? entries : entries.filter((one) => byName.has(one.name) || worst.has(one));
    const key = listed.map((entry) => {
      const run = byName.get(entry.name);
      return [entry.name, entry.step, run?.colour, run?.dash, entry.name === ctx.focus?.name, standingWords(entry)];
    });
    refill(element, [key, whole, entries.length], () => [
      ...listed.map((entry) => chip(entry, byName.get(entry.name))),
      listed.length < entries.length || whole ? more(entries.length - listed.length) : null,
    ]);
  }

  /** @param {number} left */
  function more(left) {
    return h(
      "button.link",
      {
        type: "button",
        onclick: () => {
          whole = !whole;
          update();
        },
      },
      whole ? "fewer runs" : `${left} more run${left === 1 ? "" : "s"}`,
    );
  }

  /** @param {import("./types.js").RunEntry} entry @param {import("./model.js").ShownRun | undefined} run */
  function chip(entry, run) {
    const focused = run !== undefined && run.name === ctx.focus?.name;
    const standing = standingOf(entry);
    return h(
      `div.run${run ? ".on" : ""}${focused ? ".focused" : ""}`,
      {},
      h(
        "button.dot-button",
        {
          type: "button",
          role: "checkbox",
          "aria-checked": String(!!run),
          "aria-label": `Show ${entry.name}`,
          title: run ? `Hide ${entry.name}` : `Show ${entry.name}`,
          onclick: () => toggle(entry.name),
        },
        run ? runMark(run.colour, run.dash) : h("i.run-off"),
      ),
      h(
        "button.run-name",
        {
          type: "button",
          title: `Look at ${entry.name} (${standingWords(entry)}; newest step ${formatStep(entry.step)})`,
          "aria-pressed": String(focused),
          onclick: () => ctx.show(entry.name),
        },
        h(`i.sign.${standing}`, { role: "img", "aria-label": standingWords(entry) }, SIGNS[standing]),
        h("span.name", {}, entry.name),
      ),
    );
  }

  return { element, update };
}
