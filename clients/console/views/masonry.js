/**
 * Cards of different height without holes between them: each stays in its column, and what grows moves only what is below
 * it. The document keeps reading row by row. A grid of thin rows does the packing; this tells each card how many it spans.
 */

// A card that is removed needs no word here: an observer does not hold elements that have left the document.
const ROW_PX = 4; // grid-auto-rows in layout.css

export class Masonry {
  #grid;
  #gap_px = 0;
  #cards = new ResizeObserver((entries) => {
    for (const { target } of entries) this.#span(target);
  });

  constructor(grid) {
    this.#grid = grid;
    new ResizeObserver(() => this.arrange()).observe(grid);
  }

  /** Call after cards came, went or moved. */
  arrange() {
    const cards = [...this.#grid.children];
    for (const card of cards) card.style.gridColumnStart = ""; // else the old columns would be counted as well
    const style = getComputedStyle(this.#grid);
    const columns = style.gridTemplateColumns.split(" ").filter((width) => width !== "0px").length; // auto-fit
    this.#gap_px = parseFloat(style.columnGap) || 0;
    for (const [index, card] of cards.entries()) {
      card.style.gridColumnStart = String((index % columns) + 1);
      this.#cards.observe(card);
    }
  }

  #span(card) {
    const height_px = card.getBoundingClientRect().height + this.#gap_px;
    card.style.gridRowEnd = `span ${Math.max(1, Math.ceil(height_px / ROW_PX))}`;
  }
}
