/**
 * The bar above every view: the pages, the runs, the filter, and the step with its slider.
 * @module
 */

import { WHOLE } from "./depth.js";
import { fill, h, icon, iconButton, ICONS, refill } from "./dom.js";
import { formatStep } from "./format.js";
import { lossStrip, lossWords } from "./loss.js";
import { columnAt } from "./payload.js";
import { PALETTES } from "./palette.js";
import { matcher } from "./model.js";
import { runChips } from "./run_chips.js";
import { VIEWS } from "./state.js";

/** @typedef {import("./types.js").Context} Context */

/**
 * @param {Context} ctx
 * @param {object} acts
 * @param {() => void} acts.play start or stop
 * @param {() => boolean} acts.playing
 * @param {() => Promise<boolean>} acts.copyLink
 * @param {() => void} acts.showKeys
 */
export function toolbar(ctx, { play, playing, copyLink, showKeys }) {
  const tabs = h("nav.tabs", { role: "tablist", "aria-label": "Views" });
  const runs = runChips(ctx);
  const filter = /** @type {HTMLInputElement} */ (
    h("input.filter", {
      type: "search",
      placeholder: "Filter layers (regex)",
      "aria-label": "Filter layers by a regular expression",
      spellcheck: "false",
      oninput: () => ctx.set({ filter: filter.value }),
    })
  );
  const scale = h("div.segments", { role: "group", "aria-label": "Scale" });
  const palette = h("select.choose", {
    "aria-label": "Colours",
    onchange: (/** @type {Event} */ event) =>
      ctx.set({ palette: /** @type {HTMLSelectElement} */ (event.target).value }),
  });
  const linkButton = iconButton("link", "Copy a link to what you see", async () => {
    linkButton.classList.toggle("done", await copyLink());
    setTimeout(() => linkButton.classList.remove("done"), 1500);
  });
  const keysButton = h(
    "button.icon-button",
    { type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: showKeys },
    "?",
  );
  const playButton = h("button.icon-button.play", { type: "button", onclick: play });
  const slider = /** @type {HTMLInputElement} */ (
    h("input.slider", {
      type: "range",
      min: 0,
      "aria-label": "Step",
      oninput: () => choose(Number(slider.value)),
    })
  );
  const marks = h("div.marks", { "aria-hidden": "true" });
  const rail = h("div.rail", {}, marks, slider);
  const strip = lossStrip(ctx, (step) => choose(nearest(ctx.timeline, step)));
  const shown = h("output.step");
  const live = h("button.live", { type: "button", onclick: () => ctx.set({ step: null }) });
  const trouble = h("p.trouble", { role: "alert" });
  const part = h("button.part", {
    type: "button",
    title: "Only a part is shown: show everything again (0, or a double click)",
    onclick: () => ctx.set(WHOLE),
  });
  const element = h(
    "header.toolbar",
    {},
    h("div.row", {}, tabs, h("div.acts", {}, palette, linkButton, keysButton)),
    h("div.row.choices", {}, runs.element, filter, scale),
    h("div.row.time", {}, playButton, h("div.track", {}, strip.element, rail), strip.scale, shown, part, live),
    trouble,
  );

  /** @param {number} place */
  function choose(place) {
    // The right end is the newest step: the page keeps following it.
    const last = place >= ctx.timeline.length - 1;
    ctx.set({ step: last && ctx.session.live ? null : ctx.timeline[place] });
  }

  function updateMarks() {
    const last = Math.max(1, ctx.timeline.length - 1);
    const places = ctx.runs.flatMap((run) =>
      (ctx.session.outline(run.name)?.findings ?? []).map(({ severity, code, rule, step }) => ({
        severity,
        title: `${code} ${rule}`,
        left: `${(100 * Math.max(0, columnAt(ctx.timeline, step))) / last}%`,
      })),
    );
    refill(marks, places, () =>
      places.map(({ severity, title, left }) => {
        const mark = h(`i.mark.${severity}`, { title });
        mark.style.left = left;
        return mark;
      }),
    );
  }

  return {
    element,
    filter,
    update() {
      const found = countFindings(ctx);
      const checks = ctx.session.checks().length > 0;
      refill(tabs, [ctx.state.view, found, checks], () =>
        Object.entries(VIEWS).map(([id, title], i) => {
          // Few have trained at several widths: without it the others have more room.
          if (id === "widths" && !checks && ctx.state.view !== id) return null;
          const count = id === "findings" ? found : 0;
          return h(
            "button.tab",
            {
              type: "button",
              role: "tab",
              "aria-selected": String(id === ctx.state.view),
              title: `${title} (${i + 1})`,
              onclick: () => ctx.set({ view: id }),
            },
            title,
            count ? h("span.count", {}, String(count)) : null,
          );
        }),
      );
      runs.update();
      if (filter.value !== ctx.state.filter) filter.value = ctx.state.filter;
      const { error } = matcher(ctx.state.filter);
      filter.classList.toggle("wrong", !!error);
      filter.title = error ? `Not a regular expression: ${error}` : "";
      refill(scale, ctx.state.scale, () =>
        /** @type {const} */ (["log", "linear"]).map((one) =>
          h(
            "button.segment",
            { type: "button", "aria-pressed": String(one === ctx.state.scale), onclick: () => ctx.set({ scale: one }) },
            one,
          ),
        ),
      );
      refill(palette, ctx.state.palette, () =>
        Object.entries(PALETTES).map(([id, title]) =>
          h("option", { value: id, selected: id === ctx.state.palette }, title),
        ),
      );
      slider.max = String(Math.max(0, ctx.timeline.length - 1));
      slider.value = String(Math.max(0, columnAt(ctx.timeline, ctx.step)));
      slider.setAttribute("aria-valuetext", `step ${ctx.step}`);
      slider.disabled = ctx.timeline.length < 2;
      updateMarks();
      const { head, tail } = strip.update();
      rail.style.marginLeft = `${100 * head}%`;
      rail.style.marginRight = `${100 * tail}%`;
      fill(
        shown,
        h(
          "div",
          {},
          "step ",
          h("b", {}, formatStep(ctx.step)),
          h("span.muted", {}, ` of ${formatStep(ctx.timeline[ctx.timeline.length - 1] ?? 0)}`),
        ),
        lossWords(ctx),
      );
      const { from, until, depth } = ctx.state;
      const zoomed = from !== null || until !== null;
      const words = [
        zoomed && ctx.timeline.length ? `steps ${formatStep(ctx.timeline[0])} … ${formatStep(ctx.timeline[ctx.timeline.length - 1])}` : "",
        depth ? `${depth[0]} … ${depth[1]}` : "",
      ].filter(Boolean);
      part.hidden = !words.length;
      refill(part, words, () => [h("span.name", {}, words.join(", ")), icon(ICONS.close)]);
      live.hidden = !ctx.session.live;
      live.textContent = ctx.state.step === null ? "following" : "follow newest";
      live.setAttribute("aria-pressed", String(ctx.state.step === null));
      live.title =
        ctx.state.step === null ? "The newest step is shown as it arrives" : "Show the newest step, and keep following it";
      trouble.textContent = ctx.session.trouble();
      trouble.hidden = !ctx.session.trouble();
      this.playing();
    },
    hovered: strip.hovered,
    playing() {
      refill(playButton, playing(), () => [icon(playing() ? ICONS.pause : ICONS.play, true)]);
      const label = playing() ? "Stop (space)" : "Play through the steps (space)";
      playButton.title = label;
      playButton.setAttribute("aria-label", label);
    },
  };
}

/**
 * Position of the measured step that is nearest.
 * @param {number[]} timeline @param {number} step
 */
function nearest(timeline, step) {
  const before = Math.max(0, columnAt(timeline, step));
  return timeline[before + 1] - step < step - timeline[before] ? before + 1 : before;
}

/** @param {Context} ctx */
function countFindings(ctx) {
  return ctx.runs.reduce((sum, run) => sum + (ctx.session.outline(run.name)?.findings.length ?? 0), 0);
}
