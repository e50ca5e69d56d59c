/**
 * Everything the page knows, and how each message changes it: `reduce(state, action) → state`, pure.
 *
 * Maps, not objects, wherever the keys come from outside. Everything here is bounded: lossy messages leave only the latest,
 * rows and points are capped, and what belongs to a camera or rule that is gone goes with it.
 */

import { FEED_ROWS, withEvent } from "./feed.js";

export const TRACE_POINTS = 240;
export const TRACE_WINDOW_MS = 120_000;
export const OPEN_ALERTS = 500;

export function initialState() {
  return {
    connection: { phase: "connecting", detail: {} },
    server: "",
    auth: "none",
    role: null,
    clockAhead_ms: 0, // what to add to this machine's clock to get the daemon's
    lastSeq: null,
    newestAtOpen: 0, // events up to here are history, later ones are news
    cameras: new Map(), // id → camera as camera.list shows it
    rules: new Map(), // id → rule
    alerts: new Map(), // id → alert.started, the open ones
    rows: [],
    news: null, // the last alert.started that is no history
    asks: new Map(), // camera → {ask, question, text, done}
    previews: new Map(), // camera → {jpeg, frame_ts}
    heats: new Map(), // camera → {hw, kept, frame_ts}
    traces: new Map(), // rule → [{ts, p}]
    freshest: new Map(), // camera → ts of the newest frame that anything told of
    lagged: { count: 0, at: null },
    listed: false, // cameras and rules have been read at least once
  };
}

export function reduce(state, action) {
  return ACTIONS[action.type]?.(state, action) ?? state;
}

/** The daemon's time now, in Unix epoch ms. */
export const daemonNow = (state) => Date.now() + state.clockAhead_ms;

/** The open alerts of a camera, oldest first. */
export const alertsOf = (state, camera) => [...state.alerts.values()].filter((alert) => alert.camera === camera);

const ACTIONS = {
  phase: (state, { phase, detail }) => ({ ...state, connection: { phase, detail } }),

  opened: (state, { hello, role, at }) => ({
    ...state,
    server: String(hello.server ?? ""),
    auth: hello.auth,
    role,
    clockAhead_ms: typeof hello.now === "number" ? hello.now - at : 0,
  }),

  subscribed: (state, { newest, after }) => ({ ...state, newestAtOpen: newest, lastSeq: after }),

  openBefore: (state, { alerts }) => ({ ...state, alerts: new Map(alerts.map((event) => [event.alert, event])) }),

  /** The daemon forgot what this page remembers: begin again. */
  forgotten: (state) => ({ ...state, lastSeq: null, rows: [], alerts: new Map(), news: null }),

  cameras: (state, { cameras }) => {
    const known = new Map(cameras.map((camera) => [camera.id, camera]));
    const freshest = new Map();
    for (const camera of cameras) {
      const ts = Math.max(camera.last_frame_ts ?? 0, state.freshest.get(camera.id) ?? 0);
      if (ts) freshest.set(camera.id, ts);
    }
    return { ...withoutGone(state, known), cameras: known, freshest, listed: true };
  },

  camera: (state, { camera }) => ({ ...state, cameras: put(state.cameras, camera.id, camera) }),

  cameraRemoved: (state, { camera }) => {
    const cameras = less(state.cameras, camera);
    return { ...withoutGone(state, cameras), cameras };
  },

  rules: (state, { rules }) => {
    const known = new Map(rules.map((rule) => [rule.id, rule]));
    return { ...state, rules: known, traces: only(state.traces, known) };
  },

  rule: (state, { rule }) => ({ ...state, rules: put(state.rules, rule.id, rule) }),

  ruleRemoved: (state, { rule }) => ({ ...state, rules: less(state.rules, rule), traces: less(state.traces, rule) }),

  asked: (state, { camera, ask, question }) => ({
    ...state,
    asks: put(state.asks, camera, { ask, question, text: "", done: null }),
  }),

  message: (state, { message, at }) => MESSAGES[message.type]?.(state, message, at) ?? state,
};

