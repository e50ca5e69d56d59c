/** Numbers and times as people read them. Times go in as Unix epoch milliseconds, durations as seconds. */

const COUNT = new Intl.NumberFormat("en");
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export const count = (n) => (isNumber(n) ? COUNT.format(n) : "–");
export const compact = (n) => (isNumber(n) ? COMPACT.format(n) : "–");
export const fullTime = (ts) => (isNumber(ts) ? FULL.format(ts) : "");

/** 0.93 → "93%"; shares under ten percent keep a decimal when `fine`. */
export function percent(share, { fine = false } = {}) {
  if (!isNumber(share)) return "–";
  const value = 100 * share;
  return `${fine && value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)}%`;
}

/** "0.3 s", "12 s", "4 min 20 s", "3 h 5 min", "2 d 1 h"; a number stays with its unit. */
export function duration(seconds) {
  if (!isNumber(seconds)) return "–";
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)}\u00a0s`;
  if (s < 59.5) return `${Math.round(s)}\u00a0s`;
  const whole = Math.round(s);
  if (whole < 3600) return pair(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86400) return pair(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return pair(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

function pair(large, largeUnit, small, smallUnit) {
  return small ? `${large}\u00a0${largeUnit} ${small}\u00a0${smallUnit}` : `${large}\u00a0${largeUnit}`;
}

/** A running time in one unit, so that its width hardly moves: "0.3 s", "12 s", "4 min", "3 h". */
export function running(seconds) {
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)}\u00a0s`;
  if (s < 59.5) return `${Math.round(s)}\u00a0s`;
  if (s < 3570) return `${Math.round(s / 60)}\u00a0min`;
  if (s < 84600) return `${Math.round(s / 3600)}\u00a0h`;
  return `${Math.round(s / 86400)}\u00a0d`;
}

export const ago = (ts, now) => (isNumber(ts) ? `${running((now - ts) / 1000)} ago` : "no frame yet");

/** The time of day; with the day before it when that is not today. */
export function clock(ts, now) {
  if (!isNumber(ts)) return "";
  const time = CLOCK.format(ts);
  return new Date(ts).toDateString() === new Date(now).toDateString() ? time : `${DAY.format(ts)}, ${time}`;
}

export function isoTime(ts) {
  return isNumber(ts) && Math.abs(ts) < 8.64e15 ? new Date(ts).toISOString() : null;
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
