// The page: loads the current state, then follows the log.

import { makeActivity } from "./activity.js";
import { follow, get, takeToken } from "./api.js";
import { makeBoard } from "./board.js";
import { makeClaims } from "./claims.js";
import { makeDag } from "./lineage.js";
import { calm, showPlaces } from "./dom.js";
import { makeDrawer } from "./drawer.js";
import { awayOf, showConnection, showEnded, showHeader, showTrouble, troubleOf } from "./header.js";
import { makeLeaderboard } from "./leaderboard.js";
import { makeProgress } from "./progress.js";
import { makePropose } from "./propose.js";
import { startSql } from "./sql.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";
import { showWorkers } from "./workers.js";

const RECENT = 100;

startTheme();
takeToken();
startTabs();
startSql();

let dag = null;
const open = makeDrawer((tree) => dag.pick(tree), (tree) => claims.about(tree), () => propose);
const claims = makeClaims(open);
const propose = makePropose(open);
dag = makeDag(open);
const progress = makeProgress(open);
const showLeaderboard = makeLeaderboard(open);
const board = makeBoard(claims.host);
const tellActivity = makeActivity(open, (tree) => dag.knows(tree));
let seq = 0;
let live = false;
let whole = false;

let last = null;
let since = null;
let missing = "";

const showLive = calm(() => {
  if (!last) return;
  showConnection(live, seq, last, since);
  showEnded(last, live);
  showTrouble(live || since === null ? troubleOf(last) || missing : awayOf(since, seq, last));
}, 200);

async function loadState() {
  const state = await get("api/state");
  last = state;
  showPlaces(state.places);
  showHeader(state);
  showLeaderboard(state);
  showWorkers(state);
  progress.state(state);
  board.state(state);
  claims.state(state);
  propose.state(state);
  showLive();
  return state;
}

/** Load what the stream then only adds to; if the projector is away, try again with the next state. */
async function loadRest() {
  const rest = [get("api/dots").then(progress.load), dag.load(), get("api/board").then((found) => board.load(found.notes))];
  const failed = (await Promise.allSettled(rest)).filter((ended) => ended.status === "rejected");
  whole = !failed.length;
  missing = failed.length ? failed[0].reason.message : "";
  showLive();
}

const loaded = calm(async () => {
  try {
    await loadState();
    if (!whole) return await loadRest();
    missing = "";
    dag.state();
  } catch (error) {
    missing = error.message;
    showLive();
  }
}, 100);

async function loadAll() {
  const state = await loadState();
  await loadRest();
  return state.as_of;
}

function take(fact) {
  seq = Math.max(seq, fact.seq);
  tellActivity(fact);
  if (fact.event) {
    if (fact.kind === "note.posted") board.take(fact);
    if (fact.kind === "run.finished") progress.take(fact);
    if (fact.kind.startsWith("proposal.")) dag.take(fact);
  }
  showLive();
}

async function start() {
  let after = 0;
  try {
    after = await loadAll();
  } catch (error) {
    showTrouble(error.message);
    return setTimeout(start, 2000);
  }
  follow(Math.max(0, after - RECENT), {
    onFact: take,
    onState: loaded,
    onReset: (at) => {
      if (at < seq) {
        seq = at; // the log was replaced
        tellActivity.clear();
        progress.forget();
      }
      loadAll().catch(() => {});
    },
    onOpen: () => {
      live = true;
      if (since !== null) {
        [since, whole] = [null, false]; // everything is asked for again: nobody says what was missed
        loaded();
      }
      showLive();
    },
    onBreak: (heard) => {
      live = false;
      since ??= heard;
      showLive();
    },
  });
  document.body.dataset.ready = "yes";
}

start();
