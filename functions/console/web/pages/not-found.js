import { h } from "../lib/dom.js";
import { permissionName } from "../lib/permissions.js";
import { BASE } from "../lib/router.js";

const back = () => h("div", { class: "actions" }, h("a", { class: "button", href: `${BASE}/` }, "Go to the overview"));

/** What is not there, or not any more. */
export function notFound(message = "There is no such page") {
  return {
    title: "Not found",
    content: [h("p", {}, `${message}. It may have been deleted, or the address is incomplete.`), back()],
  };
}

/** What the operator's role does not allow. */
export function notAllowed(needs) {
  return {
    title: "Not allowed",
    content: [
      h(
        "p",
        {},
        "The role of your token does not allow this page. It needs ",
        h("strong", {}, needs.map(permissionName).join(" or ")),
        ".",
      ),
      back(),
    ],
  };
}
