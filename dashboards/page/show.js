// Values, units, times and names as people read them: in their language and in their zone.

import { choice } from "./dom.js";
import { language, locale, say, sayKnown } from "./say.js";
import { siteOf } from "./state.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Units as they are printed; those not named here are printed as the profile writes them.
const UNITS = {
  1: "",
  "m3/m3": "m³/m³",
  "ug/m3": "µg/m³",
  "mg/m3": "mg/m³",
  C: "°C",
  "uS/cm": "µS/cm",
  "m/s": "m/s",
  deg: "°",
  "m3/s": "m³/s",
  "W/m2": "W/m²",
  m2: "m²",
};

export const SEVERITIES = ["red", "orange", "yellow", "blue"];

export const unitOf = (unit) => (unit in UNITS ? UNITS[unit] : unit || "");

/** Writes a number short: four digits that count, grouped. */
export function number(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  const rounded = Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
  return rounded.toLocaleString(locale(), { maximumFractionDigits: 6 });
}

export const count = (value) => value.toLocaleString(locale());

/** Writes a value with its unit. */
export function quantity(value, unit) {
  if (typeof value === "boolean") return say(value ? "page.yes" : "page.no");
  if (typeof value === "string") return value;
  const shown = unitOf(unit);
  return shown ? `${number(value)}\u00a0${shown}` : number(value);
}

/** Writes how long something takes, in its two largest units. */
export function span(ms) {
  const parts = [];
  let rest = Math.max(0, Math.floor(ms / SECOND) * SECOND);
  for (const [size, key] of [
    [DAY, "page.span.d"],
    [HOUR, "page.span.h"],
    [MINUTE, "page.span.m"],
    [SECOND, "page.span.s"],
  ]) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) parts.push([n, key]);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  if (parts.length === 0) parts.push([0, "page.span.s"]);
  return parts.map(([n, key]) => say(key, { n })).join(language() === "zh" ? "" : " ");
}

/** Writes how long ago a time was, from now. */
export function ago(at) {
  const past = Date.now() - at;
  if (past < -SECOND) return say("page.ahead", { span: span(-past) });
  if (past < 2 * SECOND) return say("page.just_now");
  // Beyond a minute only the largest unit: it is read at a glance.
  const size = past < MINUTE ? SECOND : past < HOUR ? MINUTE : past < DAY ? HOUR : DAY;
  return say("page.ago", { span: span(Math.floor(past / size) * size) });
}

const formats = new Map();
function format(options) {
  const key = locale() + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale(), { hourCycle: "h23", ...options }));
  return formats.get(key);
}

/** Writes a time of day, with the day where it is not today. */
export function clock(at) {
  const day = { month: "numeric", day: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit" };
  const isToday = new Date(at).toDateString() === new Date().toDateString();
  return format(isToday ? time : { ...day, ...time }).format(at);
}

/** Writes a time in full. */
export const moment = (at) => format({ dateStyle: "medium", timeStyle: "medium" }).format(at);
export const hourMinute = (at) => format({ hour: "2-digit", minute: "2-digit" }).format(at);
export const dayMonth = (at) => format({ month: "numeric", day: "numeric" }).format(at);

/** Returns the starts of steps between two times, counted from the reader's midnight. */
export function timeTicks(from, to, most) {
  const step =
    [5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY].find(
      (one) => (to - from) / one <= most,
    ) || 30 * DAY;
  const midnight = new Date(from);
  midnight.setHours(0, 0, 0, 0);
  const ticks = [];
  for (let at = midnight.getTime(); at <= to; at += step) if (at >= from) ticks.push(at);
  return ticks.map((at) => [
    at,
    step >= DAY || new Date(at).getHours() + new Date(at).getMinutes() === 0 ? dayMonth(at) : hourMinute(at),
  ]);
}

/** Returns round numbers that divide a stretch. */
export function ticks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) || rough;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step)
    found.push(Number(at.toPrecision(12)));
  return found;
}

export const severityName = (severity) => sayKnown(`page.severity.${severity}`, severity);
export const domainName = (domain) => sayKnown(`page.domain.${domain}`, domain);
export const propertyName = (property) => sayKnown(`page.property.${property}`, property);
export const deviceName = (device) => inLanguage(device) || device.device;

/** Names a site as the registry does, or by its id. */
export function siteName(tenant, site) {
  const known = siteOf(tenant, site);
  return (known && inLanguage(known)) || site;
}

const inLanguage = (one) => (language() === "en" && one.name_en) || one.name;

/** Names a GB/T 2260 code: the province, and the code where it tells more. */
export function regionName(code) {
  if (!code) return "";
  const province = sayKnown(`page.province.${code.slice(0, 2)}`, code);
  return code.length > 2 && province !== code ? `${province} ${code}` : province;
}

/** A choice among spans of time, each a name and its milliseconds. */
export const spanChoice = (spans, onChoose) =>
  choice(
    say("page.chart.span"),
    spans.map(([name]) => [name, say(`page.span_of.${name}`)]),
    (name) => onChoose(spans.find(([known]) => known === name)[1]),
  );
