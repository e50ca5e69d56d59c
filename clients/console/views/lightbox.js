/** The picture behind an alert or a note, large, with how fresh it was. */

import { h, setText } from "../dom.js";
import { showEvidence } from "../evidence.js";
import { duration, fullTime, percent } from "../format.js";
import { icon } from "../icons.js";

export class Lightbox {
  #tokens;
  #title = h("h2", { id: "lightbox-title" });
  #facts = h("p", { class: "facts" });
  #frame = h("div", { class: "frame" });
  #dialog;

  constructor(tokens) {
    this.#tokens = tokens;
    const close = h(
      "button",
      { type: "button", class: "bare", "aria-label": "Close", onclick: () => this.#dialog.close() },
      icon("close"),
    );
    this.#dialog = h(
      "dialog",
      {
        class: "lightbox",
        "aria-labelledby": "lightbox-title",
        onclick: (event) => event.target === this.#dialog && this.#dialog.close(),
      },
      h("div", { class: "lightbox-body" }, h("header", {}, this.#title, close), this.#frame, this.#facts),
    );
    this.#dialog.addEventListener("close", () => this.#frame.replaceChildren());
    document.body.append(this.#dialog);
  }

  open(row, title) {
    const img = h("img", { alt: `The frame behind it: ${title}` });
    setText(this.#title, title);
    setText(this.#facts, facts(row));
    this.#frame.replaceChildren(img);
    showEvidence(img, row.evidence?.jpg, this.#tokens.get()).then((had) => {
      if (!had) img.replaceWith(h("p", { class: "none" }, "The picture is no longer kept."));
    });
    this.#dialog.showModal();
  }
}

function facts(row) {
  const parts = [row.camera, fullTime(row.frame_ts ?? row.ts)];
  if (typeof row.p === "number") parts.splice(1, 0, percent(row.p));
  if (typeof row.age_ms === "number") parts.push(`told ${duration(row.age_ms / 1000)} after the frame`);
  if (row.dropped_frames) parts.push(`${row.dropped_frames} frames passed over before it`);
  if (row.model) parts.push(row.model);
  return parts.join(" · ");
}
