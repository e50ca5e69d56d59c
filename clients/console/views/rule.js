/** One standing question of a camera: what it asks, what it reads now, and where it begins to speak. */

import { WireError } from "../connection.js";
import { h, setAttribute, setText } from "../dom.js";
import { duration, percent } from "../format.js";
import { icon } from "../icons.js";
import { Trace } from "./trace.js";

export class RuleView {
  node;
  #id;
  #session;
  #question = h("p", { class: "question" });
  #p = h("output", { class: "p" });
  #error = h("p", { class: "error", role: "alert" });
  #enabled;
  #edit;
  #trace;

  constructor(id, { session, forms }) {
    this.#id = id;
    this.#session = session;
    this.#trace = new Trace((changes) => this.#change(changes));
    this.#enabled = h("input", {
      type: "checkbox",
      role: "switch",
      class: "switch",
      "data-needs": "operator",
      onchange: (event) => this.#change({ enabled: event.target.checked }),
    });
    this.#edit = h(
      "button",
      { type: "button", class: "bare", "data-needs": "operator", onclick: () => forms.editRule(id) },
      icon("pencil"),
    );
    this.node = h(
      "li",
      { class: "rule", "data-rule": id },
      h("div", { class: "rule-head" }, this.#enabled, this.#question, this.#p, this.#edit),
      this.#trace.node,
      this.#error,
    );
  }

  update(state, now) {
    const rule = state.rules.get(this.#id);
    if (rule === undefined) return;
    const points = state.traces.get(this.#id);
    setText(this.#question, rule.ask);
    setText(this.#p, rule.enabled ? percent(points?.at(-1)?.p) : "off");
    setAttribute(
      this.#question,
      "title",
      `Must hold for ${duration(rule.hold_s)}, then quiet for ${duration(rule.cooldown_s)}`,
    );
    setAttribute(this.#enabled, "aria-label", `Watch for: ${rule.ask}`);
    setAttribute(this.#edit, "aria-label", `Change the rule: ${rule.ask}`);
    this.#enabled.checked = rule.enabled;
    setAttribute(this.node, "data-disabled", !rule.enabled);
    setAttribute(
      this.node,
      "data-open",
      [...state.alerts.values()].some((alert) => alert.rule === this.#id),
    );
    this.#trace.update(points, rule, now);
  }

  async #change(changes) {
    setText(this.#error, "");
    try {
      await this.#session.updateRule(this.#id, changes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      setText(this.#error, error.message);
    }
  }
}
