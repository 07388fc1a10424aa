/**
 * One's own network: its signal as it was measured, and what the textbook's recipes make of it, switched layer by layer.
 * @module
 */

import { fill, h } from "../static/dom.js";
import { formatNumber, shortNames } from "../static/format.js";
import { lineChart } from "../static/lines.js";
import { runStyle } from "../static/palette.js";
import { card, pill, reading, swatch } from "../static/parts.js";
import { theme } from "../static/surface.js";
import { statusOf } from "./signal_view.js";
import { switchedRows, switchesOf, switchesText } from "./switched.js";

/**
 * What this view needs of the page around it.
 * @typedef {object} Around
 * @property {import("./switched.js").Network | null} network
 * @property {{on: string}} choices
 * @property {ReturnType<typeof import("../static/parts.js").tooltip>} tip
 * @property {{exploding: number, vanishing: number}} warns
 * @property {(patch: {on: string}) => void} set
 * @property {(name: string) => boolean} [test] which layers the table shows
 */

const ROW_MS = 60;
const COLUMNS = ["", "Layer", "Kind", "Recipe", "Var(W) now", "then", "Mean", "Std", "", "Max |x|", "Status"];

/** @param {Around} page */
export function ownView(page) {
  const network = /** @type {import("./switched.js").Network} */ (page.network);
  const names = network.layers.map((layer) => layer.name);
  const labels = shortNames(names).map((text) => ({ text, kind: "", fold: /** @type {const} */ (""), inside: false }));
  const pictures = [
    { title: "Forward: standard deviation of each layer's output", of: /** @type {const} */ ("std") },
    { title: "Backward: standard deviation of its gradient", of: /** @type {const} */ ("gradient") },
  ].map(({ title, of }) => {
    const framed = card(title, "");
    const chart = lineChart({ label: title, height: 180, onHover: (place, x, y) => pointed(place, x, y, of), onPick: () => {} });
    framed.body(chart.element);
    return { of, framed, chart };
  });
  const sentence = h("p.sentence");
  const body = /** @type {HTMLTableSectionElement} */ (h("tbody"));
  const play = h("button.live", { type: "button", onclick: () => toggle() });
  const element = h(
    "div.pictures",
    {},
    h(
      "div.view-head",
      {},
      h("h2", {}, network.name),
      h("button.live", { type: "button", onclick: () => turn(new Set(network.switches.keys())) }, "All recipes on"),
      h("button.live", { type: "button", onclick: () => turn(new Set()) }, "All off"),
    ),
    sentence,
    ...pictures.map((one) => one.framed.element),
    h(
      "section.card",
      { "aria-label": "Layers" },
      h("header.card-head", {}, h("div.card-title", {}, h("h3", {}, "Layer by layer")), play),
      h("div.scroll", {}, h("table.signal.own", {}, h("thead", {}, h("tr", {}, ...COLUMNS.map((title) => h("th", { scope: "col" }, title)))), body)),
    ),
  );
  let revealed = names.length;
  let timer = 0;

  const on = () => switchesOf(page.choices.on, network.switches.length);

  /** @param {Set<number>} next */
  function turn(next) {
    page.set({ on: switchesText(next, network.switches.length) });
  }

  /** @param {number | null} place @param {number} x @param {number} y @param {"std" | "gradient"} of */
  function pointed(place, x, y, of) {
    for (const { chart } of pictures) chart.cursor({ hovered: place, picked: null });
    const picture = pictures.find((one) => one.of === of);
    if (place === null || !picture) {
      page.tip.hide();
      return;
    }
    const [now, then] = [switchedRows(network, new Set()), switchedRows(network, on())];
    page.tip.show(picture.chart.canvas, x, y, [
      h("div.tip-title", {}, names[place]),
      reading("as it is", formatNumber(now.rows[place][of])),
      reading("switched", formatNumber(then.rows[place][of])),
    ]);
  }

  function draw() {
    const chosen = on();
    const base = switchedRows(network, new Set());
    const now = switchedRows(network, chosen);
    const { dark, soft } = theme();
    for (const { of, framed, chart } of pictures) {
      const lines = [{ name: "as it is", colour: soft, dash: [5, 4], values: base.rows.map((row) => row[of]) }];
      if (chosen.size) {
        lines.push({ name: now.measured ? "switched, measured" : "switched, estimated", colour: runStyle(of === "std" ? 0 : 2, dark).colour, dash: [], values: now.rows.map((row) => row[of]) });
      }
      framed.legend(...lines.map((one) => swatch(one, one.name)));
      chart.show({ lines, quantity: /** @type {any} */ ({ form: "log", bounds: null, centre: null }), wanted: "log", names, labels });
    }
    sentence.textContent = [said(now.measured, chosen.size), ...missing(base.rows, now.rows)].join(" ");
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.switch;
    const first = now.rows.find((row) => row.variance > 0 && row.finite)?.variance ?? 1;
    const seen = new Set();
    fill(
      body,
      ...network.layers.slice(0, revealed).map((layer, i) => {
        if (page.test && !page.test(layer.name)) return null;
        const row = now.rows[i];
        const owner = network.switches[layer.switch];
        const leads = owner && !seen.has(layer.switch);
        seen.add(layer.switch);
        const { word, severity } = stateOf(layer, row, first, page.warns);
        const bar = h("i.bar");
        const decades = Math.log10(row.std);
        const reach = Number.isFinite(decades) ? Math.max(-1, Math.min(1, decades / 8)) : 0;
        bar.style.left = `${50 + 50 * Math.min(0, reach)}%`;
        bar.style.width = `${50 * Math.abs(reach)}%`;
        return h(
          "tr",
          { class: severity },
          h("td", {}, leads ? tick(layer.switch, chosen) : null),
          h("th", { scope: "row" }, layer.name),
          h("td.words", {}, layer.kind),
          h("td.words", { title: owner?.reason }, leads ? owner.recipe : ""),
          h("td", {}, leads && owner.current !== null ? formatNumber(owner.current) : ""),
          h("td", {}, leads && owner.target !== null ? formatNumber(owner.target) : ""),
          h("td", {}, formatNumber(row.mean)),
          h("td", {}, formatNumber(row.std)),
          h("td.bars", {}, bar),
          h("td", {}, formatNumber(row.largest)),
          h("td", {}, severity ? pill(severity, word) : word),
        );
      }),
    );
    // The rows are new; whoever goes through the switches by keyboard stays where they were.
    if (focused) /** @type {HTMLElement | null} */ (body.querySelector(`[data-switch="${focused}"]`))?.focus();
    fill(play, timer ? "Pause" : "Play");
  }

  /** @param {boolean} measured @param {number} count switches that are on */
  function said(measured, count) {
    const where = network.where ?? "on your batch";
    if (!count) return `Measured ${where}: the network as it is. Switch recipes on to see what they make of it.`;
    const words = `${count} of ${network.switches.length} recipes are on`;
    if (measured) return `Measured ${where}: ${words}.`;
    return `${words}: estimated from what was measured ${where}, layer by layer (the recursion of the variances, biases included).`;
  }

  /**
   * What cannot be told, and why.
   * @param {import("./switched.js").Shown[]} before @param {import("./switched.js").Shown[]} after
   */
  function missing(before, after) {
    const lost = after.filter((row, i) => row.std !== row.std && before[i].std === before[i].std).length;
    const left = network.left ?? [];
    return [
      lost ? `What ${lost} ${lost === 1 ? "layer" : "layers"} would hand on cannot be told: a recurrent layer has no such recursion.` : "",
      left.length ? `No recipe is known for ${left.slice(0, 3).join(", ")}${left.length > 3 ? ` and ${left.length - 3} more` : ""}.` : "",
    ].filter(Boolean);
  }

  /** @param {number} k @param {Set<number>} chosen */
  function tick(k, chosen) {
    const { layers, recipe } = network.switches[k];
    const box = /** @type {HTMLInputElement} */ (
      h("input", {
        type: "checkbox",
        "data-switch": String(k),
        "aria-label": `${recipe} for ${layers.join(", ")}`,
        title: layers.length > 1 ? `for ${layers.join(", ")}` : recipe,
        onchange: () => {
          const next = new Set(chosen);
          if (!next.delete(k)) next.add(k);
          turn(next);
        },
      })
    );
    box.checked = chosen.has(k);
    return box;
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
  }

  function toggle() {
    if (timer) stop();
    else {
      if (revealed >= names.length) revealed = 0;
      timer = setInterval(() => {
        revealed += 1;
        if (revealed >= names.length) stop();
        draw();
      }, ROW_MS);
    }
    draw();
  }

  return {
    element,
    update: draw,
    leave: stop,
    play: toggle,
    numbers: () => ({ ...switchedRows(network, on()), names }),
  };
}

/**
 * @param {{beside: boolean}} layer @param {import("./switched.js").Shown} row @param {number} first variance of the first layer
 * @param {{exploding: number, vanishing: number}} warns
 */
function stateOf(layer, row, first, warns) {
  if (row.std !== row.std && row.finite) return { word: "not measured", severity: "" };
  // The skip carries the signal past it: a healthy start.
  if (layer.beside && row.variance === 0) return { word: "silent branch", severity: "fine" };
  return statusOf(row, first, warns);
}
