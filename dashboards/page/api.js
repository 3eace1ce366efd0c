// Asking the server. One place for the token, time-outs and problems.

import { language } from "./say.js";

const KEY = "tianlu.token";
const PATIENCE_MS = 25_000;
let token = read();
let asking = null;
let askPerson = async () => null;

/** What the server, or the way to it, said instead of an answer. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Sets who asks the person for a token: a function of whether the last one was wrong. */
export function onTokenWanted(ask) {
  askPerson = ask;
}

/** Fetches a path below the page's own address with the token; asks for one where it is needed. */
export async function request(path, { headers, signal } = {}) {
  for (;;) {
    const used = token;
    const all = { "Accept-Language": language(), ...headers };
    if (used) all.Authorization = `Bearer ${used}`;
    const answer = await fetch(path, { headers: all, signal, cache: "no-store" });
    if (answer.status !== 401) return answer;
    if (token === used) await wantToken(used !== null);
    if (signal && signal.aborted) throw new DOMException("aborted", "AbortError");
  }
}

/** Fetches JSON; whatever else comes back is a [`Problem`]. */
export async function get(path, params) {
  const query = params ? `?${new URLSearchParams(params)}` : "";
  const clock = new AbortController();
  let timer = setTimeout(() => clock.abort(), PATIENCE_MS);
  const wanted = onTokenOpen(() => clearTimeout(timer));
  try {
    const answer = await request(path + query, { signal: clock.signal });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Problem(answer.status, body.code || "", body.detail || answer.statusText);
    return body;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(0, "away", String(error.message || error));
  } finally {
    clearTimeout(timer);
    wanted();
  }
}

// While a person looks for the token, no request runs out of time.
const pausers = new Set();
function onTokenOpen(pause) {
  if (asking) pause();
  pausers.add(pause);
  return () => pausers.delete(pause);
}

/** Asks for the token once, however many requests want it. */
function wantToken(wasWrong) {
  if (!asking) {
    for (const pause of pausers) pause();
    asking = askPerson(wasWrong).then((given) => {
      token = given;
      keep(given);
      asking = null;
    });
  }
  return asking;
}

// For this tab alone: it ends with it.
function read() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keep(value) {
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // Then it is asked for again at the next visit.
  }
}
