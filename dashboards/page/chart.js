// One property of one device over time, with the limits of the rules that watch it and its alerts marked.

import { attribute, byId, el, once, picker, rem, sized, svg, write } from "./dom.js";
import { get } from "./api.js";
import { axes, bands, curve, lines, sign, stretch } from "./curve.js";
import { say } from "./say.js";
import { ago, deviceName, moment, number, propertyName, quantity, spanChoice, ticks, timeTicks, unitOf } from "./show.js";
import { firing, gravity, isAboutUs, keyOf, learn, onChange, onReading, pick, profileOf, state } from "./state.js";
import { textWidth } from "./place.js";

const HOUR = 3_600_000;
const SPANS = [
  ["1h", HOUR],
  ["6h", 6 * HOUR],
  ["24h", 24 * HOUR],
  ["7d", 168 * HOUR],
];
const STEPS_S = [5, 10, 30, 60, 300, 900, 1800, 3600];
const POINTS_ABOUT = 500;
const RELOAD_MS = 60_000;
/** Beyond so many intervals without a value the line is broken: nothing is known in between. */
const GAP_INTERVALS = 3;

let spanMs = 24 * HOUR;
let shown = { key: null, points: [], step: 0, problem: null, isLoading: false };
let cursor = null; // Index of the point that is read out.
let size = { width: 0, height: 0 };
let scale = null;
let picture;
let readout;
let title;
let showSpan;
let devicePicker;
let propertyPicker;

export function start() {
  title = el("p", { class: "who" });
  readout = el("p", { class: "readout", "aria-live": "off" });
  picture = svg("svg", { class: "chartlike", role: "img", tabindex: 0 });
  const frame = el("div", { class: "frame" }, picture);
  byId("chart-body").append(el("div", { class: "line" }, title, readout), frame);
  words();
  picture.addEventListener("pointermove", (event) => moveTo(event.clientX - picture.getBoundingClientRect().left));
  picture.addEventListener("pointerleave", () => read(null));
  picture.addEventListener("keydown", onKey);
  sized(frame, (width, height) => {
    size = { width, height };
    draw();
  });
  onReading(append);
  onChange((kinds) => {
    if (kinds.has("words")) words();
    if (kinds.has("gap")) load();
    if (["chosen", "devices", "config", "alerts", "words", "link"].some((kind) => kinds.has(kind))) follow();
  });
  setInterval(() => !document.hidden && load(), RELOAD_MS);
  setInterval(() => !document.hidden && drawWho(), 1000);
}

function words() {
  const [spans, show] = spanChoice(SPANS, (ms) => {
    spanMs = ms;
    follow();
  });
  showSpan = show;
  devicePicker = picker(say("page.chart.device"), (key) => {
    const [tenant, device] = JSON.parse(key);
    pick({ tenant, device, property: null });
  });
  propertyPicker = picker(say("page.chart.property"), (property) => pick({ property }));
  byId("chart-tools").replaceChildren(devicePicker[0], propertyPicker[0], spans);
}

const deviceNow = () => state.devices.get(keyOf(state.chosen.tenant, state.chosen.device));
const propertyNow = (device) => {
  const profile = device && profileOf(device);
  return profile && profile.properties.find((one) => one.name === state.chosen.property);
};

/** Makes sure that something is chosen, loads what is not there, and draws. */
function follow() {
  const device = deviceNow();
  if (!device && state.link.hasSnapshot) return chooseSome();
  if (device && !propertyNow(device)) {
    const numeric = numbersOf(device);
    const alert = firing().find((one) => one.device === device.device && one.tenant === device.tenant && one.property);
    const best = alert && numeric.find((one) => one.name === alert.property);
    if (numeric.length > 0) return pick({ property: (best || preferred(numeric)).name });
  }
  if (device) learn(device);
  drawTools(device);
  const key = JSON.stringify([state.chosen.tenant, state.chosen.device, state.chosen.property, spanMs]);
  if (device && propertyNow(device) && key !== shown.key) {
    shown = { key, points: [], step: 0, problem: null, isLoading: true };
    cursor = null;
    load();
  }
  draw();
  return undefined;
}

/** The device of the gravest alert, else the first that was heard. */
function chooseSome() {
  const alert = firing()
    .filter((one) => !isAboutUs(one) && state.devices.has(keyOf(one.tenant, one.device)))
    .sort((a, b) => gravity(b.severity) - gravity(a.severity))[0];
  const first = [...state.devices.values()].find((device) => device.received_at !== null && device.profile);
  if (alert) pick({ tenant: alert.tenant, device: alert.device, property: alert.property });
  else if (first) pick({ tenant: first.tenant, device: first.device, property: null });
  else draw();
}

