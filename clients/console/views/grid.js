/** The wall of cameras, by name. */

import { h, Keyed, setAttribute } from "../dom.js";
import { CameraCard } from "./card.js";
import { Masonry } from "./masonry.js";

const BY_NAME = new Intl.Collator("en", { numeric: true });

export class Grid {
  #grid;
  #empty;
  #cards;
  #masonry;
  #cameras = null;
  #order = [];
  #rules = null;
  #rulesOf = new Map();

  constructor(grid, empty, parts) {
    this.#grid = grid;
    this.#empty = empty;
    this.#masonry = new Masonry(grid);
    this.#cards = new Keyed(grid, (id) => new CameraCard(id, parts));
    empty.append(
      h("h2", {}, "No cameras yet"),
      h(
        "p",
        {},
        "Add one by its address: an RTSP camera, a stream over HTTP, a file, or a rendered scene to try it out.",
      ),
      h(
        "button",
        { type: "button", class: "primary", "data-needs": "admin", onclick: () => parts.forms.addCamera() },
        "Add camera",
      ),
    );
  }

  update(state, now) {
    setAttribute(this.#empty, "hidden", !state.listed || state.cameras.size > 0);
    setAttribute(this.#grid, "aria-busy", state.listed ? null : "true");
    if (state.rules !== this.#rules) {
      this.#rules = state.rules;
      this.#rulesOf = Map.groupBy(state.rules.values(), (rule) => rule.camera);
    }
    const moved = this.#reorder(state.cameras);
    this.#cards.follow(this.#order).forEach((card, index) => {
      card.update(state, now, this.#rulesOf.get(this.#order[index]) ?? []);
    });
    if (moved) this.#masonry.arrange();
  }

  /** Sort the names again where there are other ones; true when there are. */
  #reorder(cameras) {
    if (cameras === this.#cameras) return false;
    this.#cameras = cameras;
    const order = [...cameras.keys()].sort(BY_NAME.compare);
    if (order.join(" ") === this.#order.join(" ")) return false; // names hold no blanks
    this.#order = order;
    return true;
  }
}
