/** The forms of the console: cameras and rules are added, changed and removed here. */

import { FormDialog } from "./form.js";

const WORDS = { spellcheck: "false", autocapitalize: "none" };

export class Forms {
  #session;
  #store;

  constructor(session, store) {
    this.#session = session;
    this.#store = store;
  }

  addCamera() {
    new FormDialog({
      title: "Add a camera",
      fields: [
        { name: "id", label: "Name", required: true, hint: "Letters, digits, dot, dash and underscore", ...WORDS },
        ...cameraFields({}),
      ],
      action: "Add camera",
      send: (camera) => this.#session.addCamera(camera),
    });
  }

  editCamera(id) {
    const camera = this.#store.state.cameras.get(id);
    if (camera === undefined) return;
    new FormDialog({
      title: `Change ${id}`,
      fields: cameraFields(camera),
      action: "Save",
      aside: ["Remove camera…", () => this.removeCamera(id)],
      send: (changes) => this.#session.updateCamera(id, changes),
    });
  }

  removeCamera(id) {
    new FormDialog({
      title: `Remove ${id}?`,
      text: "Its rules and its memory go with it. Past events stay.",
      action: "Remove camera",
      danger: true,
      send: () => this.#session.removeCamera(id),
    });
  }

  addRule(camera) {
    new FormDialog({
      title: `Watch ${camera} for…`,
      fields: ruleFields({}),
      action: "Add rule",
      send: (rule) => this.#session.createRule({ camera, ...rule }),
    });
  }

  editRule(id) {
    const rule = this.#store.state.rules.get(id);
    if (rule === undefined) return;
    new FormDialog({
      title: `Change a rule of ${rule.camera}`,
      fields: ruleFields(rule),
      action: "Save",
      aside: ["Delete rule…", () => this.deleteRule(id)],
      send: ({ say = null, ...changes }) => this.#session.updateRule(id, { ...changes, say }),
    });
  }

  deleteRule(id) {
    const rule = this.#store.state.rules.get(id);
    if (rule === undefined) return;
    new FormDialog({
      title: "Delete this rule?",
      text: rule.ask,
      action: "Delete rule",
      danger: true,
      send: () => this.#session.deleteRule(id),
    });
  }
}

function cameraFields({ source, fps = 2, notes = false }) {
  return [
    {
      name: "source",
      label: "Address",
      value: source,
      required: true,
      hint: "rtsp://host/path, https://…, file:clip.mp4?loop=1, v4l2:/dev/video0, synthetic:yard",
      ...WORDS,
    },
    { name: "fps", label: "Frames a second", kind: "number", value: fps, hint: "How often it is looked at, 0.1 to 30" },
    { name: "notes", label: "Write notes when the scene changes", kind: "checkbox", value: notes },
  ];
}

function ruleFields({ ask, on = 0.8, off = 0.5, hold_s = 1, cooldown_s = 30, say }) {
  return [
    {
      name: "ask",
      label: "Question",
      kind: "textarea",
      value: ask,
      required: true,
      hint: "Something with a yes or a no: “Is someone at the door?”",
    },
    { name: "on", label: "Starts at", kind: "number", value: on, hint: "Probability, 0 to 1" },
    { name: "off", label: "Ends below", kind: "number", value: off, hint: "Below the start" },
    { name: "hold_s", label: "Must hold", kind: "number", value: hold_s, hint: "Seconds" },
    { name: "cooldown_s", label: "Then quiet for", kind: "number", value: cooldown_s, hint: "Seconds" },
    { name: "say", label: "Say", value: say, hint: "The words of the alert; else the question" },
  ];
}
