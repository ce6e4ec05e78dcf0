import { h } from "./dom.js";
import { copyButton } from "../components/copy-button.js";

/** What stands for a token in examples. */
export const PLACEHOLDER = "<API_TOKEN>";

/** A text as one word of a shell. */
const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A part of a path. */
const part = (text) => encodeURIComponent(text).replaceAll("'", "%27");

function command(method, path, headers, body) {
  const lines = [`curl -X ${method} ${quote(location.origin + path)}`];
  for (const [name, value] of headers) lines.push(`-H ${quote(`${name}: ${value}`)}`);
  if (body) lines.push(`-d ${quote(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}

const JSON_TYPE = ["Content-Type", "application/json"];

/** What the token may do. */
export const selfCheck = (token) => command("GET", "/api/public/token", [["Authorization", token]]);

/** Leads of a bucket, or of one of its sources. */
export function leads(bucket, token, body, source) {
  const path = `/api/public/buckets/${part(bucket.id)}/${part(bucket.affiliateID)}/leads${source ? `/${part(source)}` : ""}`;
  return command("POST", path, [JSON_TYPE, ["Authorization", token]], body);
}

/** A sign-up that goes into a bucket. */
export function signUp(token, { affiliateID, sourceId } = {}) {
  const body = { email: "user@example.com", phone: "+1234567890", firstName: "Jane", affiliateID, sourceId };
  return command("POST", "/tradersroom/api/auth/signup", [JSON_TYPE, ["x-api-key", token]], body);
}

/** A command to look at and to copy. */
export function shell(text, label) {
  return h(
    "figure",
    { class: "code" },
    h("figcaption", {}, label, copyButton(text, label)),
    h("pre", { tabindex: "0", role: "region", "aria-label": label }, h("code", {}, text)),
  );
}
