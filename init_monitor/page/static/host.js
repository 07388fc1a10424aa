/**
 * What surrounds the page: TensorBoard's frame, or nothing.
 *
 * The frame has the same origin, so its address and the class of its body can be read; a reload and the names of the
 * runs come through a message port, in the form of TensorBoard's experimental plugin library.
 * @module
 */

import { hashOf, saidOf, withSelection, wordsOf } from "./selection.js";

/** @typedef {import("./types.js").Host} Host */

const PREFIX = "p.init_monitor.";
const TAB = "init_monitor";
/** Names of messages, as TensorBoard's experimental plugin library has them. */
const RELOADED = "experimental.DataReloaded";
const RUNS_CHANGED = "experimental.RunsChanged";
const GET_RUNS = "experimental.GetRuns";

/** @returns {Host} */
export function tensorboardHost() {
  const outer = window.parent;
  const messages = channel(outer);
  /** Words in the address that are not ours: other tabs keep their choices there. */
  const others = () => wordsOf(outer.location.hash).filter(([key]) => !key.startsWith(PREFIX));
  /** @param {[string, string][]} words */
  function write(words) {
    // Another tab of TensorBoard is active: the address must not be changed.
    if (hashTab(outer.location.hash) !== TAB) return false;
    const hash = `#${TAB}${hashOf(words)}`;
    if (hash !== outer.location.hash) outer.history.replaceState(outer.history.state, "", hash);
    return true;
  }
  return {
    whole: true,
    readLink: () => readHash(outer.location.hash, PREFIX),
    writeLink: (link) => void write([...others(), ...prefixed(link, PREFIX)]),
    address: (link) => `${outer.location.href.split("#")[0]}#${TAB}${hashOf(prefixed(link, PREFIX))}`,
    selection: () => saidOf(outer.location.hash, outer.location.search),
    select(ticked) {
      // Its older tabs look at the address when they are opened, and when they hear that it changed.
      if (write(withSelection(wordsOf(outer.location.hash), ticked))) {
        outer.dispatchEvent(new HashChangeEvent("hashchange"));
      }
    },
    onSelection: (act) => outer.addEventListener("hashchange", act),
    onRuns(act) {
      messages.listen(RUNS_CHANGED, (names) => act(/** @type {string[]} */ (names)));
      messages.ask(GET_RUNS, (names) => act(/** @type {string[]} */ (names)));
    },
    onReload: (act) => messages.listen(RELOADED, act),
    onDark(act) {
      const { body } = outer.document;
      const tell = () => act(body.classList.contains("dark-mode"));
      new MutationObserver(tell).observe(body, { attributes: true, attributeFilter: ["class"] });
      tell();
    },
  };
}

/**
 * The port through which TensorBoard and a tab of its kind talk.
 * @param {Window} outer
 */
function channel(outer) {
  const { port1, port2 } = new MessageChannel();
  /** @type {Map<string, (payload: unknown) => void>} */
  const heard = new Map();
  /** @type {Map<number, (payload: unknown) => void>} */
  const waiting = new Map();
  port1.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.isReply) {
      if (!message.error) waiting.get(message.id)?.(message.payload);
      waiting.delete(message.id);
      return;
    }
    heard.get(message.type)?.(message.payload);
    // The sender waits for an answer.
    const reply = { type: message.type, id: message.id, payload: null, error: null, isReply: true };
    port1.postMessage(JSON.stringify(reply));
  };
  outer.postMessage("experimental.bootstrap", "*", [port2]);
  let asked = 0;
  return {
    /** @param {string} type @param {(payload: unknown) => void} act */
    listen: (type, act) => void heard.set(type, act),
    /** @param {string} type @param {(payload: unknown) => void} act */
    ask(type, act) {
      const id = asked;
      asked += 1;
      waiting.set(id, act);
      port1.postMessage(JSON.stringify({ type, id, payload: null, error: null, isReply: false }));
    },
  };
}

/**
 * A standalone page: it owns the address, and the system says whether it is dark.
 * @returns {Host}
 */
export function pageHost() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  return {
    whole: false,
    readLink: () => readHash(location.hash, ""),
    writeLink(link) {
      const hash = hashOf(Object.entries(link));
      // A file opened in a frame may not write its address; the page works without.
      try {
        history.replaceState(null, "", hash ? `#${hash.slice(1)}` : "#");
      } catch {
        return;
      }
    },
    address: (link) => `${location.href.split("#")[0]}#${hashOf(Object.entries(link)).slice(1)}`,
    selection: () => saidOf("", ""),
    select: () => {},
    onSelection: () => {},
    onRuns: () => {},
    onReload: () => {},
    onDark(act) {
      dark.addEventListener("change", () => act(dark.matches));
      act(dark.matches);
    },
  };
}

/** @param {string} hash */
function hashTab(hash) {
  return hash.slice(1).split("&")[0];
}

/** @param {string} hash @param {string} prefix @returns {Record<string, string>} */
function readHash(hash, prefix) {
  return Object.fromEntries(
    wordsOf(hash).flatMap(([key, value]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [])),
  );
}

/** @param {Record<string, string>} link @param {string} prefix @returns {[string, string][]} */
function prefixed(link, prefix) {
  return Object.entries(link).map(([key, value]) => [prefix + key, value]);
}
