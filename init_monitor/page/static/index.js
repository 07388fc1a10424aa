/**
 * TensorBoard imports this module into the tab's frame and calls `render`.
 * @module
 */

import { startApp } from "./app.js";
import { h } from "./dom.js";
import { tensorboardHost } from "./host.js";
import { serverSource } from "./source.js";

export async function render() {
  const style = /** @type {HTMLLinkElement} */ (
    h("link", { rel: "stylesheet", href: new URL("./style.css", import.meta.url).href })
  );
  // The colours of the canvases come from the style sheet, so it has to load first.
  const styled = new Promise((done) => {
    style.onload = style.onerror = done;
  });
  document.head.append(style);
  await styled;
  document.documentElement.lang = "en";
  const root = h("div");
  document.body.append(root);
  startApp(root, serverSource(new URL("../", import.meta.url).href), tensorboardHost());
}
