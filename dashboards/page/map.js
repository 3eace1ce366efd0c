// The map of the sites: a schematic drawing by latitude and longitude, without tiles and so without a network.

import { attribute, byId, el, keyed, markParts, rem, sized, svg, write } from "./dom.js";
import { boxOf, clusters, placeLabels, projection, textWidth } from "./place.js";
import { say } from "./say.js";
import { count, domainName, regionName, severityName, siteName, ticks } from "./show.js";
import { gravity, keyOf, onChange, pick, state, worst } from "./state.js";

/** Devices drawn as dots; beyond it they would only be a smear, and cost time. */
const DOTS_MAX = 1500;

let view = null; // What is looked at; null: everything.
let size = { width: 0, height: 0 };
let shown = null; // The last projection, for dragging.
let picture;
let ground; // What lies below the sites.
let sites;
let nowhere;

export function start() {
  ground = svg("g", { "aria-hidden": "true" });
  sites = svg("g", {});
  picture = svg("svg", { class: "chartlike", role: "group" }, ground, sites);
  nowhere = el("ul", { class: "chips" });
  const frame = el("div", { class: "frame" }, picture);
  byId("map-body").append(frame, nowhere);
  const tool = (id, sign, action) =>
    el("button", { type: "button", class: "quiet square", id, text: sign, on: { click: action } });
  byId("map-tools").append(
    tool("map-in", "+", () => zoom(0.6)),
    tool("map-out", "−", () => zoom(1 / 0.6)),
    tool("map-all", "⌂", () => look(null)),
  );
  sized(frame, (width, height) => {
    size = { width, height };
    draw();
  });
  drag(picture);
  onChange((kinds) => {
    if (["sites", "devices", "alerts", "config", "chosen", "words", "link"].some((kind) => kinds.has(kind))) draw();
  });
}

function look(box) {
  view = box;
  draw();
}

function zoom(factor) {
  if (!shown) return;
  const half = (a, b) => (Math.abs(b - a) / 2) * factor;
  const { lon, lat } = shown;
  const [x, y] = [lon(size.width / 2), lat(size.height / 2)];
  const [w, h] = [half(lon(0), lon(size.width)), half(lat(0), lat(size.height))];
  if (h < 80 && h > 0.0005) look({ west: x - w, east: x + w, south: y - h, north: y + h });
}

/** Lets a mouse move the map; a finger scrolls the page. */
function drag(node) {
  let from = null;
  node.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0 && shown)
      from = { x: event.clientX, y: event.clientY, moved: false };
  });
  addEventListener("pointermove", (event) => {
    if (!from || !shown) return;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (!from.moved && Math.hypot(dx, dy) < 5) return;
    Object.assign(from, { x: event.clientX, y: event.clientY, moved: true });
    look({
      west: shown.lon(-dx),
      east: shown.lon(size.width - dx),
      south: shown.lat(size.height - dy),
      north: shown.lat(-dy),
    });
  });
  addEventListener("pointerup", () => {
    from = null;
  });
}

/** Returns the sites with what is known of them, the gravest and largest first. */
function sitesNow() {
  const { sites } = worst();
  const all = state.sites.map(({ geometry, properties }) => {
    const key = keyOf(properties.tenant, properties.site);
    const alerts = sites.get(key);
    const level = alerts ? alerts.severity : properties.unheard === properties.devices ? "silent" : "ok";
    const place = geometry && { lon: geometry.coordinates[0], lat: geometry.coordinates[1] };
    return { key, ...properties, place, level, alerts: alerts ? alerts.count : 0 };
  });
  return all.sort((a, b) => gravity(b.level) - gravity(a.level) || b.devices - a.devices || a.key.localeCompare(b.key));
}

