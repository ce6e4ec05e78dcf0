import { h, svg, uniqueId } from "../lib/dom.js";
import { day, month, number, percent, shortDay } from "../lib/format.js";

const DAY_MS = 86_400_000;
const BARS_MAX = 95;
const HEIGHT = 220;
const MARGIN = { top: 12, right: 4, bottom: 26, left: 44 };

/** The least step of 1, 2 or 5 times a power of ten that divides up to `most` in at most `steps`. */
function step(most, steps) {
  const rough = Math.max(most / steps, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
}

/** Every day from `from` to `to`, or every week or month where that would be too many. */
function bins(days, from, to) {
  const count = Math.round((to - from) / DAY_MS) + 1;
  const unit = count <= BARS_MAX ? "day" : count <= BARS_MAX * 7 ? "week" : "month";
  const start = (at) => {
    if (unit === "month") return Date.UTC(new Date(at).getUTCFullYear(), new Date(at).getUTCMonth(), 1);
    // Weeks begin on Monday, as the first of January 1970 was a Thursday.
    return unit === "week" ? at - ((Math.floor(at / DAY_MS) + 3) % 7) * DAY_MS : at;
  };
  const all = new Map();
  for (let at = from; at <= to; at += DAY_MS) if (!all.has(start(at))) all.set(start(at), 0);
  for (const { day, leads } of days) {
    const at = start(Date.parse(day));
    if (all.has(at)) all.set(at, all.get(at) + leads);
  }
  return { unit, bars: [...all].map(([at, leads]) => ({ at, leads })) };
}

/** `<day-chart>`: bars of leads over time, as wide as there is room; the property `data` is what `bins` gives. */
class DayChart extends HTMLElement {
  #observer = new ResizeObserver(() => this.#draw());
  #width = 0;
  data = { unit: "day", bars: [] };

  connectedCallback() {
    this.#observer.observe(this);
  }

  disconnectedCallback() {
    this.#observer.disconnect();
  }

  #draw() {
    const width = Math.floor(this.clientWidth);
    if (width === this.#width || width < 80) return;
    this.#width = width;
    const { bars, unit } = this.data;
    const name = unit === "month" ? (at) => month(at) : (at) => (unit === "week" ? `Week of ${day(at)}` : day(at));
    const most = Math.max(...bars.map(({ leads }) => leads), 1);
    const size = step(most, 4);
    const top = Math.ceil(most / size) * size;
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const y = (leads) => MARGIN.top + inner.height * (1 - leads / top);
    const slot = inner.width / bars.length;
    const bar = Math.max(1, Math.min(slot - Math.min(3, slot / 4), 48));
    const x = (at) => MARGIN.left + slot * at + (slot - bar) / 2;
    const total = bars.reduce((sum, { leads }) => sum + leads, 0);
    const highest = bars.find(({ leads }) => leads === most);
    const ids = [uniqueId("chart"), uniqueId("chart")];
    const readout = h(
      "p",
      { class: "readout", "aria-hidden": "true" },
      total ? `Most: ${number(most)} – ${name(highest.at)}` : "No leads in this time",
    );

    const lines = [];
    for (let leads = 0; leads <= top; leads += size) {
      lines.push(
        svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(leads), y2: y(leads) }),
        svg("text", { class: "tick", x: MARGIN.left - 8, y: y(leads) + 4, "text-anchor": "end" }, number(leads)),
      );
    }
    const every = Math.max(1, Math.ceil(90 / slot));
    const label = unit === "month" ? month : shortDay;
    const labels = bars.map(({ at }, index) =>
      index % every === 0 && index * slot < inner.width - 40
        ? svg("text", { class: "tick", x: x(index), y: HEIGHT - 6 }, label(at))
        : null,
    );
    const shown = bars.map(({ at, leads }, index) => {
      const show = () => (readout.textContent = `${number(leads)} – ${name(at)}`);
      return svg(
        "g",
        { class: "bar", onpointerenter: show },
        svg("rect", { class: "hit", x: MARGIN.left + slot * index, y: MARGIN.top, width: slot, height: inner.height }),
        svg("rect", {
          class: "value",
          x: x(index),
          y: y(leads),
          width: bar,
          height: Math.max(inner.height + MARGIN.top - y(leads), leads ? 1 : 0),
          rx: Math.min(2, bar / 3),
        }),
      );
    });
    const chart = svg(
      "svg",
      { role: "img", "aria-labelledby": ids.join(" "), width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` },
      svg("title", { id: ids[0] }, `Leads per ${unit}`),
      svg(
        "desc",
        { id: ids[1] },
        total
          ? `${number(total)} leads from ${day(bars[0].at)} to ${day(bars.at(-1).at)}; at most ${number(most)} per ${unit}. The table below has all numbers.`
          : "No leads in this time.",
      ),
      lines,
      shown,
      labels,
    );
    this.replaceChildren(readout, chart);
  }
}

customElements.define("day-chart", DayChart);

/** The chart of leads over time, and its numbers as a table. */
export function leadsOverTime(days, from, to) {
  const data = bins(days, from, to);
  const name = data.unit === "month" ? (at) => month(at) : (at) => day(at);
  const filled = data.bars.filter(({ leads }) => leads > 0);
  return [
    h("day-chart", { ".data": data }),
    filled.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, "Numbers"),
        h(
          "div",
          { class: "scroll", tabindex: "0", role: "region", "aria-label": "Leads over time, as a table" },
          h(
            "table",
            { class: "plain" },
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                h("th", { scope: "col" }, `${data.unit[0].toUpperCase()}${data.unit.slice(1)} (UTC)`),
                h("th", { scope: "col", class: "number" }, "Leads"),
              ),
            ),
            h(
              "tbody",
              {},
              filled.map(({ at, leads }) =>
                h("tr", {}, h("th", { scope: "row" }, name(at)), h("td", { class: "number" }, number(leads))),
              ),
            ),
          ),
        ),
      ),
  ];
}

/**
 * The chart of leads per status: a table whose bars are drawn; `link` gives where a status leads to. Of very many
 * statuses the most frequent are known: what is left of the total is one row.
 */
export function leadsPerStatus(statuses, total, link) {
  const others = total - statuses.reduce((sum, { leads }) => sum + leads, 0);
  const most = Math.max(...statuses.map(({ leads }) => leads), others, 1);
  const bar = (leads) =>
    svg(
      "svg",
      { class: "share", "aria-hidden": "true", viewBox: "0 0 100 10", preserveAspectRatio: "none" },
      svg("rect", { class: "track", width: 100, height: 10 }),
      svg("rect", { class: "value", width: Math.max((leads / most) * 100, 0.5), height: 10 }),
    );
  const named = ({ status, leads }) => {
    const to = link(status);
    const name = h("bdi", {}, status);
    return row(to ? h("a", { href: to }, name) : name, leads);
  };
  const row = (name, leads) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      h("td", { class: "share" }, bar(leads)),
      h("td", { class: "number" }, number(leads)),
      h("td", { class: "number soft" }, percent(leads / total)),
    );
  return h(
    "table",
    { class: "plain statuses" },
    h("caption", { class: "spoken" }, "Leads per status"),
    h(
      "thead",
      { class: "spoken" },
      h(
        "tr",
        {},
        ["Status", "Share", "Leads", "Percent"].map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h("tbody", {}, statuses.map(named), others > 0 && row("Other statuses", others)),
  );
}
