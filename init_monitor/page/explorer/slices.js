/**
 * Long work in short pieces: a generator runs for some milliseconds, then the page may draw and listen.
 * @module
 */

/** What a piece may take: a frame of 60 a second has 16. */
const PIECE_MS = 9;

/**
 * One task at a time; a new one ends the one before.
 * @param {(progress: "some" | "all") => void} told after each piece, and at the end
 */
export function worker(told) {
  /** @type {Generator<void, void, void> | null} */
  let task = null;
  /** @type {number[]} */
  const pieces = [];
  const channel = new MessageChannel();
  channel.port1.onmessage = piece;

  function piece() {
    const current = task;
    if (!current) return;
    const started = performance.now();
    let done = false;
    while (!done && performance.now() - started < PIECE_MS) done = current.next().done === true;
    pieces.push(performance.now() - started);
    if (task !== current) return;
    if (done) task = null;
    told(done ? "all" : "some");
    // After the next frame: a message alone would keep pictures from being drawn.
    if (!done) requestAnimationFrame(() => channel.port2.postMessage(0));
  }

  return {
    /** @param {Generator<void, void, void>} next */
    run(next) {
      task = next;
      pieces.length = 0;
      channel.port2.postMessage(0);
    },
    stop() {
      task = null;
    },
    busy: () => task !== null,
    /** How long each piece took, in milliseconds. */
    pieces: () => pieces,
  };
}
