/**
 * A form in a dialog whose only judge is the daemon: what it refuses is said at the field that it names.
 *
 * The line for the error is there from the start (it holds the hint), so that nothing moves when something is wrong.
 */

import { WireError } from "../connection.js";
import { h, setAttribute, setText } from "../dom.js";

let forms = 0;

export class FormDialog {
  #dialog;
  #form;
  #fields = new Map();
  #general = h("p", { class: "error", role: "alert" });
  #submit;
  #send;
  #opener = document.activeElement;

  /**
   * fields: [{name, label, kind = "text", value, hint, options, ...attributes}], kind one of text, password, number,
   * checkbox, textarea. send(values) → Promise; a WireError keeps the dialog open. Blank values are left out.
   * aside: [label, act], another way out.
   */
  constructor({ title, text = null, fields = [], action, aside = null, danger = false, dismissable = true, send }) {
    const prefix = `form${forms++}`;
    this.#send = send;
    this.#submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
    const cancel = dismissable
      ? h("button", { type: "button", class: "plain", onclick: () => this.close() }, "Cancel")
      : null;
    for (const field of fields) this.#fields.set(field.name, new Field(field, prefix));
    this.#form = h(
      "form",
      { novalidate: true, onsubmit: (event) => this.#onSubmit(event) },
      h("h2", { id: `${prefix}-title` }, title),
      text && h("p", { class: "lead" }, text),
      h(
        "div",
        { class: "fields" },
        [...this.#fields.values()].map((field) => field.node),
      ),
      this.#general,
      h("div", { class: "actions" }, aside && this.#aside(aside), cancel, this.#submit),
    );
    this.#dialog = h("dialog", { class: "form", "aria-labelledby": `${prefix}-title` }, this.#form);
    this.#dialog.addEventListener("cancel", (event) => dismissable || event.preventDefault());
    this.#dialog.addEventListener("close", () => this.#gone());
    document.body.append(this.#dialog);
    this.#dialog.showModal();
  }

  close() {
    this.#dialog.close();
  }

  /** Say what is wrong, at the field where it is. `param` as the daemon names it: "camera.source", "text". */
  complain(sentence, param = null) {
    const field =
      this.#fields.get(
        String(param ?? "")
          .split(".")
          .at(-1),
      ) ?? this.#owning(param);
    if (field) field.complain(sentence);
    else setText(this.#general, sentence);
    field?.focus();
  }

  /** "camera" alone is about the camera as a whole: its name, where the form has a field for it. */
  #owning(param) {
    return param === "camera" ? this.#fields.get("id") : undefined;
  }

  #aside([label, act]) {
    const leave = () => {
      this.close();
      act();
    };
    return h("button", { type: "button", class: "link aside", onclick: leave }, label);
  }

  async #onSubmit(event) {
    event.preventDefault();
    setText(this.#general, "");
    for (const field of this.#fields.values()) field.complain("");
    const values = {};
    for (const [name, field] of this.#fields) {
      const value = field.value;
      if (value !== undefined) values[name] = value;
    }
    setAttribute(this.#submit, "disabled", true);
    try {
      await this.#send(values);
      this.close();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.complain(error.message, error.param);
    } finally {
      setAttribute(this.#submit, "disabled", false);
    }
  }

  #gone() {
    this.#dialog.remove();
    if (this.#opener?.isConnected) this.#opener.focus();
  }
}

class Field {
  node;
  #kind;
  #hint;
  #note;
  #input;

  constructor({ name, label, kind = "text", value, hint = "", ...attributes }, prefix) {
    const id = `${prefix}-${name}`;
    this.#kind = kind;
    this.#hint = hint;
    this.#note = h("p", { class: "note", id: `${id}-note`, "aria-live": "polite" }, hint);
    const all = { id, name, "aria-describedby": `${id}-note`, ...attributes };
    this.#input = inputOf(kind, all);
    if (kind === "checkbox") this.#input.checked = Boolean(value);
    else if (value !== undefined && value !== null) this.#input.value = value;
    this.node = h(
      "div",
      { class: `field ${kind}`, "data-name": name },
      h("label", { for: id }, label),
      this.#input,
      this.#note,
    );
  }

  /** What was typed; undefined when nothing was. A number that is none is sent as it is, for the daemon to refuse. */
  get value() {
    if (this.#kind === "checkbox") return this.#input.checked;
    const text = this.#input.value.trim();
    if (text === "") return this.#input.required ? "" : undefined;
    return this.#kind === "number" && Number.isFinite(Number(text)) ? Number(text) : text;
  }

  complain(sentence) {
    setText(this.#note, sentence || this.#hint);
    setAttribute(this.#note, "data-wrong", sentence !== "");
    setAttribute(this.#input, "aria-invalid", sentence ? "true" : null);
  }

  focus() {
    this.#input.focus();
  }
}

function inputOf(kind, attributes) {
  switch (kind) {
    case "textarea":
      return h("textarea", { rows: "2", ...attributes });
    case "number": // a text field: the browser's own would hide what was typed wrongly
      return h("input", { type: "text", inputmode: "decimal", autocomplete: "off", ...attributes });
    default:
      return h("input", { type: kind, autocomplete: "off", ...attributes });
  }
}
