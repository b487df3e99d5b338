// The server: JSON and the event stream. A refusal is an Error with the sentence of the server.

const KEY = "mesh.token";

/** The token is typed or comes in the fragment of the address, which no server sees; it stays in this tab. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found === null) return;
  sessionStorage.setItem(KEY, found);
  history.replaceState(null, "", location.pathname);
}
export const token = () => sessionStorage.getItem(KEY) || "";
export const setToken = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));

async function answer(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error("the server of this page does not answer");
  }
  const body = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw Object.assign(new Error(body.error || `the server answered ${response.status}`), { status: response.status });
  return body;
}

export const get = (path) => answer(fetch(path, { cache: "no-store" }));

export function post(path, body, withToken = false) {
  const headers = { "Content-Type": "application/json" };
  if (withToken) headers.Authorization = `Bearer ${token()}`;
  return answer(fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

/** Follow the log from a sequence on; after a break the browser reconnects and sends its position. */
export function follow(after, { onFact, onState, onReset, onOpen, onBreak }) {
  let last = after;
  const open = () => {
    const source = new EventSource(`/api/events?after=${last}`);
    const at = (event) => {
      if (event.lastEventId) last = Number(event.lastEventId);
    };
    source.addEventListener("open", onOpen);
    source.addEventListener("fact", (event) => {
      at(event);
      onFact(JSON.parse(event.data));
    });
    source.addEventListener("state", onState);
    source.addEventListener("reset", (event) => {
      at(event);
      onReset();
    });
    source.addEventListener("error", () => {
      onBreak();
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 3000);
    });
  };
  open();
}
