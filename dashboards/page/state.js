// What the page knows: a snapshot from the API, kept new by the live feed. Views listen; nothing here draws.

import { get } from "./api.js";
import { follow } from "./live.js";

const ALERTS_EVERY_MS = 15_000; // Those about Tianlu itself are not in the feed.
const BALANCE_EVERY_MS = 3_000;
const ALL_EVERY_MS = 120_000;
const RETRY_MS = 3_000;
const RATE_MS = 5_000;
/** Beyond this a device was heard without the feed; less is a list that was faster than the feed. */
const BEHIND_MS = 2_000;

export const state = {
  devices: new Map(),
  sites: [],
  alerts: new Map(),
  rules: new Map(),
  profiles: new Map(),
  balance: null,
  balanceProblem: null,
  link: { isOpen: false, aliveAt: 0, lostAt: 0, detail: "", hasSnapshot: false },
  chosen: { tenant: null, device: null, property: null, site: null, severity: null },
};

const siteProperties = new Map();
/** Returns what is known of a site. */
export const siteOf = (tenant, site) => siteProperties.get(keyOf(tenant, site));

/** Compares as times: they have as many decimals as they need, so that `.181Z` comes before `.18Z` as a text. */
const isBefore = (one, other) => Date.parse(one) < Date.parse(other);

export const keyOf = (tenant, device) => JSON.stringify([tenant, device]);

const listeners = new Set();
let changed = new Set();

/** Calls `listener(kinds)` at most once a frame, with what has changed since. */
export const onChange = (listener) => listeners.add(listener);

export function touch(kind) {
  if (changed.size === 0) setTimeout(tell, 50);
  changed.add(kind);
}

function tell() {
  const kinds = changed;
  changed = new Set();
  for (const listener of listeners) listener(kinds);
}

const readingListeners = new Set();
/** Calls `listener(reading)` with each reading of the feed. */
export const onReading = (listener) => readingListeners.add(listener);

/** Chooses what the views show, as in `{site: …}`; a device takes its property with it. */
export function pick(what) {
  Object.assign(state.chosen, what);
  touch("chosen");
}

export const firing = () => [...state.alerts.values()].filter((alert) => alert.state === "firing");
export const isAboutUs = (alert) => alert.rule_version === "built-in";

const GRAVITY = { blue: 1, yellow: 2, orange: 3, red: 4 };
export const gravity = (severity) => GRAVITY[severity] || 0;

/** Returns the gravest severity that stands, by device and by site. */
export function worst() {
  const devices = new Map();
  const sites = new Map();
  for (const alert of firing()) {
    for (const [map, key] of [
      [devices, keyOf(alert.tenant, alert.device)],
      [sites, keyOf(alert.tenant, alert.site)],
    ]) {
      const known = map.get(key) || { severity: null, count: 0 };
      if (gravity(alert.severity) > gravity(known.severity)) known.severity = alert.severity;
      known.count += 1;
      map.set(key, known);
    }
  }
  return { devices, sites };
}

/** Returns the profile of a device, or of a measurement that was only heard. */
export const profileOf = (device) =>
  state.profiles.get(device.profile) ||
  [...state.profiles.values()].find((one) => one.measurement === device.measurement);

// ---- the snapshot -----------------------------------------------------------------------------------------------

const lists = new Set(); // Alert events that came while a list of alerts was under way: they are newer than it.

async function loadAlerts() {
  const since = [];
  lists.add(since);
  try {
    const { alerts } = await get("api/v1/alerts");
    state.alerts = new Map(alerts.map((alert) => [alert.id, alert]));
    for (const alert of since) state.alerts.set(alert.id, alert);
    touch("alerts");
  } finally {
    lists.delete(since);
  }
}

async function loadDevices() {
  const { devices } = await get("api/v1/devices");
  const before = state.devices;
  state.devices = new Map();
  for (const device of devices) {
    const key = keyOf(device.tenant, device.device);
    const known = before.get(key);
    device.values = known ? known.values : {};
    if (known && Date.parse(device.received_at) - Date.parse(known.received_at) > BEHIND_MS) {
      // Old values beside a fresh time would pass for new ones: they are asked for again where somebody looks.
      device.values = {};
      learned.delete(key);
    }
    if (known && isBefore(device.received_at, known.received_at))
      Object.assign(device, { sampled_at: known.sampled_at, received_at: known.received_at });
    state.devices.set(key, device);
  }
  touch("devices");
}

async function loadSites() {
  const { features } = await get("api/v1/sites");
  state.sites = features;
  siteProperties.clear();
  for (const { properties } of features) siteProperties.set(keyOf(properties.tenant, properties.site), properties);
  touch("sites");
}

async function loadConfig() {
  const [{ rules }, { profiles }] = await Promise.all([get("api/v1/rules"), get("api/v1/profiles")]);
  state.rules = new Map(rules.map((rule) => [rule.name, rule]));
  state.profiles = new Map(profiles.map((profile) => [profile.name, profile]));
  touch("config");
}

