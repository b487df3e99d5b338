// Workers and agents: their state and their runs.

import { ago, byId, chip, count, el, fill, seconds } from "./dom.js";

export function showWorkers(state) {
  const { workers, agents } = state;
  const body = byId("swarm");
  if (!workers.length && !agents.length) return fill(body, el("p.empty", {}, "No worker has joined yet. Start one with: python -m gpu_worker"));
  const head = (...names) => el("thead", {}, el("tr", {}, names.map(([name, kind, more]) => el(`th${kind ? ".number" : ""}${more ? `.${more}` : ""}`, { scope: "col" }, name))));
  const mine = el("table", {}, head(["worker"], ["state"], ["scored", 1], ["failed", 1], ["stopped early", 1, "wide"], ["trial time", 1], ["last seen", 1, "wide"]),
    el("tbody", {}, workers.map((row) => el("tr", {},
      el("td", {}, el("b", {}, row.worker), el("span.by", {}, `${row.device} · ${row.slots} ${row.slots === 1 ? "slot" : "slots"} · sandbox ${row.tier}`)),
      el("td", {}, chip(row.running ? "running" : row.state)),
      el("td.number", {}, count(row.scored)), el("td.number", {}, count(row.failed)), el("td.number.wide", {}, count(row.stopped)),
      el("td.number", {}, seconds(row.trial_s)), el("td.number.muted.wide", {}, row.last_at ? ago(row.last_at) : "–")))));
  const others = el("table", {}, head(["agent"], ["role"], ["state"]),
    el("tbody", {}, agents.map((row) => el("tr", {}, el("td", {}, el("b", {}, row.agent)), el("td", {}, row.role), el("td", {}, chip(row.state))))));
  fill(body, workers.length ? mine : null, agents.length ? others : null);
}
