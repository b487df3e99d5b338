// Progress: a dot per scored run, a line for the best so far, a ring per promotion.

import { byId, calm, clock, color, count, el, fill, score, short } from "./dom.js";
import { onTheme } from "./theme.js";

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
    if (!dots.length) {
      plot?.destroy();
      plot = null;
      return fill(host, el("p.empty", {}, "No run has finished yet."));
    }
    shown = series(dots, reigns, arena.direction === "minimize", axis);
    if (plot) plot.setData(shown.data);
    else build();
    if (!at) rest();
    if (!performance.getEntriesByName("first-picture").length) requestAnimationFrame(() => performance.mark("first-picture"));
  }, 150);

  function rest() {
    const best = shown.best.at(-1);
    status.textContent = `best single score ${score(best)} of ${count(dots.length)} scores${shown.beyond ? `, ${count(shown.beyond)} outside of the chart` : ""}`;
  }

  function build() {
    fill(host);
    const [ink, line, dot, best, gold] = ["--muted", "--line", "--dot", "--ink", "--gold"].map(color);
    const font = "11px system-ui, sans-serif";
    const ticks = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    plot = new uPlot({
      width: host.clientWidth, height: host.clientHeight, legend: { show: false }, padding: [10, 14, 0, 0],
      cursor: { points: { show: false }, drag: { x: true, y: false, setScale: true }, y: false, x: true },
      scales: { x: { time: axis === "time" }, y: { range: () => shown.range } },
      axes: [ { ...ticks, size: 28 }, { ...ticks, size: 62 } ],
      series: [
        {},
        { paths: () => null, points: { show: true, size: 5, width: 0, fill: dot, stroke: dot } },
        { stroke: best, width: 1.75, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
        { paths: () => null, points: { show: true, size: 10, width: 2, fill: color("--panel"), stroke: gold } },
      ],
      hooks: { setCursor: [hover] },
    }, shown.data, host);
    plot.over.addEventListener("click", () => at && open(at.proposal));
    plot.over.addEventListener("mouseleave", () => { at = null; rest(); });
  }

  function hover(self) {
    const { left, top, idx } = self.cursor;
    at = null;
    let nearest = 900;
    for (let place = Math.max(0, (idx ?? 0) - 60); idx !== null && left >= 0 && place < Math.min(dots.length, idx + 60); place++) {
      const away = (self.valToPos(shown.data[0][place], "x") - left) ** 2 + (self.valToPos(shown.data[1][place], "y") - top) ** 2;
      if (away < nearest) [nearest, at] = [away, dots[place]];
    }
    self.over.classList.toggle("over-dot", Boolean(at));
    if (at) status.textContent = `${score(at.value)} · ${short(at.proposal)} · ${at.lane} · ${clock(at.time)}`;
    else rest();
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
    load(table) {
      dots = table.rows.map(([seq, time, value, proposal, run, lane]) => ({ seq, time, value, proposal, run, lane }));
      runs.clear();
      dots.forEach((dot) => runs.add(dot.run));
      draw();
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
      const turned = state.arena.direction !== arena.direction;
      const more = state.reigns.length !== reigns.length;
      [arena, reigns] = [state.arena, state.reigns];
      if (turned || more) draw();
    },
  };
}

/** Return the series to draw; scores far on the worse side are drawn at the edge, so that they do not flatten the rest. */
function series(dots, reigns, lower, axis) {
  const xs = dots.map((dot, place) => (axis === "time" ? dot.time : place + 1));
  for (let place = 1; place < xs.length; place++) if (xs[place] < xs[place - 1]) xs[place] = xs[place - 1];
  let top = null;
  const best = dots.map(({ value }) => (top = top === null ? value : lower ? Math.min(top, value) : Math.max(top, value)));
  const sorted = dots.map((dot) => dot.value).sort((a, b) => a - b);
  const part = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const few = dots.length < 20;
  let [low, high] = [few || lower ? sorted[0] : part(0.1), few || !lower ? sorted.at(-1) : part(0.9)];
  const room = (high - low) * 0.07 || Math.abs(high) * 0.05 || 1;
  const range = [low - room, high + room];
  const ys = dots.map(({ value }) => Math.min(range[1], Math.max(range[0], value)));
  const beyond = dots.filter(({ value }) => value < range[0] || value > range[1]).length;
  const stairs = best.map((value) => Math.min(range[1], Math.max(range[0], value)));
  const marks = new Array(dots.length).fill(null);
  let place = 0;
  for (const reign of reigns) {
    while (place + 1 < dots.length && dots[place + 1].seq <= reign.seq) place++;
    marks[place] = stairs[place];
  }
  return { data: [xs, ys, stairs, marks], best, range, beyond };
}
