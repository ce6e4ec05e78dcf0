import { h } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { field, form, input, leaveQuestion } from "../lib/forms.js";
import { href, router } from "../lib/router.js";
import { session } from "../lib/session.js";
import { toast } from "../components/toasts.js";
import "../components/chip-input.js";

/** What sources are, wherever they are entered. */
export const SOURCES_HINT =
  "Sign-ups of the affiliate with one of these sources go into this bucket. A source can be assigned to one bucket of an affiliate. The affiliate’s oldest bucket without sources takes what no other does.";

/** Buckets > Add. */
export async function bucketAddPage({ query }) {
  const name = field({
    name: "name",
    label: "Name",
    control: input({ maxlength: 128 }),
    check: () => (name.control.value.trim() ? null : "Enter a name."),
  });
  const own = session.who.affiliateIDs;
  const affiliate = field({
    name: "affiliateID",
    label: "Affiliate",
    control: input({
      maxlength: 128,
      value: query.get("affiliateID") ?? (own.length === 1 ? own[0] : ""),
      list: "own-affiliates",
    }),
    hint: "Whose leads the bucket holds. It can’t be changed later.",
    check: () => (affiliate.control.value.trim() ? null : "Enter the affiliate’s id."),
  });
  const sources = field({
    name: "sources",
    label: "Sources",
    isOptional: true,
    control: h("chip-input", { placeholder: "facebook_ads" }),
    hint: SOURCES_HINT,
  });
  const adding = form({
    fields: [name, affiliate, sources],
    action: "Add the bucket",
    busy: "Adding…",
    cancel: href("/buckets"),
    doubt: "Look at the list before you send it again: the bucket may be there.",
    submit: async () => {
      const { value: bucket } = await api.create("buckets", {
        name: name.control.value.trim(),
        affiliateID: affiliate.control.value.trim(),
        sources: sources.control.values,
      });
      toast(`Added “${bucket.name}”`);
      await router.go(href(`/buckets/${bucket.id}`), { force: true });
    },
  });
  router.guard(leaveQuestion(() => adding.isDirty));
  return {
    title: "Add a bucket",
    crumbs: [["Buckets", href("/buckets")]],
    content: h(
      "div",
      { class: "card narrow" },
      h(
        "datalist",
        { id: "own-affiliates" },
        own.map((value) => h("option", { value })),
      ),
      adding.element,
    ),
  };
}

bucketAddPage.needs = ["buckets:manage"];
