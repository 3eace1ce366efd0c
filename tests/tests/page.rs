//! The built-in page in a real Chromium, against the real binary.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proof::browser::{Browser, View};
use proof::influx::Influx;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::tianlu::Tianlu;
use proof::wait::now_ms;
use proof::work::{DRY, Work};
use tempfile::TempDir;

/// How long the page may take to come up on a busy machine.
const PAGE: Duration = Duration::from_secs(30);
/// What an alert may take from its cause to the eye on a busy machine: less than the 15 s after which the page asks for
/// alerts by itself.
const SIGHT_MS: i64 = 10_000;
/// Reconnecting: the longest pause between two tries (10 s), and the start of the service.
const BACK: Duration = Duration::from_secs(60);

/// A name that would run a script if it were ever read as markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

const DESK: View = View { width: 1280, height: 900, scheme: "light", locale: "zh-CN" };
const PHONE: View = View { width: 360, height: 780, scheme: "light", locale: "zh-CN" };
const WALL: View = View { width: 1920, height: 1080, scheme: "dark", locale: "en-GB" };
const WALL_4K: View = View { width: 3840, height: 2160, ..WALL };

const TRAFFIC: &str = r#"
name = "traffic-detector"
domain = "traffic"
measurement = "traffic"
interval = "5m"
codec = "json"
[time]
path = "ts"
format = "unix_ms"
[[properties]]
name = "speed_km_h"
path = "speed_km_h"
unit = "km/h"
range = [0.0, 160.0]
"#;

const ROAD: &str =
    "[[uplinks]]\ntopic = \"road/{site}/{device}/up\"\nprofile = \"traffic-detector\"";

/// What the alert of the dry field says: message, rule, severity, device.
const CHINESE: [&str; 4] = ["东坡 土壤墒情偏低：0.11 m³/m³", "规则 soil-dry", "橙色", "东坡 1 号"];
const ENGLISH: [&str; 4] =
    ["Soil is dry at East Slope: 0.11 m³/m³", "rule soil-dry", "Orange", "East Slope 1"];

/// Two fields with places, a road of four detectors, and a device whose name is an attack.
fn devices() -> String {
    let mut csv = String::from(
        "tenant,device,profile,site,lat,lon,region,name,name_en,site_name,site_name_en\n",
    );
    csv += "t1,d1,soil-5in1,东坡,30.30,119.95,330110,东坡 1 号,East Slope 1,东坡,East Slope\n";
    csv += "t1,d2,soil-5in1,西溪,30.22,120.05,330106,<script>alert(2)</script>,,,\n";
    csv += &format!("t1,{HOSTILE},soil-5in1,西溪,30.225,120.06,330106,,,,\n");
    for km in 10..14 {
        let lon = 120.0 + f64::from(km) / 100.0;
        csv += &format!(
            "default,v{km},traffic-detector,绕城高速,30.28,{lon},330106,绕城高速 K{km},,,\n"
        );
    }
    csv
}

