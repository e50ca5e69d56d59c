/** One row of the feed. */

import { h, setAttribute, setText } from "../dom.js";
import { showEvidence } from "../evidence.js";
import { clock, duration, fullTime, isoTime, percent, running } from "../format.js";

const STATE_WORDS = {
  connecting: "is connecting",
  live: "is live",
  lagging: "is lagging",
  stale: "went stale",
  blind: "is blind",
  offline: "went offline",
  ended: "has ended",
  failed: "failed",
};

const GAP_WORDS = {
  reconnect: "the camera was away",
  worker_restart: "the worker was restarted",
  overload: "there was too much to do",
  trimmed: "older events were deleted",
};

export class FeedRow {
  node;
  #parts;
  #title = h("p", { class: "title" });
  #detail = h("p", { class: "detail" });
  #time = h("time");
  #mark = h("span", { class: "mark", "aria-hidden": "true" });
  #evidence = null;
  #row = null;
  #visible;

  constructor(parts) {
    this.#parts = parts;
    this.node = h(
      "li",
      { class: "row" },
      this.#mark,
      h("div", { class: "what" }, this.#title, this.#detail),
      this.#time,
    );
    this.#visible = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.#loadEvidence());
  }

  update(row, state, now) {
    const fresh = row !== this.#row;
    this.#row = row;
    if (fresh) {
      setAttribute(this.node, "data-kind", row.kind);
      setAttribute(this.node, "data-tone", tone(row));
      setAttribute(this.node, "data-seq", row.seq);
      setAttribute(this.#time, "datetime", isoTime(row.ts));
      setAttribute(this.#time, "title", fullTime(row.ts));
      if (row.evidence?.jpg && this.#evidence === null) this.#offerEvidence();
    }
    if (row.kind === "alert") setAttribute(this.node, "data-open", state.alerts.has(row.alert));
    const title = titleOf(row, state);
    setText(this.#title, title);
    if (this.#evidence !== null) setAttribute(this.#evidence.firstChild, "alt", `The frame behind it: ${title}`);
    setText(this.#detail, detailOf(row, state, now));
    setText(this.#time, clock(row.ts, now));
  }

  dispose() {
    this.#visible.disconnect();
  }

  #offerEvidence() {
    const open = () => this.#parts.lightbox.open(this.#row, this.#title.textContent);
    this.#evidence = h(
      "button",
      { type: "button", class: "evidence", onclick: open },
      h("img", { width: 84, height: 48 }),
    );
    this.#mark.after(this.#evidence);
    this.#visible.observe(this.#evidence);
  }

  async #loadEvidence() {
    this.#visible.disconnect();
    const had = await showEvidence(this.#evidence.firstChild, this.#row.evidence.jpg, this.#parts.tokens.get());
    setAttribute(this.#evidence, "data-had", had);
    setAttribute(this.#evidence, "disabled", !had);
  }
}

function tone(row) {
  if (row.kind === "alert") return "alert";
  if (row.kind === "gap") return "warn";
  if (row.kind !== "state") return "calm";
  if (row.state === "live") return "good";
  return row.state === "connecting" || row.state === "ended"
    ? "quiet"
    : row.state === "offline" || row.state === "failed"
      ? "bad"
      : "warn";
}

function titleOf(row, state) {
  switch (row.kind) {
    case "alert":
      return row.text ?? state.rules.get(row.rule)?.ask ?? row.question ?? `Rule ${row.rule}`;
    case "answer":
      return row.text || `No answer (${row.status})`;
    case "note":
      return row.text;
    case "state":
      return `${row.camera} ${STATE_WORDS[row.state] ?? row.state}`;
    case "gap":
      return row.camera ? `Nothing seen on ${row.camera}` : "Some history is gone";
    default:
      return row.type;
  }
}

function detailOf(row, state, now) {
  switch (row.kind) {
    case "alert":
      return [row.camera, percent(row.p), alertTime(row, state, now)]
        .filter((part) => part && part !== "–")
        .join(" · ");
    case "answer":
      return row.question ? `${row.camera} · ${row.question}` : `${row.camera} · answer`;
    case "note":
      return row.trigger?.because === "change" ? `${row.camera} · the scene changed` : `${row.camera} · note`;
    case "state":
      return row.reason ?? "";
    case "gap": {
      const length =
        typeof row.from === "number" && typeof row.to === "number" ? `${duration((row.to - row.from) / 1000)}: ` : "";
      return `${length}${GAP_WORDS[row.reason] ?? row.reason}`;
    }
    default:
      return "";
  }
}

function alertTime(row, state, now) {
  if (row.end) return `for ${duration(row.end.duration_s)}${row.end.reason ? ` (${row.end.reason})` : ""}`;
  return state.alerts.has(row.alert) ? `for ${running((now - row.ts) / 1000)} now` : "";
}