const numbersOf = (device) => {
  const profile = profileOf(device);
  return profile ? profile.properties.filter((one) => one.type === "float" || one.type === "int") : [];
};
const preferred = (numeric) => numeric.find((one) => /speed|pm2_5|moisture|level/.test(one.name)) || numeric[0];

async function load() {
  const device = deviceNow();
  if (!device || !propertyNow(device)) return;
  const { key } = shown;
  const step = STEPS_S.find((one) => spanMs / 1000 / one <= POINTS_ABOUT) || 7200;
  const to = Date.now();
  const question = {
    tenant: device.tenant,
    device: device.device,
    property: state.chosen.property,
    from: new Date(to - spanMs).toISOString(),
    to: new Date(to + 60_000).toISOString(),
    step: `${step}s`,
  };
  try {
    const { points } = await get("api/v1/range", question);
    if (shown.key !== key) return;
    shown.points = points.map(([at, value]) => ({ at: Date.parse(at), value, n: 0 }));
    Object.assign(shown, { step: step * 1000, problem: null, isLoading: false });
    const newest = device.values[state.chosen.property];
    if (newest && typeof newest.value === "number") put(Date.parse(newest.at), newest.value);
  } catch (problem) {
    if (shown.key !== key) return;
    Object.assign(shown, { problem, isLoading: false });
  }
  draw();
}

/** Takes a value of the feed into the newest step. */
function put(at, value) {
  if (shown.step === 0) return;
  const start = Math.floor(at / shown.step) * shown.step;
  const last = shown.points[shown.points.length - 1];
  if (!last || start > last.at) shown.points.push({ at: start, value, n: 1 });
  else if (start === last.at && last.n > 0) {
    last.n += 1;
    last.value += (value - last.value) / last.n;
  }
}

function append(reading) {
  const { tenant, device, property } = state.chosen;
  if (reading.device !== device || reading.tenant !== tenant || reading.time_flag !== null) return;
  const value = reading.values[property];
  if (typeof value !== "number" || reading.flags[property]) return;
  put(Date.parse(reading.sampled_at), value);
  plan();
}

/** Draws with the next frame, once: a hidden tab has none for hours, and all that waited would come at once. */
const plan = once((then) => requestAnimationFrame(then), draw);

// ---- drawing ----------------------------------------------------------------------------------------------------

function drawTools(device) {
  showSpan(SPANS.find(([, ms]) => ms === spanMs)[0]);
  const all = [...state.devices].slice(0, 500);
  const key = device && keyOf(device.tenant, device.device);
  if (key && !all.some(([known]) => known === key)) all.unshift([key, device]);
  devicePicker[1](
    all.map(([known, one]) => [known, deviceName(one)]),
    key || "",
  );
  propertyPicker[1](
    device ? numbersOf(device).map((one) => [one.name, propertyName(one.name)]) : [],
    state.chosen.property || "",
  );
  drawWho();
}

function drawWho() {
  const device = deviceNow();
  if (!device) return write(title, "");
  const newest = device.values[state.chosen.property];
  const property = propertyNow(device);
  const value =
    newest && property
      ? `${quantity(newest.value, property.unit)} · ${ago(Date.parse(newest.at))}`
      : device.sampled_at
        ? ago(Date.parse(device.sampled_at))
        : say("page.devices.never");
  return write(title, `${deviceName(device)} · ${value}`);
}

/** The rules that watch what is shown: the limit where they begin, and where they end. */
function limitsNow(device) {
  const { property } = state.chosen;
  const covers = (rule) =>
    rule.profiles.includes(device.profile) &&
    ["tenant", "site", "device"].every((key) => !rule.scope[key] || rule.scope[key].includes(device[key]));
  const found = [];
  for (const rule of state.rules.values()) {
    const limit = rule.limits.find((one) => one.property === property);
    if (!limit || !covers(rule)) continue;
    const clear = rule.clear_limits.find((one) => one.property === property);
    found.push({ ...limit, severity: rule.severity, clear: clear ? clear.limit : null, rule });
  }
  return found.sort((a, b) => a.limit - b.limit);
}

const alertsNow = (device, from, to) =>
  [...state.alerts.values()].filter((alert) => {
    const isIts =
      alert.device === device.device &&
      alert.tenant === device.tenant &&
      (alert.property === state.chosen.property || alert.property === null);
    return (
      isIts && Date.parse(alert.began_at) < to && (alert.resolved_at === null || Date.parse(alert.resolved_at) > from)
    );
  });

