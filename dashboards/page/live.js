// The live feed by `fetch`, since an EventSource bears no token; one way for services with and without.

import { Problem, request } from "./api.js";

/** Longer than two heartbeats of the server (15 s): a silent connection is a dead one. */
const SILENCE_MS = 35_000;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];

/**
 * Follows the feed for ever. `on.event(name, data)`, `on.open(isFirst)`, `on.alive()` with each byte,
 * `on.lost(detail)` when the connection is gone.
 */
export async function follow(on) {
  const place = { last: null, tries: 0, isFirst: true };
  for (;;) {
    try {
      await once(place, on);
      on.lost("");
    } catch (error) {
      on.lost(error instanceof Problem ? error.message : "");
    }
    const wait = BACKOFF_MS[Math.min(place.tries, BACKOFF_MS.length - 1)];
    place.tries += 1;
    // A little chance keeps many watchers from coming back at once.
    await rest(wait * (0.75 + Math.random() / 2));
  }
}

async function once(place, on) {
  const clock = new AbortController();
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => clock.abort(), SILENCE_MS);
    on.alive();
  };
  const headers = { Accept: "text/event-stream" };
  if (place.last !== null) headers["Last-Event-ID"] = place.last;
  try {
    const answer = await request("api/v1/live", { headers, signal: clock.signal });
    if (!answer.ok) {
      const body = await answer.json().catch(() => ({}));
      throw new Problem(answer.status, body.code || "", body.detail || answer.statusText);
    }
    place.tries = 0;
    on.open(place.isFirst);
    place.isFirst = false;
    alive();
    const reader = answer.body.getReader();
    const parse = parser((event) => {
      if (event.id !== null) place.last = event.id;
      if (event.data !== "") on.event(event.name, JSON.parse(event.data));
    });
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      parse(value);
    }
  } finally {
    clearTimeout(timer);
    clock.abort();
  }
}

/** Takes bytes, and gives each event when its empty line has come. */
export function parser(give) {
  const decoder = new TextDecoder();
  let rest = "";
  let event = { name: "message", id: null, data: "" };
  return (bytes) => {
    rest += decoder.decode(bytes, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const at = line.indexOf(":");
      const [field, value] = at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
      if (line === "") {
        give(event);
        event = { name: "message", id: null, data: "" };
      } else if (field === "event") event.name = value;
      else if (field === "id") event.id = value;
      else if (field === "data") event.data += event.data === "" ? value : `\n${value}`;
    }
  };
}

/** Waits, but not longer than until the network is back. */
function rest(ms) {
  return new Promise((done) => {
    const over = () => {
      clearTimeout(timer);
      removeEventListener("online", over);
      done();
    };
    const timer = setTimeout(over, ms);
    addEventListener("online", over);
  });
}
