/**
 * The HTML report calls `renderReport`: the same page, with the numbers that are in the file.
 * @module
 */

import { startApp } from "./app.js";
import { pageHost } from "./host.js";
import { embeddedSource } from "./source.js";

/**
 * @param {HTMLElement} root
 * @param {string} json what page/document.py wrote
 * @param {string} view where to open
 */
export function renderReport(root, json, view) {
  const host = pageHost();
  return startApp(root, embeddedSource(JSON.parse(json)), {
    ...host,
    readLink: () => ({ view, ...host.readLink() }),
  });
}
