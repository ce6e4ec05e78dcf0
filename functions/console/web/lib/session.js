const KEY = "wbcs.token";

/**
 * Who is signed in. The token lives in this tab: in its sessionStorage, so that loading the page again does not end
 * the session, or in memory where there is none.
 *
 * Events: `change`, when somebody else is signed in, or nobody.
 */
class Session extends EventTarget {
  #token = null;
  /** What the token may do, as `GET /api/public/token` says. */
  #who = null;

  constructor() {
    super();
    try {
      this.#token = sessionStorage.getItem(KEY);
    } catch {
      // Storage is off: the token is in memory only.
    }
  }

  get token() {
    return this.#token;
  }

  get who() {
    return this.#who;
  }

  get isSignedIn() {
    return this.#who !== null;
  }

  /** Whether the token's role has one of these permissions. */
  can(...permissions) {
    return permissions.some((permission) => this.#who?.permissions.includes(permission));
  }

  begin(token, who) {
    this.#token = token;
    this.#who = who;
    try {
      sessionStorage.setItem(KEY, token);
    } catch {
      // As above.
    }
    this.dispatchEvent(new Event("change"));
  }

  end() {
    this.#token = null;
    this.#who = null;
    try {
      sessionStorage.removeItem(KEY);
    } catch {
      // As above.
    }
    this.dispatchEvent(new Event("change"));
  }
}

export const session = new Session();
