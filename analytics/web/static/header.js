// The top line: the arena, its champion, the progress, and whether this page is live.

import { byId, clock, count, el, fill, percent, score, seconds } from "./dom.js";

const fact = (name, value, more = null, kind = "") => el(`div${kind}`, {}, el("dt", {}, name), el("dd", {}, value, more ? " " : null, more ? el("small", {}, more) : null));

export function showHeader(state) {
  const { arena, counts } = state;
  const champion = state.standing.find((row) => row.state === "champion");
  document.title = champion ? `${score(champion.mean)} · ${arena.name} · mesh` : `${arena.name} · mesh`;
  byId("arena").textContent = arena.name;
  byId("summary").textContent = arena.summary;
  byId("summary").title = arena.summary;
  const facts = [];
  if (champion) {
    const spread = champion.high === null || champion.high === champion.low ? "" : `± ${((champion.high - champion.low) / 2).toPrecision(2)}`;
    facts.push(fact(`${arena.metric} ${arena.direction === "minimize" ? "↓" : "↑"}`, score(champion.mean), spread || state.exact || null, ".champion"));
    if (state.baseline && state.baseline.mean && state.baseline.proposal !== champion.proposal) {
      const gain = (champion.mean - state.baseline.mean) / Math.abs(state.baseline.mean);
      const better = gain > 0 === (arena.direction === "maximize") ? "better" : "worse";
      facts.push(fact("vs baseline", gain === 0 ? "equal" : `${percent(gain)} ${better}`, `baseline ${score(state.baseline.mean)}`));
    }
  } else facts.push(fact(arena.metric, "–", "no champion yet", ".champion"));
  facts.push(fact("proposals", count(counts.proposals)));
  facts.push(fact("runs", count(counts.finished || 0), [counts.failed ? `${count(counts.failed)} failed` : "", counts.stopped ? `${count(counts.stopped)} stopped early` : ""].filter(Boolean).join(", ") || null));
  facts.push(fact("running", count(counts.running || 0), counts.waiting ? `${count(counts.waiting)} waiting` : null));
  facts.push(fact("runs per minute", (counts.per_minute || 0).toFixed(1), counts.trial_s ? `${seconds(counts.trial_s)} of trials` : null));
  if (state.money.usd || state.money.limit !== null) facts.push(spentFact(state, champion));
  fill(byId("facts"), facts);
  byId("remarks").hidden = !state.remarks.length;
  fill(byId("remarks"), state.remarks.map((sentence) => el("p", {}, `${sentence[0].toUpperCase()}${sentence.slice(1)}.`)));
}

/** What was spent, of what, and the gain over the baseline for each dollar and each hour of a GPU. */
function spentFact({ money, counts, baseline, arena }, champion) {
  const better = champion && baseline && baseline.mean !== null && baseline.proposal !== champion.proposal
    ? (champion.mean - baseline.mean) * (arena.direction === "minimize" ? -1 : 1) : 0;
  const per = (amount, unit) => (better > 0 && amount > 0 ? `gain ${(better / amount).toPrecision(2)} per ${unit}` : "");
  const remarks = [
    money.limit === null ? "" : `of ${dollars(money.limit)}`,
    money.unknown ? `${count(money.unknown)} ${money.unknown === 1 ? "price" : "prices"} not known` : per(money.usd, "$"),
    per(counts.gpu_hours, "GPU-hour"),
  ];
  return fact("spent", dollars(money.usd), remarks.filter(Boolean).join(" · ") || null);
}

const dollars = (usd) => `$${usd.toFixed(usd < 0.1 ? 4 : 2)}`;

/** Whether the page hears of the log, since when not, and whether anybody works: `state` is the last answer of its server. */
export function showConnection(connected, seq, state, since) {
  const at = `entry ${count(seq)}`;
  const [kind, text] = !connected ? ["away", since === null ? "connecting" : `not connected since ${clock(since)}`]
    : state.silent_since ? ["away", `not connected · ${at}`]
    : state.arena.state === "closed" ? ["idle", `closed · ${at}`]
    : hasEnded(state) ? ["idle", `the swarm has ended · ${at}`]
    : !state.has_workers ? ["idle", `no worker is here · ${at}`]
    : ["live", `live · ${at}`];
  byId("connection").dataset.state = kind;
  byId("connection-text").textContent = text;
}

/** Whether all agents have said that they leave, and no worker is here: the time was over, or somebody ended the swarm. */
const hasEnded = (state) => !state.has_workers && state.agents.length > 0 && state.agents.every((agent) => agent.state === "left");

/** What to do after the end of a swarm: the champion, and commands that take it further. */
export function showEnded(state, connected) {
  const host = byId("ended");
  host.hidden = !connected || Boolean(state.silent_since) || state.arena.state === "closed" || !hasEnded(state);
  if (host.hidden) return;
  const [row, base] = [state.standing.find((each) => each.state === "champion"), state.baseline];
  const better = row && base && base.mean !== null && base.proposal !== row.proposal ? `, baseline ${score(base.mean)}` : "";
  const best = row ? `Champion: ${row.title}, ${state.arena.metric} ${score(row.mean)}${better}.` : "It has no champion.";
  const named = [...(row ? ["show champion", "apply champion"] : []), "report"].map((words) => [el("code", {}, `mesh ${words} --arena ${state.arena.name}`), ", "]);
  fill(host, `The swarm ended at ${clock(state.last)}. ${best} Next: `, ...named.flat().slice(0, -1), ". ", el("code", {}, "mesh up"), " in the arena's folder goes on.");
}

/** What is wrong, in one sentence: the server's silence comes before all else. */
export function troubleOf(state) {
  if (!state.silent_since) return state.trouble;
  const last = state.last === null ? "the log is empty" : `the last entry is ${count(state.seq)} of ${clock(state.last)}`;
  return `The server of the log has not answered since ${clock(state.silent_since)}; ${last}. This page goes on when it is back.`;
}

/** What to say while the page's own server is away. */
export function awayOf(since, seq, state) {
  const shown = Math.max(seq, state.seq);
  return `This page has not heard from its server since ${clock(since)} and shows what was known then${shown ? `, up to entry ${count(shown)}` : ""}. It tries again by itself; if mesh web has ended, start it on the same port.`;
}

export function showTrouble(text) {
  byId("trouble").hidden = !text;
  byId("trouble").textContent = text;
}
