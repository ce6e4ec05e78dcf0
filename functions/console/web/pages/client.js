import { data, h } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { fromInput, fullMoment, toInput, zone } from "../lib/format.js";
import { field, form, input, leaveQuestion, select } from "../lib/forms.js";
import { href, router } from "../lib/router.js";
import { session } from "../lib/session.js";
import { Stored } from "../lib/stored.js";
import { copyButton } from "../components/copy-button.js";
import { toast } from "../components/toasts.js";
import { bucketChoices, fullName, visibleBuckets } from "./clients.js";

/** Fields as people read them, in the order of interest; what is not here comes after, by its own name. */
const LABELS = {
  id: "Id",
  email: "Email",
  phone: "Phone",
  additionalPhone: "Second phone",
  firstName: "First name",
  middleName: "Middle name",
  lastName: "Last name",
  gender: "Gender",
  dateOfBirth: "Date of birth",
  nationality: "Nationality",
  passport: "Passport",
  affiliateID: "Affiliate",
  sourceId: "Source",
  subID: "Sub-id",
  campaignId: "Campaign",
  externalId: "External id",
  project: "Project",
  desk: "Desk",
  manager: "Manager",
  createdDate: "Registered",
  updatedDate: "Changed",
};
/** What the form above the list has. */
const EDITED = ["status", "state", "ftd", "bucketId"];
const MOMENTS = ["createdDate", "updatedDate", "ftd", "signedAt"];

/** A client: what operators change, and all that is known. */
export async function clientPage({ params, signal }) {
  const { value: client, etag } = await api.get("clients", params.id, signal);
  const { affiliateID } = client;
  const buckets = affiliateID ? await visibleBuckets({ affiliateID }, signal) : [];
  const editing = session.can("clients:manage") ? edit(new Stored("clients", { value: client, etag }), buckets) : null;
  if (editing) router.guard(leaveQuestion(() => editing.isDirty));
  const bucket = buckets.find(({ id }) => id === client.bucketId);
  return {
    title: fullName(client),
    crumbs: [["Clients", href("/clients")]],
    content: [
      h("section", { class: "card" }, h("h2", {}, "Status"), editing ? editing.element : statusOf(client, bucket)),
      h("section", { class: "card" }, h("h2", {}, "Details"), details(client)),
    ],
  };
}

function statusOf(client, bucket) {
  return h(
    "dl",
    { class: "facts" },
    h("dt", {}, "Status"),
    h("dd", {}, data(client.status)),
    h("dt", {}, "State"),
    h("dd", {}, data(client.state)),
    h("dt", {}, "First deposit"),
    h("dd", {}, client.ftd ? fullMoment(client.ftd) : "none"),
    h("dt", {}, "Bucket"),
    h(
      "dd",
      {},
      client.bucketId
        ? h("a", { href: href(`/buckets/${client.bucketId}`) }, data(bucket?.name ?? client.bucketId))
        : "none",
    ),
  );
}

