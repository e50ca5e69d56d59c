/** The line at the top: what there is, and whether we are still connected. */

import { h, setAttribute, setText } from "../dom.js";

const LAGGED_SHOWN_MS = 10_000;
const WORDS = { connecting: "Connecting…", online: "Connected", token: "Token needed" };

export class Header {
  #summary;
  #lagged;
  #line;
  #words = h("span");
  #retry;

  constructor({ summary, lagged, line }, onRetry) {
    this.#summary = summary;
    this.#lagged = lagged;
    this.#line = line;
    this.#retry = h("button", { type: "button", class: "link", hidden: true, onclick: onRetry }, "Retry now");
    line.append(h("span", { class: "dot", "aria-hidden": "true" }), this.#words, this.#retry);
  }

  update(state, _now) {
    const { phase, detail } = state.connection;
    setAttribute(this.#line, "data-phase", phase);
    setText(this.#words, WORDS[phase] ?? (phase === "refused" ? `Refused: ${detail.reason}` : inWords(detail.retryAt)));
    setAttribute(this.#retry, "hidden", phase !== "waiting" && phase !== "refused");
    setText(this.#summary, state.listed ? summary(state) : "");
    const fresh = state.lagged.at !== null && Date.now() - state.lagged.at < LAGGED_SHOWN_MS;
    setText(this.#lagged, fresh ? `${state.lagged.count} updates skipped` : "");
    setAttribute(
      this.#lagged,
      "title",
      fresh ? "This page reads more slowly than the cameras speak. No event is lost." : null,
    );
    document.title = state.alerts.size ? `(${state.alerts.size}) vigild` : "vigild";
  }
}

function inWords(retryAt) {
  const seconds = Math.ceil((retryAt - Date.now()) / 1000);
  return seconds > 1 ? `Reconnecting in ${seconds} s` : "Reconnecting…";
}

function summary(state) {
  const cameras = [...state.cameras.values()];
  const live = cameras.filter((camera) => camera.state === "live").length;
  const alerts = state.alerts.size;
  const told = alerts === 0 ? "" : alerts === 1 ? " · 1 alert" : ` · ${alerts} alerts`;
  return `${live} of ${cameras.length} live${told}`;
}
