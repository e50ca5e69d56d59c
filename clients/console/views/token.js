/** Asks for the token while the daemon wants one; it stays in this tab's sessionStorage. */

import { WireError } from "../connection.js";
import { FormDialog } from "./form.js";

export class TokenPrompt {
  #session;
  #form = null;
  #phase = null;
  #waiting = null; // settles the form's send() once the daemon has judged the token

  constructor(session) {
    this.#session = session;
  }

  update(state) {
    const { phase, detail } = state.connection;
    if (phase === this.#phase) return;
    this.#phase = phase;
    if (phase === "token") this.#ask(detail.reason);
    else if (phase === "online" && this.#form !== null) this.#done();
  }

  #ask(reason) {
    if (this.#form === null) this.#form = this.#open();
    else
      this.#waiting?.reject(
        new WireError({ code: "unauthorized", message: reason ?? "A token is needed.", param: "token" }),
      );
    if (reason !== null && this.#waiting === null) this.#form.complain(reason, "token");
    this.#waiting = null;
  }

  #done() {
    this.#form = null;
    this.#waiting?.resolve();
    this.#waiting = null;
  }

  #open() {
    return new FormDialog({
      title: "This vigild asks for a token",
      text: "It was printed by “vigild token create”. The token stays in this tab and is forgotten when you close it.",
      fields: [{ name: "token", label: "Token", kind: "password", required: true }],
      action: "Connect",
      dismissable: false,
      send: ({ token }) =>
        new Promise((resolve, reject) => {
          this.#waiting = { resolve, reject };
          this.#session.connectWith(token);
        }),
    });
  }
}
