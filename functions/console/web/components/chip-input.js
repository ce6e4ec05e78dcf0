import { h, spoken } from "../lib/dom.js";

/**
 * `<chip-input>`: a list of short texts, such as addresses. Enter, a comma and leaving the box add what was typed; a
 * pasted list becomes as many entries. The property `values` is the list, with what was typed and not added yet.
 * Fires `change`.
 */
class ChipInput extends HTMLElement {
  #values = [];
  #list = h("ul", { class: "chips" });
  #status = h("span", { role: "status", class: "spoken" });
  #box = h("input", {
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    onkeydown: (event) => this.#key(event),
    onpaste: (event) => this.#paste(event),
    onblur: () => this.#commit(),
    oninput: (event) => event.stopPropagation(),
    onchange: (event) => event.stopPropagation(),
  });

  connectedCallback() {
    if (this.childElementCount) return;
    for (const name of ["placeholder", "list", "inputmode"]) {
      if (this.hasAttribute(name)) this.#box.setAttribute(name, this.getAttribute(name));
    }
    this.append(this.#list, this.#box, this.#status);
    this.#show();
  }

  /** The text box, which labels and errors belong to. */
  get control() {
    return this.#box;
  }

  get values() {
    this.#commit();
    return [...this.#values];
  }

  set values(values) {
    this.#values = [...values];
    this.#show();
  }

  /** Adds entries that are not there yet. */
  add(...texts) {
    const fresh = texts.map((text) => text.trim()).filter((text) => text && !this.#values.includes(text));
    if (fresh.length === 0) return;
    this.#values.push(...new Set(fresh));
    this.#show();
    this.#status.textContent = `Added ${fresh.join(", ")}`;
    this.dispatchEvent(new Event("change", { bubbles: true }));
  }

  focus() {
    this.#box.focus();
  }

  #remove(at) {
    const [gone] = this.#values.splice(at, 1);
    this.#show();
    this.#status.textContent = `Removed ${gone}`;
    this.dispatchEvent(new Event("change", { bubbles: true }));
    const next = this.#list.querySelectorAll("button")[Math.min(at, this.#values.length - 1)];
    (next ?? this.#box).focus();
  }

  #key(event) {
    if (event.isComposing) return;
    if ((event.key === "Enter" && this.#box.value.trim()) || event.key === ",") {
      event.preventDefault();
      this.#commit();
    } else if (event.key === "Backspace" && this.#box.value === "" && this.#values.length > 0) {
      event.preventDefault();
      this.#remove(this.#values.length - 1);
      this.#box.focus();
    }
  }

  #paste(event) {
    const parts = event.clipboardData.getData("text").split(/[\n,;]+/);
    if (parts.length < 2) return;
    event.preventDefault();
    this.add(this.#box.value, ...parts);
    this.#box.value = "";
  }

  #commit() {
    const text = this.#box.value;
    if (!text.trim()) return;
    this.#box.value = "";
    this.add(...text.split(","));
  }

  #show() {
    this.#list.replaceChildren(
      ...this.#values.map((text, at) =>
        h(
          "li",
          { class: "chip" },
          h("bdi", {}, text),
          h(
            "button",
            { type: "button", title: "Remove", onclick: () => this.#remove(at) },
            "×",
            spoken(` Remove ${text}`),
          ),
        ),
      ),
    );
    this.#list.hidden = this.#values.length === 0;
  }
}

customElements.define("chip-input", ChipInput);
