/**
 * What was found: what, where, since when, and what to do about it.
 * @module
 */

import { h, icon, ICONS, refill } from "./dom.js";
import { counted, formatStep, layerRange } from "./format.js";
import { bySeverity } from "./model.js";
import { copyText, nothing, pill } from "./parts.js";
import { runMark } from "./spark.js";
import { worstFirst } from "./verdicts.js";

/** @typedef {import("./types.js").Context} Context */
/** @typedef {import("./types.js").Finding} Finding */

const SEVERITIES = ["critical", "warning", "info"];

/** Links to layers in a finding: as many as a line holds. */
const LISTED = 6;

/**
 * @param {Context} ctx
 * @returns {import("./types.js").View}
 */
export function findingsView(ctx) {
  const chips = h("div.chips", { role: "group", "aria-label": "Severity" });
  const list = h("div.findings");
  const element = h("div.view.narrow", {}, h("header.view-head", {}, h("h2", {}, "Findings"), chips), list);
  /** Which ones the user opened or closed. @type {Map<string, boolean>} */
  const opened = new Map();

  function toggle(/** @type {string} */ severity) {
    const out = new Set(ctx.state.severity.split(",").filter(Boolean));
    if (!out.delete(severity)) out.add(severity);
    ctx.set({ severity: [...out].join(",") });
  }

  return {
    element,
    update() {
      const out = new Set(ctx.state.severity.split(","));
      const runs = worstFirst(ctx.runs);
      const outlines = runs.map((run) => ctx.session.outline(run.name));
      const every = outlines.flatMap((one) => one?.findings ?? []);
      const numbers = SEVERITIES.map((severity) => every.filter((one) => one.severity === severity).length);
      refill(chips, [numbers, ctx.state.severity], () =>
        SEVERITIES.map((severity, i) =>
          h(
            `button.chip.${severity}`,
            { type: "button", "aria-pressed": String(!out.has(severity)), onclick: () => toggle(severity) },
            counted(numbers[i], severity),
          ),
        ),
      );
      const shown = runs.map((run, k) => ({
        run,
        outline: outlines[k],
        findings: bySeverity(outlines[k]?.findings ?? []).filter(
          (one) => !out.has(one.severity) && concerns(one, ctx),
        ),
      }));
      const key = shown.map(({ run, outline, findings }) => [run.name, run.colour, why(outline, ctx), findings]);
      refill(list, [key, ctx.focus?.name], () => [
        ...shown.map(({ run, outline, findings }) => {
          return h(
            "section.run-findings",
            {},
            h("h3", {}, runMark(run.colour, run.dash), run.name),
            ...(findings.length
              ? findings.map((one, i) => entry(ctx, run.name, one, opened, i === 0 && run.name === ctx.focus?.name))
              : [h("p.muted", {}, why(outline, ctx))]),
          );
        }),
        ctx.runs.length ? null : nothing("No run is shown", "Choose a run above."),
      ]);
    },
    layers: () => [...new Set(ctx.runs.flatMap((run) => ctx.session.outline(run.name)?.names ?? []))],
  };
}

/**
 * Does a finding concern the filtered layers? One without layers is about the whole network.
 * @param {Finding} finding @param {Context} ctx
 */
function concerns(finding, ctx) {
  return !ctx.state.filter || !finding.layers.length || finding.layers.some((layer) => ctx.test(layer));
}

/** @param {import("./types.js").Outline | null} outline @param {Context} ctx */
function why(outline, ctx) {
  if (!outline) return ctx.session.busy() ? "Loading …" : "This run could not be read.";
  if (outline.findings.length) return "All findings of this run are filtered out.";
  return outline.looked
    ? "No findings: all rules were checked and none fired."
    : "Nothing was judged yet: the rules run at the first sampled step.";
}

/**
 * @param {Context} ctx @param {string} run @param {Finding} finding
 * @param {Map<string, boolean>} opened @param {boolean} first
 */
function entry(ctx, run, finding, opened, first) {
  const key = `${run}\n${finding.code}\n${finding.step}\n${finding.layers.join()}`;
  const [sentence, code] = split(finding.remedy);
  const details = h(
    `details.finding.${finding.severity}`,
    { open: opened.get(key) ?? first },
    h(
      "summary",
      {},
      pill(finding.severity, finding.severity),
      h("span.code", {}, finding.code),
      h("b", {}, finding.rule),
      h("span.muted", {}, layerRange(called(finding))),
      h("span.muted.right", {}, `step ${formatStep(finding.step)}`),
      h("span.gist", { title: finding.message }, finding.message),
    ),
    h("p", {}, finding.message),
    places(ctx, run, finding),
    figures(finding),
    sentence ? h("p", {}, h("b", {}, "What to do: "), sentence) : null,
    code ? codeBlock(code) : null,
    finding.source ? h("p.source", {}, finding.source) : null,
  );
  details.addEventListener("toggle", () => opened.set(key, /** @type {HTMLDetailsElement} */ (details).open));
  return details;
}

/** The layers in readable form. @param {Finding} finding */
function called(finding) {
  return finding.places?.length ? finding.places : finding.layers;
}

/** @param {Context} ctx @param {string} run @param {Finding} finding */
function places(ctx, run, finding) {
  const links = finding.layers
    .slice(0, LISTED)
    .map((layer, i) =>
      h(
        "button.link",
        { type: "button", onclick: () => ctx.set({ view: "layer", layer, focus: run }) },
        called(finding)[i],
      ),
    );
  const more = finding.layers.length - LISTED;
  const step = h(
    "button.link",
    {
      type: "button",
      onclick: () => ctx.set({ view: "propagation", step: finding.step, layer: finding.layers[0] ?? "", focus: run }),
    },
    `step ${formatStep(finding.step)}`,
  );
  return h(
    "p.places",
    {},
    "At ",
    step,
    links.length ? ": " : "",
    ...links,
    more > 0 ? h("span.muted", {}, `and ${more} more`) : null,
  );
}

/** @param {Finding} finding */
function figures(finding) {
  if (!finding.figures.length) return null;
  return h(
    "table.figures",
    {},
    h("thead", {}, h("tr", {}, h("th", {}, ""), h("th", {}, finding.measured), h("th", {}, "expected"))),
    h(
      "tbody",
      {},
      ...finding.figures.map(([title, measured, expected]) =>
        h("tr", {}, h("th", {}, title), h("td", {}, measured), h("td", {}, expected)),
      ),
    ),
  );
}

/** @param {string} code */
function codeBlock(code) {
  const copy = h(
    "button.copy",
    {
      type: "button",
      title: "Copy this code",
      onclick: async () => {
        copy.lastChild?.replaceWith((await copyText(code)) ? "Copied" : "Select it and copy by hand");
      },
    },
    icon(ICONS.copy),
    "Copy",
  );
  return h("div.code-block", {}, copy, h("pre", {}, h("code", {}, code)));
}

/** @param {string} remedy */
function split(remedy) {
  const at = remedy.indexOf("\n\n");
  return at < 0 ? [remedy, ""] : [remedy.slice(0, at), remedy.slice(at + 2)];
}
