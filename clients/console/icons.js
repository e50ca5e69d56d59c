/** Line icons, drawn with the text's colour; decoration only, so each button that wears one has a label. */

import { svg } from "./dom.js";

const PATHS = {
  plus: ["M12 5v14", "M5 12h14"],
  pencil: ["M4 20l4-1L19 8l-3-3L5 16z"],
  cells: ["M4 4h6v6H4z", "M14 4h6v6h-6z", "M4 14h6v6H4z", "M14 14h6v6h-6z"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  camera: ["M3 7h12v10H3z", "M15 11l6-3v8l-6-3"],
  arrow: ["M5 12h14", "M13 6l6 6-6 6"],
  stop: ["M7 7h10v10H7z"],
};

export function icon(name) {
  const paths = PATHS[name].map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, paths);
}
