import { session } from "./session.js";

const TIMEOUT = 35_000;
const RETRIES = 3;

/** Why a request failed. `status` is 0 where there was no answer; `field` names what a 400 is about. */
export class ApiError extends Error {
  constructor(status, message, details = {}) {
    super(message);
    this.status = status;
    this.requestId = details.requestId ?? null;
    this.address = details.address ?? null;
    const path = status === 400 ? message.match(/^([A-Za-z]+)(?:\[(\d+)\])?(?:\.[A-Za-z]+)* must /) : null;
    this.field = path?.[1] ?? null;
    this.entry = path?.[2] === undefined ? null : Number(path[2]);
  }

  /** Whether the same request can succeed later. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Asks the operator for another token, where the session's is refused; set by the application. */
let renewal = async () => {
  throw new ApiError(401, "Sign in first.");
};
export const onRefused = (ask) => {
  renewal = ask;
};

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function send(token, method, path, { query, body, etag, signal } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  const headers = { authorization: token };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (etag) headers["if-match"] = etag;
  const signals = [AbortSignal.timeout(TIMEOUT), signal].filter(Boolean);
  let response, text;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.any(signals),
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server can't be reached. Check the connection.");
  }
  return read(response, text);
}

function read(response, text) {
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch {
    // Not the API's own answer: a proxy's, perhaps.
  }
  const requestId = response.headers.get("x-request-id");
  if (response.ok && (json !== null || response.status === 204)) {
    return { value: json, etag: response.headers.get("etag") };
  }
  const status = response.ok ? 502 : response.status;
  const address = response.headers.get("x-caller-address");
  throw new ApiError(status, explain(status, json?.message), { requestId, address });
}

function explain(status, message) {
  if (status === 429 || status === 503) return "The server is busy. Try again in a moment.";
  if (status >= 500) return "The server failed. Try again; nothing that it had confirmed is lost.";
  return typeof message === "string" && message ? message : `The server answered with status ${status}.`;
}

/** A request that only reads is sent again where it may succeed then. */
async function sendPatiently(token, method, path, options) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send(token, method, path, options);
    } catch (error) {
      const again = method === "GET" && error instanceof ApiError && error.isPassing && error.status !== 0;
      if (!again || attempt === RETRIES) throw error;
      await pause(2 ** attempt * 150 * (0.5 + Math.random()));
    }
  }
}

/** What a token may do, or `null` where it is refused. */
async function check(token) {
  try {
    return (await sendPatiently(token, "GET", "/api/public/token")).value;
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/**
 * Calls the API with the session's token. Where the token is not valid any more, the operator is asked for another
 * one, and the request is sent with that: nothing that was filled in is lost.
 *
 * @returns {Promise<{value: any, etag: string|null}>}
 * @throws {ApiError}
 */
async function request(method, path, options) {
  for (;;) {
    const { token } = session;
    try {
      return await sendPatiently(token, method, path, options);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      // The API does not say why it refuses; its self-check tells a token that is gone from a role that lacks this.
      if (token === session.token && (await check(token))) {
        throw new ApiError(403, "The role of your token does not allow this.", error);
      }
      if (token === session.token) await renewal();
    }
  }
}

const path = (...parts) => `/api/admin/${parts.map(encodeURIComponent).join("/")}`;
const value = async (answer) => (await answer).value;

/** The admin API (and the self-check), by what it is about. Lists give `{items, nextCursor}`. */
export const api = {
  check,
  /** Signs in: what the token may do. */
  async signIn(token) {
    const { value } = await sendPatiently(token, "GET", "/api/public/token");
    session.begin(token, value);
  },
  list: (kind, query, signal) => value(request("GET", path(kind), { query, signal })),
  get: (kind, id, signal) => request("GET", path(kind, id), { signal }),
  create: (kind, body) => request("POST", path(kind), { body }),
  change: (kind, id, body, etag) => request("PATCH", path(kind, id), { body, etag }),
  delete: (kind, id) => request("DELETE", path(kind, id)),
  stats: (bucket, query, signal) => value(request("GET", path("buckets", bucket, "stats"), { query, signal })),
  route: (bucket, cursor, signal) =>
    value(request("POST", path("buckets", bucket, "route"), { query: { limit: 50, cursor }, body: {}, signal })),
  emails: (list, query, signal) => value(request("GET", list, { query, signal })),

  /** All entries of a list that is short by its nature; the first 1,000 or more where it is not. */
  async all(kind, query, signal) {
    const items = [];
    let cursor = null;
    do {
      const page = await api.list(kind, { ...query, limit: 1000, cursor }, signal);
      items.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor && items.length < 1000);
    return items;
  },

  /** A page of a list. A page may be empty and not be the last one: the next ones are tried, for a while. */
  async page(kind, query, signal) {
    let page = await api.list(kind, query, signal);
    for (let more = 0; more < 5 && page.items.length === 0 && page.nextCursor; more++) {
      page = await api.list(kind, { ...query, cursor: page.nextCursor }, signal);
    }
    return page;
  },
};