const MESSAGES = {
  "alert.started": durable((state, event) => ({
    ...state,
    alerts: last(put(state.alerts, event.alert, event), OPEN_ALERTS),
    news: event.seq > state.newestAtOpen ? event : state.news,
  })),
  "alert.ended": durable((state, event) => ({ ...state, alerts: less(state.alerts, event.alert) })),
  note: durable((state) => state),
  gap: durable((state, event) => (event.reason === "trimmed" ? { ...state, alerts: new Map() } : state)),
  answer: durable((state, event) => finished(state, event)),
  "camera.state": durable((state, event) => {
    const camera = state.cameras.get(event.camera);
    if (camera === undefined || event.seq <= state.newestAtOpen) return state; // history: camera.list knew better
    const { state: now, reason = null } = event;
    return { ...state, cameras: put(state.cameras, event.camera, { ...camera, state: now, reason }) };
  }),

  "answer.delta": (state, { ask, text }) => {
    const found = [...state.asks].find(([, entry]) => entry.ask === ask && entry.done === null);
    if (found === undefined) return state;
    const [camera, entry] = found;
    return { ...state, asks: put(state.asks, camera, { ...entry, text: entry.text + String(text ?? "") }) };
  },
  "answer.done": (state, message) => finished(state, message),

  stats: (state, message) => {
    const camera = state.cameras.get(message.camera);
    if (camera === undefined) return state;
    const { type: _type, camera: id, state: told, ...counters } = message;
    const changed = typeof told === "string" && told !== camera.state;
    const now = { ...camera, counters, state: told ?? camera.state, reason: changed ? null : camera.reason };
    return seen({ ...state, cameras: put(state.cameras, id, now) }, id, counters.last_frame_ts);
  },
  preview: (state, { camera, jpeg, frame_ts }) =>
    state.cameras.has(camera)
      ? seen({ ...state, previews: put(state.previews, camera, { jpeg, frame_ts }) }, camera, frame_ts)
      : state,
  heat: (state, { camera, hw, kept, frame_ts }) =>
    state.cameras.has(camera)
      ? seen({ ...state, heats: put(state.heats, camera, { hw, kept, frame_ts }) }, camera, frame_ts)
      : state,
  trace: (state, { rule, p, frame_ts }, at) => {
    if (!state.rules.has(rule) || typeof p !== "number") return state;
    const point = { ts: frame_ts ?? at + state.clockAhead_ms, p };
    const points = [...(state.traces.get(rule) ?? []), point].slice(-TRACE_POINTS);
    return { ...state, traces: put(state.traces, rule, points) };
  },
  lagged: (state, { dropped }, at) => {
    const lost = Object.values(dropped ?? {}).reduce((sum, n) => sum + n, 0);
    return { ...state, lagged: { count: state.lagged.count + lost, at } };
  },
};

/** A durable event counts once, whatever connection brings it: those up to lastSeq are passed over. */
function durable(change) {
  return (state, event) => {
    if (typeof event.seq !== "number" || (state.lastSeq !== null && event.seq <= state.lastSeq)) return state;
    const firstLook = event.reason === "trimmed" && state.rows.length === 0; // nothing was missed: nothing was known
    const rows = firstLook ? state.rows : withEvent(state.rows, event, questionOf(state, event));
    return { ...change(state, event), rows, lastSeq: event.seq };
  };
}

function questionOf(state, event) {
  if (event.type === "answer") {
    const entry = state.asks.get(event.camera);
    return entry?.ask === event.ask ? entry.question : null;
  }
  return state.rules.get(event.rule)?.ask ?? null;
}

function finished(state, message) {
  const entry = state.asks.get(message.camera);
  if (entry?.ask !== message.ask || entry.done !== null) return state;
  return {
    ...state,
    asks: put(state.asks, message.camera, { ...entry, text: message.text || entry.text, done: message }),
  };
}

function seen(state, camera, ts) {
  if (typeof ts !== "number" || ts <= (state.freshest.get(camera) ?? 0)) return state;
  return { ...state, freshest: put(state.freshest, camera, ts) };
}

function withoutGone(state, cameras) {
  const rules = new Map([...state.rules].filter(([, rule]) => cameras.has(rule.camera)));
  return {
    ...state,
    rules,
    traces: only(state.traces, rules),
    asks: only(state.asks, cameras),
    previews: only(state.previews, cameras),
    heats: only(state.heats, cameras),
    freshest: only(state.freshest, cameras),
  };
}

const put = (map, key, value) => new Map(map).set(key, value);
const only = (map, keys) => new Map([...map].filter(([key]) => keys.has(key)));
const last = (map, most) => (map.size > most ? new Map([...map].slice(-most)) : map);

function less(map, key) {
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}

export { FEED_ROWS };
