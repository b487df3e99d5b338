// Claims: what agents say of commits in their notes, beside what was measured. Nothing shows while there are none.

import { ago, clock, el, fill, plain, score, short } from "./dom.js";

const WORDS = 160;

export function makeClaims(open) {
  const host = el("section.claims", { "aria-label": "Claims", hidden: true });
  let rows = [];
  let minimizes = true;
  let drawn = "";

  return {
    host,
    state(state) {
      rows = state.claims;
      minimizes = state.arena.direction === "minimize";
      const news = JSON.stringify([rows, minimizes, state.places]);
      if (news === drawn) return;
      drawn = news;
      host.hidden = !rows.length;
      const measured = rows.filter((row) => row.measured !== null).length;
      const kept = host.querySelector("details");
      fill(host, el("details", { open: kept ? kept.open : true }, el("summary", {}, "Claims ", el("span.muted", {}, `${measured} of ${rows.length} measured`)),
        el("div.scroll", { tabindex: "0", role: "region", "aria-label": "Claims and what was measured" }, table(rows, minimizes, open))));
    },
    /** The claims about one proposal as a table, null if there are none. */
    about(tree) {
      const found = rows.filter((row) => row.proposal === tree);
      return found.length ? table(found, minimizes, null) : null;
    },
  };
}

function table(rows, minimizes, open) {
  const head = [["who claims"], ["claimed", 1], ["measured", 1], ["claim is better by", 1]];
  return el("table.judged", {},
    el("thead", {}, el("tr", {}, head.map(([name, kind]) => el(`th${kind ? ".number" : ""}`, { scope: "col" }, name)))),
    el("tbody", {}, rows.map((row) => line(row, minimizes, open))));
}

function line(row, minimizes, open) {
  const commit = row.proposal && open ? el("button.link", { type: "button", title: "Open what was measured", click: () => open(row.proposal) }, el("code", {}, short(row.hash))) : el("code", {}, short(row.hash));
  const said = plain(row.words || "");
  const [gap, note, kind] = judged(row, minimizes);
  return el("tr", { title: clock(row.time) },
    el("td.claim", {}, el("b", {}, row.author), " ", commit, el("span.by", { dir: "auto" }, [row.platform, said.length > WORDS ? `${said.slice(0, WORDS)}…` : said, ago(row.time)].filter(Boolean).join(" · "))),
    el("td.number", {}, score(row.claimed)),
    el("td.number", {}, row.measured === null ? el("span.by", {}, row.proposal ? "not yet" : "unknown commit") : score(row.measured)),
    el(`td.number${kind}`, {}, gap, note ? el("span.by", {}, note) : null));
}

/** How far a claim is from what was measured: its gap, where it lies, and a class; only one that looks too good is marked. */
function judged(row, minimizes) {
  if (row.gap === null) return ["–", "", ".muted"];
  const gap = `${row.gap > 0 ? "+" : row.gap < 0 ? "−" : ""}${score(Math.abs(row.gap))}`;
  if (row.low === null || row.high === null) return [gap, "no interval yet", ""];
  const beyond = minimizes ? row.claimed < row.low : row.claimed > row.high;
  if (beyond) return [gap, "better than the interval", ".too-good"];
  return [gap, row.claimed >= row.low && row.claimed <= row.high ? "in the interval" : "worse than the interval", ""];
}
