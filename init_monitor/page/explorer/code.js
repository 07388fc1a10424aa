/**
 * What is set, as calls of torch.nn.init.
 * @module
 */

import { h, icon, ICONS } from "../static/dom.js";
import { copyText } from "../static/parts.js";
import { RECIPES } from "./recipes.js";
import { FORMS } from "./residual.js";

/**
 * A function to paste, for every linear and convolutional layer of a model.
 * @param {import("./choices.js").Choices} choices
 */
export function codeOf(choices) {
  const call = RECIPES[choices.init].code(choices).replace("(weight", "(module.weight");
  const form = FORMS[choices.res];
  return [
    "from torch import nn",
    "",
    "",
    "def initialise(module):",
    "    if isinstance(module, (nn.Linear, nn.Conv2d)):",
    `        ${call}`,
    "        if module.bias is not None:",
    "            nn.init.zeros_(module.bias)",
    "",
    "",
    "model.apply(initialise)",
    ...(form ? ["", `# residual blocks: ${form.title}`, ...form.code.map((line) => `# ${line}`)] : []),
  ].join("\n");
}

/** A block of code with a button that copies it. */
export function codeBlock() {
  const text = h("code");
  const said = h("span", {}, "Copy");
  const button = h(
    "button.copy",
    {
      type: "button",
      onclick: async () => {
        said.textContent = (await copyText(text.textContent ?? "")) ? "Copied" : "Select it and copy by hand";
      },
    },
    icon(ICONS.copy),
    said,
  );
  return {
    element: h("div.code-block", {}, button, h("pre", { tabindex: "0" }, text)),
    /** @param {string} code */
    show(code) {
      if (code === text.textContent) return;
      text.textContent = code;
      said.textContent = "Copy";
    },
  };
}