function draw() {
  for (const [id, key] of [
    ["map-in", "page.map.in"],
    ["map-out", "page.map.out"],
    ["map-all", "page.map.all"],
  ])
    byId(id).setAttribute("aria-label", say(key));
  const { width, height } = size;
  if (width < 10 || height < 10) return;
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("aria-label", say("page.map.title"));
  const all = sitesNow();
  drawNowhere(all.filter((site) => !site.place));
  const placed = all.filter((site) => site.place);
  if (placed.length === 0) {
    shown = null;
    const text = say(
      !state.link.hasSnapshot ? "page.loading" : all.length === 0 ? "page.map.empty" : "page.map.no_places",
    );
    sites.replaceChildren();
    ground.replaceChildren(svg("text", { class: "empty", x: width / 2, y: height / 2, "text-anchor": "middle", text }));
    return;
  }
  const em = rem();
  const margin = view ? { x: 0, y: 0 } : { x: Math.min(5 * em, width / 6), y: 2.6 * em };
  shown = projection(view || boxOf(placed.map((site) => site.place)), width, height, margin);
  ground.replaceChildren(...grid(em), ...dots(em), ...scaleBar(em));
  markers(placed, em);
}

function grid(em) {
  const { x, y, lon, lat } = shown;
  const parts = [];
  const [west, east, south, north] = [lon(0), lon(size.width), lat(size.height), lat(0)];
  const degree = (value, plus, minus) => `${Math.abs(Number(value.toFixed(4)))}°${value < 0 ? minus : plus}`;
  for (const at of ticks(west, east, size.width / (9 * em))) {
    parts.push(svg("path", { class: "grid", d: `M${x(at)} 0V${size.height}` }));
    // The scale bar has the right corner.
    if (x(at) < size.width - 13 * em)
      parts.push(svg("text", { class: "tick", x: x(at) + 4, y: size.height - 5, text: degree(at, "E", "W") }));
  }
  for (const at of ticks(south, north, size.height / (7 * em))) {
    if (y(at) > size.height - 2 * em) continue;
    parts.push(svg("path", { class: "grid", d: `M0 ${y(at)}H${size.width}` }));
    parts.push(svg("text", { class: "tick", x: 4, y: y(at) - 4, text: degree(at, "N", "S") }));
  }
  return parts;
}

function dots(em) {
  const { devices } = worst();
  const placed = [...state.devices.values()].filter((device) => device.lat !== null && device.lon !== null);
  if (placed.length > DOTS_MAX) return [];
  return placed.map((device) => {
    const alerts = devices.get(keyOf(device.tenant, device.device));
    const level = alerts ? alerts.severity : device.received_at === null ? "silent" : "ok";
    return svg("circle", {
      class: `dot is-${level}`,
      cx: shown.x(device.lon),
      cy: shown.y(device.lat),
      r: (alerts ? 0.22 : 0.14) * em,
    });
  });
}

function markers(placed, em) {
  const r = 0.62 * em;
  const isSeen = ({ x, y }) => x > -r && y > -r && x < size.width + r && y < size.height + r;
  const items = placed
    .map((site) => ({ ...site, x: shown.x(site.place.lon), y: shown.y(site.place.lat) }))
    .filter(isSeen);
  const groups = clusters(items, 2.1 * r);
  const font = 0.8 * em;
  const labels = groups.map(
    ({ items: [first, ...others] }) => siteName(first.tenant, first.site) + (others.length > 0 ? ` +${others.length}` : ""),
  );
  const points = groups.map((group, at) => ({ x: group.x, y: group.y, r, width: textWidth(labels[at], font) + 4 }));
  // The scale bar keeps its corner.
  const corner = { left: size.width - 9 * em, right: size.width, top: size.height - 2.6 * em, bottom: size.height };
  const places = placeLabels(points, font * 1.25, size, [corner]);
  const all = groups.map((group, at) => ({ group, label: labels[at], place: places[at], r }));
  keyed(sites, all, { key: ({ group }) => group.items[0].key, make: makeMarker, update: updateMarker });
}

