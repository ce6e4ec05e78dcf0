import { confirm } from "../components/dialogs.js";

/** Where the console is served. */
export const BASE = "/console";

/** The path of a page, with a query, as an address. */
export function href(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  return `${BASE}${path}${search ? `?${search}` : ""}`;
}

/**
 * Shows the page of the address, and follows links, the back button and the forward button.
 *
 * A page is asked before it is left, where it has set a guard: what it answers, if anything, is put to the operator.
 */
class Router {
  #routes = [];
  #show = async () => {};
  #guard = null;
  #index = 0;
  #scrolls = new Map();
  #ignoring = null;

  /** `routes` are pairs of a pattern (`/roles/:id`) and a page; `show` renders one. */
  start(routes, show) {
    this.#routes = routes.map(([pattern, page]) => [pattern.split("/"), page]);
    this.#show = show;
    history.scrollRestoration = "manual";
    this.#index = history.state?.index ?? 0;
    history.replaceState({ ...history.state, index: this.#index }, "");
    document.addEventListener("click", (event) => this.#click(event));
    window.addEventListener("popstate", (event) => this.#pop(event));
    window.addEventListener("beforeunload", (event) => {
      if (this.#guard?.()) event.preventDefault();
    });
    return this.#render({ isFirst: true });
  }

  /** Sets what is asked before the page is left: a function that gives a `{title, body, action}`, or nothing. */
  guard(question) {
    this.#guard = question;
  }

  async go(to, { replace = false, state = {}, force = false } = {}) {
    if (!force && !(await this.#mayLeave())) return;
    this.#guard = null;
    this.#scrolls.set(this.#index, scrollY);
    if (!replace) this.#index++;
    history[replace ? "replaceState" : "pushState"]({ ...state, index: this.#index }, "", to);
    await this.#render({});
  }

  /** Shows the same page anew, with what the server has now. */
  async reload() {
    this.#guard = null;
    this.#scrolls.set(this.#index, scrollY);
    await this.#render({ isReload: true });
  }

  async #mayLeave() {
    const question = this.#guard?.();
    return !question || (await confirm(question));
  }

  #click(event) {
    const link = event.target.closest?.("a[href]");
    const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !`${url.pathname}/`.startsWith(`${BASE}/`)) return;
    if (url.hash && url.pathname === location.pathname && url.search === location.search) return;
    event.preventDefault();
    this.go(link.href, { state: link.state ?? {} });
  }

  async #pop(event) {
    const to = event.state?.index ?? 0;
    if (this.#ignoring) {
      this.#ignoring();
      return;
    }
    if (this.#guard?.()) {
      // The address has changed already: it is put back until the operator has answered.
      const distance = to - this.#index;
      await this.#travel(-distance);
      if (!(await this.#mayLeave())) return;
      this.#guard = null;
      history.go(distance);
      return;
    }
    this.#scrolls.set(this.#index, scrollY);
    this.#index = to;
    await this.#render({ isReturn: true });
  }

  /** Moves through the history without showing what is there. */
  #travel(distance) {
    return new Promise((resolve) => {
      this.#ignoring = () => {
        this.#ignoring = null;
        resolve();
      };
      history.go(distance);
    });
  }

  #find() {
    const path = location.pathname.slice(BASE.length).replace(/\/+$/, "");
    const parts = path.split("/");
    for (const [pattern, page] of this.#routes) {
      if (pattern.length !== parts.length) continue;
      const params = {};
      const matches = pattern.every((name, at) => {
        if (!name.startsWith(":")) return name === parts[at];
        params[name.slice(1)] = decode(parts[at]);
        return parts[at] !== "";
      });
      if (matches) return { page, params, path };
    }
    return { page: null, params: {}, path };
  }

  async #render({ isFirst = false, isReturn = false, isReload = false }) {
    const place = { ...this.#find(), query: new URLSearchParams(location.search) };
    const isShown = await this.#show(place, { isFirst, isReload });
    if (!isShown) return;
    if (isReturn || isReload) scrollTo(0, this.#scrolls.get(this.#index) ?? 0);
    else if (!isFirst) scrollTo(0, 0);
  }
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const router = new Router();
