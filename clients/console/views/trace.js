/**
 * The curve of a rule's probability over the last two minutes, with its thresholds as handles that can be dragged, or moved
 * with the arrow keys. A threshold is sent when it is let go.
 */

import { h, setAttribute, setText, svg } from "../dom.js";
import { percent } from "../format.js";
import { TRACE_WINDOW_MS } from "../state.js";

const STEP = 0.01;
const KEYS_PAUSE_MS = 600;
const KEYS = {
  ArrowUp: (v) => v + STEP,
  ArrowRight: (v) => v + STEP,
  ArrowDown: (v) => v - STEP,
  ArrowLeft: (v) => v - STEP,
  PageUp: (v) => v + 10 * STEP,
  PageDown: (v) => v - 10 * STEP,
  Home: () => 0,
  End: () => 1,
};

export class Trace {
  node;
  #line = svg("polyline", { class: "curve" });
  #area = svg("polygon", { class: "area" });
  #hint = h("p", { class: "hint" });
  #plot;
  #on;
  #off;

  /** commit(changes): a promise that settles when the daemon has answered. */
  constructor(commit) {
    this.#plot = h(
      "div",
      { class: "plot" },
      svg(
        "svg",
        { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
        this.#area,
        this.#line,
      ),
      this.#hint,
    );
    const send = (name) => (value) => commit({ [name]: value });
    this.#on = new Threshold("on", "Alert starts at", this.#plot, send("on"), () => [this.#off.value + STEP, 1]);
    this.#off = new Threshold("off", "Alert ends below", this.#plot, send("off"), () => [0, this.#on.value - STEP]);
    this.#plot.append(this.#on.node, this.#off.node);
    this.node = h("div", { class: "trace" }, this.#plot);
  }

  /** points: [{ts, p}], oldest first, or undefined; now: the daemon's time in ms. */
  update(points, rule, now) {
    this.#on.show(rule.on);
    this.#off.show(rule.off);
    const path = curve(points ?? [], now);
    setAttribute(this.#line, "points", path);
    setAttribute(this.#area, "points", path && `${path} 100,100 ${path.slice(0, path.indexOf(","))},100`);
    setText(this.#hint, path ? "" : rule.enabled ? "No reading yet" : "Switched off");
  }
}

/** The points of a polyline in 0..100: p holds until the next reading, the last one until now. */
export function curve(points, now) {
  const start = now - TRACE_WINDOW_MS;
  const x = (ts) => round((100 * (Math.min(Math.max(ts, start), now) - start)) / TRACE_WINDOW_MS);
  const y = (p) => round(100 * (1 - Math.min(Math.max(p, 0), 1)));
  const from = points.findLastIndex((point) => point.ts <= start);
  const shown = points.slice(Math.max(from, 0));
  const corners = [];
  for (const [index, { ts, p }] of shown.entries()) {
    if (index > 0) corners.push(`${x(ts)},${y(shown[index - 1].p)}`);
    corners.push(`${x(ts)},${y(p)}`);
  }
  if (shown.length) corners.push(`100,${y(shown.at(-1).p)}`);
  return corners.join(" ");
}

const round = (value) => Math.round(value * 100) / 100;

class Threshold {
  node;
  #label = h("span", { class: "grip", "aria-hidden": "true" });
  #plot;
  #send;
  #bounds;
  #value = 0;
  #told = null;
  #held = false; // in somebody's hand, or on its way: the daemon's value waits
  #pause = null;

  /** bounds(): the least and the greatest value that make sense now. */
  constructor(name, label, plot, send, bounds) {
    this.#plot = plot;
    this.#send = send;
    this.#bounds = bounds;
    this.node = h(
      "div",
      {
        class: `threshold ${name}`,
        role: "slider",
        tabindex: "0",
        "aria-label": label,
        "aria-orientation": "vertical",
        "aria-valuemin": "0",
        "aria-valuemax": "1",
        onpointerdown: (event) => this.#grab(event),
        onpointermove: (event) => this.#drag(event),
        onpointerup: () => this.#release(),
        onpointercancel: () => this.#cancel(),
        onkeydown: (event) => this.#key(event),
      },
      this.#label,
    );
  }

  get value() {
    return this.#value;
  }

  /** The daemon's value; a hand on the handle wins. */
  show(told) {
    this.#told = told;
    if (!this.#held) this.#move(told);
  }

  #move(value) {
    this.#value = value;
    this.node.style.setProperty("--at", String(value));
    setAttribute(this.node, "aria-valuenow", value);
    setAttribute(this.node, "aria-valuetext", percent(value));
    setText(this.#label, percent(value));
  }

  #moveWithin(value) {
    const [least, most] = this.#bounds();
    this.#move(Math.round(100 * Math.min(Math.max(value, least), most)) / 100);
  }

  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.node.focus();
    this.node.setPointerCapture(event.pointerId);
    this.#held = true;
  }

  #drag(event) {
    if (!this.node.hasPointerCapture(event.pointerId)) return;
    const { top, height } = this.#plot.getBoundingClientRect();
    this.#moveWithin(1 - (event.clientY - top) / height);
  }

  #cancel() {
    this.#held = false;
    this.#move(this.#told);
  }

  async #release() {
    if (!this.#held) return;
    clearTimeout(this.#pause);
    if (this.#value !== this.#told) await this.#send(this.#value);
    this.#cancel();
  }

  #key(event) {
    const change = KEYS[event.key];
    if (change === undefined) return;
    event.preventDefault();
    this.#held = true;
    this.#moveWithin(change(this.#value));
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => this.#release(), KEYS_PAUSE_MS);
  }
}
