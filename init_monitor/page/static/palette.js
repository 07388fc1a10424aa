/**
 * Colours: maps of even lightness steps that every kind of colour vision can read, and one colour per run.
 * @module
 */

/** @typedef {[number, number, number]} Rgb */

/**
 * From dark violet to pale yellow, in even steps of OKLab lightness: the map of the pictures in the Images tab.
 * @type {Rgb[]}
 */
const EVEN = [
  [36, 14, 83],
  [31, 41, 111],
  [0, 69, 131],
  [3, 96, 133],
  [1, 121, 142],
  [1, 146, 150],
  [3, 173, 151],
  [82, 196, 143],
  [145, 213, 138],
  [200, 229, 139],
  [250, 243, 150],
];

/** Blue (low), pale (as it should be), orange (high). Blue and orange differ for every kind of colour vision. */
const DIVERGING = {
  light: /** @type {Rgb[]} */ ([
    [12, 45, 110],
    [38, 101, 176],
    [126, 174, 219],
    [240, 240, 238],
    [238, 172, 106],
    [194, 98, 22],
    [112, 45, 4],
  ]),
  dark: /** @type {Rgb[]} */ ([
    [168, 208, 255],
    [84, 150, 226],
    [44, 86, 140],
    [44, 46, 52],
    [140, 84, 34],
    [222, 136, 58],
    [255, 212, 160],
  ]),
};

/** From the page's own colour to a strong one: 0 is "nothing there". */
const SHARE = {
  light: /** @type {Rgb[]} */ ([
    [240, 240, 240],
    [205, 190, 216],
    [160, 126, 182],
    [112, 62, 142],
    [60, 16, 90],
  ]),
  dark: /** @type {Rgb[]} */ ([
    [44, 46, 52],
    [86, 66, 108],
    [140, 104, 170],
    [194, 156, 220],
    [240, 222, 255],
  ]),
};

const GREY = {
  light: /** @type {Rgb[]} */ ([
    [248, 248, 248],
    [30, 30, 34],
  ]),
  dark: /** @type {Rgb[]} */ ([
    [40, 42, 46],
    [245, 245, 245],
  ]),
};

/** What the user can choose. */
export const PALETTES = { auto: "Colours by meaning", even: "Violet to yellow", grey: "Grey" };

/** Beyond every scale: infinite. */
export const BEYOND = { light: "#d1005d", dark: "#ff5aa5" };

/**
 * Exact zeros, which have no logarithm: darker or lighter than every colour of the scale.
 * @param {string} choice key of PALETTES @param {boolean} dark
 */
export function zeroColour(choice, dark) {
  if (choice === "grey") return dark ? "#7db4ff" : "#1a56a8";
  return dark && choice === "auto" ? "#ffffff" : "#000000";
}

const LEVELS = 256;

/** @type {Map<string, Uint32Array>} */
const made = new Map();

/**
 * 256 colours as the pixels of an ImageData (little-endian RGBA).
 * @param {"diverging" | "sequential" | "share"} meaning
 * @param {string} choice key of PALETTES
 * @param {boolean} dark
 */
export function lookup(meaning, choice, dark) {
  const key = `${meaning}/${choice}/${dark}`;
  let table = made.get(key);
  if (!table) {
    const anchors = anchorsOf(meaning, choice, dark ? "dark" : "light");
    table = new Uint32Array(LEVELS);
    for (let i = 0; i < LEVELS; i += 1) {
      const [red, green, blue] = mixed(anchors, i / (LEVELS - 1));
      table[i] = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    }
    made.set(key, table);
  }
  return table;
}

/**
 * @param {string} meaning @param {string} choice @param {"light" | "dark"} theme
 * @returns {Rgb[]}
 */
function anchorsOf(meaning, choice, theme) {
  if (choice === "grey") return GREY[theme];
  if (choice === "even" || meaning === "sequential") return EVEN;
  return meaning === "share" ? SHARE[theme] : DIVERGING[theme];
}

/**
 * @param {Rgb[]} anchors @param {number} share
 * @returns {Rgb}
 */
function mixed(anchors, share) {
  const place = share * (anchors.length - 1);
  const low = Math.min(Math.floor(place), anchors.length - 2);
  const part = place - low;
  return /** @type {Rgb} */ (
    anchors[low].map((channel, i) => Math.round(channel + part * (anchors[low + 1][i] - channel)))
  );
}

/** Wong (Nature Methods 8, 441, 2011), darkened or lightened until a line is visible on the page. */
const RUNS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#b0508a", "#8a6d00", "#2a8fc4", "#555555"],
  dark: ["#56b4e9", "#f0883e", "#35c79a", "#e08fbf", "#e6c229", "#9ecbff", "#bbbbbb"],
};

/** TensorBoard's own, in the order in which it gives them out (runs by the time they began). */
const BOARD = {
  light: ["#425066", "#12b5cb", "#e52592", "#f9ab00", "#9334e6", "#7cb342", "#e8710a"],
  dark: ["#8e98a3", "#12b5cb", "#e52592", "#f9ab00", "#9334e6", "#7cb342", "#e8710a"],
};

const DASHES = [[], [6, 3], [2, 2], [9, 2, 2, 2], [4, 4], [9, 2, 2, 2, 2, 2]];

/**
 * Colour and dash of the k-th run; dashes distinguish runs when colours repeat.
 * @param {number} k
 * @param {boolean} dark
 * @param {boolean} [board] as TensorBoard colours it
 */
export function runStyle(k, dark, board = false) {
  const colours = (board ? BOARD : RUNS)[dark ? "dark" : "light"];
  return { colour: colours[k % colours.length], dash: DASHES[Math.floor(k / colours.length) % DASHES.length] };
}
