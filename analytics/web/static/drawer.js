// One proposal in a drawer: rationale, changes, runs, curves, critiques. Escape closes it.

import { get } from "./api.js";
import { call } from "./call.js";
import { ago, byId, chip, color, el, fill, score, seconds, short, words } from "./dom.js";

export function makeDrawer(onOpen, claimsAbout, propose) {
  const drawer = byId("drawer");
  let plot = null;
  let shown = "";
  const forget = () => { plot?.destroy(); plot = null; shown = ""; };
  drawer.addEventListener("close", forget);
  drawer.addEventListener("click", (event) => { if (event.target === drawer) drawer.close(); });

  async function open(tree) {
    forget();
    shown = tree;
    fill(drawer, top({ title: "…", state: "", proposal: tree }, drawer));
    if (!drawer.open) drawer.showModal();
    onOpen(tree);
    try {
      const found = await get(`api/proposal/${encodeURIComponent(tree)}`);
      if (shown !== tree) return;
      fill(drawer, top(found, drawer), el("div.inner", {}, parts(found, open, claimsAbout(tree), propose())));
      plot = curves(found, drawer.querySelector(".curve"));
    } catch (error) {
      if (shown === tree) fill(drawer, top({ title: "This proposal cannot be shown", state: "", proposal: tree }, drawer), el("p.error", { role: "alert" }, error.message));
    }
  }
  return open;
}

function top(found, drawer) {
  return el("header", {},
    el("div", {}, el("h2", { id: "drawer-title" }, found.title || "(no title)"),
      el("p.muted", {}, found.state ? chip(found.state) : null, ` ${found.author ? `${found.author} · ${[found.origin.how, found.origin.name].filter(Boolean).join(" ")} · ${ago(found.time)} · ` : ""}`, el("code", { title: found.proposal }, short(found.proposal)))),
    el("button.quiet", { type: "button", "aria-label": "Close", autofocus: true, click: () => drawer.close() }, "✕"));
}

const part = (name, ...inside) => el("section", {}, el("h3", {}, name), ...inside);

function parts(found, open, claims, propose) {
  const row = found.standing;
  return [
    row ? el("dl.numbers", {}, number("mean", score(row.mean)), row.low === null ? null : number("95 % interval", `${score(row.low)} – ${score(row.high)}`), number("rank", row.rank), number("seeds", row.seeds), row.trial_s ? number("time of a trial", seconds(row.trial_s)) : null, found.predicted_gain === null ? null : number("predicted gain", score(found.predicted_gain))) : null,
    verdict(found),
    propose.isHere() ? el("p", {}, el("button.quiet.framed", { type: "button", click: () => propose.start(found) }, "Propose a change to it")) : null,
    claims ? part("Claims", claims) : null,
    found.rationale ? part("Rationale", el("p.text", { dir: "auto" }, found.rationale)) : null,
    found.call ? part("Model call", call(found.proposal, found.call)) : null,
    found.knobs.length ? part("Knobs", el("table.knobs", {}, el("tbody", {}, found.knobs.map((knob) => el("tr", {}, el("td", {}, el("code", {}, knob.name), el("span.by", {}, knob.file)), el("td.number.muted", {}, value(knob.old)), el("td.number", {}, `→ ${value(knob.new)}`)))))) : null,
    found.curves.length ? part("Curves", el("div.curve")) : null,
    part("Runs", found.runs.length ? runs(found.runs) : el("p.muted", {}, "No run was requested yet.")),
    part("Critiques", found.critiques.length ? el("ul.critiques", {}, found.critiques.map(critique)) : el("p.muted", {}, "No critique yet.")),
    ...found.diffs.map((diff) => part(`Changes from parent ${short(diff.parent)}`, change(diff))),
    found.diffs.length ? null : part("Changes", el("p.muted", {}, "It has no parent: it is the baseline, or was written from scratch.")),
    found.parents.length ? part("Parents", relatives(found.parents, open)) : null,
    found.children.length ? part("Children", relatives(found.children, open)) : null,
  ];
}

