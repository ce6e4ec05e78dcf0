import { h, replace } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { fromInput, toInput, zone } from "../lib/format.js";
import { field, form, input, leaveQuestion, select } from "../lib/forms.js";
import { needsAffiliates, permissionName } from "../lib/permissions.js";
import { href, router } from "../lib/router.js";
import { session } from "../lib/session.js";
import "../components/chip-input.js";
import { showToken } from "./token-shown.js";

const DAY_MS = 86_400_000;
const PRESETS = [
  ["30 days", 30],
  ["90 days", 90],
  ["1 year", 365],
];

/** Security > Identification Tokens > Add. */
export async function tokenAddPage({ query, signal }) {
  const seesBuckets = session.can("buckets:view-own", "buckets:view-all");
  const [roles, buckets] = await Promise.all([
    api.all("roles", {}, signal),
    seesBuckets ? api.all("buckets", {}, signal) : [],
  ]);
  const body = h("div", { class: "narrow" });
  const affiliates = [...new Set(buckets.map(({ affiliateID }) => affiliateID))].sort();

  const name = field({
    name: "name",
    label: "Name",
    control: input({ maxlength: 128 }),
    hint: "To tell tokens apart: who uses it, and where.",
    check: () => (name.control.value.trim() ? null : "Enter a name."),
  });
  const choices = [["", "Choose a role"], ...roles.map((role) => [role.id, role.name])];
  const allows = h("p", { class: "hint", role: "status" });
  const role = field({
    name: "roleId",
    label: "Role",
    control: select({ onchange: () => showRole() }, choices, query.get("roleId") ?? ""),
    check: () => (role.control.value ? null : "Choose a role."),
    extra: allows,
  });
  const affiliateIDs = field({
    name: "affiliateIDs",
    label: "Affiliates",
    isOptional: true,
    control: h("chip-input", { list: "affiliates", ".values": query.getAll("affiliateID") }),
    hint: "Whose leads and buckets the token may work with. Enter adds one.",
    check: () => {
      const isLacking = needsAffiliates(permissionsOf()) && affiliateIDs.control.values.length === 0;
      return isLacking ? "This role shows the leads of the token’s own affiliates: enter at least one." : null;
    },
  });
  const when = input({ type: "datetime-local", min: toInput(new Date().toISOString()) });
  const preset = ([text, days]) =>
    h(
      "button",
      {
        type: "button",
        class: "small",
        onclick: () => (when.value = toInput(new Date(Date.now() + days * DAY_MS).toISOString())),
      },
      text,
    );
  const expiresAt = field({
    name: "expiresAt",
    label: "Expires",
    isOptional: true,
    control: when,
    hint: `Without a date the token is valid indefinitely. Time zone: ${zone()}.`,
    check: () => (when.validity.badInput ? "Enter the date and the time." : null),
    extra: h(
      "div",
      { class: "presets" },
      PRESETS.map(preset),
      h("button", { type: "button", class: "small", onclick: () => (when.value = "") }, "Never"),
    ),
  });
  const whitelist = field({
    name: "whitelist",
    label: "Whitelist",
    isOptional: true,
    control: h("chip-input", { placeholder: "203.0.113.7", inputmode: "text" }),
    hint: "IP addresses, or CIDR blocks such as 203.0.113.0/24, that the token is valid for. Without any it is valid for every address.",
  });

  function permissionsOf() {
    return roles.find(({ id }) => id === role.control.value)?.permissions ?? [];
  }

  function showRole() {
    const permissions = permissionsOf();
    allows.textContent = permissions.length ? `Allows: ${permissions.map(permissionName).join(", ")}.` : "";
    affiliateIDs.root.querySelector(".optional").hidden = needsAffiliates(permissions);
  }

  const fields = [name, role, affiliateIDs, expiresAt, whitelist];
  const adding = form({
    fields,
    action: "Generate token",
    busy: "Generating…",
    cancel: href("/security/tokens"),
    doubt:
      "Look at the list before you send it again: a token that was made and that nobody has seen can only be deleted.",
    submit: async () => {
      const { value: created } = await api.create("tokens", {
        name: name.control.value.trim(),
        roleId: role.control.value,
        affiliateIDs: affiliateIDs.control.values,
        expiresAt: when.value ? fromInput(when.value) : undefined,
        whitelist: whitelist.control.values,
      });
      showToken(body, created, permissionsOf());
    },
  });
  showRole();
  router.guard(leaveQuestion(() => adding.isDirty));
  replace(
    body,
    h(
      "datalist",
      { id: "affiliates" },
      affiliates.map((value) => h("option", { value })),
    ),
    adding.element,
  );
  return {
    title: "Add a token",
    crumbs: [["Security"], ["Identification Tokens", href("/security/tokens")]],
    content: body,
  };
}

tokenAddPage.needs = ["security:manage"];
