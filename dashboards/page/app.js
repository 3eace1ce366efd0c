// The page's beginning: texts, language, theme, token, address; then every view for itself.

import * as alerts from "./alerts.js";
import { onTokenWanted } from "./api.js";
import * as balance from "./balance.js";
import * as chart from "./chart.js";
import * as devices from "./devices.js";
import { attribute, byId, write } from "./dom.js";
import * as map from "./map.js";
import { language, loadTexts, locale, say, setLanguage } from "./say.js";
import { ago, moment, span } from "./show.js";
import { onChange, start as startState, state, touch } from "./state.js";
import * as strip from "./strip.js";

const THEME = "tianlu.theme";
/** A feed that is quiet for longer says so; shorter pauses are those of slow devices. */
const AWAY_MS = 3_000;

// ---- words and looks --------------------------------------------------------------------------------------------

function words() {
  document.documentElement.lang = locale();
  document.title = say("page.document");
  for (const node of document.querySelectorAll("[data-say]")) write(node, say(node.dataset.say));
  for (const node of document.querySelectorAll("[data-label]")) attribute(node, "aria-label", say(node.dataset.label));
  const other = language() === "zh" ? "en" : "zh";
  write(byId("lang"), say(`page.lang.${other}`));
  attribute(byId("lang"), "lang", other);
  drawTheme();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
let theme = null;
try {
  theme = localStorage.getItem(THEME);
} catch {
  // Storage may be forbidden; then the system's choice counts.
}

function drawTheme() {
  const isDark = theme ? theme === "dark" : dark.matches;
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  write(byId("theme"), isDark ? "☀" : "☾");
  attribute(byId("theme"), "aria-label", say(isDark ? "page.theme.light" : "page.theme.dark"));
  attribute(byId("theme"), "title", say(isDark ? "page.theme.light" : "page.theme.dark"));
}

function switches() {
  byId("lang").addEventListener("click", () => {
    setLanguage(language() === "zh" ? "en" : "zh");
    words();
    drawLink();
    touch("words");
  });
  byId("theme").addEventListener("click", () => {
    theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(THEME, theme);
    } catch {
      // As above.
    }
    drawTheme();
    touch("theme");
  });
  dark.addEventListener("change", () => {
    drawTheme();
    touch("theme");
  });
}

// ---- the link to the server -------------------------------------------------------------------------------------

function drawLink() {
  const { link } = state;
  const now = Date.now();
  const node = byId("link");
  if (link.isOpen) {
    attribute(node, "data-level", "live");
    write(node, say("page.link.live", { ago: ago(newest()) }));
  } else {
    attribute(node, "data-level", link.lostAt ? "lost" : "wait");
    write(node, say(link.lostAt ? "page.link.lost" : "page.link.connecting"));
  }
  const away = byId("away");
  const isAway = !link.isOpen && link.lostAt > 0 && now - link.lostAt > AWAY_MS;
  away.hidden = !isAway;
  if (!isAway) return;
  // Read out once, not each second: the seconds stand apart.
  const since = say(link.aliveAt ? "page.link.away_since" : "page.link.away", {
    at: link.aliveAt ? moment(link.aliveAt) : "",
  });
  const text = [since, link.detail].filter(Boolean).join(" ");
  if (away.dataset.text !== text) {
    away.dataset.text = text;
    away.replaceChildren(text, " ", Object.assign(document.createElement("span"), { ariaHidden: "true" }));
  }
  write(away.lastChild, say("page.link.for", { span: span(now - link.lostAt) }));
}

/** When something was last heard of any device, or of the server itself. */
function newest() {
  let at = 0;
  for (const { received_at: heard } of state.devices.values()) if (heard !== null) at = Math.max(at, Date.parse(heard));
  return at || state.link.aliveAt;
}

// ---- the token --------------------------------------------------------------------------------------------------

/** What a header can bear: with anything else no request would ever leave. */
const BEARABLE = /^[\x20-\x7e]+$/;

function askToken(wasWrong) {
  const dialog = byId("token");
  const input = byId("token-input");
  const show = () => dialog.open || dialog.showModal();
  byId("token-wrong").hidden = !wasWrong;
  input.value = "";
  show();
  return new Promise((done) => {
    const form = byId("token-form");
    const onSubmit = (event) => {
      event.preventDefault();
      const given = input.value.trim();
      if (given === "") return;
      input.value = "";
      byId("token-wrong").hidden = BEARABLE.test(given);
      if (!BEARABLE.test(given)) return;
      form.removeEventListener("submit", onSubmit);
      dialog.removeEventListener("close", show);
      dialog.close();
      done(given);
    };
    form.addEventListener("submit", onSubmit);
    // Without the token there is nothing behind the dialog, and a second Esc closes it whatever is said to `cancel`.
    dialog.addEventListener("close", show);
  });
}

// ---- the address ------------------------------------------------------------------------------------------------

/** What is chosen stands in the address, so that a picture can be sent to somebody. */
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of ["tenant", "device", "property"]) if (given.get(name)) state.chosen[name] = given.get(name);
}

function writeAddress() {
  const { tenant, device, property } = state.chosen;
  if (!device) return;
  const hash = `#${new URLSearchParams({ tenant: tenant || "", device, ...(property ? { property } : {}) })}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
}

async function begin() {
  await loadTexts();
  words();
  switches();
  byId("token").addEventListener("cancel", (event) => event.preventDefault());
  onTokenWanted(askToken);
  readAddress();
  addEventListener("hashchange", () => {
    readAddress();
    touch("chosen");
  });
  for (const view of [map, alerts, chart, devices, strip, balance]) view.start();
  onChange((kinds) => {
    if (kinds.has("link")) drawLink();
    if (kinds.has("chosen")) writeAddress();
  });
  setInterval(drawLink, 1000);
  drawLink();
  startState();
  touch("words");
}

begin();
