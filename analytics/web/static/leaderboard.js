// The leaderboard: intervals on one scale, rows by arrow keys.

import { byId, chip, count, el, fill, plain, score, seconds, svg } from "./dom.js";

const WIDTH = 84;

export function makeLeaderboard(open) {
  const body = byId("standing");
  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    const rows = [...body.querySelectorAll("button.row")];
    if (!step || !rows.length || !rows.includes(event.target)) return;
    const next = rows[Math.min(rows.length - 1, Math.max(0, rows.indexOf(event.target) + step))];
    rows.forEach((row) => (row.tabIndex = row === next ? 0 : -1));
    next.focus();
    event.preventDefault();
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-id]");
    if (row) open(row.dataset.id);
  });

  let shown = "";
  return function show(state) {
    const rows = state.standing;
    const news = JSON.stringify([rows, state.places, rows.length ? 0 : state.counts.failed]);
    if (news === shown) return;
    shown = news;
    const all = `${count(state.scored_proposals)} ${state.scored_proposals === 1 ? "proposal" : "proposals"} with a score`;
    byId("leaderboard-status").textContent = !rows.length ? "" : rows.length < state.scored_proposals ? `the best ${rows.length} of ${all}` : all;
    if (!rows.length) return fill(body, el("p.empty", {}, state.counts.failed ? `No run has a score yet; ${count(state.counts.failed)} failed. Their reasons are in the activity.` : "No run has a score yet. Scores will appear here."));
    const focused = document.activeElement?.closest?.("tr[data-id]")?.dataset.id;
    const scale = scaleOf(rows);
    const usual = state.baseline?.trial_s;
    const table = el("table.standing", {},
      el("thead", {}, el("tr", {}, el("th.number", { scope: "col" }, "#"), el("th.number.metric", { scope: "col", title: state.arena.metric }, state.arena.metric), el("th.wide", { scope: "col" }, "95 % interval"), el("th", { scope: "col" }, "proposal"), el("th", { scope: "col" }, "state"))),
      el("tbody", {}, rows.map((row, place) => line(row, scale, usual, focused ? row.proposal === focused : place === 0))));
    fill(body, table);
    if (focused) body.querySelector(`tr[data-id="${CSS.escape(focused)}"] button`)?.focus({ preventScroll: true });
  };
}

function line(row, scale, usual, tabbable) {
  const title = plain(row.title) || "(no title)";
  const seeds = `${row.seeds} ${row.seeds === 1 ? "seed" : "seeds"}`;
  const open = el("button.row", { type: "button", tabindex: tabbable ? "0" : "-1", title }, title);
  return el(`tr.is-${/^[a-z_]+$/.test(row.state) ? row.state : "open"}`, { "data-id": row.proposal },
    el("td.number.muted", {}, row.rank),
    el("td.number.score", { title: row.self_reported ? "self-reported: the candidate's own code computed this score" : null }, score(row.mean), row.self_reported ? "*" : ""),
    el("td.wide", {}, interval(row, scale)),
    el("td.title", {}, open, el("span.by", {}, `${row.author} · ${row.stage != null ? `stopped at stage ${row.stage}` : row.violation != null ? `violates a constraint by ${Math.round(row.violation * 100)} %` : row.fresh ? seeds : "claimed, not confirmed"}${time(row, usual)}${others(row)}`)),
    el("td", {}, chip(row.state)));
}

/** Return the seconds of a trial, and for a champion that takes much longer than the baseline how many times as long. */
function time(row, usual) {
  if (!row.trial_s) return "";
  const slow = row.state === "champion" && usual && row.trial_s >= 2 * usual && row.trial_s - usual >= 0.1;
  return ` · ${seconds(row.trial_s)}${slow ? `, ${(row.trial_s / usual).toFixed(1)} times as long as the baseline` : ""}`;
}

/** Return the numbers of `objective.also`, as words behind the author. */
function others(row) {
  const looked = row.sealed == null ? "" : ` · sealed ${score(row.sealed)} (gap ${score(row.gap)})`;
  return looked + Object.entries(row.also || {}).map(([name, value]) => ` · ${plain(name)} ${score(value)}`).join("");
}

/** Return the position of a value on a scale that fits most of the first rows; values beyond it are at its ends. */
function scaleOf(rows) {
  const ends = rows.slice(0, 12).flatMap((row) => [row.low ?? row.mean, row.high ?? row.mean]).sort((a, b) => a - b);
  const cut = Math.floor(ends.length * 0.2);
  const [first] = rows; // the best row is always inside; outliers among the others are drawn at the edge
  const low = Math.min(ends[cut], first.low ?? first.mean);
  const high = Math.max(ends[ends.length - 1 - cut], first.high ?? first.mean);
  const at = (value) => 3 + (high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5) * (WIDTH - 6);
  return at;
}

function interval(row, at) {
  const label = row.low === null ? (row.fresh ? "no interval: the noise is not known" : "no interval: the score is claimed, not confirmed") : `${score(row.low)} to ${score(row.high)}`;
  const picture = svg("svg", { class: "interval", viewBox: `0 0 ${WIDTH} 14`, width: WIDTH, height: 14, role: "img", "aria-label": label });
  if (row.low !== null) picture.append(svg("line", { x1: at(row.low), x2: at(row.high), y1: 7, y2: 7 }));
  picture.append(svg("circle", { cx: at(row.mean), cy: 7, r: 2.5, class: row.fresh ? "proven" : "claim" }));
  return picture;
}
