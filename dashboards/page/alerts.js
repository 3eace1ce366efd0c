// The list of alerts: what, why, where, since when; and the sums at the top of the page.

import { attribute, byId, choice, el, keyed, mark, write } from "./dom.js";
import { sign } from "./curve.js";
import { choose, say } from "./say.js";
import {
  SEVERITIES,
  ago,
  clock,
  count,
  deviceName,
  moment,
  number,
  propertyName,
  severityName,
  siteName,
  span,
  unitOf,
} from "./show.js";
import { firing, gravity, isAboutUs, keyOf, onChange, onNews, pick, profileOf, state } from "./state.js";

/** Items drawn; a wall of more helps nobody, and the sums tell the rest. */
const SHOWN_MAX = 150;

let isResolved = false;
let list;
let site; // Where only one site's alerts are shown: which, and the way back.
let note;
let more;

export function start() {
  site = el("button", { type: "button", class: "chip", on: { click: () => pick({ site: null }) } });
  list = el("ol", { class: "alertlist" });
  note = el("div", { class: "empty" });
  more = el("p", { class: "more" });
  byId("alerts-body").append(note, list, more);
  words();
  onChange((kinds) => {
    if (kinds.has("words")) words();
    if (["alerts", "config", "chosen", "words", "devices", "link"].some((kind) => kinds.has(kind))) draw();
    if (["alerts", "readings", "devices", "words", "link", "chosen"].some((kind) => kinds.has(kind))) drawSums();
  });
  setInterval(drawTimes, 1000);
  onNews(announce);
}

let showChoice = () => {};
function words() {
  const [group, show] = choice(
    say("page.alerts.which"),
    [
      [false, say("page.alerts.firing")],
      [true, say("page.alerts.resolved")],
    ],
    (value) => {
      isResolved = value;
      show(value);
      draw();
    },
  );
  showChoice = show;
  byId("alerts-tools").replaceChildren(site, group);
}

const time = (text) => Date.parse(text);

function draw() {
  showChoice(isResolved);
  const { site: ofSite, severity } = state.chosen;
  site.hidden = !ofSite;
  if (ofSite) {
    write(site, `${siteName(...JSON.parse(ofSite))} ×`);
    attribute(site, "aria-label", say("page.alerts.all_sites"));
  }
  const ours = [...state.alerts.values()].filter(
    (alert) =>
      (alert.state === "resolved") === isResolved &&
      (!severity || alert.severity === severity) &&
      (!ofSite || isAboutUs(alert) || keyOf(alert.tenant, alert.site) === ofSite),
  );
  const newest = (alert) => time(alert.resolved_at || alert.raised_at);
  ours.sort((a, b) => (isResolved ? 0 : gravity(b.severity) - gravity(a.severity)) || newest(b) - newest(a));
  note.hidden = ours.length > 0;
  if (!note.hidden) drawEmpty();
  keyed(list, ours.slice(0, SHOWN_MAX), { key: (alert) => alert.id, make, update });
  more.hidden = ours.length <= SHOWN_MAX;
  write(more, say("page.more", { n: count(ours.length - SHOWN_MAX) }));
  drawTimes();
}

function drawEmpty() {
  const isKnown = state.link.hasSnapshot;
  const key = !isKnown ? "page.loading" : isResolved ? "page.alerts.none_resolved" : "page.alerts.none";
  note.replaceChildren(...(isKnown ? [mark("ok")] : []), el("p", { text: say(key) }));
}

function make(alert) {
  const item = el("li", {});
  const open = () => {
    const now = state.alerts.get(alert.id) || alert;
    if (!isAboutUs(now)) pick({ tenant: now.tenant, device: now.device, property: now.property });
    if (innerWidth < 1100) byId("chart").scrollIntoView({ block: "start" });
  };
  const parts = {
    icon: mark(alert.severity),
    level: el("span", { class: "level" }),
    state: el("span", { class: "state" }),
    message: el("strong", {}),
    why: el("span", { class: "why" }),
    where: el("span", { class: "where" }),
    when: el("span", { class: "when" }),
  };
  item.append(
    el(
      "button",
      { type: "button", class: `alert is-${alert.severity}`, on: { click: open } },
      el("span", { class: "first" }, parts.icon, parts.level, parts.state),
      parts.message,
      parts.why,
      parts.where,
      parts.when,
    ),
  );
  item.parts = parts;
  return item;
}

