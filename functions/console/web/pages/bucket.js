import { data, h, replace } from "../lib/dom.js";
import { ApiError, api } from "../lib/api.js";
import { PLACEHOLDER, leads, selfCheck, shell, signUp } from "../lib/curl.js";
import { count, fullMoment, number } from "../lib/format.js";
import { field, form, input, leaveQuestion, reference, select } from "../lib/forms.js";
import { href, router } from "../lib/router.js";
import { session } from "../lib/session.js";
import { Stored, mergeList, mergeText } from "../lib/stored.js";
import { leadsOverTime, leadsPerStatus } from "../components/charts.js";
import { copyButton } from "../components/copy-button.js";
import { deleteRecord } from "../components/deletion.js";
import { toast } from "../components/toasts.js";
import "../components/chip-input.js";
import { SOURCES_HINT } from "./bucket-add.js";

const DAY_MS = 86_400_000;
const RANGES = [
  ["30", "Last 30 days"],
  ["90", "Last 90 days"],
  ["365", "Last year"],
  ["all", "All the time"],
];

/** A bucket: its leads in numbers, its sources, its API. */
export async function bucketPage({ params, query, signal, path }) {
  const [{ value: bucket, etag }, stats] = await Promise.all([
    api.get("buckets", params.id, signal),
    api.stats(params.id, {}, signal),
  ]);
  const mayManage = session.can("buckets:manage");
  const editing = mayManage ? edit(new Stored("buckets", { value: bucket, etag })) : null;
  if (editing) router.guard(leaveQuestion(() => editing.isDirty));
  return {
    title: bucket.name,
    crumbs: [["Buckets", href("/buckets")]],
    actions: [
      session.can("clients:view")
        ? h("a", { class: "button", href: href("/clients", { bucketId: bucket.id }) }, "Clients")
        : null,
      mayManage
        ? h("button", { type: "button", class: "danger quiet", onclick: () => deleteBucket(bucket) }, "Delete")
        : null,
    ].filter(Boolean),
    content: [
      h(
        "section",
        { class: "card" },
        h("h2", {}, "Bucket"),
        h(
          "dl",
          { class: "facts" },
          h("dt", {}, "Id"),
          h("dd", {}, h("code", {}, bucket.id), " ", copyButton(bucket.id, "the bucket’s id")),
          h("dt", {}, "Affiliate"),
          h(
            "dd",
            {},
            h("a", { href: href("/buckets", { affiliateID: bucket.affiliateID }) }, data(bucket.affiliateID)),
            " ",
            copyButton(bucket.affiliateID, "the affiliate’s id"),
          ),
          h("dt", {}, "Added"),
          h("dd", {}, fullMoment(bucket.createdDate)),
          mayManage ? null : [h("dt", {}, "Sources"), h("dd", {}, data(bucket.sources.join(", ") || "none"))],
        ),
      ),
      numbers(bucket, stats, RANGES.find(([value]) => value === query.get("range"))?.[0] ?? "all", path),
      apiPanel(bucket),
      editing ? h("section", { class: "card" }, h("h2", {}, "Name and sources"), editing.element) : null,
      mayManage ? routing(bucket) : null,
    ],
  };
}

function numbers(bucket, stats, range, path) {
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const since = (days) =>
    stats.days.filter(({ day }) => Date.parse(day) > today - days * DAY_MS).reduce((sum, { leads }) => sum + leads, 0);
  const figure = (label, value) => h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, number(value)));
  const first = stats.days.length ? Date.parse(stats.days[0].day) : today;
  const from = range === "all" ? first : today - (Number(range) - 1) * DAY_MS;
  const to = Math.max(today, stats.days.length ? Date.parse(stats.days.at(-1).day) : today);
  const shown = stats.days.filter(({ day }) => Date.parse(day) >= from);
  const choices = RANGES.map(([value, text]) =>
    h(
      "a",
      { href: href(path, { range: value }), class: "choice", "aria-current": value === range ? "true" : null },
      text,
    ),
  );
  const link = (status) => (session.can("clients:view") ? href("/clients", { bucketId: bucket.id, status }) : null);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Leads"),
    h(
      "dl",
      { class: "figures" },
      figure("All", stats.total),
      figure("Today", since(1)),
      figure("Last 7 days", since(7)),
      figure("Last 30 days", since(30)),
    ),
    stats.total === 0
      ? h(
          "p",
          { class: "soft" },
          "No leads yet. Sign-ups of the affiliate arrive here by their source; see the command to register a client below.",
        )
      : [
          h(
            "div",
            { class: "row" },
            h("h3", {}, "Over time"),
            h("nav", { class: "choices", "aria-label": "Time shown" }, choices),
          ),
          leadsOverTime(shown, from, to),
          h("h3", {}, "By status"),
          leadsPerStatus(stats.statuses, stats.total, link),
        ],
  );
}

