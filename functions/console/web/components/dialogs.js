import { h, uniqueId } from "../lib/dom.js";

/**
 * A modal dialog with a heading; gives the element, which closes on Escape. Focus returns to where it was.
 * `onclose` gets the button's value, or an empty text.
 */
export function dialog(title, content, { onclose, isLocked = false } = {}) {
  const id = uniqueId("dialog");
  const before = document.activeElement;
  const element = h("dialog", { "aria-labelledby": id }, h("h2", { id }, title), content);
  element.addEventListener("cancel", (event) => isLocked && event.preventDefault());
  element.addEventListener("close", () => {
    element.remove();
    if (before?.isConnected) before.focus();
    onclose?.(element.returnValue);
  });
  document.body.append(element);
  element.showModal();
  return element;
}

/**
 * Asks whether to go on.
 *
 * `body` is what a paragraph can have.
 *
 * @param {{title: string, body: any, action: string, isDangerous?: boolean, cancel?: string}} question
 * @returns {Promise<boolean>}
 */
export function confirm({ title, body, action, isDangerous = false, cancel = "Cancel" }) {
  return new Promise((resolve) => {
    const choices = h(
      "form",
      { method: "dialog", class: "actions" },
      // First, and so focused: the one that changes nothing.
      h("button", { value: "" }, cancel),
      h("button", { value: "yes", class: isDangerous ? "danger" : "primary" }, action),
    );
    dialog(title, [h("p", {}, body), choices], {
      onclose: (value) => resolve(value === "yes"),
    });
  });
}
