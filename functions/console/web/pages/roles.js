import { data, h, spoken } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { MODULES } from "../lib/permissions.js";
import { href } from "../lib/router.js";
import { empty, pager, table } from "../components/table.js";

/** Security > Roles. */
export async function rolesPage(place) {
  const page = await api.page("roles", { limit: 50, cursor: place.query.get("cursor") }, place.signal);
  const add = h("a", { class: "button primary", href: href("/security/roles/add") }, "+ Add");
  return {
    title: "Roles",
    crumbs: [["Security"]],
    actions: [add],
    content: [
      page.items.length === 0
        ? empty(
            "No roles",
            "A role says what its tokens may do. Without one no token can be added.",
            h("a", { class: "button primary", href: href("/security/roles/add") }, "Add a role"),
          )
        : table({ caption: "Roles", rows: page.items, columns: COLUMNS }),
      pager(place, page.nextCursor),
    ],
  };
}

const COLUMNS = [
  {
    label: "Name",
    isMain: true,
    cell: ({ id, name }) => h("a", { class: "clamp", href: href(`/security/roles/${id}`) }, data(name)),
  },
  ...MODULES.map(({ title, options }) => ({
    label: title,
    cell: ({ permissions }) => {
      const allowed = options.filter(({ value }) => permissions.includes(value));
      return allowed.length
        ? h(
            "ul",
            { class: "chips" },
            allowed.map(({ text, value }) => h("li", { class: "chip", title: value }, text)),
          )
        : h("span", { class: "none" }, "–");
    },
  })),
  {
    label: "Actions",
    isHidden: true,
    cell: ({ id, name }) => [
      h(
        "a",
        { class: "button small", href: href("/security/tokens/add", { roleId: id }) },
        "Add a token",
        spoken(` with the role ${name}`),
      ),
    ],
  },
];

rolesPage.needs = ["security:manage"];
