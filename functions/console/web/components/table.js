import { h } from "../lib/dom.js";
import { href } from "../lib/router.js";

/**
 * A table, which is a list of cards where there is little room. `columns` are `{label, cell, isMain?, isRoomy?,
 * isHidden?}`; a cell's content comes from `cell(row)`. The main one names the row; a hidden one's label is spoken only.
 */
export function table({ caption, columns, rows }) {
  const heads = columns.map(({ label, isHidden }) =>
    h("th", { scope: "col", role: "columnheader" }, isHidden ? h("span", { class: "spoken" }, label) : label),
  );
  const row = (record) =>
    h(
      "tr",
      { role: "row" },
      columns.map(({ label, cell, isMain, isRoomy, isHidden }) =>
        h(
          isMain ? "th" : "td",
          {
            scope: isMain ? "row" : null,
            role: isMain ? "rowheader" : "cell",
            class: isHidden ? "row-actions" : isRoomy ? "roomy" : null,
            dataset: isMain || isHidden ? {} : { label },
          },
          h("div", { class: "cell" }, cell(record)),
        ),
      ),
    );
  // Roles in so many words: laid out as cards, browsers take it for no table otherwise.
  return h(
    "table",
    { role: "table", class: "records" },
    h("caption", { class: "spoken" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, rows.map(row)),
  );
}

/** What there is to do where a list is empty. */
export function empty(title, text, ...actions) {
  return h(
    "div",
    { class: "empty" },
    h("h2", {}, title),
    h("p", {}, text),
    actions.length ? h("div", { class: "actions" }, actions) : null,
  );
}

/** Links to the next page of a list and back; each page has an address of its own. */
export function pager(place, nextCursor) {
  const here = location.pathname + location.search;
  const trail = history.state?.trail ?? [];
  const query = Object.fromEntries(place.query);
  const link = (to, text, state) => {
    const element = h("a", { class: "button", href: to }, text);
    element.state = state;
    return element;
  };
  const { cursor, ...first } = query;
  const back = trail.length
    ? link(trail.at(-1), "← Previous page", { trail: trail.slice(0, -1) })
    : cursor && link(href(place.path, first), "← First page", {});
  const next =
    nextCursor && link(href(place.path, { ...query, cursor: nextCursor }), "Next page →", { trail: [...trail, here] });
  return back || next ? h("nav", { class: "pager", "aria-label": "Pages" }, back || null, next || null) : null;
}

/** What a list of clients or buckets shows of several texts: the first ones, and how many more. */
export function some(texts, most = 3) {
  if (texts.length === 0) return h("span", { class: "none" }, "–");
  const rest = texts.length - most;
  return h(
    "ul",
    { class: "chips" },
    texts.slice(0, most).map((text) => h("li", { class: "chip", title: text }, h("bdi", {}, text))),
    rest > 0 ? h("li", { class: "chip more", title: texts.slice(most).join(", ") }, `+${rest}`) : null,
  );
}

/** A dash where there is nothing. */
export const orNone = (value) => value ?? h("span", { class: "none" }, "–");
