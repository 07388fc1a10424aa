/**
 * The explorer: what is set, the network that is computed from it, and the view that shows it.
 * @module
 */

import { fill, h, iconButton } from "../static/dom.js";
import { pageHost } from "../static/host.js";
import { copyText, tooltip } from "../static/parts.js";
import { readTheme } from "../static/surface.js";
import { fromLink, settingOf, toLink, VIEWS } from "./choices.js";
import { codeBlock, codeOf } from "./code.js";
import { list, slider } from "./controls.js";
import { explorerKeys, explorerKeysBox } from "./explorer_keys.js";
import { computed } from "./network.js";
import { ownView } from "./own_view.js";
import { raceView } from "./race_view.js";
import { RECIPES } from "./recipes.js";
import { signalView } from "./signal_view.js";
import { worker } from "./slices.js";
import { switchedCode, switchesOf } from "./switched.js";
import { varianceView } from "./variance_view.js";
import { weightsView } from "./weights_view.js";

/**
 * What a view sees.
 * @typedef {object} Explorer
 * @property {import("./choices.js").Choices} choices
 * @property {import("./network.js").Setting} setting
 * @property {import("./network.js").Measured} measured
 * @property {ReturnType<typeof tooltip>} tip
 * @property {{exploding: number, vanishing: number}} warns
 * @property {string} digits
 * @property {import("./switched.js").Network | null} network one's own
 * @property {(patch: Partial<import("./choices.js").Choices>) => void} set
 * @property {() => string} unit what is counted: layers, or blocks
 * @property {() => void} changed tells the page that a view is busy or done
 */

/**
 * @typedef {object} Shown
 * @property {HTMLElement} element
 * @property {(anew?: boolean) => void} update
 * @property {() => unknown} numbers
 * @property {() => void} [leave]
 * @property {() => void} [play]
 * @property {() => boolean} [busy]
 * @property {() => number[]} [pieces]
 */

/** @type {Record<string, (page: Explorer) => Shown>} */
const MAKERS = { variance: varianceView, weights: weightsView, signal: signalView, race: raceView, own: ownView };

/** What the network depends on, and what the race does. */
const NETWORK = ["depth", "width", "shape", "samples", "act", "init", "dist", "mode", "sigma", "res", "seed"];
const RACE = ["hidden", "rate", "seed"];
const LINK_REST_MS = 400;

/**
 * @param {HTMLElement} root
 * @param {string} json what page/explorer_page.py wrote
 */
