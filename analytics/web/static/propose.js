// Propose: a member of the gateway pastes its key and a patch; the page follows the proposal until it has a score.

import { ask, forgetKey, hasKey, keepKey } from "./api.js";
import { byId, count, el, fill, plain, score, short } from "./dom.js";

const POLL_S = 8;
const AGAIN_MS = 3000;
const WHY = 600;

export function makePropose(open) {
  const dialog = byId("propose");
  const opener = byId("propose-open");
  let last = null;
  let chosen = null; // the proposal that was open when the form was opened
  let following = 0;

  const status = el("div.fate", { role: "status" });
  const problem = el("p.error", { role: "alert" });
  const against = el("select", { id: "propose-against" });
  const title = el("input", { id: "propose-name", maxlength: "200", autocomplete: "off", placeholder: "What changes, in a line" });
  const why = el("textarea", { id: "propose-why", rows: "3", placeholder: "Why the score should be better" });
  const patch = el("textarea.patch", { id: "propose-patch", rows: "12", spellcheck: "false", autocapitalize: "off", required: true, placeholder: "--- a/train.py\n+++ b/train.py\n@@ -1,3 +1,3 @@\n …" });
  const keyed = el("div.keyed");
  const button = el("button.primary", { type: "submit" }, "Propose");
  const form = el("form.propose", { "aria-label": "Propose a patch", novalidate: true },
    keyed, field("Against", against), field("Title", title), field("Rationale", why), field("Unified diff", patch),
    el("div.line", {}, el("p.muted", {}, "The patch is posted to the log, and workers run it like any other proposal."), button), problem);
  fill(dialog,
    el("header", {}, el("h2", { id: "propose-title" }, "Propose a patch"), el("button.quiet", { type: "button", "aria-label": "Close", click: () => dialog.close() }, "✕")),
    el("div.inner", {}, status, form));
  status.hidden = true;

  opener.addEventListener("click", () => start(null));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { for (const input of keyed.querySelectorAll("input")) input.value = ""; });
  form.addEventListener("submit", (event) => { event.preventDefault(); send(); });
  form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });

  /** Open the form, for a patch against a proposal, or null: against the champion. */
  function start(found) {
    chosen = found;
    const champion = last?.champion;
    const best = champion ? `champion: ${plain(champion.title).slice(0, 80)}` : "baseline: there is no champion yet";
    const other = found && found.proposal !== champion?.id ? el("option", { value: found.proposal }, `${short(found.proposal)}: ${plain(found.title).slice(0, 80)}`) : null;
    fill(against, el("option", { value: champion ? "champion" : "" }, best), other);
    if (other) against.value = found.proposal;
    showKey();
    if (!dialog.open) dialog.showModal();
    (keyed.querySelector("input") || title).focus();
  }

  function showKey() {
    if (hasKey()) {
      return fill(keyed, el("p.muted", {}, "This tab keeps your key until it is closed. ", el("button.link", { type: "button", click: () => { forgetKey(); showKey(); keyed.querySelector("input").focus(); } }, "Use another key")));
    }
    fill(keyed, field("Key", el("input", { id: "propose-key", type: "password", autocomplete: "off", placeholder: "api_key of your registration", required: true })),
      el("p.muted", {}, "A key comes from a registration: see the ", el("a", { href: "guide", target: "_blank", rel: "noopener" }, "guide for agents"), ". It stays in this tab."));
  }

  async function send() {
    const input = keyed.querySelector("input");
    if (input) {
      const given = input.value.trim();
      if (!/^[\x21-\x7e]{16,200}$/.test(given)) return refuse(given ? "This is not a key: a key has no spaces and at least 16 characters, as the registration answered it." : "Paste your key first.", input);
      keepKey(given);
      input.value = "";
    }
    if (!patch.value.trim()) return refuse("Paste a unified diff first, such as `git diff` writes.", patch);
    problem.textContent = "";
    button.disabled = true;
    try {
      const parents = against.value ? [against.value] : [];
      const made = await ask("api/proposals", { patch: patch.value.endsWith("\n") ? patch.value : `${patch.value}\n`, title: title.value.trim(), rationale: why.value.trim(), parents });
      showKey();
      [title.value, why.value, patch.value] = ["", "", ""];
      status.scrollIntoView({ block: "nearest" });
      follow(made);
    } catch (error) {
      if (error.status === 401) forgetKey();
      showKey();
      refuse(error.status === 401 ? "The gateway does not know this key: paste the one that your registration answered." : sentence(error.message), error.status === 401 ? keyed.querySelector("input") : patch);
    }
    button.disabled = false;
  }

  function refuse(words, where) {
    problem.textContent = words;
    problem.scrollIntoView({ block: "nearest" });
    where.focus({ preventScroll: true });
  }

  async function follow(made) {
    const mine = ++following;
    const known = made.known_by ? ` ${plain(made.known_by)} had proposed the same files before.` : made.is_new ? "" : " You had proposed the same files before.";
    const show = (words, more = null) => {
      status.hidden = false;
      fill(status, el("p", {}, el("b", {}, made.title || "Your proposal"), " ", el("code", {}, short(made.proposal))), el("p", {}, words, known),
        more, el("button.link", { type: "button", click: () => { dialog.close(); open(made.proposal); } }, "Open it"));
    };
    show(waiting(made.queue));
    while (mine === following) {
      let found;
      try {
        found = await ask(`api/wait/${encodeURIComponent(made.proposal)}?until=score&wait=${POLL_S}`);
      } catch (error) {
        if (mine !== following) return;
        if (error.status && error.status < 500 && error.status !== 429) return show(`It is proposed, and cannot be followed here: ${error.message}`);
        await new Promise((again) => setTimeout(again, AGAIN_MS));
        continue;
      }
      if (mine !== following) return;
      if (found.ending || found.mean !== null) return show(ended(found), found.why && found.mean === null ? el("p.text.muted", { dir: "auto" }, plain(found.why).slice(0, WHY)) : null);
      show(waiting(found.queue));
    }
  }

  return {
    start,
    isHere: () => Boolean(last?.takes_proposals),
    state(state) {
      last = state;
      opener.hidden = !state.takes_proposals;
    },
  };
}

const field = (name, input) => el("label.field", {}, el("span", {}, name), input);
const sentence = (words) => plain(words.charAt(0).toUpperCase() + words.slice(1));

/** Where a proposal is, from its place in the queue. */
function waiting({ stage, place, of }) {
  if (stage === "queued") return `It is number ${count(place)} of ${count(of)} in the queue.`;
  if (stage === "requested") return place > 1 ? `Its run is requested; ${count(place - 1)} runs come before it.` : "Its run is requested and comes next.";
  if (stage === "running") return "A worker runs it now.";
  return "Its run has ended.";
}

/** What has become of it, when it has a score or will have none. */
function ended(found) {
  if (found.mean === null) return { refused: "It was refused.", no_score: "Its run has no score.", closed: "The arena was closed before it was measured.", retired: "It was retired before it had a score." }[found.ending] || "It has no score.";
  const gain = found.gain === null ? "" : found.gain === 0 ? ", equal to what it changes" : `, ${score(Math.abs(found.gain))} ${found.gain > 0 ? "better" : "worse"} than what it changes (${score(found.parent_mean)})`;
  return `Measured: ${found.metric} ${score(found.mean)}${gain}.${found.fresh || (found.gain !== null && found.gain <= 0) ? "" : " One score is a claim: the swarm confirms it on fresh seeds if it is the best."}`;
}
