/**
 * Every run with its verdict, the worst first: what a person wants to know before any picture.
 * @module
 */

import { h, refill } from "./dom.js";
import { counted, formatStep } from "./format.js";
import { pill } from "./parts.js";
import { runMark, sparkLine } from "./spark.js";
import { theme } from "./surface.js";
import { standingOf, worstFirst } from "./verdicts.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").RunEntry} RunEntry */

/** Runs that are listed before the rest is asked for: the pictures below stay in sight. */
const LISTED = 8;

/** @param {Context} ctx */
export function runList(ctx) {
  const element = h("div.verdicts");
  let whole = false;

  function update() {
    const entries = worstFirst(ctx.session.entries() ?? []);
    const losses = ctx.session.losses();
    const focus = ctx.focus?.name ?? "";
    const shown = whole ? entries : entries.filter((one, i) => i < LISTED || one.name === focus);
    const lines = shown.map((one) => {
      const run = ctx.runs.find(({ name }) => name === one.name);
      return { one, line: losses?.[one.name] ?? null, colour: run?.colour ?? "", dash: run?.dash ?? [] };
    });
    const key = [lines, focus, whole, entries.length, theme().dark];
    refill(element, key, () => [
      h(
        "table.verdict-table",
        { "aria-label": "Runs, worst first" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...["run", "verdict", "first finding", "step", "training loss"].map((title) =>
              h("th", { scope: "col" }, title),
            ),
          ),
        ),
        h("tbody", {}, ...lines.map(({ one, line, colour, dash }) => row(one, line, colour, dash, one.name === focus))),
      ),
      entries.length > shown.length || whole
        ? h(
            "button.link",
            {
              type: "button",
              onclick: () => {
                whole = !whole;
                update();
              },
            },
            whole ? `List ${LISTED} runs only` : `List all ${entries.length} runs`,
          )
        : null,
    ]);
  }

  /**
   * @param {RunEntry} entry @param {import("./types.js").Losses | null} losses
   * @param {string} colour @param {number[]} dash @param {boolean} focused
   */
  function row(entry, losses, colour, dash, focused) {
    const first = entry.verdict?.first ?? null;
    const spark = losses ? sparkLine(losses, colour || theme().soft) : null;
    const open = () => ctx.show(entry.name);
    return h(
      `tr${focused ? ".focused" : ""}`,
      { "data-run": entry.name, onclick: open },
      h(
        "th",
        { scope: "row" },
        h(
          "button.run-open",
          { type: "button", title: `Look at ${entry.name}`, "aria-pressed": String(focused) },
          colour ? runMark(colour, dash) : h("i.run-off"),
          h("span.name", {}, entry.name),
        ),
      ),
      h("td", {}, h("div.standing", {}, ...pills(entry, losses))),
      h("td.first", {}, first ? finding(entry, first, focused) : h("span.muted", {}, noneWords(entry, losses))),
      h("td.number", {}, first ? formatStep(first.step) : ""),
      h("td", {}, h("div.course", {}, spark?.picture, spark && h("b", {}, spark.last))),
    );
  }

  /** @param {RunEntry} entry @param {import("./types.js").FirstFinding} first @param {boolean} focused */
  function finding(entry, first, focused) {
    return h(
      `button.link.gist${focused ? ".whole" : ""}`,
      {
        type: "button",
        title: first.message,
        onclick: (/** @type {Event} */ event) => {
          event.stopPropagation();
          ctx.show(entry.name, { view: "findings", step: first.step, layer: first.layers[0] ?? "" });
        },
      },
      h("b", {}, `${first.code} ${first.rule}`),
      ` ${first.message}`,
    );
  }

  return { element, update };
}

/** @param {RunEntry} entry @param {import("./types.js").Losses | null} losses */
function pills(entry, losses) {
  const counts = Object.entries(entry.verdict?.counts ?? {}).filter(([, n]) => n);
  if (counts.length) return counts.map(([severity, n]) => pill(severity, counted(n, severity)));
  if (losses && losses.nonfinite_from !== null) return [pill("critical", "loss not finite")];
  return [standingOf(entry) === "fine" ? pill("fine", "no findings") : pill("unjudged", "no findings yet")];
}

/** @param {RunEntry} entry @param {import("./types.js").Losses | null} losses */
function noneWords(entry, losses) {
  const turned = losses?.nonfinite_from ?? null;
  if (turned !== null) return `No findings, but the loss is not finite from step ${formatStep(turned)}.`;
  return standingOf(entry) === "fine"
    ? "All rules were checked and none fired."
    : "Nothing was judged yet: the rules run at the first sampled step.";
}