/** Makes a marker; it stays while it is drawn anew, and with it the focus and a click under way. */
function makeMarker() {
  const node = svg("g", { tabindex: 0, role: "button" });
  const act = () => {
    const { items } = node.group;
    if (items.length > 1) return look(grown(boxOf(items.map((site) => site.place))));
    return pick({ site: items[0].key === state.chosen.site ? null : items[0].key });
  };
  node.addEventListener("click", act);
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  });
  return node;
}

function updateMarker(node, { group, label, place, r }) {
  const [first] = group.items;
  const isChosen = group.items.some((site) => site.key === state.chosen.site);
  const words = group.items.slice(0, 8).map(describe).join("\n");
  node.group = group;
  attribute(node, "class", `site${isChosen ? " chosen" : ""}`);
  attribute(node, "aria-label", words);
  attribute(node, "aria-pressed", group.items.length === 1 ? String(isChosen) : null);
  const box = { x: group.x - r, y: group.y - r, width: 2 * r, height: 2 * r, viewBox: "0 0 16 16" };
  const parts = [
    svg("title", { text: words }),
    svg("circle", { class: "ring", cx: group.x, cy: group.y, r: r * 1.45 }),
    svg("svg", { class: `mark is-${first.level}`, ...box }, markParts(first.level)),
  ];
  if (place) {
    const at = { x: place.x, y: place.y, "text-anchor": place.anchor, "dominant-baseline": "central" };
    parts.push(svg("text", { class: "label", ...at, text: label }));
  }
  node.replaceChildren(...parts);
}

function grown(box) {
  const [w, h] = [(box.east - box.west) * 0.5, (box.north - box.south) * 0.5];
  return { west: box.west - w, east: box.east + w, south: box.south - h, north: box.north + h };
}

/** Says in words what the mark shows. */
function describe(site) {
  const parts = [
    siteName(site.tenant, site.site),
    site.domains.map(domainName).join(say("page.comma")),
    regionName(site.region),
    say("page.map.devices", { n: count(site.devices) }),
  ];
  const alerts =
    site.alerts > 0
      ? say("page.map.alerts", { n: count(site.alerts), severity: severityName(site.level) })
      : say(site.level === "silent" ? "page.state.silent" : "page.state.ok");
  return [...parts, alerts].filter(Boolean).join(" · ");
}

function scaleBar(em) {
  const widest = 7 * em * shown.kmPerPixel;
  const power = 10 ** Math.floor(Math.log10(widest));
  const km = [5, 2, 1].map((one) => one * power).find((one) => one <= widest) || power;
  const length = km / shown.kmPerPixel;
  const [right, bottom] = [size.width - 0.8 * em, size.height - 0.7 * em];
  return [
    svg("path", { class: "bar", d: `M${right - length} ${bottom - 4}v4h${length}v-4` }),
    svg("text", {
      class: "tick",
      x: right - length / 2,
      y: bottom - 6,
      "text-anchor": "middle",
      text: km >= 1 ? `${km} km` : `${km * 1000} m`,
    }),
  ];
}

/** Sites without a place are below the map, as buttons. */
function drawNowhere(sites) {
  nowhere.hidden = sites.length === 0;
  keyed(nowhere, sites.slice(0, 40), {
    key: (site) => site.key,
    make: (site) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            class: "chip",
            on: { click: () => pick({ site: state.chosen.site === site.key ? null : site.key }) },
          },
          svg("svg", { class: "mark", viewBox: "0 0 16 16", "aria-hidden": "true" }),
          el("span", {}),
        ),
      ),
    update: (item, site) => {
      const [button] = item.children;
      const [icon, name] = button.children;
      icon.setAttribute("class", `mark is-${site.level}`);
      icon.replaceChildren(...markParts(site.level));
      write(name, siteName(site.tenant, site.site));
      button.title = describe(site);
      button.setAttribute("aria-pressed", String(state.chosen.site === site.key));
    },
  });
}
