/** A question to one camera, and its answer as it is being said. */

import { WireError } from "../connection.js";
import { h, Keyed, setAttribute, setText } from "../dom.js";
import { clock, count, duration, isoTime } from "../format.js";
import { icon } from "../icons.js";

export class AskBox {
  node;
  #camera;
  #session;
  #input;
  #error;
  #asked = h("p", { class: "asked" });
  #answer = h("p", { class: "answer", "aria-live": "polite" });
  #cited = h("ul", { class: "cited", "aria-label": "Notes it rests on" });
  #notes = new Keyed(this.#cited, () => new CitedNote());
  #facts = h("p", { class: "facts" });
  #stop;
  #panel;
  #ask = null;

  constructor(camera, session) {
    this.#camera = camera;
    this.#session = session;
    const [inputId, errorId] = [`ask-${camera}`, `ask-error-${camera}`];
    this.#error = h("p", { class: "error", id: errorId, role: "alert" });
    this.#input = h("input", {
      id: inputId,
      type: "text",
      autocomplete: "off",
      placeholder: "Ask this camera…",
      "aria-label": `Ask ${camera}`,
      "aria-describedby": errorId,
    });
    this.#stop = h(
      "button",
      { type: "button", class: "bare", "aria-label": "Stop answering", onclick: () => this.#cancel() },
      icon("stop"),
    );
    this.#panel = h(
      "div",
      { class: "said", hidden: true },
      h("div", { class: "asked-line" }, this.#asked, this.#stop),
      this.#answer,
      this.#cited,
      this.#facts,
    );
    const send = h("button", { type: "submit", class: "bare send", "aria-label": "Ask" }, icon("arrow"));
    this.node = h(
      "form",
      { class: "ask", "data-needs": "operator", novalidate: true, onsubmit: (event) => this.#submit(event) },
      h("div", { class: "ask-line" }, this.#input, send),
      this.#error,
      this.#panel,
    );
  }

  update(state, now) {
    const entry = state.asks.get(this.#camera) ?? null;
    setAttribute(this.#panel, "hidden", entry === null);
    if (entry === null) return;
    this.#ask = entry.ask;
    const running = entry.done === null;
    setAttribute(this.#panel, "data-running", running);
    setAttribute(this.#answer, "aria-busy", running ? "true" : "false"); // said once, when it is whole
    setText(this.#asked, entry.question);
    setText(this.#answer, entry.text.trimStart() || (running ? "" : "No words came."));
    setAttribute(this.#stop, "hidden", !running);
    const notes = running ? [] : notesOf(entry.done);
    this.#notes.follow(notes.map((cited) => cited.note)).forEach((view, index) => view.update(notes[index], now));
    setText(this.#facts, running ? "" : facts(entry.done, now));
  }

  async #submit(event) {
    event.preventDefault();
    await this.#try(async () => {
      await this.#session.ask(this.#camera, this.#input.value);
      this.#input.value = "";
    });
  }

  #cancel() {
    return this.#try(() => this.#session.cancelAsk(this.#ask));
  }

  async #try(doIt) {
    this.#complain("");
    try {
      await doIt();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#complain(error.message);
    }
  }

  #complain(sentence) {
    setText(this.#error, sentence);
    setAttribute(this.#input, "aria-invalid", sentence ? "true" : null);
  }
}

/** How fresh the answer is, what it rests on and how long it took. */
function facts({ status, reason, frame_ts, age_ms, citations, doubtful, usage }, now) {
  const parts = [];
  if (status !== "completed") parts.push(reason ? `${status}: ${reason}` : status);
  if (typeof frame_ts === "number")
    parts.push(`saw ${clock(frame_ts, now)}, ${duration(age_ms / 1000)} before it answered`);
  if (Array.isArray(doubtful) && doubtful.length > 0) parts.push(`nothing bears out ${doubtful.join(", ")}`);
  const cited = citations?.find((each) => each.note === undefined);
  if (cited) parts.push(`remembers since ${clock(cited.t0, now)}`);
  if (usage?.memory_tokens) parts.push(`${count(usage.memory_tokens)} tokens`);
  if (typeof usage?.ttft_ms === "number") parts.push(`first word in ${count(usage.ttft_ms)} ms`);
  return parts.join(" · ");
}

/** The notes among what an answer rests on. */
const notesOf = ({ citations }) => (citations ?? []).filter((each) => typeof each.note === "string");

/** One of them: when it was, and what it says. */
class CitedNote {
  #time = h("time");
  #text = h("span");
  node = h("li", {}, this.#time, this.#text);

  update({ t0, text }, now) {
    setText(this.#time, clock(t0, now));
    setAttribute(this.#time, "datetime", isoTime(t0));
    setText(this.#text, text);
  }
}
