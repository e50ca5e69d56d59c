/**
 * Durable events as rows that a person reads: the start and the end of an alert are one row.
 *
 * Pure. Rows are newest first and at most FEED_ROWS; a row that is not touched keeps its identity.
 */

export const FEED_ROWS = 200;

const KIND_OF = { note: "note", answer: "answer", "camera.state": "state", gap: "gap" };

/**
 * The rows after `event`.
 *
 * question: the rule's question for an alert, or what was asked for an answer, where this page knows it.
 */
export function withEvent(rows, event, question = null) {
  switch (event.type) {
    case "alert.started":
      return capped([alertRow(event, question, null), ...rows]);
    case "alert.ended":
      return withEnd(rows, event, question);
    default:
      return KIND_OF[event.type]
        ? capped([{ ...event, key: `e${event.seq}`, kind: KIND_OF[event.type], question }, ...rows])
        : rows;
  }
}

function withEnd(rows, event, question) {
  const end = { ts: event.ts, duration_s: event.duration_s, reason: event.reason ?? null };
  const at = rows.findIndex((row) => row.kind === "alert" && row.alert === event.alert);
  if (at < 0) return capped([alertRow(event, question, end), ...rows]); // its start is older than this page's memory
  return rows.with(at, { ...rows[at], end });
}

function alertRow(event, question, end) {
  return { ...event, key: `a${event.alert}`, kind: "alert", question, end };
}

function capped(rows) {
  return rows.length > FEED_ROWS ? rows.slice(0, FEED_ROWS) : rows;
}
