import { h } from "./lib/dom.js";
import { ApiError, api, onRefused } from "./lib/api.js";
import { reference } from "./lib/forms.js";
import { router } from "./lib/router.js";
import { session } from "./lib/session.js";
import { dialog } from "./components/dialogs.js";
import { Shell } from "./components/shell.js";
import { signInForm, signInPage } from "./components/sign-in.js";
import { startToasts } from "./components/toasts.js";
import { bucketPage } from "./pages/bucket.js";
import { bucketAddPage } from "./pages/bucket-add.js";
import { bucketsPage } from "./pages/buckets.js";
import { clientPage } from "./pages/client.js";
import { clientsPage } from "./pages/clients.js";
import { mailPage } from "./pages/mail.js";
import { notAllowed, notFound } from "./pages/not-found.js";
import { overviewPage } from "./pages/overview.js";
import { rolePage } from "./pages/role.js";
import { rolesPage } from "./pages/roles.js";
import { tokenPage } from "./pages/token.js";
import { tokenAddPage } from "./pages/token-add.js";
import { tokensPage } from "./pages/tokens.js";

const ROUTES = [
  ["", overviewPage],
  ["/security/tokens", tokensPage],
  ["/security/tokens/add", tokenAddPage],
  ["/security/tokens/:id", tokenPage],
  ["/security/roles", rolesPage],
  ["/security/roles/add", rolePage],
  ["/security/roles/:id", rolePage],
  ["/buckets", bucketsPage],
  ["/buckets/add", bucketAddPage],
  ["/buckets/:id", bucketPage],
  ["/clients", clientsPage],
  ["/clients/:id", clientPage],
  ["/mail", mailPage],
];

const root = document.getElementById("app");
/** Where the local stack lists the emails that it did not send; a deployed one has no such list. */
const emails = document.querySelector('meta[name="wbcs-emails"]')?.content || null;
let shell = null;
let underWay = new AbortController();
let renewing = null;
let hasLeft = false;

/** Shows a page; whether it was shown, and not overtaken by another one. */
async function show(place, { isFirst, isReload }) {
  underWay.abort();
  underWay = new AbortController();
  const { signal } = underWay;
  if (!session.isSignedIn) {
    shell = null;
    const note = hasLeft ? "You are signed out." : null;
    signInPage(root, { note, done: () => {} });
    return false;
  }
  shell ??= new Shell(root, emails);
  const isDone = shell.busy();
  let view;
  try {
    const { page } = place;
    if (!page) view = notFound();
    else if (page.needs && !session.can(...page.needs)) view = notAllowed(page.needs);
    else view = await page({ ...place, signal, emails });
  } catch (error) {
    if (signal.aborted) return false;
    if (!(error instanceof ApiError)) console.error(error);
    view = failed(error);
  } finally {
    if (!signal.aborted) isDone();
  }
  if (signal.aborted || !shell) return false;
  return shell.show(view, { isFirst, isReload });
}

function failed(error) {
  if (error.status === 404) return notFound(error.message);
  const isKnown = error instanceof ApiError;
  const message = isKnown ? error.message : "This page has a fault. Load it again; if that does not help, report it.";
  const again = h("button", { type: "button", class: "primary", onclick: () => router.reload() }, "Try again");
  return {
    title: "This did not work",
    content: [
      h("p", { class: "alert bad", role: "alert" }, message, isKnown ? reference(error) : null),
      h("div", { class: "actions" }, again),
    ],
  };
}

/** Asks for another token, above the page, which stays as it is. */
function renew() {
  renewing ??= new Promise((resolve, reject) => {
    const leave = h("button", { type: "button", onclick: () => element.close("leave") }, "Sign out");
    const element = dialog(
      "Your token is not valid any more",
      [
        h(
          "p",
          {},
          "It has expired, was deleted, or is not allowed from your address any more. Sign in again to go on where you were: what you filled in is kept.",
        ),
        signInForm(() => element.close("done"), leave),
      ],
      {
        isLocked: true,
        onclose: (value) => {
          renewing = null;
          if (value === "done") resolve();
          else {
            reject(new ApiError(401, "You are signed out."));
            session.end();
          }
        },
      },
    );
  });
  return renewing;
}

async function start() {
  // A page that the browser had put aside may show a token that was to be shown once.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());
  startToasts();
  onRefused(renew);
  if (session.token) {
    try {
      const who = await api.check(session.token);
      if (who) session.begin(session.token, who);
      else session.end();
    } catch (error) {
      root.replaceChildren(
        h(
          "main",
          { class: "sign-in" },
          failed(error).content[0],
          h("p", {}, h("a", { href: location.href }, "Try again")),
        ),
      );
      root.querySelector("a").addEventListener("click", () => location.reload());
      return;
    }
  }
  session.addEventListener("change", () => {
    hasLeft = !session.isSignedIn;
    if (renewing) shell?.refresh();
    else {
      shell = null;
      router.guard(null);
      router.reload();
    }
  });
  await router.start(ROUTES, show);
}

start();
