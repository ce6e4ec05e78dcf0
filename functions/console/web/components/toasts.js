import { h } from "../lib/dom.js";

const SHOWN_MS = 6000;
let polite = null;

/** Makes the place of messages; it must be there before the first one, or screen readers miss it. */
export function startToasts() {
  polite = h("div", { role: "status", class: "toasts" });
  document.getElementById("toasts").append(polite);
}

/** Tells that something was done; what failed is told where it failed. */
export function toast(message) {
  const shown = h("p", { class: "toast" }, message);
  polite.append(shown);
  setTimeout(() => shown.remove(), SHOWN_MS);
}
