/**
 * What surrounds the page: TensorBoard's frame, or nothing.
 *
 * The frame has the same origin, so its address and the class of its body can be read; a reload is announced through
 * a message port, in the form of TensorBoard's experimental plugin library.
 * @module
 */

/** @typedef {import("./types.js").Host} Host */

const PREFIX = "p.init_monitor.";
const TAB = "init_monitor";

/** @returns {Host} */
export function tensorboardHost() {
  const outer = window.parent;
  return {
    whole: true,
    readLink: () => readHash(outer.location.hash, PREFIX),
    writeLink(link) {
      // Another tab of TensorBoard is active: the address must not be changed.
      if (hashTab(outer.location.hash) !== TAB) return;
      const hash = `#${TAB}${hashOf(link, PREFIX)}`;
      if (hash !== outer.location.hash) outer.history.replaceState(outer.history.state, "", hash);
    },
    address: (link) => `${outer.location.href.split("#")[0]}#${TAB}${hashOf(link, PREFIX)}`,
    onReload(act) {
      const channel = new MessageChannel();
      channel.port1.onmessage = (event) => {
        const message = JSON.parse(event.data);
        if (message.isReply) return;
        if (message.type === "experimental.DataReloaded") act();
        // The sender waits for an answer.
        const reply = { type: message.type, id: message.id, payload: null, error: null, isReply: true };
        channel.port1.postMessage(JSON.stringify(reply));
      };
      outer.postMessage("experimental.bootstrap", "*", [channel.port2]);
    },
    onDark(act) {
      const { body } = outer.document;
      const tell = () => act(body.classList.contains("dark-mode"));
      new MutationObserver(tell).observe(body, { attributes: true, attributeFilter: ["class"] });
      tell();
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
      const hash = hashOf(link, "");
      // A file opened in a frame may not write its address; the page works without.
      try {
        history.replaceState(null, "", hash ? `#${hash.slice(1)}` : "#");
      } catch {
        return;
      }
    },
    address: (link) => `${location.href.split("#")[0]}#${hashOf(link, "").slice(1)}`,
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

/** @param {string} hash @param {string} prefix */
function readHash(hash, prefix) {
  /** @type {Record<string, string>} */
  const link = {};
  for (const part of hash.slice(1).split("&")) {
    const at = part.indexOf("=");
    if (at < 0) continue;
    try {
      const key = decodeURIComponent(part.slice(0, at));
      if (key.startsWith(prefix)) link[key.slice(prefix.length)] = decodeURIComponent(part.slice(at + 1));
    } catch {
      // Half a character: the link was cut. The rest still counts.
    }
  }
  return link;
}

/** @param {Record<string, string>} link @param {string} prefix */
function hashOf(link, prefix) {
  return Object.entries(link)
    .map(([key, value]) => `&${encodeURIComponent(prefix + key)}=${encodeURIComponent(value)}`)
    .join("");
}