export function renderExplorer(root, json) {
  const given = JSON.parse(json);
  const host = pageHost();
  root.classList.add("im", "explorer");
  const shownViews = Object.entries(VIEWS).filter(([id]) => id !== "own" || given.network);
  const choices = linked();
  /** @type {Explorer} */
  const page = {
    choices,
    setting: settingOf(choices),
    measured: { input: /** @type {any} */ (null), taps: [], gradients: [] },
    tip: tooltip(root),
    warns: given.warns,
    digits: given.digits,
    network: given.network,
    set,
    unit: () => (page.choices.res === "none" ? "layer" : "block"),
    changed: mark,
  };
  /** @type {Shown | null} */
  let view = null;
  let viewName = "";
  let resting = 0;
  const network = worker(() => {
    view?.update();
    mark();
  });

  const tabs = h("nav.tabs", { role: "tablist", "aria-label": "Views" });
  const main = h("main.main", { tabindex: "-1" });
  const shown = h("div.shown");
  const code = codeBlock();
  const has = (/** @type {string} */ key) => (/** @type {import("./choices.js").Choices} */ set) => Boolean(RECIPES[set.init][/** @type {"dists" | "modes"} */ (key)]);
  const sliderFor = (/** @type {string} */ key, /** @type {string} */ label) => slider(key, label, set);
  const groups = [
    {
      title: "Network",
      views: ["variance", "signal"],
      controls: [
        sliderFor("depth", "depth"),
        sliderFor("width", "width"),
        list("shape", "widths", set),
        list("act", "activation", set),
        list("res", "residual form", set),
        sliderFor("samples", "samples"),
      ],
    },
    { title: "Layer", views: ["weights"], controls: [sliderFor("fanIn", "fan_in"), sliderFor("fanOut", "fan_out"), list("act", "activation", set)] },
    { title: "Training", views: ["race"], controls: [sliderFor("hidden", "hidden layers"), sliderFor("rate", "learning rate")] },
    {
      title: "Initial weights",
      views: ["variance", "signal", "weights"],
      controls: [
        list("init", "recipe", set),
        list("dist", "distribution", set, has("dists")),
        list("mode", "mode", set, has("modes")),
        sliderFor("sigma", "σ"),
      ],
    },
    { title: "", views: ["variance", "signal", "race", "weights"], controls: [sliderFor("seed", "seed")] },
  ].map((one) => ({ ...one, element: h("fieldset.group", {}, one.title ? h("legend", {}, one.title) : null, ...one.controls.map((control) => control.element)) }));
  const asCode = h("section.card.as-code", { "aria-label": "As code" }, h("h3", {}, "As code"), code.element);
  const keys = {
    close: () => root.querySelector(".keys-box")?.remove(),
    toggle: () => (root.querySelector(".keys-box") ? keys.close() : root.append(explorerKeysBox(keys.close))),
  };
  const linkButton = iconButton("link", "Copy a link to what is set", async () => {
    linkButton.classList.toggle("done", await copyText(host.address(toLink(page.choices))));
  });
  const keysButton = h("button.icon-button", { type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: keys.toggle }, "?");
  root.append(
    h("header.toolbar", {}, h("div.row", {}, h("strong.brand", {}, "Initialisation explorer"), h("div.acts", {}, linkButton, keysButton)), h("div.row", {}, tabs)),
    main,
  );
  fill(main, h("div.view.explore", {}, h("div.side", {}, ...groups.map((one) => one.element)), h("div.shown-side", {}, shown, asCode)));

  /** What the link says; one's own network is shown first, where there is one. */
  function linked() {
    const link = host.readLink();
    const read = fromLink(link);
    if (given.network && !link.view) read.view = "own";
    if (!given.network && read.view === "own") read.view = "variance";
    return read;
  }

  /** @param {Partial<import("./choices.js").Choices>} patch */
  function set(patch) {
    Object.assign(page.choices, patch);
    clearTimeout(resting);
    resting = setTimeout(() => host.writeLink(toLink(page.choices)), LINK_REST_MS);
    const changed = Object.keys(patch);
    if (page.choices.view === "own" && !page.network) page.choices.view = "variance";
    draw(changed.some((key) => NETWORK.includes(key)), changed.some((key) => RACE.includes(key)));
  }

  /** @param {boolean} network_ it is another network @param {boolean} race_ it is another race */
  function draw(network_, race_) {
    const { choices: now } = page;
    const entered = viewName !== now.view;
    if (entered) {
      view?.leave?.();
      page.tip.hide();
      viewName = now.view;
      view = MAKERS[viewName](page);
      fill(shown, view.element);
      fill(
        tabs,
        ...shownViews.map(([id, title], i) =>
          h("button.tab", { type: "button", role: "tab", "aria-selected": String(id === viewName), title: `${title} (${i + 1})`, onclick: () => set({ view: id }) }, title),
        ),
      );
    }
    for (const group of groups) {
      group.element.hidden = !group.views.includes(viewName);
      for (const control of group.controls) control.update(now);
    }
    const sigma = root.querySelector("input[name=sigma]")?.closest("label");
    if (sigma instanceof HTMLElement) sigma.hidden = now.init !== "normal";
    asCode.hidden = viewName === "race";
    const ownCode = viewName === "own" && page.network;
    code.show(ownCode ? switchedCode(ownCode, switchesOf(now.on, ownCode.switches.length)) : codeOf(viewName === "weights" ? { ...now, res: "none" } : now));
    main.classList.toggle("alone", viewName === "own");
    if (viewName === "race") view?.update(race_);
    else if (viewName === "weights" || viewName === "own") view?.update();
    else if (network_ || !page.measured.taps.length) compute();
    else view?.update(entered);
    mark();
  }

  function compute() {
    page.setting = settingOf(page.choices);
    const measured = { input: /** @type {any} */ (null), taps: [], gradients: [] };
    page.measured = measured;
    const task = computed(page.setting, measured);
    // Up to the first break: the input is measured.
    task.next();
    view?.update(true);
    network.run(task);
  }

  function mark() {
    root.dataset.view = viewName;
    root.dataset.state = network.busy() || view?.busy?.() ? "computing" : "ready";
  }

  document.addEventListener("keydown", explorerKeys(page, { set, play: () => view?.play?.(), help: keys }));
  host.onDark((dark) => {
    root.classList.toggle("dark", dark);
    readTheme(root, dark);
    // What is drawn still has the old colours.
    if (viewName) view?.update();
  });
  window.addEventListener("hashchange", () => {
    Object.assign(page.choices, linked());
    page.measured.taps.length = 0;
    draw(true, true);
  });
  draw(true, true);
  return {
    page,
    set,
    numbers: () => view?.numbers(),
    pieces: () => [...network.pieces(), ...(view?.pieces?.() ?? [])],
  };
}
