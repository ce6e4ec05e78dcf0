import { append, h, replace, uniqueId } from "./dom.js";
import { ApiError } from "./api.js";

/**
 * A labelled control with its hint and its error beside it.
 *
 * @param {{name: string, label: string, control: Element, hint?: any, isOptional?: boolean, check?: Function}} field
 *   `name` is the API's own, by which its errors find the field; `check` gives what is wrong, or nothing.
 */
export function field({ name, label, control, hint, isOptional = false, check, extra }) {
  const input = control.control ?? control;
  const ids = { input: uniqueId(name), hint: uniqueId("hint"), error: uniqueId("error") };
  input.id = ids.input;
  const error = h("p", { class: "error", id: ids.error });
  const described = hint ? `${ids.hint} ${ids.error}` : ids.error;
  input.setAttribute("aria-describedby", described);
  if (!isOptional && input.tagName !== "FIELDSET") input.setAttribute("aria-required", "true");
  const root = h(
    "div",
    { class: "field" },
    h("label", { for: ids.input }, label, isOptional ? h("span", { class: "optional" }, " optional") : null),
    hint ? h("p", { class: "hint", id: ids.hint }, hint) : null,
    control,
    error,
    extra,
  );
  return {
    name,
    root,
    control,
    check,
    focus: () => control.focus(),
    get error() {
      return error.textContent;
    },
    set error(message) {
      error.textContent = message;
      root.classList.toggle("wrong", message !== "");
      if (message) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

/** A group of check boxes with a legend, and an error of its own. */
export function checks({ name, label, hint, groups }) {
  const error = h("p", { class: "error", id: uniqueId("error") });
  const boxes = new Map();
  const shown = groups.map(({ title, options }) =>
    h(
      "fieldset",
      { class: "group" },
      h("legend", {}, title),
      options.map(({ value, text, note, isChecked }) => {
        const noteId = uniqueId("note");
        const box = h("input", { type: "checkbox", value, checked: isChecked, "aria-describedby": noteId });
        boxes.set(value, box);
        return h(
          "div",
          { class: "check" },
          h("label", {}, box, h("span", {}, text)),
          h("p", { class: "hint", id: noteId }, note),
        );
      }),
    ),
  );
  const root = h(
    "fieldset",
    { class: "field", "aria-describedby": error.id },
    h("legend", {}, label),
    hint ? h("p", { class: "hint" }, hint) : null,
    h("div", { class: "groups" }, shown),
    error,
  );
  return {
    name,
    root,
    focus: () => boxes.values().next().value.focus(),
    get values() {
      return [...boxes].filter(([, box]) => box.checked).map(([value]) => value);
    },
    set values(values) {
      for (const [value, box] of boxes) box.checked = values.includes(value);
    },
    get error() {
      return error.textContent;
    },
    set error(message) {
      error.textContent = message;
      root.classList.toggle("wrong", message !== "");
    },
  };
}

/**
 * A form. `submit` does the work and may throw an `ApiError`: it is shown beside its field, or above the buttons, and
 * what was filled in stays. `doubt` says what to look at before it is sent again, where it may have been done although
 * there was no answer.
 */
export function form({ fields, content, action, busy, cancel, submit, doubt, extra }) {
  const problem = h("div", { role: "alert" });
  const button = h("button", { type: "submit", class: "primary" }, action);
  const element = h(
    "form",
    { class: "form", novalidate: true },
    content ?? fields.map(({ root }) => root),
    problem,
    h("div", { class: "actions" }, button, cancel ? h("a", { class: "button", href: cancel }, "Cancel") : null, extra),
  );
  let saved = JSON.stringify(snapshot(element));

  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-busy")) return;
    replace(problem);
    for (const one of fields) one.error = one.check?.() ?? "";
    const wrong = fields.find(({ error }) => error);
    if (wrong) {
      wrong.focus();
      return;
    }
    button.setAttribute("aria-busy", "true");
    button.textContent = busy;
    try {
      await submit();
    } catch (error) {
      showError(error, fields, problem, doubt);
    } finally {
      button.removeAttribute("aria-busy");
      button.textContent = action;
    }
  });

  return {
    element,
    /** Whether something was filled in that is not saved. */
    get isDirty() {
      return JSON.stringify(snapshot(element)) !== saved;
    },
    /** What is in the form is what is saved. */
    settle() {
      saved = JSON.stringify(snapshot(element));
    },
  };
}

function snapshot(element) {
  const controls = element.querySelectorAll("input:not(chip-input *), select, textarea, chip-input");
  return [...controls].map(
    (control) => control.values ?? (control.type === "checkbox" ? control.checked : control.value),
  );
}

function showError(error, fields, problem, doubt) {
  if (!(error instanceof ApiError)) throw error;
  const wrong = fields.find(({ name }) => name === error.field);
  if (wrong) {
    wrong.error = besideField(error, wrong);
    wrong.focus();
    return;
  }
  const kept = error.isPassing ? " Nothing that you filled in is lost." : "";
  const isUnsure = doubt && (error.status === 0 || error.status >= 500);
  replace(
    problem,
    h("p", { class: "alert bad" }, error.message, kept, isUnsure ? ` ${doubt}` : null, reference(error)),
  );
}

/** `whitelist[0] must be …` beside the whitelist: `“10.0.0.x” must be …`. */
export function besideField(error, { control }) {
  const rest = error.message.slice(error.message.indexOf(" must ") + 1);
  const entry = error.entry === null ? null : control?.values?.[error.entry];
  return entry ? `“${entry}” ${rest}.` : `${rest[0].toUpperCase()}${rest.slice(1)}.`;
}

/** What to tell whoever runs the system. */
export function reference(error) {
  return error.requestId && error.status >= 500
    ? h("small", { class: "reference" }, " Request ", h("code", {}, error.requestId))
    : null;
}

/** The question before a form with something in it is left. */
export function leaveQuestion(isDirty) {
  return () =>
    isDirty() && {
      title: "Leave without saving?",
      body: "What you filled in is not saved.",
      action: "Leave",
      cancel: "Stay",
      isDangerous: true,
    };
}

/** A text input. */
export const input = (attributes) => h("input", { type: "text", autocomplete: "off", ...attributes });

/** A drop-down list of `[value, text]` pairs, or of groups of them. */
export function select(attributes, options, chosen) {
  const option = ([value, text]) => h("option", { value, selected: value === chosen }, text);
  const element = h("select", attributes);
  append(
    element,
    options.map((one) =>
      one.group === undefined ? option(one) : h("optgroup", { label: one.group }, one.options.map(option)),
    ),
  );
  return element;
}
