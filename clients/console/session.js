/**
 * What is said on a connection: who we are, what is there, and every event from where we left off.
 *
 * History, the first look and resuming are one path: `subscribe` with `after`, which brings each durable event once.
 */

import { Connection, WireError } from "./connection.js";
import { FEED_ROWS } from "./feed.js";

const DURABLE = ["alert", "note", "camera", "answer", "gap"];
const LOSSY = ["stats", "preview", "heat", "trace"];
const HEAVY = { topics: ["preview", "heat"], cameras: "*" }; // of no use to a page that nobody sees
const LOOK_BACK = 1000; // events before the feed's in which an alert that is still open is looked for; what events.list gives at once
const REFRESH_MS = 30_000; // specifications are announced by no event; another client may have changed them
const REFRESH_PAUSE_MS = 2_000;

export class Session {
  #store;
  #tokens;
  #connection;
  #refreshing = null;
  #refreshedAt = 0;

  constructor(url, store, tokens) {
    this.#store = store;
    this.#tokens = tokens;
    this.#connection = new Connection(url, {
      onPhase: (phase, detail) => this.#phase(phase, detail),
      onHello: (hello) => this.#open(hello),
      onMessage: (message) => this.#message(message),
    });
    setInterval(() => document.hidden || this.#refreshSoon(), REFRESH_MS);
    document.addEventListener("visibilitychange", () => this.#watchOrRest());
  }

  start() {
    this.#connection.connect();
  }

  // --- what a person does; each rejects with a WireError

  connectWith(token) {
    this.#tokens.set(token);
    this.#connection.connect();
  }

  async addCamera(camera) {
    this.#store.dispatch({ type: "camera", camera: (await this.#connection.request("camera.add", { camera })).camera });
  }

  async updateCamera(id, changes) {
    const { camera } = await this.#connection.request("camera.update", { camera: { id, ...changes } });
    this.#store.dispatch({ type: "camera", camera });
  }

  async removeCamera(id) {
    await this.#connection.request("camera.remove", { camera: id });
    this.#store.dispatch({ type: "cameraRemoved", camera: id });
  }

  async createRule(rule) {
    this.#store.dispatch({ type: "rule", rule: (await this.#connection.request("rule.create", { rule })).rule });
  }

  async updateRule(id, changes) {
    const { rule } = await this.#connection.request("rule.update", { rule: { id, ...changes } });
    this.#store.dispatch({ type: "rule", rule });
  }

  async deleteRule(id) {
    await this.#connection.request("rule.delete", { rule: id });
    this.#store.dispatch({ type: "ruleRemoved", rule: id });
  }

  async ask(camera, question) {
    const { ask } = await this.#connection.request("ask", { camera, text: question });
    this.#store.dispatch({ type: "asked", camera, ask, question });
  }

  async cancelAsk(ask) {
    await this.#connection.request("ask.cancel", { ask });
  }

  // --- private

  #phase(phase, detail) {
    if (phase === "token") this.#tokens.clear();
    this.#store.dispatch({ type: "phase", phase, detail });
  }

  async #open(hello) {
    const role = await this.#role(hello);
    if (role === null) return;
    this.#store.dispatch({ type: "opened", hello, role, at: Date.now() });
    const { seq: newest } = await this.#connection.request("subscribe", { topics: LOSSY, cameras: "*" });
    if (this.#store.state.lastSeq > newest) this.#store.dispatch({ type: "forgotten" });
    const after = this.#store.state.lastSeq ?? Math.max(0, newest - FEED_ROWS);
    if (this.#store.state.lastSeq === null && after > 0) await this.#findOpenAlerts(after);
    this.#store.dispatch({ type: "subscribed", newest, after });
    await this.#connection.request("subscribe", { topics: DURABLE, cameras: "*", after });
    await this.#refresh();
    this.#connection.settled();
  }

  /** Alerts that began before what the feed shows, and have not ended before it either. */
  async #findOpenAlerts(upTo) {
    const range = { after: Math.max(0, upTo - LOOK_BACK), before: upTo + 1, limit: LOOK_BACK };
    const [started, ended] = await Promise.all(
      ["alert.started", "alert.ended"].map((kind) => this.#connection.request("events.list", { ...range, kind })),
    );
    const over = new Set(ended.events.map((event) => event.alert));
    this.#store.dispatch({ type: "openBefore", alerts: started.events.filter((event) => !over.has(event.alert)) });
  }

  #watchOrRest() {
    if (this.#store.state.connection.phase !== "online") return;
    const request = this.#connection.request(document.hidden ? "unsubscribe" : "subscribe", HEAVY);
    request.catch((error) => {
      if (!(error instanceof WireError)) throw error; // a new connection subscribes to everything
    });
  }

  /** What this connection may do, or null while the person must give a token. */
  async #role(hello) {
    if (hello.auth !== "token") return "admin";
    const token = this.#tokens.get();
    if (token === null) {
      this.#connection.hangUp("token", { reason: null }); // the daemon does not wait while somebody types
      return null;
    }
    try {
      return (await this.#connection.request("auth", { token })).role;
    } catch (error) {
      if (!(error instanceof WireError) || error.code !== "unauthorized") throw error;
      this.#connection.hangUp("token", { reason: error.message });
      return null;
    }
  }

  #message(message) {
    if (message.type === "go_away") return; // the close follows, and with it the reconnection
    const { cameras, rules } = this.#store.state;
    const unknown = (message.camera && !cameras.has(message.camera)) || (message.rule && !rules.has(message.rule));
    if (unknown || (message.type === "camera.state" && message.state === "ended")) this.#refreshSoon();
    this.#store.dispatch({ type: "message", message, at: Date.now() });
  }

  #refreshSoon() {
    if (this.#refreshing !== null || this.#store.state.connection.phase !== "online") return;
    const wait_ms = Math.max(0, this.#refreshedAt + REFRESH_PAUSE_MS - Date.now());
    this.#refreshing = setTimeout(() => {
      this.#refreshing = null;
      this.#refresh().catch((error) => {
        if (!(error instanceof WireError)) throw error; // the daemon is away or busy; the next refresh asks again
      });
    }, wait_ms);
  }

  async #refresh() {
    this.#refreshedAt = Date.now();
    const [{ cameras }, { rules }] = await Promise.all([
      this.#connection.request("camera.list"),
      this.#connection.request("rule.list"),
    ]);
    this.#store.dispatch({ type: "cameras", cameras });
    this.#store.dispatch({ type: "rules", rules });
  }
}
