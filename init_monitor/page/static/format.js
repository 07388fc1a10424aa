/**
 * Numbers and names as a person reads them.
 * @module
 */

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A NaN may say either: a layer that was not measured, and one whose every number is NaN. */
const NO_NUMBER = "no number";

/**
 * 10 to a whole power: "10⁻⁶".
 * @param {number} exponent
 */
export function power(exponent) {
  return `10${raised(exponent)}`;
}

/** @param {number} exponent */
function raised(exponent) {
  const digits = String(Math.abs(exponent)).replace(/\d/g, (digit) => SUPERSCRIPT[Number(digit)]);
  return (exponent < 0 ? "⁻" : "") + digits;
}

/**
 * Three significant digits; far from 1 as a power of ten.
 * @param {number} value
 * @param {number} [digits]
 */
export function formatNumber(value, digits = 3) {
  if (Number.isNaN(value)) return NO_NUMBER;
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size >= 1e-3 && size < 1e5) {
    if (size >= 1000) return sign + Math.round(size).toLocaleString("en");
    return sign + String(Number(size.toPrecision(digits)));
  }
  const [mantissa, exponent] = size.toExponential(digits - 1).split("e");
  return `${sign}${Number(mantissa)}×10${raised(Number(exponent))}`;
}

/** @param {number} share in [0, 1] */
export function formatShare(share) {
  if (Number.isNaN(share)) return NO_NUMBER;
  const percent = 100 * share;
  return `${percent > 0 && percent < 1 ? percent.toFixed(1) : Math.round(percent)} %`;
}

/**
 * Findings of a severity, counted: "2 warnings". The others are adjectives.
 * @param {number} n @param {string} severity
 */
export function counted(n, severity) {
  return `${n} ${severity}${severity === "warning" && n !== 1 ? "s" : ""}`;
}

/** @param {number} step */
export function formatStep(step) {
  return step.toLocaleString("en");
}

/**
 * Names without what all of them have in common, at dots: "net.3.weight" becomes "3".
 * @param {string[]} names
 */
export function shortNames(names) {
  if (names.length < 2) return names;
  let start = names[0];
  let end = names[0];
  for (const name of names) {
    while (!name.startsWith(start)) start = start.slice(0, -1);
    while (!name.endsWith(end)) end = end.slice(1);
  }
  const from = start.lastIndexOf(".") + 1;
  const until = end.includes(".") ? end.length - end.indexOf(".") : 0;
  return names.map((name) => name.slice(from, name.length - until) || name);
}

/**
 * Shorten in the middle to fit: the start of a name tells the block, its end the layer.
 * @param {string} text
 * @param {number} room in pixels
 * @param {(text: string) => number} measure
 */
export function fitted(text, room, measure) {
  if (measure(text) <= room) return text;
  for (let kept = Math.min(text.length - 1, 60); kept > 1; kept -= 1) {
    const head = Math.floor(kept / 3);
    const shorter = `${text.slice(0, head)}…${text.slice(text.length - (kept - head))}`;
    if (measure(shorter) <= room) return shorter;
  }
  return "…";
}

/**
 * Layers in a sentence: the first, and how many more.
 * @param {string[]} layers
 */
export function layerRange(layers) {
  if (!layers.length) return "the whole network";
  if (layers.length <= 2) return layers.join(", ");
  return `${layers[0]} … ${layers[layers.length - 1]} (${layers.length})`;
}

/**
 * A figure that JSON had to write as a word.
 * @param {number | string} value
 */
export function figureNumber(value) {
  return typeof value === "number" ? value : Number(value);
}
