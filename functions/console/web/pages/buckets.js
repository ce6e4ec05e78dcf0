import { data, h } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { input } from "../lib/forms.js";
import { href, router } from "../lib/router.js";
import { session } from "../lib/session.js";
import { empty, pager, some, table } from "../components/table.js";

/** Buckets, newest first, of all affiliates or of one. */
export async function bucketsPage(place) {
  const affiliateID = place.query.get("affiliateID") ?? "";
  const page = await api.page("buckets", { limit: 50, cursor: place.query.get("cursor"), affiliateID }, place.signal);
  const add = () => h("a", { class: "button primary", href: href("/buckets/add", { affiliateID }) }, "+ Add");
  const mayAdd = session.can("buckets:manage");
  const box = input({ name: "affiliateID", value: affiliateID, "aria-label": "Affiliate", placeholder: "Affiliate" });
  const filter = h(
    "form",
    {
      class: "filters",
      role: "search",
      onsubmit: (event) => {
        event.preventDefault();
        router.go(href("/buckets", { affiliateID: box.value.trim() }));
      },
    },
    box,
    h("button", { type: "submit" }, "Show"),
    affiliateID ? h("a", { class: "button quiet", href: href("/buckets") }, "All affiliates") : null,
  );
  const nothing = affiliateID
    ? empty("No buckets", ["The affiliate ", data(affiliateID), " has no bucket."], mayAdd ? add() : null)
    : empty(
        "No buckets yet",
        "A bucket holds the leads of one affiliate. Add one, and the affiliate’s sign-ups go into it.",
        mayAdd ? add() : null,
      );
  return {
    title: "Buckets",
    actions: mayAdd ? [add()] : [],
    content: [
      filter,
      page.items.length === 0 ? nothing : table({ caption: "Buckets", rows: page.items, columns: COLUMNS }),
      pager(place, page.nextCursor),
    ],
  };
}

const COLUMNS = [
  {
    label: "Name",
    isMain: true,
    cell: ({ id, name }) => [
      h("a", { class: "clamp", href: href(`/buckets/${id}`) }, data(name)),
      h("small", {}, h("code", {}, id)),
    ],
  },
  {
    label: "Affiliate",
    cell: ({ affiliateID }) => h("a", { class: "clamp", href: href("/buckets", { affiliateID }) }, data(affiliateID)),
  },
  {
    label: "Sources",
    cell: ({ sources }) => (sources.length ? some(sources) : h("span", { class: "soft" }, "none: takes the rest")),
  },
  { label: "Added", cell: ({ createdDate }) => moment(createdDate) },
];

bucketsPage.needs = ["buckets:view-own", "buckets:view-all"];