function update(item, alert) {
  const { parts } = item;
  item.alert = alert;
  write(parts.level, severityName(alert.severity));
  write(parts.message, choose(alert.message));
  write(parts.why, why(alert));
  write(parts.where, where(alert));
  attribute(
    item,
    "class",
    alert.state === "resolved" ? "over" : Date.now() - time(alert.received_at) < 60_000 ? "fresh" : null,
  );
  const isChosen = state.chosen.device === alert.device && state.chosen.tenant === alert.tenant;
  attribute(item.firstChild, "aria-current", isChosen ? "true" : null);
}

/** Says why: what was measured, and against which limit of which rule. */
function why(alert) {
  if (isAboutUs(alert)) return say("page.alerts.ourselves");
  const rule = state.rules.get(alert.rule);
  const about = { rule: alert.rule };
  if (alert.property === null) {
    return say("page.alerts.silent", { ...about, value: span(alert.value * 1000), limit: span(alert.limit * 1000) });
  }
  const limit = rule && rule.limits.find((one) => one.property === alert.property && one.limit === alert.limit);
  const device = state.devices.get(keyOf(alert.tenant, alert.device));
  const profile = device && profileOf(device);
  const property = profile && profile.properties.find((one) => one.name === alert.property);
  const unit = property ? unitOf(property.unit) : "";
  const text = `${propertyName(alert.property)} ${number(alert.value)} ${limit ? sign(limit.op) : "/"} ${number(alert.limit)} ${unit}`;
  return say("page.alerts.why", { ...about, what: text.trim() });
}

function where(alert) {
  if (isAboutUs(alert)) return "";
  const device = state.devices.get(keyOf(alert.tenant, alert.device));
  const name = device ? deviceName(device) : alert.device;
  const id = device && device.name ? alert.device : "";
  const site = siteName(alert.tenant, alert.site);
  // A name mostly begins with the site's.
  return [name.includes(site) ? "" : site, name, id].filter(Boolean).join(" · ");
}

function drawTimes() {
  for (const item of list.children) {
    const { alert, parts } = item;
    const began = time(alert.began_at);
    if (alert.state === "resolved") {
      write(parts.state, say(alert.reason === "rule_changed" ? "page.alerts.rule_changed" : "page.alerts.over"));
      write(
        parts.when,
        say("page.alerts.lasted", {
          span: span(time(alert.resolved_at) - began),
          from: clock(began),
          to: clock(time(alert.resolved_at)),
        }),
      );
    } else {
      write(parts.state, ago(time(alert.raised_at)));
      write(
        parts.when,
        say("page.alerts.since", {
          span: span(Date.now() - began),
          began: clock(began),
          raised: clock(time(alert.raised_at)),
        }),
      );
    }
    const full = say("page.alerts.times", {
      began: moment(began),
      raised: moment(time(alert.raised_at)),
      received: moment(time(alert.received_at)),
    });
    attribute(parts.when, "title", full);
  }
}

function announce(alert) {
  const key = alert.state === "firing" ? "page.alerts.news" : "page.alerts.news_over";
  byId("news").textContent = say(key, { severity: severityName(alert.severity), message: choose(alert.message) });
}

// ---- the sums ---------------------------------------------------------------------------------------------------

function drawSums() {
  const sums = byId("sums");
  const stand = firing();
  const items = SEVERITIES.map((severity) => ({
    kind: severity,
    n: stand.filter((alert) => alert.severity === severity).length,
  }));
  const devices = [...state.devices.values()];
  const silent = devices.filter((device) => device.received_at === null).length;
  items.push({ kind: "devices", n: devices.length, silent });
  keyed(sums, items, { key: (item) => item.kind, make: makeSum, update: updateSum });
}

function makeSum({ kind }) {
  const parts = { n: el("b", {}), name: el("span", { class: "name" }) };
  const isSeverity = SEVERITIES.includes(kind);
  const act = () => pick({ severity: state.chosen.severity === kind ? null : kind });
  const node = isSeverity
    ? el("button", { type: "button", class: `sum is-${kind}`, on: { click: act } }, mark(kind), parts.n, parts.name)
    : el("p", { class: "sum plain" }, parts.n, parts.name);
  node.parts = parts;
  return node;
}

function updateSum(node, { kind, n, silent }) {
  write(node.parts.n, state.link.hasSnapshot ? count(n) : "–");
  if (kind === "devices") {
    const key = silent > 0 ? "page.sums.devices_silent" : "page.sums.devices";
    write(node.parts.name, say(key, { silent: count(silent || 0), sites: count(state.sites.length) }));
    return;
  }
  write(node.parts.name, severityName(kind));
  attribute(node, "data-none", n === 0);
  attribute(node, "aria-pressed", state.chosen.severity === kind);
}
