/** What happened, newest first. */

import { h, Keyed, setAttribute, setText } from "../dom.js";
import { FeedRow } from "./row.js";

const KINDS = [
  ["all", "All", () => true],
  ["alert", "Alerts", (row) => row.kind === "alert"],
  ["said", "Answers and notes", (row) => row.kind === "answer" || row.kind === "note"],
  ["system", "System", (row) => row.kind === "state" || row.kind === "gap"],
];

export class Feed {
  #list = h("ol", { class: "rows" });
  #none = h("p", { class: "none" });
  #views;
  #rows = null;
  #shown = [];
  #chosen = KINDS[0];
  #buttons;

  constructor(parent, parts) {
    this.#views = new Keyed(this.#list, () => new FeedRow(parts));
    this.#buttons = KINDS.map((kind) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          "aria-pressed": String(kind === this.#chosen),
          onclick: () => this.#choose(kind),
        },
        kind[1],
      ),
    );
    parent.append(
      h(
        "div",
        { class: "feed-head" },
        h("h2", {}, "Events"),
        h("div", { class: "chips", role: "group", "aria-label": "Show" }, this.#buttons),
      ),
      this.#list,
      this.#none,
    );
  }

  update(state, now) {
    if (state.rows !== this.#rows) {
      this.#rows = state.rows;
      this.#shown = state.rows.filter(this.#chosen[2]);
    }
    const views = this.#views.follow(this.#shown.map((row) => row.key));
    views.forEach((view, index) => view.update(this.#shown[index], state, now));
    setText(this.#none, this.#shown.length === 0 && state.listed ? "Nothing yet. What happens appears here." : "");
  }

  #choose(kind) {
    this.#chosen = kind;
    this.#rows = null; // filter anew at the next look, which is at most half a second away
    this.#buttons.forEach((button, index) => setAttribute(button, "aria-pressed", String(KINDS[index] === kind)));
  }
}
