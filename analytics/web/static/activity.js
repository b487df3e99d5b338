// Activity: the latest facts of the log, each in a few words.

import { byId, calm, clock, el, fill, score, short, words } from "./dom.js";

const KEPT = 200;

export function makeActivity(open, knows) {
  const facts = [];
  const draw = calm(() => {
    const body = byId("activity");
    if (!facts.length) return fill(body, el("p.empty", {}, "Nothing has happened yet."));
    fill(body, el("ol.activity", {}, facts.slice().reverse().map((fact) => line(fact, open, knows))));
  }, 250);
  draw();
  return (fact) => {
    if (facts.length && fact.seq <= facts.at(-1).seq) return;
    facts.push(fact);
    if (facts.length > KEPT) facts.shift();
    draw();
  };
}

function line(fact, open, knows) {
  const tree = fact.event?.proposal || fact.event?.tree || fact.event?.target;
  const said = say(fact);
  const text = tree && knows(tree) ? el("button.link", { type: "button", click: () => open(tree) }, said) : el("span", {}, said);
  return el("li", {}, el("time", {}, clock(fact.time)), el("b", {}, fact.author), text);
}

function say({ kind, event }) {
  if (!event) return `${kind} (not understood)`;
  switch (kind) {
    case "proposal.posted": return `proposes ${event.title}`;
    case "critique.posted": return `${event.verdict}s ${short(event.target)}: ${event.text}`;
    case "run.requested": return `asks for a run of ${short(event.proposal)} (${event.lane})`;
    case "run.started": return `starts ${event.run}`;
    case "run.killed": return `kills ${event.run} (${event.by}) ${event.text}`;
    case "run.finished": return event.outcome.how === "scored" ? `scores ${short(event.proposal)} with ${score(event.outcome.value)}` : `${short(event.proposal)} failed (${words(event.outcome.reason)}): ${event.outcome.message}`;
    case "proposal.promoted": return `promotes ${short(event.proposal)} with ${score(event.mean)}`;
    case "proposal.retired": return `retires ${short(event.proposal)} (${words(event.why)})`;
    case "note.posted": return `#${event.channel}: ${event.text.slice(0, 300)}`;
    case "worker.joined": return `joins with ${event.slots} slots on ${event.worker_class} (${event.device})`;
    case "agent.joined": return `joins as ${event.role}`;
    case "arena.opened": return `opens version ${event.version}`;
    case "arena.closed": return `closes the arena (${event.reason})`;
    default: return words(kind);
  }
}