/** Why a proposal is no candidate any more, in a sentence. */
function verdict(found) {
  if (found.state === "ruled_out") return el("p.ruled", {}, `Ruled out since version ${found.ruled_since}: it ${found.why}. No score of it counts.`);
  return found.why ? el("p.muted", {}, `${found.state === "demoted" ? "Demoted" : "Retired"}: ${words(found.why)}.`) : null;
}

const number = (name, text) => el("div", {}, el("dt", {}, name), el("dd", {}, text));
const value = (given) => (given === null || given === undefined ? "–" : typeof given === "number" && !Number.isInteger(given) ? String(Number(given.toPrecision(5))) : String(given));

function runs(found) {
  return el("div.scroll", { tabindex: "0" }, el("table", {}, el("thead", {}, el("tr", {}, ["lane", "seed", "state"].map((name) => el("th", { scope: "col" }, name)), ["score", "time", "used", "memory"].map((name) => el("th.number", { scope: "col" }, name)))),
    el("tbody", {}, found.flatMap((run) => [
      el("tr", {}, el("td", {}, run.lane), el("td.muted", {}, run.seed), el("td", {}, chip(run.state)), el("td.number", {}, score(run.value), run.self_reported ? "*" : ""), el("td.number", {}, seconds(run.trial_s)), el("td.number", { title: "seconds that count against the budget" }, run.budget_used_s !== null ? seconds(run.budget_used_s) : "–"), el("td.number", {}, run.peak_memory_mb ? `${Math.round(run.peak_memory_mb)} MB` : "–")),
      run.message || run.log || run.critiques.length ? el("tr.more", {}, el("td", { colspan: "7" }, run.message ? el(run.reason === "killed" ? "p.muted" : "p.error", {}, `${words(run.reason)}: ${run.message}`) : null, run.log ? el("details", {}, el("summary", {}, "End of the output"), el("pre", {}, run.log)) : null, run.critiques.length ? el("ul.critiques", {}, run.critiques.map(critique)) : null)) : null,
    ]))));
}

const critique = (given) => el("li", {}, chip(given.verdict), " ", el("b", {}, given.author), given.rule ? el("span.muted", {}, ` ${given.rule}`) : null, el("p.text", { dir: "auto" }, given.text));

function relatives(found, open) {
  return el("ul.relatives", {}, found.map((one) => el("li", {}, one.known ? el("button.link", { type: "button", click: () => open(one.proposal) }, el("code", {}, short(one.proposal)), ` ${one.title.slice(0, 160)}`) : el("code", {}, one.proposal))));
}

function change(diff) {
  if (diff.trouble) return el("p.muted", {}, `The code cannot be compared: ${diff.trouble}`);
  if (!diff.lines.length) return el("p.muted", {}, "No file differs.");
  const kind = (line) => (/^(---|\+\+\+)/.test(line) ? "file" : line.startsWith("@@") ? "hunk" : line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "same");
  return el("pre.diff", { tabindex: "0" }, diff.lines.map((line) => el(`span.${kind(line)}`, {}, line || " ")), diff.cut ? el("span.hunk", {}, "… the rest is left out") : null);
}

/** Draw the curves of runs over their steps, the latest run in the strongest colour. */
function curves(found, host) {
  if (!host) return null;
  const steps = [...new Set(found.curves.flatMap((curve) => curve.points.map(([step]) => step)))].sort((a, b) => a - b);
  const lines = found.curves.map((curve) => { const at = new Map(curve.points); return steps.map((step) => at.get(step)); });
  const [ink, line, dot] = ["--muted", "--line", "--accent"].map(color);
  const axis = { stroke: ink, font: "11px system-ui, sans-serif", grid: { stroke: line, width: 1 }, ticks: { show: false } };
  return new uPlot({
    width: host.clientWidth, height: 190, legend: { show: false }, cursor: { show: false }, scales: { x: { time: false } },
    axes: [{ ...axis, size: 26 }, { ...axis, size: 62, values: (_, values) => values.map(score) }],
    series: [{}, ...lines.map((_, place) => ({ stroke: dot, alpha: place ? 0.35 : 1, width: place ? 1 : 2, spanGaps: true, points: { show: steps.length < 3 } }))],
  }, [steps, ...lines], host);
}
