import { data, h } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { fullMoment, moment } from "../lib/format.js";
import { href } from "../lib/router.js";
import { empty, pager, table } from "../components/table.js";
import { notFound } from "./not-found.js";

/** The emails that the local stack wrote instead of sending them. */
export async function mailPage(place) {
  if (!place.emails) return notFound("There is no such page on a deployed stack: its emails are sent");
  const cursor = place.query.get("cursor");
  const page = await api.emails(place.emails, { limit: 25, cursor }, place.signal);
  const opened = page.items.find(({ id }) => id === place.query.get("open"));
  const at = (open) => href("/mail", { cursor, open });
  const columns = [
    {
      label: "Subject",
      isMain: true,
      cell: ({ id, subject }) =>
        h("a", { class: "clamp", href: at(id), "aria-current": id === opened?.id ? "true" : null }, data(subject)),
    },
    { label: "To", cell: ({ to }) => h("span", { class: "clamp" }, data(to)) },
    { label: "Written", cell: ({ date }) => moment(date) },
  ];
  return {
    title: "Mail",
    crumbs: [["Local stack"]],
    content: [
      h("p", { class: "soft" }, "The local stack sends no email: here is what a deployed one would have sent."),
      opened ? email(opened) : null,
      page.items.length === 0
        ? empty(
            "No emails",
            ["A sign-up with ", h("code", {}, '"sendEmail": true'), " writes one here."],
            h("a", { class: "button", href: href("/mail") }, "Look again"),
          )
        : table({ caption: "Emails, newest first", rows: page.items, columns }),
      pager(place, page.nextCursor),
    ],
  };
}

function email({ clientId, date, from, to, subject, text, view, file }) {
  const plain = h("pre", { class: "wrap", tabindex: "0", role: "region", "aria-label": "Plain text" }, text ?? "");
  return h(
    "article",
    { class: "card", "aria-label": "Email" },
    h("h2", {}, data(subject)),
    h(
      "dl",
      { class: "facts" },
      h("dt", {}, "From"),
      h("dd", {}, data(from)),
      h("dt", {}, "To"),
      h("dd", {}, data(to), " ", h("a", { href: href(`/clients/${encodeURIComponent(clientId)}`) }, "Client")),
      h("dt", {}, "Written"),
      h("dd", {}, fullMoment(date)),
    ),
    // Its own document, without scripts, forms or anything from elsewhere: an email is data of strangers.
    view
      ? h("iframe", {
          class: "email",
          sandbox: "",
          src: view,
          title: "The email as a mail program shows it",
          referrerpolicy: "no-referrer",
        })
      : null,
    h("details", {}, h("summary", {}, "Plain text"), plain),
    h(
      "div",
      { class: "actions start" },
      h("a", { class: "button", href: file, download: true }, "Open in a mail program (.eml)"),
      h("a", { class: "button quiet", href: href("/mail") }, "Close"),
    ),
  );
}

mailPage.needs = ["clients:view"];