function edit(stored, buckets) {
  const client = stored.value;
  const text = (name, label, hint) => {
    const list = name === "status" ? "statuses" : null;
    const control = input({ maxlength: 1024, value: client[name], autocapitalize: "off", list });
    return field({ name, label, hint, control, check: () => (control.value.trim() ? null : `Enter a ${name}.`) });
  };
  const status = text("status", "Status", "What partners see of the lead.");
  const state = text("state", "State", "The platform’s own, not seen by partners.");
  const when = input({ type: "datetime-local", value: toInput(client.ftd) });
  const ftd = field({
    name: "ftd",
    label: "First deposit",
    isOptional: true,
    control: when,
    hint: `When the client made the first deposit. Time zone: ${zone()}.`,
    check: () => (when.validity.badInput ? "Enter the date and the time." : null),
    extra: h(
      "div",
      { class: "presets" },
      h(
        "button",
        { type: "button", class: "small", onclick: () => (when.value = toInput(new Date().toISOString())) },
        "Now",
      ),
      h("button", { type: "button", class: "small", onclick: () => (when.value = "") }, "None"),
    ),
  });
  const bucket = field({
    name: "bucketId",
    label: "Bucket",
    isOptional: true,
    control: select({}, [["", "None"], ...bucketChoices(buckets, client.bucketId)], client.bucketId ?? ""),
    hint: client.affiliateID
      ? "One of the client’s affiliate. Its partner sees the lead there."
      : "A client without an affiliate is in no bucket.",
  });
  const fields = [status, state, ftd, bucket];

  /** A record's fields as the form and the API have them. */
  const known = ({ status, state, ftd, bucketId }) => ({ status, state, ftd: ftd ?? "", bucketId: bucketId ?? "" });
  const filled = () => ({
    status: status.control.value.trim(),
    state: state.control.value.trim(),
    // To the minute: a moment that was not touched keeps its seconds.
    ftd: when.value === toInput(stored.value.ftd) ? (stored.value.ftd ?? "") : (fromInput(when.value) ?? ""),
    bucketId: bucket.control.value,
  });
  const show = (values) => {
    status.control.value = values.status;
    state.control.value = values.state;
    when.value = toInput(values.ftd);
    bucket.control.value = values.bucketId;
  };

  const editing = form({
    fields,
    content: h(
      "div",
      { class: "pair" },
      fields.map(({ root }) => root),
    ),
    action: "Save",
    busy: "Saving…",
    submit: async () => {
      const before = known(stored.value);
      const changes = Object.fromEntries(Object.entries(filled()).filter(([name, value]) => value !== before[name]));
      if (Object.keys(changes).length === 0) {
        toast("Nothing to save: nothing was changed");
        return;
      }
      await stored.change(changes, (_, now) => show({ ...known(now), ...changes }));
      editing.settle();
      toast("Saved the client");
      await router.reload();
    },
  });
  editing.element.prepend(
    h(
      "datalist",
      { id: "statuses" },
      [...new Set(["new", client.status])].map((value) => h("option", { value })),
    ),
  );
  return editing;
}

function details(client) {
  const isShown = (name, value) =>
    !EDITED.includes(name) && value !== null && value !== undefined && typeof value !== "object";
  const names = [...Object.keys(LABELS), ...Object.keys(client).filter((name) => !(name in LABELS))];
  const rows = names
    .filter((name) => isShown(name, client[name]))
    .map((name) => [h("dt", {}, label(name)), h("dd", {}, shown(name, client[name]))]);
  const billing = Object.entries(client.billing ?? {}).map(([name, value]) => [
    h("dt", {}, label(name)),
    h("dd", {}, data(value)),
  ]);
  const agreements = (client.agreements ?? []).map((agreement) =>
    h(
      "li",
      {},
      h(
        "dl",
        { class: "facts" },
        Object.entries(agreement).map(([name, value]) => [h("dt", {}, label(name)), h("dd", {}, shown(name, value))]),
      ),
    ),
  );
  return [
    h("dl", { class: "facts" }, rows),
    billing.length ? [h("h3", {}, "Billing"), h("dl", { class: "facts" }, billing)] : null,
    agreements.length ? [h("h3", {}, "Agreements"), h("ol", { class: "agreements" }, agreements)] : null,
  ];
}

/** `verificationLevel` as `Verification level`. */
function label(name) {
  const words = name.replace(/([a-z])([A-Z])/g, (_, before, after) => `${before} ${after.toLowerCase()}`);
  return LABELS[name] ?? `${words[0].toUpperCase()}${words.slice(1)}`;
}

function shown(name, value) {
  if (MOMENTS.includes(name) && !Number.isNaN(Date.parse(value))) return fullMoment(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (name === "id" || name === "email") return [data(value), " ", copyButton(value, label(name).toLowerCase())];
  return h("div", { class: "long", dir: "auto" }, String(value));
}

clientPage.needs = ["clients:view"];
