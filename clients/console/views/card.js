/** One camera: its picture, how it is, what it is watched for, and a place to ask. */

import { alertsOf } from "../state.js";
import { h, Keyed, setAttribute, setText } from "../dom.js";
import { ago, compact, count, duration, percent, running } from "../format.js";
import { icon } from "../icons.js";
import { AskBox } from "./ask.js";
import { Picture } from "./picture.js";
import { RuleView } from "./rule.js";

const QUIET = {
  connecting: "Connecting",
  offline: "No connection",
  failed: "Cannot be watched",
  ended: "Ended",
  stale: "No new pictures",
};

export class CameraCard {
  node;
  #id;
  #picture = new Picture();
  #badge = h("span", { class: "word" });
  #fresh = h("span", { class: "fresh" });
  #quiet = h("p", { class: "quiet-line" });
  #reason = h("p", { class: "reason" });
  #alert = h("span");
  #since = h("span");
  #strip = h("p", { class: "strip" }, this.#alert, this.#since);
  #source = h("p", { class: "source" });
  #figures = new Figures();
  #heat;
  #heatOn = false;
  #ruleList = h("ul", { class: "rules" });
  #noRules;
  #rules;
  #ask;

  constructor(id, { session, forms }) {
    this.#id = id;
    this.#ask = new AskBox(id, session);
    this.#rules = new Keyed(this.#ruleList, (rule) => new RuleView(rule, { session, forms }));
    this.#heat = h("button", {
      type: "button",
      class: "heat-toggle",
      "aria-pressed": "false",
      onclick: () => this.#toggleHeat(),
    });
    this.#heat.append(icon("cells"), h("span", {}, "Kept"));
    setAttribute(this.#heat, "title", "Show which cells of the picture the model kept");
    const addRule = h(
      "button",
      { type: "button", class: "link", onclick: () => forms.addRule(id) },
      icon("plus"),
      "Add a rule",
    );
    this.#noRules = h("p", { class: "none" }, "Nothing is watched for yet.");
    const edit = h(
      "button",
      {
        type: "button",
        class: "bare",
        "data-needs": "admin",
        "aria-label": `Change or remove ${id}`,
        onclick: () => forms.editCamera(id),
      },
      icon("pencil"),
    );
    const titleId = `camera-${id}`;
    this.node = h(
      "article",
      { class: "card", "aria-labelledby": titleId, "data-camera": id },
      h(
        "div",
        { class: "picture" },
        this.#picture.node,
        this.#picture.overlay,
        h("div", { class: "nothing" }, icon("camera"), this.#quiet, this.#reason),
        h("p", { class: "badge" }, h("span", { class: "dot", "aria-hidden": "true" }), this.#badge),
        this.#fresh,
        this.#heat,
        this.#strip,
      ),
      h("header", { class: "card-head" }, h("div", {}, h("h2", { id: titleId }, id), this.#source), edit),
      this.#figures.node,
      h(
        "section",
        { class: "watch", "aria-label": `Rules of ${id}` },
        this.#ruleList,
        this.#noRules,
        h("div", { "data-needs": "operator" }, addRule),
      ),
      this.#ask.node,
    );
  }

  update(state, now, rules) {
    const camera = state.cameras.get(this.#id);
    if (camera === undefined) return;
    const freshest = state.freshest.get(this.#id);
    const alerts = alertsOf(state, this.#id);
    setAttribute(this.node, "data-state", camera.state);
    setAttribute(this.node, "data-alert", alerts.length > 0);
    setText(this.#badge, camera.state);
    setAttribute(this.#badge, "title", camera.reason);
    setText(this.#fresh, ago(freshest, now));
    setText(this.#quiet, QUIET[camera.state] ?? (freshest ? "" : "Waiting for the first picture"));
    setText(this.#reason, camera.reason);
    setText(this.#source, camera.source);
    setAttribute(this.#source, "title", camera.source);
    this.#showStrip(state, alerts, now);
    const heat = this.#heatOn ? (state.heats.get(this.#id) ?? null) : null;
    this.#picture.show(state.previews.get(this.#id), heat);
    setAttribute(this.#picture.node, "aria-label", `Live picture of ${this.#id}`);
    this.#figures.update(camera.counters ?? {});
    setAttribute(this.#noRules, "hidden", rules.length > 0);
    for (const view of this.#rules.follow(rules.map((rule) => rule.id))) view.update(state, now);
    this.#ask.update(state, now);
  }

  dispose() {
    this.#picture.dispose();
  }

  #showStrip(state, alerts, now) {
    const newest = alerts.at(-1);
    setAttribute(this.#strip, "hidden", newest === undefined);
    if (newest === undefined) return;
    const what = newest.text ?? state.rules.get(newest.rule)?.ask ?? "Alert";
    const more = alerts.length > 1 ? ` and ${alerts.length - 1} more` : "";
    setText(this.#alert, `${what}${more}`);
    setText(this.#since, running((now - newest.ts) / 1000));
  }

  #toggleHeat() {
    this.#heatOn = !this.#heatOn;
    setAttribute(this.#heat, "aria-pressed", this.#heatOn ? "true" : "false");
  }
}

/** Four figures under a camera, and a bar for the share of tokens that was kept. */
class Figures {
  node;
  #cells = {};
  #bar = h("span", { class: "kept-bar", "aria-hidden": "true" });

  constructor() {
    const cell = (name, label, title, ...more) => {
      this.#cells[name] = h("dd");
      return h("div", { title }, h("dt", {}, label), this.#cells[name], ...more);
    };
    this.node = h(
      "dl",
      { class: "figures" },
      cell("kept", "kept", "Share of the picture's tokens that the model had to read", this.#bar),
      cell("fps", "frames/s", "Frames looked at a second"),
      cell("memory", "memory", "Tokens in this camera's memory"),
      cell("delay", "delay", "From the frame to the decision, 95 of 100 are faster"),
    );
  }

  update({ tokens_in, tokens_kept, drop_ratio, fps_seen, kv_tokens, p95_ms }) {
    const kept = tokens_in > 0 ? 1 - drop_ratio : null;
    setText(this.#cells.kept, percent(kept, { fine: true }));
    setAttribute(
      this.#cells.kept,
      "title",
      tokens_in > 0 ? `${count(tokens_kept)} of ${count(tokens_in)} tokens` : null,
    );
    this.#bar.style.setProperty("--share", String(kept ?? 0));
    setText(this.#cells.fps, typeof fps_seen === "number" ? fps_seen.toFixed(1) : "–");
    setText(this.#cells.memory, compact(kv_tokens));
    setText(
      this.#cells.delay,
      typeof p95_ms === "number" ? (p95_ms < 1000 ? `${Math.round(p95_ms)} ms` : duration(p95_ms / 1000)) : "–",
    );
  }
}
