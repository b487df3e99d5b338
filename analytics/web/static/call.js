// The model call that a proposal comes from: its prompt and its answer, loaded when somebody opens them.

import { get } from "./api.js";
import { count, el, fill } from "./dom.js";

/** The closed door to a call; `sizes` are its bytes. */
export function call(tree, sizes) {
  const inside = el("div.call");
  let asked = false;
  const load = async () => {
    if (asked) return;
    asked = true;
    fill(inside, el("p.muted", { role: "status" }, "Loading …"));
    try {
      fill(inside, texts(await get(`api/proposal/${encodeURIComponent(tree)}/call`)));
    } catch (error) {
      asked = false; // opening it again asks again
      fill(inside, el("p.error", { role: "alert" }, error.message));
    }
  };
  const details = el("details", { toggle: () => details.open && load() },
    el("summary", {}, `Prompt, ${count(sizes.prompt_bytes)} bytes, and answer, ${count(sizes.answer_bytes)} bytes`), inside);
  return details;
}

function texts(found) {
  if (found.missing) return [el("p.muted", {}, `It is not kept any more: ${found.missing}`)];
  const given = Object.entries(found.parameters).map(([name, value]) => `${name} ${value}`).join(", ");
  return [
    el("p.muted", {}, el("code", {}, found.model), given ? ` (${given})` : ""),
    ...found.messages.map((message) => part(`Prompt: ${message.role || "message"}`, message, `mesh show ${found.seq} --prompt`)),
    found.thoughts.text ? part("Thoughts of the model", found.thoughts, `mesh show ${found.seq} --answer`) : null,
    found.trouble.text ? el("p.error", {}, `No answer: ${found.trouble.text}`) : null,
    found.answer.text ? part("Answer of the model", found.answer, `mesh show ${found.seq} --answer`) : null,
  ];
}

function part(name, { text, left_out }, command) {
  return el("section", { "aria-label": name }, el("h4", {}, name), el("pre.words", { tabindex: "0", dir: "auto" }, text),
    left_out ? el("p.muted", {}, `… ${count(left_out)} more characters: `, el("code", {}, command)) : null);
}
