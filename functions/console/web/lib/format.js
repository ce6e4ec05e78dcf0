import { h } from "./dom.js";

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const MONTH = new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric", timeZone: "UTC" });
const NUMBER = new Intl.NumberFormat();
const PERCENT = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const UNITS = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

export const number = (value) => NUMBER.format(value);
export const percent = (value) => PERCENT.format(value);
/** A day of the API, which is one of UTC. */
export const day = (iso) => DAY.format(new Date(iso));
export const shortDay = (iso) => SHORT_DAY.format(new Date(iso));
export const month = (iso) => MONTH.format(new Date(iso));
/** `1 lead`, `2 leads`. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** The reader's time zone, as people name it. */
export function zone() {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const minutes = -new Date().getTimezoneOffset();
  const hours = `${Math.floor(Math.abs(minutes) / 60)}`.padStart(2, "0");
  const rest = `${Math.abs(minutes) % 60}`.padStart(2, "0");
  return `${timeZone} (UTC${minutes < 0 ? "−" : "+"}${hours}:${rest})`;
}

/** `in 3 days`, `2 hours ago`. */
export function relative(iso, now = Date.now()) {
  const seconds = (Date.parse(iso) - now) / 1000;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  return RELATIVE.format(Math.trunc(seconds / length), unit);
}

/** A moment in the reader's time zone; the exact one, and UTC, on hovering. */
export function moment(iso) {
  const at = new Date(iso);
  const parts = [DATE.format(at), TIME.format(at)].map((text) => h("span", { class: "whole" }, text));
  return h("time", { datetime: iso, title: `${EXACT.format(at)}\n${iso}` }, parts[0], " ", parts[1]);
}

/** A moment, how far off it is, and the exact one, for where there is room. */
export function fullMoment(iso) {
  return h("span", { class: "moment" }, moment(iso), h("small", {}, `${relative(iso)} · `, h("code", {}, iso)));
}

/** What a `datetime-local` input takes: the reader's own time, to the minute. */
export function toInput(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The moment that such an input names; `null` where it is none. */
export function fromInput(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}
