// Text with a button that copies it.

import { create } from "./dom";

/** How long the button says that it has copied. */
const SAID_MS = 1500;

/** A row of a label, the text, and the button. */
export function copyable(label: string, text: string): HTMLElement {
  const code = create("code", { tabindex: "0" }, text);
  const button = create("button", { type: "button", "aria-label": `Copy: ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text, code)) ? "Copied" : "Press Ctrl+C";
    window.setTimeout(() => (button.textContent = "Copy"), SAID_MS);
  });
  return create("div", { class: "copyable" }, create("span", { class: "label" }, label), code, button);
}

async function copy(text: string, shown: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard where the page came over plain HTTP from another machine: select it, and try the old way.
    const range = document.createRange();
    range.selectNodeContents(shown);
    const selection = window.getSelection();
    selection?.removeAllRanges();
    selection?.addRange(range);
    return document.execCommand("copy");
  }
}
