import { data, h } from "../lib/dom.js";
import { ApiError, api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { besideField, field, input, select } from "../lib/forms.js";
import { href, router } from "../lib/router.js";
import { session } from "../lib/session.js";
import { empty, orNone, pager, table } from "../components/table.js";

const FILTERS = ["email", "bucketId", "affiliateID", "status"];

/** Clients, newest first; found by email, bucket, affiliate and status. */
export async function clientsPage(place) {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, place.query.get(name) ?? ""]));
  const query = { limit: 50, cursor: place.query.get("cursor"), ...filters };
  const found = api.page("clients", query, place.signal).catch((error) => {
    // A filter that is wrong is told beside it.
    if (error instanceof ApiError && error.field) return error;
    throw error;
  });
  const [page, buckets] = await Promise.all([found, visibleBuckets({}, place.signal)]);
  const isFiltered = FILTERS.some((name) => filters[name]);
  const wrong = page instanceof ApiError ? page : null;
  return {
    title: "Clients",
    content: [
      filterForm(filters, buckets, wrong),
      wrong ? null : listed(place, page, isFiltered, new Map(buckets.map((bucket) => [bucket.id, bucket]))),
      wrong ? null : pager(place, page.nextCursor),
    ],
  };
}

/** The buckets that the operator may see, of all affiliates or of one: their names are shown instead of their ids. */
export async function visibleBuckets(query, signal) {
  return session.can("buckets:view-own", "buckets:view-all") ? api.all("buckets", query, signal) : [];
}

/** Buckets as choices, by affiliate; one that is not known is there by its id. */
export function bucketChoices(buckets, chosen) {
  const groups = Map.groupBy(buckets, ({ affiliateID }) => affiliateID);
  const choices = [...groups].map(([group, all]) => ({ group, options: all.map(({ id, name }) => [id, name]) }));
  if (chosen && !buckets.some(({ id }) => id === chosen)) choices.unshift([chosen, chosen]);
  return choices;
}

function filterForm(filters, buckets, wrong) {
  const email = field({
    name: "email",
    label: "Email",
    isOptional: false,
    control: input({
      type: "search",
      inputmode: "email",
      value: filters.email,
      spellcheck: "false",
      autocapitalize: "off",
    }),
  });
  const bucket = field({
    name: "bucketId",
    label: "Bucket",
    control: select({}, [["", "All"], ...bucketChoices(buckets, filters.bucketId)], filters.bucketId),
  });
  const affiliate = field({ name: "affiliateID", label: "Affiliate", control: input({ value: filters.affiliateID }) });
  const status = field({
    name: "status",
    label: "Status",
    control: input({ value: filters.status, autocapitalize: "off" }),
  });
  const fields = [email, bucket, affiliate, status];
  for (const one of fields) one.control.removeAttribute("aria-required");
  const about = wrong && fields.find(({ name }) => name === wrong.field);
  if (about) about.error = besideField(wrong, about);
  return h(
    "form",
    {
      class: "filters card",
      role: "search",
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        router.go(
          href("/clients", Object.fromEntries(fields.map(({ name, control }) => [name, control.value.trim()]))),
        );
      },
    },
    fields.map(({ root }) => root),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "submit", class: "primary" }, "Search"),
      FILTERS.some((name) => filters[name]) ? h("a", { class: "button quiet", href: href("/clients") }, "Clear") : null,
    ),
  );
}

function listed(place, page, isFiltered, buckets) {
  if (page.items.length > 0)
    return table({ caption: "Clients, newest first", rows: page.items, columns: columns(buckets) });
  if (page.nextCursor)
    return empty("Nothing found so far", "The search has not come to its end: go on with the next page.");
  return isFiltered
    ? empty(
        "No client fits",
        "Check the spelling: emails, affiliates and statuses are compared whole.",
        h("a", { class: "button", href: href("/clients") }, "Show all clients"),
      )
    : empty(
        "No clients yet",
        "Clients come by the Sign Up endpoint: every bucket’s API panel has a command to register one.",
        h("a", { class: "button", href: href("/buckets") }, "Buckets"),
      );
}

function columns(buckets) {
  return [
    {
      label: "Client",
      isMain: true,
      cell: (client) => [
        h("a", { class: "clamp", href: href(`/clients/${encodeURIComponent(client.id)}`) }, data(fullName(client))),
        h("small", { class: "clamp" }, data(client.email)),
      ],
    },
    { label: "Status", cell: ({ status }) => h("span", { class: "badge clamp" }, data(status)) },
    {
      label: "Bucket",
      cell: ({ bucketId }) =>
        bucketId
          ? h(
              "a",
              { class: "clamp", href: href(`/buckets/${bucketId}`) },
              data(buckets.get(bucketId)?.name ?? bucketId),
            )
          : h("span", { class: "soft" }, "none"),
    },
    {
      label: "Affiliate",
      cell: ({ affiliateID }) => h("span", { class: "clamp" }, orNone(affiliateID && data(affiliateID))),
    },
    { label: "Source", cell: ({ sourceId }) => h("span", { class: "clamp" }, orNone(sourceId && data(sourceId))) },
    { label: "Registered", cell: ({ createdDate }) => moment(createdDate) },
    { label: "First deposit", cell: ({ ftd }) => orNone(ftd && moment(ftd)) },
  ];
}

/** A client's name as people write it. */
export const fullName = ({ firstName, middleName, lastName }) =>
  [firstName, middleName, lastName].filter(Boolean).join(" ");

clientsPage.needs = ["clients:view"];
