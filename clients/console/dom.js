/**
 * Elements without markup. Every string becomes a text node or an attribute, never HTML: camera names, reasons and answers
 * come from places nobody vouches for, and can only ever be text.
 */

const SVG = "http://www.w3.org/2000/svg";

/** `h("button", {class: "quiet", onclick: close, "aria-label": "Close"}, "×")`; false, null and undefined add nothing. */
export function h(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else setAttribute(node, name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Change the text only where it differs, so that screen readers and selections are left in peace. */
export function setText(node, text) {
  const wanted = String(text ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** true sets an empty attribute; false, null and undefined take it away. */
export function setAttribute(node, name, value) {
  if (value === false || value === null || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const wanted = value === true ? "" : String(value);
  if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted);
}

/**
 * A list of views under `parent` that follows a list of items: what stays is moved, never made anew, so that focus, open
 * inputs and playing pictures survive. A view has `node`, and may have `dispose()`.
 */
export class Keyed {
  #parent;
  #make;
  #views = new Map();

  /** make(key): the view of a key that is new. */
  constructor(parent, make) {
    this.#parent = parent;
    this.#make = make;
  }

  /** The views of `keys`, in that order, after the document follows it. */
  follow(keys) {
    const wanted = new Set(keys);
    for (const [key, view] of this.#views) {
      if (wanted.has(key)) continue;
      view.dispose?.();
      view.node.remove();
      this.#views.delete(key);
    }
    let next = this.#parent.firstElementChild;
    return keys.map((key) => {
      let view = this.#views.get(key);
      if (view === undefined) this.#views.set(key, (view = this.#make(key)));
      if (view.node === next) next = next.nextElementSibling;
      else this.#parent.insertBefore(view.node, next);
      return view;
    });
  }

  values() {
    return this.#views.values();
  }
}