/** Loads everything; again after a while where that fails, since a service that recovers says 503. */
let isLoading = false;
let isWanted = false;
let retry = null; // One for all that failed: each would go on by itself as long as the server is away.
async function loadAll() {
  if (isLoading) {
    isWanted = true;
    return;
  }
  isLoading = true;
  try {
    const done = await Promise.allSettled([loadAlerts(), loadDevices(), loadSites(), loadConfig()]);
    const isWhole = done.every((one) => one.status === "fulfilled");
    if (isWhole && !state.link.hasSnapshot) {
      state.link.hasSnapshot = true;
      touch("link");
    }
    clearTimeout(retry);
    retry = isWhole ? null : setTimeout(loadAll, RETRY_MS);
  } finally {
    isLoading = false;
    if (isWanted) {
      isWanted = false;
      loadAll();
    }
  }
}

async function loadBalance() {
  try {
    state.balance = await get("api/v1/balance");
    state.balanceProblem = null;
  } catch (problem) {
    state.balanceProblem = problem;
  }
  touch("balance");
}

/** Runs `work` again and again, not while nobody looks; at once when somebody looks again. */
function every(ms, work) {
  let timer;
  const turn = async () => {
    clearTimeout(timer);
    if (!document.hidden) await work().catch(() => {}); // The link says that the server is away.
    timer = setTimeout(turn, ms);
  };
  document.addEventListener("visibilitychange", () => !document.hidden && turn());
  turn();
}

// ---- the feed ---------------------------------------------------------------------------------------------------

let newcomers = null;

/** Looks up who the newcomers are, once for all that come together. */
function meet() {
  if (newcomers) return;
  newcomers = setTimeout(() => {
    newcomers = null;
    Promise.allSettled([loadDevices(), loadSites()]);
  }, 700);
}

function takeReading(reading) {
  const key = keyOf(reading.tenant, reading.device);
  let device = state.devices.get(key);
  if (!device) {
    device = {
      tenant: reading.tenant,
      device: reading.device,
      site: reading.site,
      name: null,
      profile: "",
      domain: "",
      measurement: reading.measurement,
      lat: null,
      lon: null,
      region: null,
      alerts: [],
      values: {},
      sampled_at: null,
      received_at: null,
    };
    state.devices.set(key, device);
    meet();
  } else if (device.received_at === null) meet();
  device.received_at = reading.received_at;
  if (reading.time_flag === null && !isBefore(reading.sampled_at, device.sampled_at)) {
    device.sampled_at = reading.sampled_at;
    for (const [property, value] of Object.entries(reading.values)) {
      if (!reading.flags[property]) device.values[property] = { value, at: reading.sampled_at };
    }
  }
  for (const listener of readingListeners) listener(reading);
  touch("readings");
}

// Newest values of devices that were not heard since the page began: asked for one by one, and once.
const LEARN_MAX = 30;
const learned = new Set();
let learning = Promise.resolve();

/** Asks for the newest values of a device that is looked at, where nothing is known of them. */
export function learn(device) {
  const key = keyOf(device.tenant, device.device);
  if (
    learned.size >= LEARN_MAX ||
    learned.has(key) ||
    device.received_at === null ||
    Object.keys(device.values).length > 0
  )
    return;
  learned.add(key);
  learning = learning.then(async () => {
    const detail = await get(
      `api/v1/devices/${encodeURIComponent(device.tenant)}/${encodeURIComponent(device.device)}`,
    ).catch(() => null);
    const now = state.devices.get(key);
    if (!detail || !now) return;
    for (const { property, value, sampled_at: at } of detail.latest) {
      if (value !== null && !(property in now.values)) now.values[property] = { value, at };
    }
    touch("readings");
  });
}

const newsListeners = new Set();
/** Calls `listener(alert)` with each alert that the feed brings. */
export const onNews = (listener) => newsListeners.add(listener);

function takeAlert(alert) {
  for (const list of lists) list.push(alert);
  state.alerts.set(alert.id, alert);
  touch("alerts");
  for (const listener of newsListeners) listener(alert);
}

let mending = null;
/** Loads anew what the feed left out; a flood that it thins out says so every second, so once for several. */
function mend(wait) {
  if (mending !== null) return;
  mending = setTimeout(async () => {
    mending = null;
    await loadAll();
    touch("gap");
  }, wait);
}

export function start() {
  const link = state.link;
  every(BALANCE_EVERY_MS, loadBalance);
  every(ALL_EVERY_MS, loadAll);
  setTimeout(() => every(ALERTS_EVERY_MS, loadAlerts), ALERTS_EVERY_MS);
  follow({
    open: (isFirst) => {
      link.isOpen = true;
      if (!isFirst) mend(0); // What is not in the feed may have changed with a restart: rules, names.
      touch("link");
    },
    alive: () => {
      link.aliveAt = Date.now();
    },
    lost: (detail) => {
      if (link.isOpen || link.lostAt === 0) link.lostAt = Date.now();
      link.isOpen = false;
      link.detail = detail;
      touch("link");
    },
    event: (name, data) => {
      if (name === "reading") takeReading(data);
      else if (name === "alert") takeAlert(data);
      else if (name === "gap") mend(data.reason === "rate" ? RATE_MS : 0);
    },
  });
}
