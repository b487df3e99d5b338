// Elements and formats. Other people's text becomes text nodes without control characters; nothing here parses HTML.

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g;

export const plain = (text) => String(text).replace(CONTROL, "\ufffd");
export const byId = (id) => document.getElementById(id);

/** Make an element: `el("td.number", {title: "…"}, "text", child)`; functions of `props` are listeners. */
export function el(what, props = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : plain(value));
  }
  made.append(...children.flat().filter((c) => c !== null && c !== undefined).map((c) => (c instanceof Node ? c : plain(c))));
  return made;
}

export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((c) => c !== null && c !== undefined).map((c) => (c instanceof Node ? c : plain(c))));
}

export function svg(tag, props, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

let places = 4;
/** Take the decimals that the scores of this arena need to differ. */
export const showPlaces = (wanted) => (places = Math.max(4, Math.min(9, wanted || 4)));

/** A score: four decimals or as many as `showPlaces` says, as in a terminal; powers for tiny and huge ones. */
export function score(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e12)) return value.toExponential(3);
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** A share in percent without its sign, in the digits that it needs: 0.47 %, 3e-5 %, 12 %. */
export function percent(share) {
  const size = Math.abs(share) * 100;
  if (size !== 0 && size < 0.001) return `${Number(size.toPrecision(1)).toExponential()} %`;
  return `${size >= 10 || size === 0 ? size.toFixed(0) : size >= 1 ? size.toFixed(1) : Number(size.toPrecision(2))} %`;
}

export const count = (value) => (value === null || value === undefined ? "–" : Number(value).toLocaleString("en-US"));
export const short = (tree) => String(tree).slice(0, 10);
/** A reason in words: `out_of_memory` is "out of memory", and what was `killed` has not failed. States stay as they are in SQL. */
export const words = (reason) => (reason === "killed" ? "stopped early" : String(reason).replaceAll("_", " "));

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

/** The time of day, with the day where it is not today. */
export function clock(time) {
  const at = new Date(time * 1000);
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
  return day + at.toLocaleTimeString("en-GB");
}
export function ago(time) {
  const passed = Math.max(0, Date.now() / 1000 - time);
  return passed < 5 ? "now" : `${seconds(passed)} ago`;
}

/** A state as in SQL; a run that was killed is no failure, and says so. */
export const chip = (state) => el(`span.chip.s-${/^[a-z_]+$/.test(state) ? state : "open"}`, {}, ["killed", "ruled_out"].includes(state) ? words(state) : state);
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Call `work` soon, once for many calls, and at most every `rest` ms. */
export function calm(work, rest) {
  let timer = 0;
  let last = -Infinity;
  return () => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = 0;
      last = performance.now();
      work();
    }, Math.max(0, last + rest - performance.now()));
  };
}
