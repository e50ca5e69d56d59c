/**
 * The live picture of a camera, and over it the cells that the model kept.
 *
 * Pictures are drawn on canvases, so that none is left behind for the garbage collector to find some day; what arrives
 * while one is being decoded waits, and only the latest of it is drawn. Nothing is decoded that nobody sees.
 */

import { h, setAttribute } from "../dom.js";

const SHADE = "rgba(8, 12, 11, 0.72)";

export class Picture {
  node = h("canvas", { class: "preview", role: "img", width: 480, height: 270 });
  overlay = h("canvas", { class: "heat", "aria-hidden": "true", width: 480, height: 270, hidden: true });
  #shown = null;
  #wanted = null;
  #decoding = false;
  #visible = false;
  #heat = null;
  #watcher;

  constructor() {
    this.#watcher = new IntersectionObserver((entries) => {
      this.#visible = entries.at(-1).isIntersecting;
      this.#next();
    });
    this.#watcher.observe(this.node);
  }

  get empty() {
    return this.#shown === null;
  }

  /** preview: {jpeg} in base64, or undefined. heat: {hw, kept}, or null when the overlay is off. */
  show(preview, heat) {
    this.#wanted = preview ?? null;
    this.#next();
    setAttribute(this.overlay, "hidden", heat === null);
    if (heat !== this.#heat) this.#drawHeat(heat);
  }

  dispose() {
    this.#watcher.disconnect();
  }

  async #next() {
    while (this.#visible && !this.#decoding && this.#wanted !== null && this.#wanted !== this.#shown) {
      const preview = this.#wanted;
      this.#decoding = true;
      const bitmap = await decoded(preview.jpeg);
      this.#decoding = false;
      this.#shown = preview;
      if (bitmap !== null) this.#draw(bitmap);
    }
  }

  #draw(bitmap) {
    for (const canvas of [this.node, this.overlay]) {
      if (canvas.width === bitmap.width && canvas.height === bitmap.height) continue;
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    this.node.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.node.dataset.drawn = "true";
    if (this.#heat !== null) this.#drawHeat(this.#heat);
  }

  /** Dim what was dropped: what stays bright is what the model saw anew. */
  #drawHeat(heat) {
    this.#heat = heat;
    if (heat === null) return;
    const { width, height } = this.overlay;
    const context = this.overlay.getContext("2d");
    context.clearRect(0, 0, width, height);
    const kept = unpacked(heat);
    if (kept === null) return;
    const [rows, columns] = heat.hw;
    context.fillStyle = SHADE;
    for (let cell = 0; cell < rows * columns; cell++) {
      if (kept[cell]) continue;
      const [left, top] = [edge(cell % columns, columns, width), edge(Math.floor(cell / columns), rows, height)];
      const [right, bottom] = [
        edge((cell % columns) + 1, columns, width),
        edge(Math.floor(cell / columns) + 1, rows, height),
      ];
      context.fillRect(left, top, right - left, bottom - top);
    }
  }
}

const edge = (index, cells, size) => Math.round((index * size) / cells);

/** The picture, or null when it is none. */
async function decoded(jpeg) {
  const data = bytes(jpeg);
  if (data === null) return null;
  try {
    return await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
  } catch (error) {
    if (error.name === "InvalidStateError") return null; // not an image
    throw error;
  }
}

/** One boolean a cell, row-major, most significant bit first; null when the message makes no sense. */
export function unpacked({ hw, kept }) {
  const data = bytes(kept);
  const cells = Array.isArray(hw) ? hw[0] * hw[1] : NaN;
  if (data === null || !(cells > 0 && cells <= 8 * data.length)) return null;
  return Array.from({ length: cells }, (_, cell) => Boolean((data[cell >> 3] >> (7 - (cell & 7))) & 1));
}

function bytes(base64) {
  if (typeof base64 !== "string") return null;
  try {
    return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  } catch (error) {
    if (error.name === "InvalidCharacterError") return null;
    throw error;
  }
}
