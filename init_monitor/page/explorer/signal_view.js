/**
 * Signal propagation as a table that fills layer by layer: Layer, Mean, Std, Max |x|, Status.
 * @module
 */

import { fill, h } from "../static/dom.js";
import { formatNumber } from "../static/format.js";
import { pill } from "../static/parts.js";

/** @typedef {import("./explore.js").Explorer} Explorer */

/** Between two rows: quick enough to watch a hundred, slow enough to follow. */
const ROW_MS = 90;

/**
 * The state of a layer by how far its variance is from that of the input. The factors are those from which IM101 and IM102 warn.
 * @param {import("./moments.js").Moments} moments
 * @param {number} input its variance
 * @param {{exploding: number, vanishing: number}} warns
 * @returns {{word: string, severity: string}}
 */
export function statusOf(moments, input, warns) {
  if (!moments.finite) return { word: "not finite", severity: "critical" };
  if (moments.variance === 0) return { word: "no signal", severity: "critical" };
  if (moments.variance / input >= warns.exploding) return { word: "exploding", severity: "critical" };
  if (moments.variance / input <= 1 / warns.vanishing) return { word: "vanishing", severity: "warning" };
  return { word: "healthy", severity: "fine" };
}

/**
 * @param {Explorer} page
 */
export function signalView(page) {
  let shown = 0;
  let timer = 0;
  const body = /** @type {HTMLTableSectionElement} */ (h("tbody"));
  const play = h("button.live", { type: "button", onclick: () => toggle() });
  const table = h(
    "table.signal",
    {},
    h("thead", {}, h("tr", {}, ...["Layer", "Mean", "Std", "", "Max |x|", "Status"].map((title) => h("th", { scope: "col" }, title)))),
    body,
  );
  const element = h(
    "section.card",
    { "aria-label": "Signal propagation" },
    h(
      "header.card-head",
      {},
      h("div.card-title", {}, h("h3", {}, "Signal propagation through the layers"), h("p.explains", {}, "What each layer hands on, for standard normal inputs; healthy, vanishing and exploding are told as the rules IM101 and IM102 tell them.")),
      play,
    ),
    h("div.scroll", {}, table),
  );

  function rows() {
    const { measured, setting } = page;
    const all = [{ name: "Input", moments: measured.input }];
    measured.taps.forEach((tap, i) => all.push({ name: `${page.unit()} ${i + 1}`, moments: tap.out }));
    return all.slice(0, setting.depth + 1);
  }

  function draw() {
    const all = rows();
    const input = page.measured.input.variance;
    while (body.rows.length > Math.min(shown, all.length)) body.deleteRow(-1);
    for (let i = body.rows.length; i < Math.min(shown, all.length); i += 1) {
      const { name, moments } = all[i];
      const { word, severity } = statusOf(moments, input, page.warns);
      const bar = h("i.bar");
      const decades = Math.log10(moments.std);
      // Eight decades either way; the middle is 1.
      const reach = Number.isFinite(decades) ? Math.max(-1, Math.min(1, decades / 8)) : moments.finite ? -1 : 1;
      bar.style.left = `${50 + 50 * Math.min(0, reach)}%`;
      bar.style.width = `${50 * Math.abs(reach)}%`;
      body.append(
        h(
          "tr",
          { class: severity },
          h("th", { scope: "row" }, name),
          h("td", {}, formatNumber(moments.mean)),
          h("td", {}, formatNumber(moments.std)),
          h("td.bars", {}, bar),
          h("td", {}, formatNumber(moments.largest)),
          h("td", {}, pill(severity, word)),
        ),
      );
    }
    fill(play, timer ? "Pause" : shown > page.setting.depth ? "Play again" : "Play");
  }

  function tick() {
    if (shown <= page.measured.taps.length) shown += 1;
    if (shown > page.setting.depth) stop();
    draw();
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
  }

  function toggle() {
    if (timer) stop();
    else {
      if (shown > page.setting.depth) shown = 0;
      timer = setInterval(tick, matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : ROW_MS);
    }
    draw();
  }

  return {
    element,
    /** @param {boolean} anew another network is computed */
    update(anew = false) {
      if (anew) {
        body.replaceChildren();
        shown = 0;
        stop();
        toggle();
      } else draw();
    },
    leave: stop,
    play: toggle,
    numbers: () => rows().map(({ name, moments }) => ({ name, ...moments, ...statusOf(moments, page.measured.input.variance, page.warns) })),
  };
}
