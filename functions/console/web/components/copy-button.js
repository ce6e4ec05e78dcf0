import { h, spoken } from "../lib/dom.js";

const SHOWN_MS = 2500;

/**
 * `<copy-button>`: copies its `text` property. Fires `copied`.
 * The attribute `label` names what is copied.
 */
class CopyButton extends HTMLElement {
  text = "";
  #button = null;

  connectedCallback() {
    if (this.#button) return;
    this.#button = h("button", { type: "button", class: "small", onclick: () => this.#copy() }, "Copy");
    const label = this.getAttribute("label");
    if (label) this.#button.append(spoken(` ${label}`));
    this.append(this.#button, h("span", { role: "status", class: "copied" }));
  }

  async #copy() {
    const isDone = await write(this.text);
    this.#tell(isDone ? "Copied" : "Select the text and copy it by hand");
    if (isDone) this.dispatchEvent(new Event("copied", { bubbles: true }));
  }

  #tell(message) {
    const status = this.lastElementChild;
    status.textContent = message;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (status.textContent = ""), SHOWN_MS);
  }
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeByHand(text);
  }
}

/** For pages over plain http, which have no clipboard. */
function writeByHand(text) {
  const before = document.activeElement;
  const area = h("textarea", { class: "off-screen", "aria-hidden": "true", value: text });
  // Within an open dialog: nothing outside of it can be selected.
  (before?.closest("dialog") ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  before?.focus();
  return isDone;
}

customElements.define("copy-button", CopyButton);

/** A button that copies this text; `label` says what it is. */
export const copyButton = (text, label) => h("copy-button", { label, ".text": text });
