// The server: JSON and the event stream. A refusal is an Error with the sentence of the server.

const KEY = "mesh.token";
const MEMBER = "mesh.key";

/** The token is typed or comes in the fragment of the address, which no server sees; it stays in this tab. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found === null) return;
  sessionStorage.setItem(KEY, found);
  history.replaceState(null, "", location.pathname);
}
export const token = () => sessionStorage.getItem(KEY) || "";
export const setToken = (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY));

/** The key of a member of the gateway; it stays in this tab, and only the header of a request has it. */
export const hasKey = () => Boolean(sessionStorage.getItem(MEMBER));
export const keepKey = (value) => sessionStorage.setItem(MEMBER, value);
export const forgetKey = () => sessionStorage.removeItem(MEMBER);

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

/** Ask the gateway as a member: GET, or POST where there is a body. */
export function ask(path, body = null) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(MEMBER) || ""}` };
  if (body === null) return answer(fetch(path, { cache: "no-store", headers }));
  return answer(fetch(path, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) }));
}

const SILENT_MS = 25000;

/**
 * Follow the log from a sequence on; after a break the browser reconnects and sends its position.
 *
 * The server sends something at least every 10 seconds. If nothing comes for longer, because one of the two machines slept
 * or the server is frozen, the connection counts as broken, and a new one is made.
 */
export function follow(after, { onFact, onState, onReset, onOpen, onBreak }) {
  let last = after;
  const open = () => {
    const source = new EventSource(`api/events?after=${last}`);
    let heard = Date.now();
    const guard = setInterval(() => {
      if (Date.now() - heard < SILENT_MS) return;
      again();
      open();
    }, 1000);
    const again = () => {
      clearInterval(guard);
      source.close();
      onBreak(heard / 1000);
    };
    for (const name of ["open", "fact", "state", "reset", "beat"]) source.addEventListener(name, () => (heard = Date.now()));
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
      onReset(last);
    });
    source.addEventListener("error", () => {
      heard = Date.now(); // the browser tries again by itself, unless it gave up
      if (source.readyState !== EventSource.CLOSED) return onBreak(heard / 1000);
      again();
      setTimeout(open, 3000);
    });
  };
  open();
}
