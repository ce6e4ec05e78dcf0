import { h } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { checks, field, form, input, leaveQuestion } from "../lib/forms.js";
import { MODULES } from "../lib/permissions.js";
import { href, router } from "../lib/router.js";
import { Stored, mergeList, mergeText } from "../lib/stored.js";
import { deleteRecord } from "../components/deletion.js";
import { confirm } from "../components/dialogs.js";
import { toast } from "../components/toasts.js";

/** A role: a new one, or one that there is. */
export async function rolePage({ params, signal }) {
  const isNew = params.id === undefined;
  const stored = new Stored(
    "roles",
    isNew ? { value: { name: "", permissions: [] }, etag: null } : await api.get("roles", params.id, signal),
  );
  const role = stored.value;
  const name = field({
    name: "name",
    label: "Name",
    control: input({ maxlength: 128, value: role.name }),
    check: () => (name.control.value.trim() ? null : "Enter a name."),
  });
  const permissions = checks({
    name: "permissions",
    label: "Permissions",
    hint: isNew ? "What tokens with this role may do." : "A change reaches the role’s tokens within 60 seconds.",
    groups: MODULES.map(({ title, options }) => ({
      title,
      options: options.map((option) => ({ ...option, isChecked: role.permissions.includes(option.value) })),
    })),
  });
  const editing = form({
    fields: [name, permissions],
    action: isNew ? "Add the role" : "Save the role",
    busy: "Saving…",
    cancel: href("/security/roles"),
    doubt: isNew ? "Look at the list before you send it again: the role may be there." : null,
    submit: async () => {
      const body = { name: name.control.value.trim(), permissions: permissions.values };
      if (!(await isMeant(stored.value, body))) return;
      if (isNew) await api.create("roles", body);
      else {
        await stored.change(body, (before, now) => {
          name.control.value = mergeText(before.name, body.name, now.name);
          permissions.values = mergeList(before.permissions, body.permissions, now.permissions);
        });
      }
      toast(`Saved the role “${body.name}”`);
      await router.go(href("/security/roles"), { force: true });
    },
  });
  router.guard(leaveQuestion(() => editing.isDirty));
  return {
    title: isNew ? "Add a role" : role.name,
    crumbs: [["Security"], ["Roles", href("/security/roles")]],
    actions: isNew
      ? []
      : [h("button", { type: "button", class: "danger quiet", onclick: () => deleteRole(role) }, "Delete")],
    content: h("div", { class: "card narrow" }, editing.element),
  };
}

/** Operators who lock themselves out need the command line to come back. */
async function isMeant(before, { permissions }) {
  const isLocking = before.permissions.includes("security:manage") && !permissions.includes("security:manage");
  return (
    !isLocking ||
    confirm({
      title: "Take away Security: Manage?",
      body: "Tokens with this role can no longer manage tokens and roles. If yours is one of them, you can’t undo this here.",
      action: "Take it away",
      isDangerous: true,
    })
  );
}

const deleteRole = (record) =>
  deleteRecord({
    kind: "roles",
    noun: "role",
    record,
    after: " is deleted for good. A role that tokens have can’t be deleted.",
    list: "/security/roles",
  });

rolePage.needs = ["security:manage"];
