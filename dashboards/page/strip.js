// A road as a space–time strip: detectors along the road downwards, time to the right, colour = value. Congestion is
// seen as what it is: a patch that grows upstream.

import { attribute, byId, el, once, picker, rem, sized, svg, write } from "./dom.js";
import { get } from "./api.js";
import { bounds, paint, paintLegend } from "./cells.js";
import { textWidth } from "./place.js";
import { say } from "./say.js";
import { deviceName, moment, number, propertyName, quantity, siteName, spanChoice, timeTicks, unitOf } from "./show.js";
import { keyOf, onChange, onReading, pick, profileOf, state } from "./state.js";

const HOUR = 3_600_000;
const SPANS = [
  ["6h", 6 * HOUR],
  ["24h", 24 * HOUR],
];
const STEP_S = 300;
const RELOAD_MS = 120_000;
const DOMAIN = "traffic";

let road = null;
let property = null;
let spanMs = 24 * HOUR;
let matrix = null;
let problem = null;
let wanted = "";
let cursor = null;
let size = { width: 0, height: 0 };
let canvas;
let axis;
let legend;
let note;
let readout;
let roadPicker;
let propertyPicker;
let showSpan;

export function start() {
  canvas = el("canvas", { class: "cells", "aria-hidden": "true" });
  axis = svg("svg", { class: "chartlike over", role: "img", tabindex: 0 });
  note = el("p", { class: "empty" });
  readout = el("p", { class: "readout", "aria-live": "off" });
  legend = el(
    "div",
    { class: "legend" },
    el("span", { class: "tick" }),
    el("canvas", { "aria-hidden": "true" }),
    el("span", { class: "tick" }),
  );
  const frame = el("div", { class: "frame" }, canvas, axis, note);
  byId("strip-body").append(el("div", { class: "line" }, legend, readout), frame);
  words();
  axis.addEventListener("pointermove", (event) => moveTo(event));
  axis.addEventListener("pointerleave", () => read(null));
  axis.addEventListener("click", choose);
  axis.addEventListener("keydown", onKey);
  sized(frame, (width, height) => {
    size = { width, height };
    draw();
  });
  onReading(take);
  onChange((kinds) => {
    if (kinds.has("words")) words();
    if (kinds.has("gap")) load();
    if (["devices", "config", "chosen", "words", "link", "theme"].some((kind) => kinds.has(kind))) follow();
  });
  setInterval(() => !document.hidden && load(), RELOAD_MS);
}

function words() {
  const [spans, show] = spanChoice(SPANS, (ms) => {
    spanMs = ms;
    follow();
  });
  showSpan = show;
  roadPicker = picker(say("page.strip.road"), (key) => {
    road = key;
    // A road that is chosen for all views goes before the one of this view: it is chosen anew.
    if (roads().some((one) => one.key === state.chosen.site)) pick({ site: key });
    follow();
  });
  propertyPicker = picker(say("page.chart.property"), (name) => {
    property = name;
    follow();
  });
  byId("strip-tools").replaceChildren(roadPicker[0], propertyPicker[0], spans);
}

const isOfRoad = (device) => device.domain === DOMAIN;

/** Returns the sites with detectors, the longest road first. */
function roads() {
  const found = new Map();
  for (const device of state.devices.values()) {
    if (!isOfRoad(device)) continue;
    const key = keyOf(device.tenant, device.site);
    const known = found.get(key) || {
      key,
      site: device.site,
      tenant: device.tenant,
      devices: 0,
      profile: profileOf(device),
    };
    known.devices += 1;
    found.set(key, known);
  }
  return [...found.values()].sort((a, b) => b.devices - a.devices || a.site.localeCompare(b.site));
}

function follow() {
  const all = roads();
  const now = all.find((one) => one.key === state.chosen.site) || all.find((one) => one.key === road) || all[0];
  road = now ? now.key : null;
  const properties =
    now && now.profile ? now.profile.properties.filter((one) => one.type === "float" || one.type === "int") : [];
  if (!properties.some((one) => one.name === property)) {
    const best = properties.find((one) => one.name.includes("speed")) || properties[0];
    property = best ? best.name : null;
  }
  showSpan(SPANS.find(([, ms]) => ms === spanMs)[0]);
  roadPicker[1](
    all.map((one) => [one.key, siteName(...JSON.parse(one.key))]),
    road || "",
  );
  propertyPicker[1](
    properties.map((one) => [one.name, propertyName(one.name)]),
    property || "",
  );
  const key = JSON.stringify([road, property, spanMs, now ? now.devices : 0]);
  if (road && property && key !== wanted) {
    wanted = key;
    load();
  }
  draw();
}

