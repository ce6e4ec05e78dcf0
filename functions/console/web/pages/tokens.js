import { data, h, spoken } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { href } from "../lib/router.js";
import { deleteRecord } from "../components/deletion.js";
import { empty, pager, some, table } from "../components/table.js";

/** Security > Identification Tokens. */
export async function tokensPage(place) {
  const query = { limit: 50, cursor: place.query.get("cursor") };
  const [page, roles] = await Promise.all([
    api.page("tokens", query, place.signal),
    api.all("roles", {}, place.signal),
  ]);
  const names = new Map(roles.map(({ id, name }) => [id, name]));
  return {
    title: "Identification Tokens",
    crumbs: [["Security"]],
    actions: [h("a", { class: "button primary", href: href("/security/tokens/add") }, "+ Add")],
    content: [
      page.items.length === 0
        ? empty(
            "No tokens on this page",
            "A token is the key that a partner sends with each request.",
            h("a", { class: "button primary", href: href("/security/tokens/add") }, "Add a token"),
          )
        : table({ caption: "Identification tokens", rows: page.items, columns: columns(names) }),
      pager(place, page.nextCursor),
    ],
  };
}

function columns(roles) {
  const at = (token, part = "") => `${href(`/security/tokens/${token.id}`)}${part}`;
  return [
    {
      label: "Name",
      isMain: true,
      cell: (token) => [
        h("a", { class: "clamp", href: at(token) }, data(token.name)),
        h("small", {}, h("code", {}, token.hint)),
      ],
    },
    { label: "Role", isRoomy: true, cell: (token) => roleLink(token.roleId, roles) },
    { label: "Affiliates", cell: (token) => some(token.affiliateIDs, 2) },
    { label: "Expires", cell: (token) => expiry(token.expiresAt) },
    {
      label: "Whitelist",
      cell: (token) =>
        token.whitelist.length ? some(token.whitelist, 2) : h("span", { class: "soft" }, "any address"),
    },
    {
      label: "Last used",
      cell: ({ lastUsedDate, lastRefused, ...token }) => [
        lastUsedDate ? moment(lastUsedDate) : h("span", { class: "soft" }, "never"),
        lastRefused.length
          ? [
              " ",
              h(
                "a",
                {
                  class: "badge bad",
                  href: at(token, "#refused"),
                  title: "Refused in the last 30 days, by address and reason",
                },
                `${lastRefused.length} refused`,
              ),
            ]
          : null,
      ],
    },
    {
      label: "Actions",
      isHidden: true,
      cell: (token) => [
        h("a", { class: "button small", href: at(token, "#whitelist") }, "Edit whitelist", spoken(` of ${token.name}`)),
        h(
          "button",
          { type: "button", class: "small danger quiet", onclick: () => deleteToken(token) },
          "Delete",
          spoken(` ${token.name}`),
        ),
      ],
    },
  ];
}

/** The role's name, as a link to it. */
export function roleLink(id, roles) {
  const name = roles.get(id);
  return name === undefined
    ? h("span", { class: "badge bad" }, "Role deleted")
    : h("a", { class: "clamp", href: href(`/security/roles/${id}`) }, data(name));
}

/** When a token expires, and whether it has. */
export function expiry(expiresAt, show = moment) {
  if (!expiresAt) return h("span", { class: "soft" }, "never");
  return [
    Date.parse(expiresAt) <= Date.now() ? h("span", { class: "badge bad" }, "Expired") : null,
    " ",
    show(expiresAt),
  ];
}

/** Deletes a token, if the operator wants to; then shows the list. */
export const deleteToken = (record) =>
  deleteRecord({
    kind: "tokens",
    noun: "token",
    record,
    before: "Whoever uses ",
    after: " is refused from then on. A deleted token cannot be restored.",
    list: "/security/tokens",
  });

tokensPage.needs = ["security:manage"];
