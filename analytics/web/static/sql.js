// Read-only SQL; the projector interrupts a query that takes too long.

import { post } from "./api.js";
import { byId, count, el, fill, plain } from "./dom.js";
import { choose } from "./tabs.js";

const EXAMPLES = [
  ["Leaderboard", "FROM leaderboard LIMIT 20"],
  ["Runs by state", "SELECT state, reason, count(*) AS runs\nFROM runs GROUP BY ALL ORDER BY runs DESC"],
  ["Improvement by agent", "SELECT agent, role, proposals, promoted, improvement\nFROM agents ORDER BY improvement DESC"],
  ["Cost", "FROM cost"],
  ["Calibration of critics", "FROM critics"],
  ["Views", "SELECT view_name FROM duckdb_views() WHERE NOT internal"],
];

export function startSql() {
  const text = el("textarea", { id: "statement", rows: "3", spellcheck: "false", "aria-label": "SQL", placeholder: "SELECT …" });
  text.value = EXAMPLES[0][1];
  const examples = el("select", { "aria-label": "Examples", change: () => { text.value = EXAMPLES[examples.selectedIndex][1]; run(); } }, EXAMPLES.map(([name]) => el("option", {}, name)));
  const result = el("div.scroll.result", { tabindex: "0", role: "region", "aria-label": "Result" }, el("p.empty", {}, "SQL is read-only: at most 1,000 rows and 10 seconds. Press Ctrl+Enter to run it."));
  const button = el("button.primary", { type: "submit" }, "Run");
  const form = el("form.sql", { "aria-label": "SQL" }, text, el("div.line", {}, examples, button));
  fill(byId("sql"), form, result);

  async function run() {
    button.disabled = true;
    try {
      fill(result, ...table(await post("api/sql", { sql: text.value })));
    } catch (error) {
      fill(result, el("p.error", { role: "alert" }, error.message));
    }
    button.disabled = false;
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); run(); });
  text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest?.("input, textarea, select, dialog")) return;
    event.preventDefault();
    choose("sql");
    text.focus();
    text.select();
    text.scrollIntoView({ block: "nearest" });
  });
}

function table(answer) {
  const numbers = answer.types.map((type) => /INT|DOUBLE|FLOAT|DECIMAL/.test(type));
  const cell = (value, place) => el(`td${numbers[place] ? ".number" : ""}`, {}, value === null ? el("span.muted", {}, "null") : shown(value));
  const as_of = Object.entries(answer.as_of).map(([arena, seq]) => `${arena} ${count(seq)}`).join(", ");
  const summary = `${count(answer.rows.length)} ${answer.rows.length === 1 ? "row" : "rows"}${answer.truncated ? " (limit reached)" : ""} in ${Math.round(answer.elapsed_s * 1000)} ms, as of ${as_of}`;
  return [
    el("p.status", { role: "status" }, summary),
    answer.remark ? el("p.status", {}, answer.remark) : null,
    el("table.rows", {}, el("thead", {}, el("tr", {}, answer.columns.map((name, place) => el(`th${numbers[place] ? ".number" : ""}`, { scope: "col" }, name)))),
      el("tbody", {}, answer.rows.map((row) => el("tr", {}, row.map(cell))))),
  ];
}

function shown(value) {
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(7)));
  const text = plain(typeof value === "object" ? JSON.stringify(value) : value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
