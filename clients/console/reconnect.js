/** When to connect again: decisions only, no timers. */

const FIRST_MS = 500;
const MOST_MS = 30_000;

/** The wait before attempt number `attempt` (0, 1, …), doubling with jitter; `random` gives 0..1. */
export function retryDelay_ms(attempt, random = Math.random) {
  const full = Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(full * (0.5 + random() / 2));
}

/** What the end of a connection asks for: "retry" by itself, a "token" from the person, or nothing ("refused"). */
export function afterClose(code) {
  if (code === 4401) return "token";
  if (code === 4403) return "refused";
  return "retry";
}

/** A silent line: "ping" to ask whether anybody is there, "dead" to give it up, "fine" to wait. Milliseconds since the last word. */
export function judgeSilence(silent_ms) {
  if (silent_ms > 30_000) return "dead";
  return silent_ms > 15_000 ? "ping" : "fine";
}
