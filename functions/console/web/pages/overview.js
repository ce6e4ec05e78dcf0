import { h } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { count } from "../lib/format.js";
import { href } from "../lib/router.js";
import { session } from "../lib/session.js";

/** The way from nothing to a partner that gets leads, and how far one is on it. */
export async function overviewPage({ signal, emails }) {
  const may = (permission) => session.can(permission);
  const first = (kind, isAllowed) => (isAllowed ? api.list(kind, { limit: 100 }, signal) : null);
  const seesBuckets = session.can("buckets:view-own", "buckets:view-all");
  const [roles, tokens, buckets, clients] = await Promise.all([
    first("roles", may("security:manage")),
    first("tokens", may("security:manage")),
    first("buckets", seesBuckets),
    may("clients:view") ? api.page("clients", { limit: 1 }, signal) : null,
  ]);
  const steps = [
    may("security:manage") && {
      title: "A role",
      isDone: roles.items.length > 0,
      text: "A role says what a token may do. “Partner” (leads of its own affiliates) and “Sign up” (registers clients) are there from the start.",
      state: amount(roles, "role"),
      links: [
        ["Roles", "/security/roles"],
        ["Add a role", "/security/roles/add"],
      ],
    },
    seesBuckets && {
      title: "A bucket",
      isDone: buckets.items.length > 0,
      text: "A bucket holds the leads of one affiliate. Its sources say which sign-ups go into it; one without sources takes the rest.",
      state: amount(buckets, "bucket"),
      links: [["Buckets", "/buckets"], may("buckets:manage") && ["Add a bucket", "/buckets/add"]],
    },
    may("security:manage") && {
      title: "A token",
      // One is the operator's own.
      isDone: tokens.items.length > 1,
      text: "A token is the key that the partner sends with each request. It is shown once, when it is generated, with a command to try it.",
      state: amount(tokens, "token"),
      links: [
        ["Tokens", "/security/tokens"],
        ["Add a token", "/security/tokens/add"],
      ],
    },
    seesBuckets && {
      title: "The first call",
      isDone: false,
      text: "Every bucket has an API panel: ready-to-paste commands that read its leads and register clients into it.",
      state: null,
      links: [
        ["Choose a bucket", "/buckets"],
        ["API documentation", "/docs"],
      ],
    },
  ].filter(Boolean);

  return {
    title: "Overview",
    content: [
      steps.length > 0
        ? h(
            "section",
            { "aria-labelledby": "steps" },
            h("h2", { id: "steps" }, "Connect a partner"),
            h("ol", { class: "steps" }, steps.map(step)),
          )
        : h(
            "p",
            {},
            "The role of your token has nothing to show here. It works for the API itself: see the ",
            h("a", { href: "/docs" }, "API documentation"),
            ".",
          ),
      clients
        ? h(
            "section",
            { "aria-labelledby": "people" },
            h("h2", { id: "people" }, "Clients"),
            clients.items.length > 0
              ? h("p", {}, "Find a client by email, or look at the newest ones.")
              : h("p", {}, "Nobody has signed up yet."),
            h(
              "div",
              { class: "actions start" },
              h("a", { class: "button", href: href("/clients") }, "Clients"),
              emails ? h("a", { class: "button", href: href("/mail") }, "Mail of the local stack") : null,
            ),
          )
        : null,
    ],
  };
}

function amount(page, name) {
  return page.nextCursor ? `more than ${count(page.items.length, name)}` : count(page.items.length, name);
}

function step({ title, isDone, text, state, links }) {
  const link = ([name, to]) => h("a", { class: "button", href: to.startsWith("/docs") ? to : href(to) }, name);
  return h(
    "li",
    { class: isDone ? "card step done" : "card step" },
    h("h3", {}, title, isDone ? h("span", { class: "badge good" }, "ready") : null),
    h("p", {}, text),
    state ? h("p", { class: "soft" }, `${state[0].toUpperCase()}${state.slice(1)} so far.`) : null,
    h("div", { class: "actions start" }, links.filter(Boolean).map(link)),
  );
}
