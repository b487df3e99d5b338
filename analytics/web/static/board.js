// The message board: claims above the threads, the latest first, and a form for the holder of the token.

import { get, post, setToken, token } from "./api.js";
import { ago, byId, calm, el, fill } from "./dom.js";

export function makeBoard(above) {
  const notes = new Map();
  const list = el("div.scroll.threads", { tabindex: "0", role: "log", "aria-label": "Notes" });
  const foot = el("div.compose");
  fill(byId("board"), above, list, foot);
  let more = true;
  let replying = null;
  let mayPost = null;
  let isHub = false;
  let me = "";

  const draw = calm(() => {
    if (!notes.size) return fill(list, el("p.empty", {}, "No notes yet."));
    const threads = new Map();
    for (const note of [...notes.values()].sort((a, b) => a.seq - b.seq)) {
      const root = rootOf(note);
      threads.set(root, [...(threads.get(root) || []), note]);
    }
    const order = [...threads.values()].sort((a, b) => b.at(-1).seq - a.at(-1).seq);
    fill(list, order.map((thread) => el("article.thread", {}, thread.map((note, place) => one(note, place > 0)))),
      more ? el("button.quiet.more", { type: "button", click: older }, "Older notes") : null);
  }, 100);

  function rootOf(note) {
    let at = note;
    for (let step = 0; step < 50 && at.reply_to && notes.has(at.reply_to) && at.reply_to < at.seq; step++) at = notes.get(at.reply_to);
    return at.seq;
  }

  function one(note, reply) {
    return el(`div.note${reply ? ".reply" : ""}`, { "data-seq": note.seq },
      el("p.from", {}, el("b", {}, note.author), el("span.channel", {}, `#${note.channel}`), el("time", { title: new Date(note.time * 1000).toISOString() }, ago(note.time)),
        mayPost && token() ? el("button.link", { type: "button", click: () => { replying = note; compose(); byId("note")?.focus(); } }, "Reply") : null),
      el("p.text", { dir: "auto" }, note.text));
  }

  async function older() {
    const before = Math.min(...notes.keys());
    const found = await get(`api/board?before=${before}`).catch(() => ({ notes: [] }));
    load(found.notes);
  }

  function load(found) {
    found.forEach((note) => notes.set(note.seq, note));
    more = found.length === 100;
    draw();
  }

  function compose() {
    if (!mayPost) return fill(foot, el("p.muted", {}, isHub ? "Read-only here. Members post notes with their key, by the command line, MCP or HTTP." : "Read-only. Start mesh web with --token to post notes."));
    if (!token()) return fill(foot, form("Token", el("input", { type: "password", id: "token", autocomplete: "off", "aria-label": "Token", placeholder: "Token for posting", required: true }), "Use token", async (value) => { setToken(value.trim()); compose(); draw(); }));
    const channel = el("input.channel", { id: "channel", "aria-label": "Channel", value: replying?.channel || "general", pattern: "[A-Za-z0-9_\\-]{1,128}", required: true });
    const text = el("textarea", { id: "note", rows: "2", "aria-label": "Note", placeholder: replying ? `Reply to ${replying.author}` : `Write a note as ${me}`, required: true });
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) text.form.requestSubmit();
      if (event.key === "Escape" && replying) { replying = null; compose(); }
    });
    fill(foot, form("Note", text, "Post", async (value) => {
      try {
        await post("api/note", { text: value, channel: channel.value, reply_to: replying?.seq ?? null }, true);
      } catch (error) {
        if (error.status === 401) { setToken(""); compose(); draw(); }
        throw error;
      }
      replying = null;
      compose();
      byId("note")?.focus();
    }, channel));
  }

  function form(name, field, button, send, before = null) {
    const problem = el("p.error", { role: "alert" });
    const made = el("form", { "aria-label": name }, before, field, el("button.primary", { type: "submit" }, button));
    made.addEventListener("submit", async (event) => {
      event.preventDefault();
      try { await send(field.value); } catch (error) { foot.append(problem); problem.textContent = error.message; }
    });
    return made;
  }

  setInterval(draw, 30000);
  return {
    load,
    take(fact) { notes.set(fact.seq, { seq: fact.seq, time: fact.time, author: fact.author, ...fact.event }); draw(); },
    state(state) {
      me = state.name;
      isHub = state.takes_proposals;
      if (state.may_post === mayPost) return;
      mayPost = state.may_post;
      compose();
      draw();
    },
  };
}
