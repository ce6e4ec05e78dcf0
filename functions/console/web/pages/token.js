import { data, h } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { fullMoment, moment } from "../lib/format.js";
import { field, form, leaveQuestion } from "../lib/forms.js";
import { href, router } from "../lib/router.js";
import { Stored, mergeList } from "../lib/stored.js";
import { confirm } from "../components/dialogs.js";
import { table } from "../components/table.js";
import { toast } from "../components/toasts.js";
import "../components/chip-input.js";
import { deleteToken, expiry, roleLink } from "./tokens.js";

const NOT_LISTED = "address not in the whitelist";

/** A token: its record, its whitelist, and who was refused. */
export async function tokenPage({ params, signal }) {
  const [{ value: token, etag }, roles] = await Promise.all([
    api.get("tokens", params.id, signal),
    api.all("roles", {}, signal),
  ]);
  const names = new Map(roles.map(({ id, name }) => [id, name]));
  const record = h(
    "dl",
    { class: "facts" },
    h("dt", {}, "Begins with"),
    h("dd", {}, h("code", {}, token.hint)),
    h("dt", {}, "Role"),
    h("dd", {}, roleLink(token.roleId, names)),
    h("dt", {}, "Affiliates"),
    h(
      "dd",
      {},
      token.affiliateIDs.length ? data(token.affiliateIDs.join(", ")) : h("span", { class: "soft" }, "none of its own"),
    ),
    h("dt", {}, "Expires"),
    h("dd", {}, expiry(token.expiresAt, fullMoment)),
    h("dt", {}, "Added"),
    h("dd", {}, fullMoment(token.createdDate)),
    h("dt", {}, "Last used"),
    h(
      "dd",
      {},
      token.lastUsedDate
        ? [fullMoment(token.lastUsedDate), h("small", {}, " (up to an hour behind)")]
        : h("span", { class: "soft" }, "never"),
    ),
  );
  const { section, add } = whitelistOf(new Stored("tokens", { value: token, etag }));
  return {
    title: token.name,
    crumbs: [["Security"], ["Identification Tokens", href("/security/tokens")]],
    actions: [h("button", { type: "button", class: "danger quiet", onclick: () => deleteToken(token) }, "Delete")],
    content: [
      h(
        "section",
        { class: "card" },
        h("h2", {}, "Token"),
        record,
        h(
          "p",
          { class: "soft" },
          "Of a token only the whitelist can be edited. To change anything else, generate another one and delete this one.",
        ),
      ),
      section,
      refusedOf(token, add),
    ],
  };
}

function whitelistOf(token) {
  const whitelist = field({
    name: "whitelist",
    label: "Addresses",
    isOptional: true,
    control: h("chip-input", { placeholder: "203.0.113.7", ".values": token.value.whitelist }),
    hint: "IP addresses, or CIDR blocks such as 203.0.113.0/24, that the token is valid for. Without any it is valid for every address.",
  });
  const editing = form({
    fields: [whitelist],
    action: "Save the whitelist",
    busy: "Saving…",
    submit: async () => {
      const values = whitelist.control.values;
      const opens = values.length === 0 && token.value.whitelist.length > 0;
      const isMeant =
        !opens ||
        (await confirm({
          title: "Allow every address?",
          body: "With an empty whitelist the token works from anywhere.",
          action: "Allow every address",
          isDangerous: true,
        }));
      if (!isMeant) return;
      await token.change({ whitelist: values }, (before, now) => {
        whitelist.control.values = mergeList(before.whitelist, values, now.whitelist);
      });
      whitelist.control.values = token.value.whitelist;
      editing.settle();
      toast("Saved the whitelist");
    },
  });
  router.guard(leaveQuestion(() => editing.isDirty));
  const section = h(
    "section",
    { class: "card", id: "whitelist", tabindex: "-1" },
    h("h2", {}, "Whitelist"),
    editing.element,
  );
  const add = (address) => {
    whitelist.control.add(address);
    editing.element.requestSubmit();
  };
  return { section, add };
}

function refusedOf(token, add) {
  const addButton = (address) =>
    h(
      "button",
      {
        type: "button",
        class: "small",
        onclick: async () => {
          const isMeant = await confirm({
            title: "Add this address?",
            body: ["The token will be valid for ", h("strong", {}, address), " as well."],
            action: "Add it",
          });
          if (isMeant) add(address);
        },
      },
      "Add this address",
      h("span", { class: "spoken" }, ` ${address}`),
    );
  const columns = [
    { label: "Address", isMain: true, cell: ({ address }) => h("code", {}, address) },
    { label: "Reason", cell: ({ reason }) => `${reason[0].toUpperCase()}${reason.slice(1)}` },
    { label: "Last time", cell: ({ date }) => moment(date) },
    {
      label: "Actions",
      isHidden: true,
      cell: ({ address, reason }) =>
        reason === NOT_LISTED && !token.whitelist.includes(address) ? addButton(address) : null,
    },
  ];
  return h(
    "section",
    { class: "card", id: "refused", tabindex: "-1" },
    h("h2", {}, "Refused attempts"),
    token.lastRefused.length
      ? [
          h(
            "p",
            { class: "soft" },
            "The latest of the last 30 days, one for each address and reason. Callers are not told the reason.",
          ),
          table({ caption: "Refused attempts", columns, rows: token.lastRefused }),
        ]
      : h("p", { class: "soft" }, "Nobody was refused with this token in the last 30 days."),
  );
}

tokenPage.needs = ["security:manage"];
