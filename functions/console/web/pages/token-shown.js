import { data, h, replace } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { leads, selfCheck, shell, signUp } from "../lib/curl.js";
import { fullMoment } from "../lib/format.js";
import { field, select } from "../lib/forms.js";
import { href, router } from "../lib/router.js";
import { session } from "../lib/session.js";
import { copyButton } from "../components/copy-button.js";

/** Affiliates whose buckets are offered for the examples. */
const AFFILIATES_MAX = 10;

/** Shows a new token, once, in the place of the form; it is asked for before the page is left without a copy of it. */
export function showToken(body, created, permissions) {
  let isCopied = false;
  body.addEventListener("copied", () => {
    isCopied = true;
  });
  router.guard(
    () =>
      !isCopied && {
        title: "Leave without the token?",
        body: "You have not copied it yet. It cannot be shown again; you would have to delete it and generate another one.",
        action: "Leave",
        cancel: "Stay",
        isDangerous: true,
      },
  );
  const heading = h("h2", { tabindex: "-1" }, "The token is ready");
  replace(
    body,
    h(
      "section",
      { class: "card" },
      heading,
      h(
        "p",
        { class: "alert warn" },
        h("strong", {}, "Important: "),
        "the token is displayed only once, here and now. Copy it and store it securely: it cannot be viewed again. Do not share it with anyone.",
      ),
      h("div", { class: "secret" }, h("code", { id: "token" }, created.token), copyButton(created.token, "the token")),
      record(created),
    ),
    examples(created, permissions),
    h("div", { class: "actions" }, h("a", { class: "button", href: href("/security/tokens") }, "Back to the list")),
  );
  heading.focus();
  scrollTo(0, 0);
}

function record({ name, expiresAt, whitelist, affiliateIDs }) {
  return h(
    "dl",
    { class: "facts" },
    h("dt", {}, "Name"),
    h("dd", {}, data(name)),
    h("dt", {}, "Expires"),
    h("dd", {}, expiresAt ? fullMoment(expiresAt) : "never"),
    h("dt", {}, "Valid for"),
    h("dd", {}, whitelist.length ? whitelist.join(", ") : "any address"),
    affiliateIDs.length ? [h("dt", {}, "Affiliates"), h("dd", {}, data(affiliateIDs.join(", ")))] : null,
  );
}

/** Commands with the token in them, for its affiliates' buckets. */
function examples({ token, affiliateIDs }, permissions) {
  const readsLeads = permissions.some((permission) => permission.startsWith("buckets:view"));
  const signsUp = permissions.includes("clients:create");
  const choice = h("div", {});
  const commands = h("div", { class: "stack" });
  const show = (bucket) =>
    replace(
      commands,
      readsLeads && bucket ? shell(leads(bucket, token, { limit: 100 }), "Get the leads of the bucket") : null,
      signsUp
        ? shell(signUp(token, { affiliateID: bucket?.affiliateID, sourceId: bucket?.sources[0] }), "Register a client")
        : null,
      shell(selfCheck(token), "See what the token may do"),
    );
  const offer = (buckets) => {
    if (buckets.length === 0) {
      const add = h("a", { href: href("/buckets/add", { affiliateID: affiliateIDs[0] }) }, "Add a bucket");
      replace(choice, h("p", { class: "alert" }, "There is no bucket to read yet. ", add, " to get leads."));
      return;
    }
    const options = buckets.map(({ id, name, affiliateID }) => [id, `${name} – ${affiliateID}`]);
    const chosen = select({ onchange: () => show(buckets.find(({ id }) => id === chosen.value)) }, options);
    if (buckets.length > 1) replace(choice, field({ name: "bucket", label: "Bucket", control: chosen }).root);
    show(buckets[0]);
  };
  show(null);
  if ((readsLeads || signsUp) && session.can("buckets:view-own", "buckets:view-all")) {
    // The token is there already: without buckets there are fewer examples, and no error.
    bucketsOf(affiliateIDs).then(offer, () => {});
  }
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Try it"),
    h("p", { class: "soft" }, "These commands have the token in them: keep them as safe as the token itself."),
    choice,
    commands,
  );
}

async function bucketsOf(affiliateIDs) {
  if (affiliateIDs.length === 0) return api.all("buckets");
  const each = affiliateIDs.slice(0, AFFILIATES_MAX).map((affiliateID) => api.all("buckets", { affiliateID }));
  return (await Promise.all(each)).flat();
}
