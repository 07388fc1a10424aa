/**
 * How a block puts its input and its branch together: x_k = α_k x_{k-1} + β_k F_k(x_{k-1}).
 * @module
 */

/**
 * @typedef {object} Form
 * @property {string} title
 * @property {string} formula
 * @property {(k: number, blocks: number) => {alpha: number, beta: number}} factors k counts from 1
 * @property {(k: number, blocks: number) => number} branch factor on the variance of the branch's weights, per layer of two
 * @property {boolean} [zeroEnds] the last weights of every branch start at 0
 * @property {boolean} [normed] the branch begins with a layer norm
 * @property {string[]} code lines of Python on how to write it
 */

const plain = () => ({ alpha: 1, beta: 1 });
const one = () => 1;

/** @type {Record<string, Form | null>} */
export const FORMS = {
  none: null,
  sum: { title: "x + F(x)", formula: "x + F(x)", factors: plain, branch: one, code: ["x = x + branch(x)"] },
  half: {
    title: "(x + F(x)) / √2",
    formula: "(x + F(x)) / √2",
    factors: () => ({ alpha: Math.SQRT1_2, beta: Math.SQRT1_2 }),
    branch: one,
    code: ["x = (x + branch(x)) / 2**0.5"],
  },
  zero: {
    title: "x + F(x), F ends in zeros",
    formula: "x + F(x)",
    factors: plain,
    branch: one,
    zeroEnds: true,
    code: ["nn.init.zeros_(branch[-1].weight)  # the last layer of every branch", "x = x + branch(x)"],
  },
  rescale: {
    title: "RescaleNet: α x + β F(x)",
    formula: "√((k−1+L)/(k+L)) x + F(x)/√(k+L)",
    factors: (k, blocks) => ({ alpha: Math.sqrt((k - 1 + blocks) / (k + blocks)), beta: 1 / Math.sqrt(k + blocks) }),
    branch: one,
    code: ["x = ((k - 1 + L) / (k + L)) ** 0.5 * x + (k + L) ** -0.5 * branch(x)  # block k = 1 … L"],
  },
  fixed: {
    title: "RescaleNet, fixed weight 1/√L",
    formula: "√((k−1+L)/(k+L)) x + F(x)/√L",
    factors: (k, blocks) => ({ alpha: Math.sqrt((k - 1 + blocks) / (k + blocks)), beta: 1 / Math.sqrt(blocks) }),
    branch: (k, blocks) => Math.sqrt(blocks / (k + blocks)),
    code: [
      "weight *= (L / (k + L)) ** 0.25  # both layers of branch k: Var(F) becomes L/(k+L) of Var(x)",
      "x = ((k - 1 + L) / (k + L)) ** 0.5 * x + L**-0.5 * branch(x)  # block k = 1 … L",
    ],
  },
  norm: {
    title: "x + F(norm(x))",
    formula: "x + F(LayerNorm(x))",
    factors: plain,
    branch: one,
    normed: true,
    code: ["x = x + branch(norm(x))  # norm = nn.LayerNorm(width)"],
  },
};