async function load() {
  if (!road || !property) return;
  const key = wanted;
  const [tenant, site] = JSON.parse(road);
  const to = Date.now();
  try {
    const answer = await get("api/v1/matrix", {
      tenant,
      site,
      property,
      from: new Date(to - spanMs).toISOString(),
      to: new Date(to + 60_000).toISOString(),
      step: `${STEP_S}s`,
    });
    if (key !== wanted) return;
    const from = Date.parse(answer.from);
    matrix = {
      ...answer,
      key,
      from,
      step: answer.step_s * 1000,
      fresh: new Map(),
      index: new Map(answer.rows.map((row, at) => [keyOf(row.tenant, row.device), at])),
    };
    problem = null;
  } catch (found) {
    if (key !== wanted) return;
    problem = found;
  }
  cursor = null;
  draw();
}

/** Takes a value of the feed into its cell: the mean of what came since the last look. */
function take(reading) {
  if (!matrix || reading.time_flag !== null) return;
  const row = matrix.index.get(keyOf(reading.tenant, reading.device));
  const value = reading.values[matrix.property];
  if (row === undefined || typeof value !== "number" || reading.flags[matrix.property]) return;
  const column = Math.floor((Date.parse(reading.sampled_at) - matrix.from) / matrix.step);
  if (column < 0 || column > matrix.columns + spanMs / matrix.step) return;
  const { values } = matrix.rows[row];
  while (values.length <= column) values.push(null);
  const cell = `${row}.${column}`;
  const before =
    matrix.fresh.get(cell) || (values[column] === null ? { n: 0, mean: 0 } : { n: 1, mean: values[column] });
  before.mean += (value - before.mean) / (before.n + 1);
  before.n += 1;
  matrix.fresh.set(cell, before);
  values[column] = before.mean;
  plan();
}

const plan = once((then) => setTimeout(then, 1000), draw);

// ---- drawing ----------------------------------------------------------------------------------------------------

function draw() {
  const { width, height } = size;
  if (width < 10 || height < 10) return;
  const isThere =
    matrix && matrix.rows.length > 0 && matrix.rows.some((row) => row.values.some((value) => value !== null));
  const text = problem
    ? say("page.chart.problem", { detail: problem.message })
    : !state.link.hasSnapshot
      ? say("page.loading")
      : !road
        ? say("page.strip.none")
        : !matrix
          ? say("page.loading")
          : say("page.strip.empty");
  note.hidden = isThere && !problem;
  write(note, text);
  legend.hidden = !isThere;
  canvas.hidden = !isThere;
  if (!isThere || problem) {
    axis.replaceChildren();
    return;
  }
  const em = rem();
  const names = matrix.rows.map((row) => shortName(row));
  const widest = Math.max(...names.map((name) => textWidth(name, 0.7 * em)));
  const to = Date.now();
  const from = to - spanMs;
  const left = Math.min(widest + 0.8 * em, width * 0.3);
  const box = { left, right: width - 0.4 * em, top: 0.3 * em, bottom: height - 1.5 * em };
  const row = (box.bottom - box.top) / matrix.rows.length;
  const x = (at) => box.left + ((at - from) / (to - from)) * (box.right - box.left);
  matrix.place = { box, row, x, from, to };
  const limits = bounds(matrix);
  paint(canvas, matrix, limits, size);
  drawLegend(limits);
  attribute(axis, "viewBox", `0 0 ${width} ${height}`);
  attribute(
    axis,
    "aria-label",
    say("page.strip.summary", {
      road: JSON.parse(road)[1],
      property: propertyName(matrix.property),
      n: matrix.rows.length,
    }),
  );
  const each = Math.max(1, Math.ceil((0.95 * em) / row));
  const most = Math.floor((left - 0.6 * em) / (0.42 * em));
  const labels = names
    .map(
      (name, at) =>
        at % each === 0 &&
        svg("text", {
          class: "tick",
          x: box.left - 6,
          y: box.top + (at + 0.5) * row,
          "text-anchor": "end",
          "dominant-baseline": "central",
          text: textWidth(name, 0.7 * em) > left - 0.6 * em ? `${name.slice(0, Math.max(3, most))}…` : name,
        }),
    )
    .filter(Boolean);
  const times = timeTicks(from, to, (box.right - box.left) / (4.6 * em)).map(([at, label]) => [
    svg("path", { class: "notch", d: `M${x(at)} ${box.bottom}v4` }),
    svg("text", { class: "tick", x: x(at), y: box.bottom + 1.15 * em, "text-anchor": "middle", text: label }),
  ]);
  axis.replaceChildren(
    ...labels,
    ...times.flat(),
    svg("path", { class: "grid", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }),
    svg("g", { class: "cursor" }),
  );
  read(cursor);
}

