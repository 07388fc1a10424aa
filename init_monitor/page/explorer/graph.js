/**
 * Who reads whom in a network that was watched: its layers and residual additions in the order in which they ran.
 * @module
 */

/**
 * What the estimate needs to know of a layer.
 * @typedef {object} LayerFacts
 * @property {string} name
 * @property {string} kind
 * @property {string} role
 * @property {string[]} inputs the layers that what it receives was computed from; "input" and "parameter" stand for themselves
 * @property {number} forward_terms how many terms each output sums
 * @property {number} backward_terms the same of each input gradient
 * @property {number | null} slope below zero, of an activation that has one
 * @property {number | null} bias variance of its bias; null without one
 * @property {Act[]} acts the switches that change its weights
 */

/**
 * @typedef {object} Act
 * @property {number} switch
 * @property {number | null} current variance of the weight now
 * @property {number | null} target what the recipe makes of it; null where that has no meaning
 * @property {boolean} zeroes it sets the bias to zero
 * @property {boolean} centred its bias removes the mean of what it receives
 * @property {string} [parameter] the weight, where its variance is not here but among the series
 */

/**
 * @typedef {object} AdditionFacts
 * @property {string} name
 * @property {string} skip
 * @property {string} branch
 * @property {number | null} skip_scale
 * @property {number} depth layers that had run when it was added
 */

/**
 * A layer, or an addition, among the others.
 * @typedef {object} Place
 * @property {string} name
 * @property {number} at its row among the layers, or among the additions
 * @property {LayerFacts | null} layer
 * @property {AdditionFacts | null} addition
 * @property {string[]} reads places whose output it takes; of an addition its skip, then its branch
 * @property {{to: Place, skip: boolean}[]} feeds
 */

/** @type {WeakMap<LayerFacts[], Place[]>} */
const kept = new WeakMap();

/**
 * @param {LayerFacts[]} layers @param {AdditionFacts[]} additions
 * @returns {Place[]} in the order in which they ran
 */
export function placesOf(layers, additions) {
  const known = kept.get(layers);
  if (known) return known;
  /** @type {Place[]} */
  const places = [];
  /** @type {Map<string, Place>} */
  const byName = new Map();
  /** @param {Place} place */
  const add = (place) => {
    for (const [k, name] of place.reads.entries()) byName.get(name)?.feeds.push({ to: place, skip: Boolean(place.addition) && k === 0 });
    places.push(place);
    byName.set(place.name, place);
  };
  const waiting = additions.map((addition, at) => ({ addition, at })).sort((a, b) => a.addition.depth - b.addition.depth);
  /** @param {number} ran how many layers have run */
  const addUpTo = (ran) => {
    while (waiting.length && waiting[0].addition.depth <= ran) {
      const { addition, at } = /** @type {typeof waiting[0]} */ (waiting.shift());
      const reads = [addition.skip, addition.branch].map((name) => tapOf(name, layers, byName));
      add({ name: addition.name, at, layer: null, addition, reads, feeds: [] });
    }
  };
  layers.forEach((layer, at) => {
    addUpTo(at);
    // What is not known is most likely the layer before.
    const inputs = layer.inputs.length ? layer.inputs : [layers[at - 1]?.name ?? "input"];
    add({ name: layer.name, at, layer, addition: null, reads: readsOf(inputs, places), feeds: [] });
  });
  addUpTo(Infinity);
  kept.set(layers, places);
  return places;
}

/**
 * A sum says by which layers it was made; who reads those after they were added reads the sum.
 * @param {string[]} inputs @param {Place[]} before
 */
function readsOf(inputs, before) {
  for (let k = before.length - 1; k >= 0; k -= 1) {
    const { addition, name } = before[k];
    if (!addition) continue;
    const [, branch] = before[k].reads;
    const inside = madeOf(branch, before);
    if (!inputs.some((one) => inside.has(one))) continue;
    const all = madeOf(name, before);
    return [name, ...inputs.filter((one) => !all.has(one))];
  }
  return inputs;
}

/**
 * The layers that a place's value is a sum of.
 * @param {string} name @param {Place[]} before
 * @returns {Set<string>}
 */
function madeOf(name, before) {
  const made = new Set([name]);
  for (let k = before.length - 1; k >= 0; k -= 1) {
    const place = before[k];
    if (place.addition && made.has(place.name)) for (const one of place.reads) made.add(one);
  }
  return made;
}

/**
 * An addition may name a module where a layer is one of several outputs, or one of several calls, of it.
 * @param {string} name @param {LayerFacts[]} layers @param {Map<string, Place>} ran
 */
function tapOf(name, layers, ran) {
  if (ran.has(name)) return name;
  const calls = layers.filter((one) => ran.has(one.name) && (one.name.startsWith(`${name}[`) || one.name.startsWith(`${name}#`)));
  return calls[calls.length - 1]?.name ?? name;
}
