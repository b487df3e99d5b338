// Progress: a dot per scored run, the champion's mean as a bold line in its interval, the best single score dashed.

import { byId, calm, clock, color, count, el, fill, plain, score, short } from "./dom.js";
import { series } from "./series.js";
import { onTheme } from "./theme.js";

const WHOLE = [1, 2, 5].flatMap((step) => Array.from({ length: 8 }, (_, power) => step * 10 ** power)).sort((a, b) => a - b);
const MANY = 40; // promotions from which on their rings are small
const LETTER = 6.4; // pixels of a digit of an axis

export function makeProgress(open) {
  const host = byId("chart");
  const status = byId("progress-status");
  const runs = new Set();
  let dots = [];
  let reigns = [];
  let arena = { direction: "minimize", metric: "score" };
  let axis = "runs";
  let plot = null;
  let shown = null;
  let at = null;

  const draw = calm(() => {
    byId("progress-legend").hidden = !dots.length;
    if (!dots.length) {
      plot?.destroy();
      plot = null;
      status.textContent = "";
      return fill(host, el("p.empty", {}, "No run has a score yet."));
    }
    shown = series(dots, reigns, arena.direction === "minimize", axis);
    if (plot) plot.setData(shown.data);
    else build();
    if (!at) rest();
    if (!performance.getEntriesByName("first-picture").length) requestAnimationFrame(() => performance.mark("first-picture"));
  }, 150);

  function rest() {
    status.textContent = `best single score ${score(shown.best)} of ${count(dots.length)} ${dots.length === 1 ? "score" : "scores"}${shown.beyond ? `, ${count(shown.beyond)} outside of the chart` : ""}`;
  }

  function build() {
    fill(host);
    const [ink, line, dot, gold] = ["--muted", "--line", "--dot", "--gold"].map(color);
    const [font, labelFont] = ["11px system-ui, sans-serif", "11px system-ui, sans-serif"];
    const ticks = { stroke: ink, font, labelFont, labelSize: 18, labelGap: 0, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    const steps = uPlot.paths.stepped({ align: 1 });
    const edge = { width: 0, paths: steps, points: { show: false } };
    plot = new uPlot({
      width: host.clientWidth, height: host.clientHeight, legend: { show: false }, padding: [10, 14, 0, 0],
      cursor: { points: { show: false }, drag: { x: true, y: false, setScale: true }, y: false, x: true },
      scales: { x: { time: axis === "time" }, y: { range: () => shown.range } },
      axes: [
        { ...ticks, size: 24, label: axis === "time" ? "time (this computer's clock)" : "runs with a score, in order", ...(axis === "time" ? { space: 70, values: (_, splits, __, ___, step) => splits.map((at) => timeTick(at, step)) } : { incrs: WHOLE }) },
        { ...ticks, size: (_, values) => 14 + LETTER * Math.max(4, ...(values || []).map((value) => value.length)), label: `${plain(arena.metric).slice(0, 40)} (${arena.direction === "minimize" ? "lower" : "higher"} is better)`, values: (_, splits, __, ___, step) => splits.map((value) => tick(value, step)) },
      ],
      series: [
        {},
        { paths: () => null, points: { show: true, size: 5, width: 0, fill: dot, stroke: dot } },
        { stroke: ink, width: 1, dash: [4, 3], paths: steps, points: { show: false } },
        edge,
        edge,
        { stroke: gold, width: 3, paths: steps, points: { show: false } },
        { paths: () => null, points: { show: true, size: reigns.length > MANY ? 6 : 10, width: 2, fill: color("--panel"), stroke: gold } },
      ],
      bands: [{ series: [4, 3], fill: color("--gold-band") }],
      hooks: { setCursor: [hover] },
    }, shown.data, host);
    plot.over.addEventListener("click", () => at && open(at.proposal));
    plot.over.addEventListener("mouseleave", () => { at = null; rest(); });
  }

  function hover(self) {
    const { left, top, idx } = self.cursor;
    at = null;
    let nearest = 900;
    const { points, data } = shown;
    for (let place = Math.max(0, (idx ?? 0) - 60); idx !== null && left >= 0 && place < Math.min(points.length, idx + 60); place++) {
      const y = data[1][place] ?? data[6][place];
      if (y === null) continue;
      const away = (self.valToPos(data[0][place], "x") - left) ** 2 + (self.valToPos(y, "y") - top) ** 2;
      if (away < nearest) [nearest, at] = [away, points[place].dot || points[place].reign];
    }
    self.over.classList.toggle("over-dot", Boolean(at));
    if (!at) rest();
    else if (at.run) status.textContent = `${score(at.value)} · ${short(at.proposal)} · ${at.lane} · ${clock(at.time)}`;
    else status.textContent = `champion ${score(at.mean)}${at.low === null ? "" : ` (95 %: ${score(at.low)} to ${score(at.high)})`} · ${short(at.proposal)} · promoted at ${clock(at.time)}`;
  }

  new ResizeObserver(() => plot?.setSize({ width: host.clientWidth, height: host.clientHeight })).observe(host);
  const redraw = () => { plot?.destroy(); plot = null; draw(); };
  onTheme(redraw);
  for (const button of document.querySelectorAll("[data-axis]")) {
    button.addEventListener("click", () => {
      axis = button.dataset.axis;
      document.querySelectorAll("[data-axis]").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      redraw();
    });
  }

  return {
    /** Take the scores of the projector; those that came live and that it has not folded yet stay. */
    load(table) {
      const before = dots;
      dots = table.rows.map(([seq, time, value, proposal, run, lane]) => ({ seq, time, value, proposal, run, lane }));
      runs.clear();
      dots.forEach((dot) => runs.add(dot.run));
      const folded = Math.max(table.as_of || 0, dots.at(-1)?.seq || 0);
      for (const dot of before) {
        if (dot.seq <= folded || runs.has(dot.run)) continue;
        runs.add(dot.run);
        dots.push(dot);
      }
      draw();
    },
    forget() {
      dots = [];
    },
    take(fact) {
      const { run, value, proposal } = fact.event;
      if (value === null || value === undefined || runs.has(run)) return;
      runs.add(run);
      const lane = /-(explore|confirm|control|audit)-/.exec(run)?.[1] || "run";
      dots.push({ seq: fact.seq, time: fact.time, value, proposal, run, lane });
      draw();
    },
    state(state) {
      const turned = state.arena.direction !== arena.direction || state.arena.metric !== arena.metric;
      const more = JSON.stringify(state.reigns) !== JSON.stringify(reigns);
      [arena, reigns] = [state.arena, state.reigns];
      if (turned) redraw();
      else if (more) draw();
    },
  };
}

/** A time below an axis: the day where a step is as long, else the time of day. */
function timeTick(at, step) {
  const time = new Date(at * 1000);
  const day = time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const clock = time.toLocaleTimeString("en-GB").slice(0, step < 60 ? 8 : 5);
  return step >= 86400 || clock === "00:00" ? day : clock;
}

/** A number beside an axis, with the decimals that two neighbours need to differ. */
function tick(value, step) {
  if (Math.abs(value) >= 1e7 || (step && step < 1e-9)) return value.toExponential(2);
  let places = 0;
  while (places < 9 && Math.abs(step * 10 ** places - Math.round(step * 10 ** places)) > 1e-6 * step * 10 ** places) places++;
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}
