/** Says new alerts to a screen reader, each once; history is not news. */

import { setText } from "../dom.js";
import { percent } from "../format.js";

export class Announcer {
  #region;
  #said = null;

  constructor(region) {
    this.#region = region;
  }

  update(state) {
    if (state.news === this.#said) return;
    this.#said = state.news;
    if (state.news === null) return;
    const { camera, rule, p, text } = state.news;
    setText(this.#region, `Alert on ${camera}: ${text ?? state.rules.get(rule)?.ask ?? "a rule"} (${percent(p)})`);
  }
}