function apiPanel(bucket) {
  const token = input({
    placeholder: PLACEHOLDER,
    spellcheck: "false",
    autocapitalize: "off",
    type: "password",
    oninput: () => showCommand(),
  });
  const tokenField = field({
    name: "example-token",
    label: "Token",
    isOptional: true,
    control: token,
    hint: "Paste the partner’s token to have it in the command. It is not kept, and not sent by this page.",
  });
  const month = Date.now() - 30 * DAY_MS;
  const examples = [
    ["all", "Leads of this bucket", (key) => leads(bucket, key, { limit: 100 })],
    ["email", "Leads by email", (key) => leads(bucket, key, { emails: ["user1@example.com"] })],
    [
      "changed",
      "What changed in the last 30 days",
      (key) => leads(bucket, key, { filters: { updatedDate: [String(month), null] } }),
    ],
    ...bucket.sources
      .slice(0, 20)
      .map((source) => [
        `source:${source}`,
        `Leads of the source ${source}`,
        (key) => leads(bucket, key, { limit: 100 }, source),
      ]),
    [
      "signup",
      "Register a client (a token with Clients: Create)",
      (key) => signUp(key, { affiliateID: bucket.affiliateID, sourceId: bucket.sources[0] }),
    ],
    ["check", "What the token may do", (key) => selfCheck(key)],
  ];
  const kind = select(
    { onchange: () => showCommand() },
    examples.map(([value, text]) => [value, text]),
    "all",
  );
  const kindField = field({ name: "example", label: "Command", control: kind, hint: "What the partner wants to do." });
  const shown = h("div", {});
  const showCommand = () => {
    const [, label, make] = examples.find(([value]) => value === kind.value);
    replace(shown, shell(make(token.value.trim() || PLACEHOLDER), label));
  };
  showCommand();
  return h(
    "section",
    { class: "card", id: "api", tabindex: "-1" },
    h("h2", {}, "API"),
    h("div", { class: "pair" }, kindField.root, tokenField.root),
    shown,
    h(
      "p",
      { class: "soft" },
      session.can("security:manage")
        ? [
            "No token yet? ",
            h(
              "a",
              { href: href("/security/tokens/add", { roleId: "partner", affiliateID: bucket.affiliateID }) },
              "Generate one",
            ),
            " for this affiliate. ",
          ]
        : null,
      "Everything else is in the ",
      h("a", { href: "/docs" }, "API documentation"),
      ".",
    ),
  );
}

function edit(bucket) {
  const name = field({
    name: "name",
    label: "Name",
    control: input({ maxlength: 128, value: bucket.value.name }),
    check: () => (name.control.value.trim() ? null : "Enter a name."),
  });
  const sources = field({
    name: "sources",
    label: "Sources",
    isOptional: true,
    control: h("chip-input", { placeholder: "facebook_ads", ".values": bucket.value.sources }),
    hint: SOURCES_HINT,
  });
  const editing = form({
    fields: [name, sources],
    action: "Save",
    busy: "Saving…",
    submit: async () => {
      const body = { name: name.control.value.trim(), sources: sources.control.values };
      await bucket.change(body, (before, now) => {
        name.control.value = mergeText(before.name, body.name, now.name);
        sources.control.values = mergeList(before.sources, body.sources, now.sources);
      });
      editing.settle();
      toast("Saved the bucket");
      await router.reload();
    },
  });
  return editing;
}

/** Puts the affiliate's clients that have no bucket into one, a page at a time, until there are none or it is stopped. */
function routing(bucket) {
  const bar = h("progress", { "aria-label": "Routing", hidden: true });
  const status = h("p", { role: "status" });
  const start = h("button", { type: "button", onclick: () => run() }, "Route unassigned clients");
  const stop = h("button", { type: "button", hidden: true, onclick: () => stopping.abort() }, "Stop");
  let stopping = new AbortController();
  let next = null;
  let routed = 0;

  async function run() {
    stopping = new AbortController();
    start.hidden = true;
    stop.hidden = false;
    bar.hidden = false;
    let failure = null;
    try {
      do {
        const page = await api.route(bucket.id, next, stopping.signal);
        routed += page.routed;
        next = page.nextCursor;
        status.textContent = `${count(routed, "client")} routed so far…`;
      } while (next && bar.isConnected && !stopping.signal.aborted);
    } catch (error) {
      if (!stopping.signal.aborted) failure = error;
    }
    bar.hidden = true;
    stop.hidden = true;
    start.hidden = false;
    const isStopped = failure || stopping.signal.aborted;
    start.textContent = isStopped ? "Go on" : "Route unassigned clients";
    if (failure && !(failure instanceof ApiError)) throw failure;
    replace(
      status,
      failure
        ? h(
            "span",
            { class: "alert bad" },
            `${failure.message} ${count(routed, "client")} routed so far; “Go on” takes up where it ended.`,
            reference(failure),
          )
        : isStopped
          ? `Stopped. ${count(routed, "client")} routed.`
          : [
              `Done: ${count(routed, "client")} routed. `,
              routed ? h("a", { href: href(`/buckets/${bucket.id}`) }, "Show the new numbers") : null,
            ],
    );
    if (!isStopped) {
      next = null;
      routed = 0;
    }
  }

  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Clients without a bucket"),
    h(
      "p",
      {},
      "Clients of ",
      data(bucket.affiliateID),
      " that signed up before there was a bucket for them go where a sign-up of today would go: into the bucket of their source, or the oldest one without sources.",
    ),
    h("div", { class: "actions start" }, start, stop),
    bar,
    status,
  );
}

const deleteBucket = (record) =>
  deleteRecord({
    kind: "buckets",
    noun: "bucket",
    record,
    after: " is deleted for good. A bucket that has leads can’t be deleted: move them to another one first.",
    list: "/buckets",
  });

bucketPage.needs = ["buckets:view-own", "buckets:view-all"];
