// Activity: the latest facts of the log, one sentence each.

import { byId, calm, clock, count, el, fill, score, short, words } from "./dom.js";

const KEPT = 200;
const VERDICTS = { endorse: "endorsed", warn: "warned about", block: "blocked" };

export function makeActivity(open, knows) {
  const facts = [];
  const draw = calm(() => {
    const body = byId("activity");
    if (!facts.length) return fill(body, el("p.empty", {}, "No activity yet."));
    fill(body, el("ol.activity", {}, facts.slice().reverse().map((fact) => line(fact, open, knows))));
  }, 250);
  draw();
  const tell = (fact) => {
    if (facts.length && fact.seq <= facts.at(-1).seq) return;
    facts.push(fact);
    if (facts.length > KEPT) facts.shift();
    draw();
  };
  tell.clear = () => {
    facts.length = 0;
    draw();
  };
  return tell;
}

function line(fact, open, knows) {
  const tree = fact.event?.proposal || fact.event?.tree || fact.event?.target;
  const sentence = describe(fact);
  const text = tree && knows(tree) ? el("button.link", { type: "button", click: () => open(tree) }, sentence) : el("span", {}, sentence);
  return el("li", {}, el("time", {}, clock(fact.time)), el("b", {}, fact.author), text);
}

function ended({ proposal, outcome }) {
  if (outcome.how === "scored") return `scored ${short(proposal)}: ${score(outcome.value)}`;
  if (outcome.reason === "killed") return `stopped the run of ${short(proposal)} early`;
  if (outcome.how === "infeasible" || outcome.how === "screened_out") return `ran ${short(proposal)}, ${words(outcome.how)}: ${outcome.message}`;
  return `ran ${short(proposal)}, which failed (${words(outcome.reason)}): ${outcome.message}`;
}

function describe({ kind, event }) {
  if (!event) return `${kind} (not understood)`;
  switch (kind) {
    case "proposal.posted": return `proposed ${event.title}`;
    case "critique.posted": return `${VERDICTS[event.verdict] || words(event.verdict)} ${short(event.target)}: ${event.text}`;
    case "run.requested": return `requested a run of ${short(event.proposal)} (${event.lane})`;
    case "run.started": return `started ${event.run}`;
    case "run.killed": return `stopped ${event.run} early (${event.by}) ${event.text}`;
    case "run.finished": return ended(event);
    case "proposal.promoted": return `promoted ${short(event.proposal)} to champion: ${score(event.mean)}`;
    case "proposal.retired": return `retired ${short(event.proposal)} (${words(event.why)})`;
    case "note.posted": return `#${event.channel}: ${event.text.slice(0, 300)}`;
    case "worker.joined": return `joined with ${count(event.slots)} ${event.slots === 1 ? "slot" : "slots"} on ${event.worker_class} (${event.device})`;
    case "agent.joined": return `joined as ${event.role}`;
    case "worker.left": case "agent.left": return `left (${event.reason || "done"})`;
    case "arena.opened": return `opened version ${event.version} of the arena`;
    case "arena.closed": return `closed the arena (${event.reason})`;
    default: return words(kind);
  }
}
