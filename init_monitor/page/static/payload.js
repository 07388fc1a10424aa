/**
 * The binary form of matrices: see page/payload.py, which writes it.
 * @module
 */

/** @typedef {import("./types.js").Series} Series */

const HEADER_LENGTH = 4;

/**
 * Read a matrix. The numbers are not copied.
 * @param {ArrayBuffer} buffer
 * @returns {Series}
 */
export function decodePayload(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, HEADER_LENGTH, length)));
  const values = new Float32Array(buffer, HEADER_LENGTH + length);
  /** @type {string[]} */
  const names = header.names;
  if (values.length !== names.length * header.steps.length) {
    throw new Error(`${values.length} numbers came for ${names.length} layers × ${header.steps.length} steps`);
  }
  return {
    names,
    steps: header.steps,
    sampled: header.sampled,
    values,
    index: new Map(names.map((name, row) => [name, row])),
    ...(header.quantities ? { quantities: header.quantities } : {}),
  };
}

/**
 * Position of the last step that is not after `step`, -1 if there is none.
 * @param {ArrayLike<number>} steps ascending
 * @param {number} step
 */
export function columnAt(steps, step) {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * One number of a series, NaN where there is none.
 * @param {Series | null} series
 * @param {string} name
 * @param {number} column
 */
export function valueAt(series, name, column) {
  const row = series?.index.get(name);
  if (!series || row === undefined || column < 0 || column >= series.steps.length) return NaN;
  return series.values[row * series.steps.length + column];
}
