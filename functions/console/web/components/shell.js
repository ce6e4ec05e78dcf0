import { h, replace } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { permissionName } from "../lib/permissions.js";
import { BASE, href } from "../lib/router.js";
import { session } from "../lib/session.js";
import { themeSwitch } from "./theme-switch.js";

const BUSY_AFTER_MS = 150;

/** What there is, and which permissions show it. */
function areas(emails) {
  return [
    { items: [{ path: "", text: "Overview", needs: [] }] },
    {
      title: "Security",
      items: [
        { path: "/security/tokens", text: "Identification Tokens", needs: ["security:manage"] },
        { path: "/security/roles", text: "Roles", needs: ["security:manage"] },
      ],
    },
    {
      title: "Leads",
      items: [
        { path: "/buckets", text: "Buckets", needs: ["buckets:view-own", "buckets:view-all"] },
        { path: "/clients", text: "Clients", needs: ["clients:view"] },
      ],
    },
    emails
      ? { title: "Local stack", items: [{ path: "/mail", text: "Mail", needs: ["clients:view"] }] }
      : { items: [] },
  ];
}

/** The frame around every page: header, navigation, and the place for the page. */
export class Shell {
  #nav = h("nav", { class: "nav", id: "nav", "aria-label": "Console" });
  #account = h("div", { class: "account" });
  #main = h("main", { id: "main", tabindex: "-1" });
  #progress = h("div", { class: "progress", "aria-hidden": "true" });
  #announcement = h("p", { class: "spoken", role: "status" });
  #toggle = h(
    "button",
    {
      type: "button",
      class: "small nav-toggle",
      "aria-expanded": "false",
      "aria-controls": "nav",
      onclick: () => this.#open(!this.#isOpen),
    },
    "Menu",
  );
  #emails;

  constructor(root, emails) {
    this.#emails = emails;
    replace(
      root,
      h("a", { class: "skip", href: "#main", onclick: (event) => this.#skip(event) }, "Skip to the content"),
      h(
        "header",
        { class: "top" },
        h(
          "a",
          { class: "brand", href: `${BASE}/` },
          h("span", { class: "mark", "aria-hidden": "true" }, "W"),
          "WBCS Console",
        ),
        h("div", { class: "top-end" }, this.#account, this.#toggle),
      ),
      this.#progress,
      this.#nav,
      this.#main,
      this.#announcement,
    );
    this.refresh();
    this.#watch();
  }

  get #isOpen() {
    return this.#toggle.getAttribute("aria-expanded") === "true";
  }

  /** Without a change of address: the history would hold the page twice, and the router show it anew. */
  #skip(event) {
    event.preventDefault();
    this.#main.focus();
    this.#main.scrollIntoView();
  }

  #open(isOpen) {
    if (isOpen) this.#closeAccount();
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    this.#nav.classList.toggle("open", isOpen);
  }

  #closeAccount() {
    const menu = this.#account.querySelector("details");
    if (menu.open) menu.open = false;
  }

  /** A menu closes when something else is looked at. */
  #watch() {
    this.#account.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget && !this.#account.contains(relatedTarget)) this.#closeAccount();
    });
    this.#account.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape") return;
      this.#closeAccount();
      this.#account.querySelector("summary").focus();
    });
    this.#main.addEventListener("pointerdown", () => this.#closeAccount());
  }

  /** Shows who is signed in, and what that may see. */
  refresh() {
    replace(
      this.#nav,
      areas(this.#emails).map(({ title, items }) => {
        const shown = items.filter(({ needs }) => needs.length === 0 || session.can(...needs));
        if (shown.length === 0) return null;
        const links = shown.map(({ path, text }) =>
          h("li", {}, h("a", { href: path ? href(path) : `${BASE}/`, dataset: { path } }, text)),
        );
        return [title ? h("h2", {}, title) : null, h("ul", {}, links)];
      }),
    );
    const { who } = session;
    replace(
      this.#account,
      h(
        "details",
        { class: "menu" },
        h("summary", {}, h("bdi", { class: "clip" }, who.name)),
        h(
          "div",
          { class: "menu-body card" },
          h("h2", {}, "Signed in with"),
          h("p", { class: "wrap" }, h("bdi", {}, who.name)),
          h(
            "dl",
            { class: "facts" },
            h("dt", {}, "May"),
            h("dd", {}, who.permissions.map(permissionName).join(", ") || "nothing"),
            who.affiliateIDs.length
              ? [h("dt", {}, "Affiliates"), h("dd", {}, h("bdi", {}, who.affiliateIDs.join(", ")))]
              : null,
            h("dt", {}, "Expires"),
            h("dd", {}, who.expiresAt ? moment(who.expiresAt) : "never"),
            h("dt", {}, "Your address"),
            h("dd", {}, who.address ?? "not known"),
          ),
          h(
            "div",
            { class: "row" },
            themeSwitch(),
            h("button", { type: "button", onclick: () => session.end() }, "Sign out"),
          ),
        ),
      ),
    );
    this.#mark();
  }

  #mark() {
    const path = location.pathname.slice(BASE.length).replace(/\/+$/, "");
    for (const link of this.#nav.querySelectorAll("a")) {
      const own = link.dataset.path;
      const isHere = own === "" ? path === "" : path === own || path.startsWith(`${own}/`);
      if (isHere) link.setAttribute("aria-current", path === own ? "page" : "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** Shows that a page is on its way; gives what ends that. */
  busy() {
    this.#open(false);
    this.#closeAccount();
    this.#main.setAttribute("aria-busy", "true");
    const isEmpty = !this.#main.hasChildNodes();
    const timer = setTimeout(() => {
      this.#progress.classList.add("on");
      this.#announcement.textContent = "Loading…";
      if (isEmpty) replace(this.#main, h("p", { class: "loading" }, "Loading…"));
    }, BUSY_AFTER_MS);
    return () => {
      clearTimeout(timer);
      this.#progress.classList.remove("on");
      this.#announcement.textContent = "";
      this.#main.removeAttribute("aria-busy");
    };
  }

  /** Shows a page: `{title, crumbs?, actions?, content}`. */
  show({ title, crumbs = [], actions = [], content }, { isFirst, isReload }) {
    document.title = `${title} · WBCS Console`;
    const heading = h("h1", { tabindex: "-1" }, h("bdi", {}, title));
    replace(
      this.#main,
      h(
        "div",
        { class: "page-head" },
        h(
          "div",
          { class: "page-title" },
          crumbs.length
            ? h(
                "nav",
                { class: "crumbs", "aria-label": "Breadcrumbs" },
                h(
                  "ol",
                  {},
                  crumbs.map(([text, to]) => h("li", {}, to ? h("a", { href: to }, text) : text)),
                ),
              )
            : null,
          heading,
        ),
        actions.length ? h("div", { class: "page-actions" }, actions) : null,
      ),
      content,
    );
    this.#mark();
    // A new page is read from its heading; one that is shown anew, where the focus was lost with what it was on.
    const isLost = document.activeElement === document.body;
    if (!isFirst && (!isReload || isLost)) heading.focus({ preventScroll: true });
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target) {
      target.scrollIntoView();
      target.focus({ preventScroll: true });
    }
    return !target;
  }
}
