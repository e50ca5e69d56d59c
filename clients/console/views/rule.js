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
  #timing = h("span", { class: "timing" });
  #error = h("p", { class: "error", role: "alert" });
  #enabled;
  #trace;

  constructor(id, { session, forms }) {
    this.#id = id;
    this.#session = session;
    this.#trace = new Trace((changes) => this.#change(changes));
    this.#enabled = h("input", {
      type: "checkbox",
      role: "switch",
      "data-needs": "operator",
      onchange: (event) => this.#change({ enabled: event.target.checked }),
    });
    const edit = h("button", { type: "button", class: "bare", onclick: () => forms.editRule(id) }, icon("pencil"));
    const remove = h("button", { type: "button", class: "bare", onclick: () => forms.deleteRule(id) }, icon("bin"));
    setAttribute(edit, "aria-label", "Change this rule");
    setAttribute(remove, "aria-label", "Delete this rule");
    this.node = h(
      "li",
      { class: "rule" },
      h("div", { class: "rule-head" }, this.#question, this.#p),
      this.#trace.node,
      h(
        "div",
        { class: "rule-foot" },
        h("label", { class: "switch" }, this.#enabled, h("span", {}, "On")),
        this.#timing,
        h("span", { class: "tools", "data-needs": "operator" }, edit, remove),
      ),
      this.#error,
    );
  }

  update(state, now) {
    const rule = state.rules.get(this.#id);
    if (rule === undefined) return;
    const points = state.traces.get(this.#id);
    setText(this.#question, rule.ask);
    setText(this.#p, rule.enabled ? percent(points?.at(-1)?.p) : "off");
    setText(this.#timing, `holds ${duration(rule.hold_s)}, then quiet ${duration(rule.cooldown_s)}`);
    setAttribute(this.#enabled, "aria-label", `Watch for: ${rule.ask}`);
    this.#enabled.checked = rule.enabled;
    setAttribute(this.node, "data-disabled", !rule.enabled);
    setAttribute(this.node, "data-open", [...state.alerts.values()].some((alert) => alert.rule === this.#id));
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
