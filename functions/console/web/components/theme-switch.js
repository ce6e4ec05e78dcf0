import { h, uniqueId } from "../lib/dom.js";

const KEY = "wbcs.theme";
const CHOICES = [
  ["", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];

/** Chooses light, dark, or what the system has; kept in this browser. */
export function themeSwitch() {
  const chosen = document.documentElement.dataset.theme ?? "";
  const choose = (event) => {
    const { value } = event.target;
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
    try {
      localStorage.setItem(KEY, value);
    } catch {
      // Storage is off: it lasts until the page is loaded anew.
    }
  };
  const id = uniqueId("theme");
  return h(
    "div",
    { class: "theme" },
    h("label", { for: id }, "Theme"),
    h(
      "select",
      { id, class: "small", onchange: choose },
      CHOICES.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
    ),
  );
}