fn soil(site: &str, device: &str, at_ms: i64, moisture: f64) -> Message {
    let payload = format!(r#"{{"ts":{at_ms},"soil_moisture_10cm":{moisture},"soil_temp":14.2}}"#);
    Message { topic: format!("tianlu/v1/t1/{site}/{device}/up"), payload: payload.into_bytes() }
}

fn speed(device: &str, at_ms: i64, speed: i64) -> Message {
    let payload = format!(r#"{{"ts":{at_ms},"speed_km_h":{speed}}}"#);
    Message { topic: format!("road/绕城高速/{device}/up"), payload: payload.into_bytes() }
}

fn publish(broker: &Mosquitto, messages: &[Message]) {
    Publisher::new(&broker.address(), "page-device").send(messages);
}

/// Six hours of two fields and a road on which a jam grows upstream; `d1` is dry at the end.
fn morning(now: i64) -> Vec<Message> {
    let minute = 60_000;
    let mut all = Vec::new();
    for step in 0..24_i64 {
        let at = now - (24 - step) * 15 * minute;
        let dry = if step == 23 { 0.11 } else { 0.2 - step as f64 * 0.002 };
        all.push(soil("东坡", "d1", at, dry));
        all.push(soil("西溪", "d2", at, 0.25));
        all.push(soil("西溪", HOSTILE, at, 0.24));
    }
    for step in 0..72_i64 {
        let at = now - (72 - step) * 5 * minute;
        for (place, km) in (10..14).enumerate() {
            let jam = (step - 40 + 4 * i64::try_from(place).unwrap()).abs() < 6;
            all.push(speed(&format!("v{km}"), at, if jam { 18 } else { 88 }));
        }
    }
    all
}

/// Where screenshots go: `TIANLU_SHOTS`, so that a person can look at them, else a folder that ends with the test.
struct Shots(PathBuf, #[expect(dead_code, reason = "keeps the folder")] Option<TempDir>);

impl Shots {
    fn new() -> Self {
        match env::var_os("TIANLU_SHOTS") {
            Some(folder) => Self(folder.into(), None),
            None => {
                let folder = TempDir::new().unwrap();
                Self(folder.path().to_owned(), Some(folder))
            }
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        let folder: &Path = &self.0;
        folder.join(format!("{name}.png"))
    }
}

struct Scene {
    broker: Mosquitto,
    _influx: Influx,
    work: Work,
    browser: Browser,
}

impl Scene {
    fn set(more: &str) -> Option<Self> {
        let (broker, influx) = (Mosquitto::start()?, Influx::start()?);
        let browser = Browser::start()?;
        let mqtt = format!(
            "[mqtt]\nurl = \"{}\"\nclient_id = \"proof-tianlu\"\ntopics = [\"tianlu/#\", \"road/#\"]",
            broker.url()
        );
        let work = Work::new()
            .section(&mqtt)
            .influx(&influx)
            .profile("traffic-detector", TRAFFIC)
            .section(ROAD)
            .devices(&devices(), "")
            .rule("soil-dry", DRY);
        let work = if more.is_empty() { work } else { work.section(more) };
        Some(Self { broker, _influx: influx, work, browser })
    }
}

fn no_problems(browser: &mut Browser) {
    assert_eq!(browser.problems(), Vec::<String>::new());
}

/// The alert's own texts, its rule, its value against its limit, in words beside the colour.
fn assert_alert_is_told(browser: &mut Browser, words: &[&str]) {
    for one in words {
        browser.wait_text("#alerts-body .alert", one, PAGE);
    }
}

/// Scenario: six hours of two fields and a road; the page at a desk, on a phone, on a wall in the dark, at 4k.
/// Guarantees: sites, devices, the alert with its reason, the chart with limit and mark, the road and a balance that
/// holds are shown in both languages; nothing is wider than the screen; a hostile name is text; neither console nor
/// policy complains, and nothing is asked of another host.
#[test]
fn the_page_shows_everything_at_every_width_in_both_languages() {
    let Some(mut scene) = Scene::set("") else { return };
    let mut service = Tianlu::ready(&scene.work);
    let sent = morning(now_ms());
    publish(&scene.broker, &sent);
    let balance = service.settle(sent.len() as u64, PAGE);
    assert_eq!(balance.readings.stored, sent.len() as u64);
    let shots = Shots::new();
    let browser = &mut scene.browser;
    let base = format!("{}/", service.base());
    for (name, view, query) in [
        ("desk", DESK, ""),
        ("phone", PHONE, "?lang=en"),
        ("wall", WALL, ""),
        ("wall-4k", WALL_4K, "?lang=zh"),
    ] {
        browser.open(&format!("{base}{query}"), view);
        let is_chinese =
            query.contains("zh") || (query.is_empty() && view.locale.starts_with("zh"));
        let ([message, rule, severity, device], balances) =
            if is_chinese { (CHINESE, "账目平衡") } else { (ENGLISH, "It balances") };
        assert_alert_is_told(browser, &[message, rule, severity, "0.11 < 0.12 m³/m³", device]);
        browser.wait_text("#balance-body .verdict", balances, PAGE);
        browser.wait_text("#devices-body .device .name", HOSTILE, PAGE);
        browser.wait("document.querySelectorAll('#map-body .site').length >= 2", PAGE);
        browser.wait("!!document.querySelector('#map-body .site .mark.is-orange')", PAGE);
        browser.wait(
            "document.querySelector('#chart-body .curve').getAttribute('d').length > 100",
            PAGE,
        );
        browser.wait("!!document.querySelector('#chart-body .limit.is-orange')", PAGE);
        browser.wait("!!document.querySelector('#chart-body .raised.is-orange')", PAGE);
        browser.wait_text("#strip-body .tick", "K13", PAGE);
        browser.wait("!document.querySelector('#strip-body canvas.cells').hidden", PAGE);
        let wider = browser.eval("document.documentElement.scrollWidth - innerWidth");
        assert!(wider.as_i64().unwrap() <= 0, "{name} is {wider} pixels too wide");
        let theme = browser.eval("document.documentElement.dataset.theme");
        assert_eq!(theme, view.scheme);
        assert_eq!(browser.eval("document.images.length"), 0, "a name became an element");
        browser.shot(&shots.file(name), view.width < 1800);
        no_problems(browser);
    }
    try_switches(browser, &base);
    browser.fill("#devices-tools input", "onerror");
    browser.wait("document.querySelectorAll('#devices-body .device').length === 1", PAGE);
    browser.click("#devices-body .device");
    browser.wait_text("#chart-body .who", HOSTILE, PAGE);
    no_problems(browser);
}

/// The switches, by keyboard as well, and what they remember.
fn try_switches(browser: &mut Browser, base: &str) {
    browser.open(base, DESK);
    browser.wait_text("#alerts h2", "告警", PAGE);
    browser.click("#lang");
    browser.wait_text("#alerts h2", "Alerts", PAGE);
    browser.eval("document.querySelector('#theme').focus()");
    browser.press("Enter");
    assert_eq!(browser.eval("document.documentElement.dataset.theme"), "dark");
    assert_eq!(
        browser.eval("localStorage.getItem('tianlu.lang') + localStorage.getItem('tianlu.theme')"),
        "endark"
    );
    browser.eval("window.old = true; location.reload()");
    browser.wait("!window.old && document.readyState === 'complete'", PAGE);
    browser.wait_text("#alerts h2", "Alerts", PAGE);
}

/// Scenario: a page that stays open: a dry reading, a device nobody knew, the service away and back.
/// Guarantees: the alert is seen within ten seconds of its reading, by the feed (what it took is printed); the new
/// device appears by itself; the page says that the server is away, and goes on where it stopped, with what came in
/// between, without being loaded again.
#[test]
fn the_page_stays_live_through_news_and_restarts() {
    let Some(mut scene) = Scene::set("") else { return };
    let service = Tianlu::ready(&scene.work);
    let browser = &mut scene.browser;
    publish(&scene.broker, &[soil("东坡", "d1", now_ms() - 1000, 0.3)]);
    browser.open(&format!("{}/?lang=en", service.base()), DESK);
    browser.wait("document.querySelector('#link').dataset.level === 'live'", PAGE);
    browser.wait_text("#devices-body .device", "0.3\u{a0}m³/m³", PAGE);
    browser.eval("window.isTheSame = true");

    let began = now_ms();
    publish(&scene.broker, &[soil("东坡", "d1", began, 0.105)]);
    let seen = browser.wait_text("#alerts-body .alert", "Soil is dry at East Slope: 0.105", PAGE);
    println!("an alert was seen {} ms after its reading", seen - began);
    assert!(seen - began < SIGHT_MS, "seen {} ms after its reading", seen - began);
    browser.wait_text("#news", "New alert, Orange", PAGE);

    publish(&scene.broker, &[soil("新村", "newcomer", now_ms(), 0.22)]);
    browser.wait_text("#devices-body .device .name", "newcomer", PAGE);
    browser.wait_text("#map-body .chip", "新村", PAGE);

    assert!(service.terminate().success());
    browser.wait("document.querySelector('#link').dataset.level === 'lost'", PAGE);
    browser.wait_text("#away", "The server does not answer", PAGE);
    publish(&scene.broker, &[soil("西溪", "d2", now_ms(), 0.1), soil("东坡", "d1", now_ms(), 0.4)]);
    let service = Tianlu::ready(&scene.work);
    browser.wait_text("#alerts-body .alert", "Soil is dry at 西溪", BACK);
    browser.wait("document.querySelector('#link').dataset.level === 'live'", BACK);
    browser.wait("![...document.querySelectorAll('#alerts-body li:not(.over)')].some((one) => one.textContent.includes('East Slope'))", BACK);
    browser.wait("document.querySelector('#away').hidden", BACK);
    assert_eq!(browser.eval("window.isTheSame"), true, "the page was loaded again");
    // While it stops and while it recovers the service answers with 503.
    let is_away = |one: &String| one.contains("net::ERR_") || one.contains("status of 503");
    let policy = browser.problems().into_iter().filter(|one| !is_away(one));
    assert_eq!(policy.collect::<Vec<_>>(), Vec::<String>::new(), "only that the server was away");
    assert!(service.terminate().success());
}

/// Scenario: a service with a token.
/// Guarantees: the page asks for it, whatever is pressed, says when it is wrong or cannot be one, and shows data and the
/// live feed with the right one; the token is in no address.
#[test]
fn the_page_asks_for_the_token() {
    let Some(mut scene) = Scene::set("") else { return };
    scene.work.write("secrets/http.token", "geheim-77\n");
    let http = "[http]\n";
    let config = std::fs::read_to_string(scene.work.path("tianlu.toml")).unwrap();
    let config = config.replace(http, &format!("{http}token_file = \"secrets/http.token\"\n"));
    scene.work.write("tianlu.toml", &config);
    let service = Tianlu::start(&scene.work);
    proof::wait::until("the page", PAGE, || {
        service.try_get("/").filter(|page| page.status() == 200)
    });
    assert_eq!(service.get("/api/v1/sites").status(), 401);
    let browser = &mut scene.browser;
    browser.open(&format!("{}/?lang=en", service.base()), DESK);
    browser.wait("document.querySelector('#token').open", PAGE);
    for _ in 0..3 {
        browser.press("Escape");
    }
    browser.wait("document.querySelector('#token').open", PAGE);
    // No header bears it: a request with it would never leave, and nobody would ask again.
    browser.fill("#token-input", "密码");
    browser.press("Enter");
    browser.wait_text("#token-wrong:not([hidden])", "not the token", PAGE);
    browser.fill("#token-input", "guess");
    browser.press("Enter");
    browser.wait_text("#token-wrong:not([hidden])", "not the token", PAGE);
    browser.wait("document.querySelector('#token').open", PAGE);
    browser.fill("#token-input", "geheim-77");
    browser.press("Enter");
    browser.wait("document.querySelector('#link').dataset.level === 'live'", PAGE);
    publish(&scene.broker, &[soil("东坡", "d1", now_ms(), 0.1)]);
    browser.wait_text("#alerts-body .alert", "Soil is dry at East Slope", PAGE);
    assert!(
        !browser
            .eval("location.href + document.documentElement.outerHTML")
            .as_str()
            .unwrap()
            .contains("geheim")
    );
    let others = browser.problems().into_iter().filter(|one| !one.contains("401"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new(), "only the refusals");
    assert!(service.terminate().success());
}

/// Scenario: a page that misses things: drawn by nobody for a while, away from the server, behind the feed.
/// Guarantees: what waits is drawn once; while the server is away one try follows another, however often somebody looks;
/// old values never stand beside a fresh time; a road where nobody drives is no jam, and another one can be chosen.
#[test]
fn the_page_catches_up_once() {
    let Some(mut scene) = Scene::set("") else { return };
    let mut service = Tianlu::ready(&scene.work);
    let (now, minute) = (now_ms(), 60_000);
    let mut sent = vec![soil("东坡", "d1", now - minute, 0.3), ring(now)];
    for step in 0..72 {
        let at = now - (72 - step) * 5 * minute;
        sent.extend((10..14).map(|km| speed(&format!("v{km}"), at, 88 * (1 - km % 2))));
    }
    publish(&scene.broker, &sent);
    service.settle(sent.len() as u64, PAGE);
    let browser = &mut scene.browser;
    browser.open(&format!("{}/?lang=en#tenant=t1&device=d1", service.base()), DESK);
    browser.wait_text("#devices-body .device", "0.3\u{a0}m³/m³", PAGE);
    // The page's own module: what it knows, and what it does when somebody chooses.
    browser.eval(
        "void import(document.querySelector('script[type=module]').src.replace('app.js', 'state.js')).then((module) => { window.known = module; })",
    );
    browser.wait("!!window.known", PAGE);
    roads(browser);
    frames(browser, &scene.broker);
    behind(browser);
    tries(browser);
    no_problems(browser);
    assert!(service.terminate().success());
}

/// A reading of another road.
fn ring(at_ms: i64) -> Message {
    let payload = format!(r#"{{"ts":{at_ms},"speed_km_h":70}}"#);
    Message { topic: "road/二环/r1/up".to_owned(), payload: payload.into_bytes() }
}

/// Nobody passes every other detector, so that two patches are painted; the picker changes the road that was chosen on the map.
fn roads(browser: &mut Browser) {
    let painted = "(() => { \
        const cells = document.querySelector('#strip-body canvas.cells'); \
        if (cells.hidden || cells.height === 0) return 0; \
        const copy = new OffscreenCanvas(1, cells.height).getContext('2d', { willReadFrequently: true }); \
        copy.drawImage(cells, -Math.round(cells.width * 0.9), 0); \
        const column = copy.getImageData(0, 0, 1, cells.height).data; \
        let [runs, was] = [0, false]; \
        for (let at = 3; at < column.length; at += 4) { \
          const is = column[at] > 200; \
          runs += is && !was ? 1 : 0; \
          was = is; \
        } \
        return runs; })()";
    browser.wait(&format!("{painted} > 0"), PAGE);
    assert_eq!(browser.eval(painted), 2);
    let shown = |road: &str| {
        format!(
            "(document.querySelector('#strip-body svg').getAttribute('aria-label') || '').includes('{road}')"
        )
    };
    browser.eval("known.pick({ site: known.keyOf('default', '绕城高速') })");
    browser.wait(&shown("绕城高速"), PAGE);
    browser.eval(
        "(() => { \
        const roads = document.querySelector('#strip-tools select'); \
        roads.value = known.keyOf('default', '二环'); \
        roads.dispatchEvent(new Event('change')); })()",
    );
    browser.wait(&shown("二环"), PAGE);
    browser.eval("known.pick({ site: null })");
}

/// A tab that is not seen has no frames.
fn frames(browser: &mut Browser, broker: &Mosquitto) {
    browser.eval(
        "window.waiting = []; window.requestAnimationFrame = (frame) => window.waiting.push(frame)",
    );
    let now = now_ms();
    let news: Vec<_> = (0..20).map(|n| soil("东坡", "d1", now + n, 0.4)).collect();
    publish(broker, &news);
    browser.wait(
        &format!(
            "Date.parse(known.state.devices.get(known.keyOf('t1', 'd1')).sampled_at) === {}",
            now + 19
        ),
        PAGE,
    );
    assert_eq!(browser.eval("window.waiting.length"), 1);
    browser.eval("window.waiting.pop()(0)");
}

/// As after a gap of the feed: the server has heard of the device, and the page has not.
fn behind(browser: &mut Browser) {
    browser.eval(
        "(() => { \
        const device = known.state.devices.get(known.keyOf('t1', 'd1')); \
        device.received_at = new Date(Date.parse(device.received_at) - 3600000).toISOString(); \
        device.values.soil_moisture_10cm.value = 0.55; \
        known.touch('readings'); })()",
    );
    browser.wait_text("#devices-body .device", "0.55\u{a0}m³/m³", PAGE);
    browser.eval("document.dispatchEvent(new Event('visibilitychange'))");
    browser.wait_text("#devices-body .device", "0.4\u{a0}m³/m³", PAGE);
}

/// Somebody looks five times while the server is away: there is still one try each three seconds.
fn tries(browser: &mut Browser) {
    browser.eval(
        "(() => { \
        window.tried = 0; \
        const fetch_ = window.fetch; \
        window.fetch = (path, options) => { \
          if (!String(path).includes('api/v1/sites')) return fetch_(path, options); \
          window.tried += 1; \
          return Promise.reject(new TypeError('away')); \
        }; })()",
    );
    for look in 1..=5 {
        browser.eval("document.dispatchEvent(new Event('visibilitychange'))");
        browser.wait(&format!("window.tried >= {look}"), PAGE);
    }
    browser.eval("window.tried = 0");
    let began = now_ms();
    let seen = browser.wait("window.tried >= 4", PAGE);
    assert!(seen - began > 8_000, "four tries within {} ms", seen - began);
}
