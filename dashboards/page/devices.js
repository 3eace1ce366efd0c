// The list of devices: to find one and choose it for the chart.

import { attribute, byId, el, keyed, markParts, svg, write } from "./dom.js";
import { say } from "./say.js";
import { ago, count, deviceName, domainName, quantity, regionName, siteName } from "./show.js";
import { gravity, keyOf, learn, onChange, pick, profileOf, state, worst } from "./state.js";

/** Rows drawn; the search finds the others. */
const SHOWN_MAX = 120;
/** Rows whose values are asked for rather than waited for. */
const LEARNED_MAX = 8;
/** Values of a row: more would not be read. */
const VALUES_MAX = 2;

const order = new Intl.Collator(undefined, { numeric: true });

let search = "";
let input;
let site;
let list;
let note;
let more;
let isDirty = true;

export function start() {
  input = el("input", { type: "search", autocomplete: "off", spellcheck: "false", on: { input: onSearch } });
  site = el("button", { type: "button", class: "chip", on: { click: () => pick({ site: null }) } });
  list = el("ul", { class: "devicelist" });
  note = el("p", { class: "empty" });
  more = el("p", { class: "more" });
  byId("devices-tools").append(site, input);
  byId("devices-body").append(note, list, more);
  onChange((kinds) => {
    isDirty = true;
    // Readings alone can wait for the next second.
    if (!(kinds.size === 1 && kinds.has("readings"))) draw();
  });
  setInterval(draw, 1000);
}

function onSearch() {
  search = input.value.trim().toLowerCase();
  isDirty = true;
  draw();
}

function draw() {
  if (document.hidden) return;
  if (isDirty) drawAll();
  isDirty = false;
  for (const row of list.children) drawTime(row);
}

function drawAll() {
  const { devices: alerts } = worst();
  attribute(input, "placeholder", say("page.devices.search"));
  attribute(input, "aria-label", say("page.devices.search"));
  const { site: chosen } = state.chosen;
  site.hidden = !chosen;
  if (chosen) {
    write(site, `${siteName(...JSON.parse(chosen))} ×`);
    attribute(site, "aria-label", say("page.devices.all_sites"));
  }
  const rows = [...state.devices].map(([key, device]) => {
    const known = alerts.get(key);
    return { key, device, level: known ? known.severity : device.received_at === null ? "silent" : "ok" };
  });
  const found = rows.filter(({ device }) => fits(device, chosen));
  found.sort(
    (a, b) =>
      gravity(b.level) - gravity(a.level) ||
      order.compare(a.device.site, b.device.site) ||
      order.compare(a.device.device, b.device.device),
  );
  note.hidden = found.length > 0;
  write(
    note,
    say(!state.link.hasSnapshot ? "page.loading" : rows.length === 0 ? "page.devices.none" : "page.devices.none_found"),
  );
  for (const { device } of found.slice(0, LEARNED_MAX)) learn(device);
  keyed(list, found.slice(0, SHOWN_MAX), { key: (row) => row.key, make, update });
  more.hidden = found.length <= SHOWN_MAX;
  write(more, say("page.more", { n: count(found.length - SHOWN_MAX) }));
}

function fits(device, chosen) {
  if (chosen && keyOf(device.tenant, device.site) !== chosen) return false;
  if (search === "") return true;
  return [
    device.device,
    device.name,
    device.name_en,
    device.site,
    siteName(device.tenant, device.site),
    device.profile,
    domainName(device.domain),
    regionName(device.region),
  ].some((text) => text && text.toLowerCase().includes(search));
}

function make({ device }) {
  const parts = {
    icon: svg("svg", { class: "mark", viewBox: "0 0 16 16", "aria-hidden": "true" }),
    name: el("span", { class: "name" }),
    where: el("span", { class: "where" }),
    values: el("span", { class: "values" }),
    when: el("span", { class: "when" }),
    state: el("span", { class: "hidden" }),
  };
  const open = () => {
    pick({ tenant: device.tenant, device: device.device, property: null });
    if (innerWidth < 1100) byId("chart").scrollIntoView({ block: "start" });
  };
  const row = el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "device", on: { click: open } },
      parts.icon,
      parts.state,
      parts.name,
      parts.values,
      parts.where,
      parts.when,
    ),
  );
  row.parts = parts;
  return row;
}

function update(row, { device, level }) {
  const { parts } = row;
  row.device = device;
  if (row.level !== level) {
    row.level = level;
    attribute(parts.icon, "class", `mark is-${level}`);
    parts.icon.replaceChildren(...markParts(level));
  }
  write(
    parts.state,
    say(gravity(level) > 0 ? "page.state.alert" : level === "silent" ? "page.state.silent" : "page.state.ok"),
  );
  write(parts.name, deviceName(device));
  const domain = device.domain ? domainName(device.domain) : say("page.devices.new");
  const name = deviceName(device);
  const site = siteName(device.tenant, device.site);
  write(
    parts.where,
    [name.includes(site) ? "" : site, device.name ? device.device : "", domain]
      .filter(Boolean)
      .join(" · "),
  );
  write(parts.values, values(device));
  attribute(
    row.firstChild,
    "aria-current",
    state.chosen.device === device.device && state.chosen.tenant === device.tenant ? "true" : null,
  );
}

function values(device) {
  const profile = profileOf(device);
  const all = profile ? profile.properties : [];
  const heard = all.filter((property) => property.name in device.values).slice(0, VALUES_MAX);
  // The first says itself what it is by its unit; a second one only where it differs.
  return heard.map((property) => quantity(device.values[property.name].value, property.unit)).join("  ");
}

function drawTime({ device, parts }) {
  const at = device.received_at;
  write(parts.when, at === null ? say("page.devices.never") : ago(Date.parse(at)));
}
