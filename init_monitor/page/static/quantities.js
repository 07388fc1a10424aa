/**
 * What can be shown: names, units, and how each is read.
 * @module
 */

/**
 * @typedef {object} Quantity
 * @property {string} id
 * @property {string} title
 * @property {string} short
 * @property {"layers" | "parameters" | "residuals"} of
 * @property {"log" | "share" | "signed" | "count"} form "log" follows the log/linear switch
 * @property {"diverging" | "sequential" | "share"} palette
 * @property {number} [centre] what a healthy network shows, where that is one number
 * @property {string} explains
 */

/** @type {Quantity[]} */
const ALL = [
  {
    id: "variance",
    title: "Forward variance",
    short: "variance",
    of: "layers",
    form: "log",
    palette: "diverging",
    centre: 1,
    explains: "Variance of each layer's output. Even over depth is good; it may not vanish or explode.",
  },
  {
    id: "gradient_variance",
    title: "Gradient variance",
    short: "gradient",
    of: "layers",
    form: "log",
    palette: "sequential",
    explains: "Variance of ∂loss/∂output. Its level depends on the loss; how it changes over depth is what counts.",
  },
  {
    id: "dead_fraction",
    title: "Dead units",
    short: "dead",
    of: "layers",
    form: "share",
    palette: "share",
    explains: "Share of a rectifier's units that were never positive on any sample seen.",
  },
  {
    id: "update_ratio",
    title: "Update ratio",
    short: "update",
    of: "parameters",
    form: "log",
    palette: "diverging",
    centre: 1e-3,
    explains: "‖Δw‖/‖w‖ of each weight in one optimizer step. About 10⁻³ is common; far below, nothing is learned.",
  },
  {
    id: "all_positive_fraction",
    title: "All-positive units",
    short: "all positive",
    of: "layers",
    form: "share",
    palette: "share",
    explains: "Share of a rectifier's units that were positive on every sample: to them it is the identity.",
  },
  {
    id: "unit_samples",
    title: "Positions per unit",
    short: "positions per unit",
    of: "layers",
    form: "count",
    palette: "share",
    explains: "Samples and positions over which dead and always positive units were counted. Below about 1,000 they tell little.",
  },
  {
    id: "saturated_fraction",
    title: "Saturation",
    short: "saturated",
    of: "layers",
    form: "share",
    palette: "share",
    explains: "Share of elements beyond the knee of a bounded activation.",
  },
  {
    id: "gain",
    title: "Local gain",
    short: "gain",
    of: "layers",
    form: "log",
    palette: "diverging",
    centre: 1,
    explains: "Var(output)/E[input²] of one layer: whose fault a change of variance is.",
  },
  {
    id: "mean",
    title: "Mean",
    short: "mean",
    of: "layers",
    form: "signed",
    palette: "diverging",
    centre: 0,
    explains: "Mean of each layer's output.",
  },
  {
    id: "abs_max",
    title: "Largest magnitude",
    short: "max |x|",
    of: "layers",
    form: "log",
    palette: "sequential",
    explains: "Largest absolute value of a layer's output; float16 ends at 65,504.",
  },
  {
    id: "gradient_abs_max",
    title: "Largest gradient",
    short: "max |gradient|",
    of: "layers",
    form: "log",
    palette: "sequential",
    explains: "Largest absolute value of ∂loss/∂output.",
  },
  {
    id: "zero_fraction",
    title: "Zeros",
    short: "zeros",
    of: "layers",
    form: "share",
    palette: "share",
    explains: "Share of elements that are exactly 0. About half after a healthy ReLU; says nothing about dead units.",
  },
  {
    id: "between_sample_share",
    title: "Between-sample share",
    short: "between samples",
    of: "layers",
    form: "share",
    palette: "share",
    explains: "Share of the variance that lies between samples. Near 0 the layer answers the same to every input.",
  },
  {
    id: "nonfinite_count",
    title: "Non-finite outputs",
    short: "non-finite",
    of: "layers",
    form: "count",
    palette: "share",
    explains: "NaN and infinite elements of a layer's output.",
  },
  {
    id: "gradient_nonfinite_count",
    title: "Non-finite gradients",
    short: "non-finite gradient",
    of: "layers",
    form: "count",
    palette: "share",
    explains: "NaN and infinite elements of ∂loss/∂output.",
  },
  {
    id: "weight_variance",
    title: "Weight variance",
    short: "weight variance",
    of: "parameters",
    form: "log",
    palette: "sequential",
    explains: "Variance of each parameter.",
  },
  {
    id: "weight_gradient_norm",
    title: "Weight gradient norm",
    short: "‖weight gradient‖",
    of: "parameters",
    form: "log",
    palette: "sequential",
    explains: "Euclidean norm of ∂loss/∂weight, as the optimizer received it.",
  },
  {
    id: "residual_variance_ratio",
    title: "Branch over skip",
    short: "Var(F)/Var(x)",
    of: "residuals",
    form: "log",
    palette: "diverging",
    centre: 1,
    explains: "Variance of the residual branch over the variance of the skip. Near 0 the block is silent.",
  },
  {
    id: "residual_growth",
    title: "Growth",
    short: "growth",
    of: "residuals",
    form: "log",
    palette: "diverging",
    centre: 1,
    explains: "Variance of the sum over the variance of the skip. 2 in every block doubles the signal each time.",
  },
  {
    id: "residual_correlation",
    title: "Correlation",
    short: "correlation",
    of: "residuals",
    form: "signed",
    palette: "diverging",
    centre: 0,
    explains: "Correlation of skip and branch, from −1 to 1. Near 0 at initialisation.",
  },
  {
    id: "residual_sum_var",
    title: "Variance of the sum",
    short: "Var(sum)",
    of: "residuals",
    form: "log",
    palette: "sequential",
    explains: "Variance of each block's output.",
  },
  {
    id: "residual_sum_gradient_var",
    title: "Gradient at the sum",
    short: "gradient at the sum",
    of: "residuals",
    form: "log",
    palette: "sequential",
    explains: "Variance of ∂loss/∂sum.",
  },
  {
    id: "residual_loss_decrease",
    title: "Loss decrease",
    short: "loss decrease",
    of: "residuals",
    form: "log",
    palette: "sequential",
    explains: "η‖g‖² over the block's parameters: what one step of SGD takes off the loss, to first order.",
  },
];

const BY_ID = new Map(ALL.map((one) => [one.id, one]));

/** Every quantity, in the order of the layer page. */
export const QUANTITIES = ALL;

/** Positions of a unit below which nobody can call it dead. */
export const FEW = 1000;

/** What the overview shows. */
export const OVERVIEW = ["variance", "gradient_variance", "dead_fraction", "update_ratio"];

/**
 * @param {string} id
 * @returns {Quantity}
 */
export function quantityOf(id) {
  return BY_ID.get(id) ?? { ...ALL[0], id, title: id, short: id, palette: "sequential", explains: "" };
}