/** The kilometre where it is known, else the name without the road's own. */
function shortName(row) {
  const name = deviceName(row);
  const post = name.match(/[Kk]\d+(\+\d+)?/);
  if (post) return name.slice(post.index);
  const site = siteName(row.tenant, row.site);
  return (name.startsWith(site) ? name.slice(site.length).trim() : name) || name;
}

function drawLegend(limits) {
  const [low, bar, top] = legend.children;
  const unit = unitNow();
  write(low, "0");
  write(top, `${number(limits.high)} ${unitOf(unit)}`);
  paintLegend(bar, limits);
}

function unitNow() {
  for (const profile of state.profiles.values()) {
    const found = profile.domain === DOMAIN && profile.properties.find((one) => one.name === matrix.property);
    if (found) return found.unit;
  }
  return "";
}

// ---- reading out ------------------------------------------------------------------------------------------------

function cellAt(event) {
  if (!matrix || !matrix.place) return null;
  const frame = axis.getBoundingClientRect();
  const { box, row, from, to } = matrix.place;
  const at = from + ((event.clientX - frame.left - box.left) / (box.right - box.left)) * (to - from);
  const cell = {
    row: Math.floor((event.clientY - frame.top - box.top) / row),
    column: Math.floor((at - matrix.from) / matrix.step),
  };
  return cell.row >= 0 && cell.row < matrix.rows.length && cell.column >= 0 && at <= to ? cell : null;
}

const moveTo = (event) => read(cellAt(event));

function choose(event) {
  const cell = cellAt(event);
  const row = cell && matrix.rows[cell.row];
  if (row) pick({ tenant: row.tenant, device: row.device, property: matrix.property });
}

function onKey(event) {
  if (!matrix || !matrix.place) return;
  const columns = Math.floor((matrix.place.to - matrix.from) / matrix.step);
  const from = cursor || { row: 0, column: columns };
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] || [0, 0];
  if (event.key === "Enter") {
    const row = matrix.rows[from.row];
    if (row) pick({ tenant: row.tenant, device: row.device, property: matrix.property });
    return;
  }
  if (dx === 0 && dy === 0) return;
  event.preventDefault();
  attribute(readout, "aria-live", "polite");
  const within = (value, most) => Math.max(0, Math.min(most, value));
  read({ row: within(from.row + dy, matrix.rows.length - 1), column: within(from.column + dx, columns) });
}

function read(cell) {
  cursor = cell;
  const layer = axis.querySelector(".cursor");
  if (!layer) return;
  if (!cell) {
    layer.replaceChildren();
    write(readout, "");
    attribute(readout, "aria-live", "off");
    return;
  }
  const { box, row, x } = matrix.place;
  const start = matrix.from + cell.column * matrix.step;
  const [a, b] = [Math.max(box.left, x(start)), Math.min(box.right, x(start + matrix.step))];
  layer.replaceChildren(
    svg("rect", { class: "cell", x: a, y: box.top + cell.row * row, width: Math.max(0, b - a), height: row }),
  );
  const line = matrix.rows[cell.row];
  const value = line.values[cell.column];
  const shown = value === null || value === undefined ? say("page.strip.no_value") : quantity(value, unitNow());
  write(readout, `${deviceName(line)} · ${moment(start)} · ${shown}`);
}
