/**
 * How bad a run is, and which runs are looked at first. Pure.
 * @module
 */

/** @typedef {import("./types.js").RunEntry} RunEntry */
/** @typedef {"critical" | "warning" | "unjudged" | "info" | "fine"} Standing */

/** Worst first; a run that was not judged yet may be anything. */
const ORDER = /** @type {Standing[]} */ (["critical", "warning", "unjudged", "info", "fine"]);

/** A sign of each, told apart by its form as well as by its colour. */
export const SIGNS = { critical: "✖", warning: "▲", unjudged: "…", info: "i", fine: "✓" };

/** @param {RunEntry} entry @returns {Standing} */
export function standingOf(entry) {
  const { verdict } = entry;
  if (!verdict) return "unjudged";
  return verdict.first?.severity ?? (verdict.looked ? "fine" : "unjudged");
}

/**
 * In words: "critical, 3 findings".
 * @param {RunEntry} entry
 */
export function standingWords(entry) {
  const standing = standingOf(entry);
  if (standing === "unjudged") return "not judged yet";
  const found = Object.values(entry.verdict?.counts ?? {}).reduce((sum, one) => sum + one, 0);
  return found ? `${standing}, ${found} finding${found === 1 ? "" : "s"}` : "no findings";
}

/**
 * Of equally bad runs the one with more findings of that kind comes first, then the newest.
 * @template {RunEntry} T
 * @param {T[]} entries
 */
export function worstFirst(entries) {
  /** @param {T} one */
  const counted = (one) => {
    const standing = standingOf(one);
    return one.verdict?.counts[/** @type {"critical"} */ (standing)] ?? 0;
  };
  return [...entries].sort(
    (a, b) =>
      ORDER.indexOf(standingOf(a)) - ORDER.indexOf(standingOf(b)) || counted(b) - counted(a) || b.time - a.time,
  );
}
