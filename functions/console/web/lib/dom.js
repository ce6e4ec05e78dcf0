/** Attributes that are kept as properties, or a later change of them would not be seen. */
const PROPERTIES = new Set(["value", "checked", "hidden"]);
const SVG = "http://www.w3.org/2000/svg";

/**
 * Builds an element: `on…` functions are listeners, names with a leading dot are properties, `dataset` is an object;
 * `null`, `undefined` and `false` leave an attribute or a child out. Strings become text nodes and nothing else, so
 * that no data is ever read as markup.
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Builds an SVG element, as `h` does. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) element[name.slice(1)] = value;
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

/** Appends nodes and texts. */
export function append(parent, children) {
  for (const child of [children].flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
}

/** Puts these children in the place of what an element has. */
export function replace(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

let ids = 0;
/** An id that no other element has. */
export const uniqueId = (prefix) => `${prefix}-${++ids}`;

/** Data that may be written in another direction, kept from turning its surroundings. */
export const data = (text) => h("bdi", {}, text);

/** Text for screen readers only. */
export const spoken = (text) => h("span", { class: "spoken" }, text);
