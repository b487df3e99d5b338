// The top line: the arena, its champion, the progress, and whether this page is live.

import { byId, count, el, fill, score, seconds } from "./dom.js";

const fact = (name, value, more = null, kind = "") => el(`div${kind}`, {}, el("dt", {}, name), el("dd", {}, value, more ? el("small", {}, more) : null));

export function showHeader(state) {
  const { arena, counts } = state;
  const champion = state.standing.find((row) => row.state === "champion");
  document.title = champion ? `${score(champion.mean)} · ${arena.name} · mesh` : `${arena.name} · mesh`;
  byId("arena").textContent = arena.name;
  byId("summary").textContent = arena.summary;
  byId("summary").title = arena.summary;
  const facts = [];
  if (champion) {
    const spread = champion.high === null ? "" : `± ${((champion.high - champion.low) / 2).toPrecision(2)}`;
    facts.push(fact(`${arena.metric} ${arena.direction === "minimize" ? "↓" : "↑"}`, score(champion.mean), spread, ".champion"));
    if (state.baseline && state.baseline.mean && state.baseline.proposal !== champion.proposal) {
      const gain = ((champion.mean - state.baseline.mean) / Math.abs(state.baseline.mean)) * 100;
      const better = gain > 0 === (arena.direction === "maximize") ? "better" : "worse";
      facts.push(fact("vs baseline", gain === 0 ? "equal" : `${Math.abs(gain).toFixed(Math.abs(gain) < 10 ? 2 : 0)} % ${better}`));
    }
  } else facts.push(fact(arena.metric, "–", "no champion yet", ".champion"));
  facts.push(fact("proposals", count(counts.proposals)));
  facts.push(fact("runs", count((counts.scored || 0) + (counts.failed || 0)), counts.failed ? `${count(counts.failed)} failed` : null));
  facts.push(fact("running", count(counts.running || 0), counts.waiting ? `${count(counts.waiting)} waiting` : null));
  facts.push(fact("runs per minute", (counts.per_minute || 0).toFixed(1), counts.trial_s ? `${seconds(counts.trial_s)} of trials` : null));
  fill(byId("facts"), facts);
}

export function showConnection(live, seq) {
  byId("connection").dataset.state = live ? "live" : "away";
  byId("connection-text").textContent = live ? `live · ${count(seq)}` : "reconnecting";
}

export function showTrouble(text) {
  byId("trouble").hidden = !text;
  byId("trouble").textContent = text;
}