const gapOf = (device) => {
  const profile = profileOf(device);
  return Math.max(GAP_INTERVALS * (profile ? profile.interval_s * 1000 : 0), 2.5 * shown.step);
};

function draw() {
  const { width, height } = size;
  if (width < 10 || height < 10) return;
  attribute(picture, "viewBox", `0 0 ${width} ${height}`);
  const device = deviceNow();
  const property = propertyNow(device);
  if (!device || !property || shown.points.length === 0) {
    scale = null;
    const text = shown.problem
      ? say("page.chart.problem", { detail: shown.problem.message })
      : say(
          !state.link.hasSnapshot || shown.isLoading ? "page.loading" : device ? "page.chart.empty" : "page.chart.none",
        );
    picture.replaceChildren(
      svg("text", { class: "empty", x: width / 2, y: height / 2, "text-anchor": "middle", text }),
    );
    write(readout, "");
    return;
  }
  const em = rem();
  const to = Date.now();
  const from = to - spanMs;
  const limits = limitsNow(device);
  const points = shown.points.filter((point) => point.at >= from - shown.step);
  const [low, high] = stretch(
    points.map((point) => point.value),
    limits,
  );
  const inside = limits.filter((one) => one.limit >= low && one.limit <= high);
  const labels = inside.map((one) => `${sign(one.op)} ${number(one.limit)}`);
  const right = Math.max(0.8 * em, ...labels.map((text) => textWidth(text, 0.72 * em) + 1.7 * em));
  const yTicks = ticks(low, high, height / (3 * em));
  const left = Math.max(...yTicks.map((at) => textWidth(number(at), 0.72 * em))) + 0.7 * em;
  const box = { left, right: width - right, top: 1.5 * em, bottom: height - 1.5 * em };
  scale = {
    x: (at) => box.left + ((at - from) / (to - from)) * (box.right - box.left),
    y: (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top),
    points,
    box,
    property,
  };
  const summary = say("page.chart.summary", {
    device: deviceName(device),
    property: propertyName(property.name),
    low: quantity(Math.min(...points.map((p) => p.value)), property.unit),
    high: quantity(Math.max(...points.map((p) => p.value)), property.unit),
    last: quantity(points[points.length - 1].value, property.unit),
  });
  attribute(picture, "aria-label", summary);
  picture.replaceChildren(
    ...axes(scale, yTicks, timeTicks(from, to, (box.right - box.left) / (4.6 * em)), em),
    svg("text", {
      class: "tick unit",
      x: box.left,
      y: 0.9 * em,
      text: [propertyName(property.name), unitOf(property.unit)].filter(Boolean).join("  "),
    }),
    ...bands(scale, alertsNow(device, from, to), [from, to], em),
    ...lines(scale, inside, labels, em),
    ...curve(scale, gapOf(device)),
    svg("g", { class: "cursor" }),
  );
  read(cursor);
}

// ---- reading out ------------------------------------------------------------------------------------------------

function moveTo(px) {
  if (!scale) return;
  let best = 0;
  scale.points.forEach((point, at) => {
    if (Math.abs(scale.x(point.at) - px) < Math.abs(scale.x(scale.points[best].at) - px)) best = at;
  });
  read(best);
}

function onKey(event) {
  if (!scale) return;
  const end = scale.points.length - 1;
  const from = cursor === null ? end : cursor;
  const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: end, PageUp: from - 20, PageDown: from + 20 }[
    event.key
  ];
  if (event.key === "Escape") return read(null);
  if (to === undefined) return undefined;
  event.preventDefault();
  attribute(readout, "aria-live", "polite");
  return read(Math.max(0, Math.min(end, to)));
}

function read(at) {
  cursor = at;
  const layer = picture.querySelector(".cursor");
  const point = scale && at !== null ? scale.points[at] : null;
  if (!layer || !point) {
    if (layer) layer.replaceChildren();
    write(readout, "");
    attribute(readout, "aria-live", "off");
    return;
  }
  const { x, y, box } = scale;
  layer.replaceChildren(
    svg("path", { class: "cross", d: `M${x(point.at)} ${box.top}V${box.bottom}` }),
    svg("circle", { class: "last", cx: x(point.at), cy: y(point.value), r: 4 }),
  );
  write(readout, `${moment(point.at)} · ${quantity(point.value, scale.property.unit)}`);
}
