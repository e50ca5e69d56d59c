/**
 * One line to the daemon that is kept up for ever: envelope, replies by id, reconnection.
 *
 * What is said on it stands in session.js. Phases, told with `onPhase(phase, detail)`:
 *   connecting · online · waiting {retryAt} · token {reason} · refused {reason}
 */

import { afterClose, judgeSilence, retryDelay_ms } from "./reconnect.js";

const SUBPROTOCOL = "vigil.v1.json";
const WATCH_MS = 5_000;

/** What the daemon answered instead of a result: code, a sentence, and the field at fault where there is one. */
export class WireError extends Error {
  constructor({ code = "internal", message = "the daemon gave no reason", param = null }) {
    super(message);
    this.code = code;
    this.param = param;
  }
}

const gone = () =>
  new WireError({ code: "disconnected", message: "The connection went before the reply came. Try again." });

export class Connection {
  #url;
  #handlers;
  #socket = null;
  #pending = new Map();
  #nextId = 1;
  #attempt = 0;
  #retry = null;
  #heardAt = 0;

  /** handlers: onPhase(phase, detail), onHello(hello) → Promise, onMessage(message). */
  constructor(url, handlers) {
    this.#url = url;
    this.#handlers = handlers;
    setInterval(() => this.#watch(), WATCH_MS);
    addEventListener("online", () => this.#retry !== null && this.connect());
  }

  /** Connect now, whatever was planned. */
  connect() {
    this.#drop();
    this.#handlers.onPhase("connecting", {});
    const socket = new WebSocket(this.#url, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#heardAt = Date.now();
    socket.addEventListener("message", (event) => socket === this.#socket && this.#receive(event.data));
    socket.addEventListener("close", (event) => socket === this.#socket && this.#closed(event.code, event.reason));
  }

  /** The session is open: the next loss starts again from the shortest wait. */
  settled() {
    this.#attempt = 0;
    this.#handlers.onPhase("online", {});
  }

  /** Hang up and wait for a person, who will call connect(). */
  hangUp(phase, detail) {
    this.#drop();
    this.#handlers.onPhase(phase, detail);
  }

  /** Hang up and try again after the usual wait. */
  startOver() {
    this.#drop();
    this.#plan();
  }

  /** The result of a request. Rejects with a WireError; "disconnected" means that nobody knows whether it took effect. */
  request(type, fields = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return Promise.reject(gone());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ type, id, ...fields }));
    });
  }

  #receive(data) {
    this.#heardAt = Date.now();
    const message = parse(data);
    if (message === null) return; // unknown kinds of message are ignored, as the protocol says
    switch (message.type) {
      case "hello":
        this.#greet(message);
        break;
      case "result":
        this.#settle(message.id, (waiter) => waiter.resolve(message));
        break;
      case "error":
        this.#settle(message.id, (waiter) => waiter.reject(new WireError(message.error ?? {})));
        break;
      default:
        this.#handlers.onMessage(message);
    }
  }

  async #greet(hello) {
    const socket = this.#socket;
    try {
      await this.#handlers.onHello(hello);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      if (socket === this.#socket) this.startOver();
    }
  }

  #settle(id, how) {
    const waiter = this.#pending.get(id);
    if (waiter === undefined) return;
    this.#pending.delete(id);
    how(waiter);
  }

  #closed(code, reason) {
    this.#drop();
    const next = afterClose(code);
    if (next === "retry") this.#plan();
    else this.#handlers.onPhase(next, { reason: reason || "the daemon closed the connection" });
  }

  #plan() {
    const delay_ms = retryDelay_ms(this.#attempt++);
    this.#retry = setTimeout(() => this.connect(), delay_ms);
    this.#handlers.onPhase("waiting", { retryAt: Date.now() + delay_ms });
  }

  /** A closed laptop or a pulled cable says nothing; ask, and give the line up if nobody answers. */
  #watch() {
    if (this.#socket === null) return;
    const verdict = judgeSilence(Date.now() - this.#heardAt);
    if (verdict === "dead") this.startOver();
    else if (verdict === "ping") this.request("ping").catch(() => {}); // the close event says the same
  }

  #drop() {
    clearTimeout(this.#retry);
    this.#retry = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    const waiters = [...this.#pending.values()];
    this.#pending.clear();
    for (const waiter of waiters) waiter.reject(gone());
  }
}

function parse(data) {
  if (typeof data !== "string") return null;
  try {
    const message = JSON.parse(data);
    return typeof message === "object" && message !== null && !Array.isArray(message) ? message : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
