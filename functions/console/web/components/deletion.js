import { data, h, replace } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { href, router } from "../lib/router.js";
import { dialog } from "./dialogs.js";
import { toast } from "./toasts.js";

/**
 * Deletes a record, if the operator wants to, and shows the list that it was in.
 *
 * @param {{kind: string, noun: string, record: object, before?: string, after: string, list: string}} deletion
 *   `kind` is the API's own, `before` and `after` say around the record's name what comes of it.
 */
export async function deleteRecord({ kind, noun, record, before = "", after, list }) {
  const isDeleted = await confirmDeletion({
    title: `Delete this ${noun}?`,
    body: [before, h("strong", {}, data(record.name)), after],
    action: `Delete the ${noun}`,
    remove: () => api.delete(kind, record.id),
  });
  if (!isDeleted) return;
  toast(`Deleted “${record.name}”`);
  if (location.pathname === href(list)) await router.reload();
  else await router.go(href(list), { force: true });
}

/** Asks whether to delete, and deletes: the dialog stays, with the reason, where that fails. */
function confirmDeletion({ title, body, action, remove }) {
  return new Promise((resolve) => {
    let isDeleted = false;
    const problem = h("p", { class: "alert bad", role: "alert", hidden: true });
    const go = h("button", { type: "button", class: "danger" }, action);
    const stop = h("button", { type: "button" }, "Cancel");
    const element = dialog(
      title,
      [h("div", { class: "stack" }, h("p", {}, body), problem), h("div", { class: "actions" }, stop, go)],
      { onclose: () => resolve(isDeleted) },
    );
    stop.addEventListener("click", () => element.close());
    go.addEventListener("click", async () => {
      if (go.getAttribute("aria-busy")) return;
      go.setAttribute("aria-busy", "true");
      problem.hidden = true;
      try {
        await remove();
        isDeleted = true;
        element.close();
      } catch (error) {
        replace(problem, error.message);
        problem.hidden = false;
      }
      go.removeAttribute("aria-busy");
    });
  });
}
