import { h, replace } from "../lib/dom.js";
import { field, form, input } from "../lib/forms.js";
import { ApiError, api } from "../lib/api.js";

/** The form that takes a token. `done` is called once it is accepted. */
export function signInForm(done, extra) {
  const box = input({
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "off",
    placeholder: "wbcs_…",
  });
  const show = h(
    "button",
    { type: "button", class: "small", "aria-pressed": "false", onclick: () => toggle() },
    "Show",
  );
  const toggle = () => {
    const isShown = box.type === "password";
    box.type = isShown ? "text" : "password";
    show.setAttribute("aria-pressed", String(isShown));
    show.textContent = isShown ? "Hide" : "Show";
  };
  const token = field({
    name: "token",
    label: "Identification token",
    control: h("div", { class: "with-button", ".control": box, ".focus": () => box.focus() }, box, show),
    hint: "It stays in this browser tab and is forgotten when you close it.",
    check: () => problemOf(box.value.trim()),
  });
  return form({
    fields: [token],
    action: "Sign in",
    busy: "Signing in…",
    extra,
    submit: async () => {
      try {
        await api.signIn(box.value.trim());
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) {
          token.error = refused(error.address);
          box.select();
          box.focus();
          return;
        }
        throw error;
      }
      done();
    },
  }).element;
}

function problemOf(text) {
  if (!text) return "Paste a token.";
  return /^[!-~]+$/.test(text)
    ? null
    : "This is no token: a token is one word without blanks, such as wbcs_ and 38 letters and digits.";
}

function refused(address) {
  const from = address ? `, which is ${address}` : "";
  return `This token is refused. It may be mistyped, expired or deleted, or not be allowed from your address${from}.`;
}

/** The page of who is not signed in. */
export function signInPage(root, { note, done }) {
  document.title = "Sign in · WBCS Console";
  replace(
    root,
    h(
      "main",
      { class: "sign-in", id: "main" },
      h("div", { class: "brand" }, h("span", { class: "mark", "aria-hidden": "true" }, "W"), "WBCS Console"),
      h(
        "div",
        { class: "card" },
        h("h1", {}, "Sign in"),
        note ? h("p", { class: "alert", role: "status" }, note) : null,
        signInForm(done),
      ),
      h(
        "details",
        {},
        h("summary", {}, "Where do I get a token?"),
        h(
          "p",
          {},
          "From an operator who can add tokens here. The first administrator’s token comes from the ",
          h("code", {}, "bootstrap"),
          " command; a developer’s own stack prints where its tokens are when it starts.",
        ),
      ),
    ),
  );
  root.querySelector("input").focus();
}
