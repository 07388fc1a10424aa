/**
 * TensorBoard imports this module into the tab's frame and calls `render`.
 * @module
 */

import { startApp } from "./app.js";
import { h } from "./dom.js";
import { tensorboardHost } from "./host.js";
import { serverSource } from "./source.js";

export async function render() {
  // The colours of the canvases come from the style sheets, so they have to load first.
  await Promise.all(["./style.css", "../explorer/explorer.css"].map(styled));
  document.documentElement.lang = "en";
  const root = h("div");
  document.body.append(root);
  startApp(root, serverSource(new URL("../", import.meta.url).href), tensorboardHost());
}

/** @param {string} place of a style sheet, from here */
function styled(place) {
  const style = /** @type {HTMLLinkElement} */ (
    h("link", { rel: "stylesheet", href: new URL(place, import.meta.url).href })
  );
  const loaded = new Promise((done) => {
    style.onload = style.onerror = done;
  });
  document.head.append(style);
  return loaded;
}
