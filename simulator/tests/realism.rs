//! Statistics of simulated series against those of real ones (shared/knowledge/realism.md).
//!
//! A figure is met within 25 % unless its line says more, and why.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use simulator::{Fleet, Scenario};
use telemetry::time::{EventTime, parse_rfc3339};

fn fleet(name: &str, seed: u64, start: &str) -> Fleet {
    Fleet::new(&Scenario::named(name).unwrap(), seed, parse_rfc3339(start).unwrap(), None).unwrap()
}

/// Returns a property of a device at each `step` for so many days.
fn series(
    fleet: &Fleet,
    device: u32,
    (step, days): (Duration, u64),
    properties: &[&str],
) -> Vec<Vec<f64>> {
    let end = fleet.start().plus(Duration::from_hours(24 * days));
    let mut at: EventTime = fleet.start();
    let mut all = vec![Vec::new(); properties.len()];
    while at < end {
        let reading: BTreeMap<String, Value> =
            serde_json::from_slice(&fleet.uplink(device, at)).unwrap();
        for (into, name) in all.iter_mut().zip(properties) {
            into.push(reading[*name].as_f64().unwrap());
        }
        at = at.plus(step);
    }
    all
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / f64::from(u32::try_from(of.len()).unwrap())
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (ma, mb) = (mean(a), mean(b));
    let with = |x: &[f64], mx: f64, y: &[f64], my: f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum()
    };
    with(a, ma, b, mb) / (with(a, ma, a, ma) * with(b, mb, b, mb)).sqrt()
}

fn lag(of: &[f64], steps: usize) -> f64 {
    correlation(&of[..of.len() - steps], &of[steps..])
}

/// Returns the value that a share of all is below.
fn quantile(of: &[f64], per_mille: usize) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * per_mille / 1000]
}

fn changes(of: &[f64]) -> Vec<f64> {
    of.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect()
}

/// Returns the mean by the hour of the day of an hourly series that begins at 0 o'clock.
fn by_hour(of: &[f64]) -> Vec<f64> {
    let hour = |hour: usize| of.iter().skip(hour).step_by(24).copied().collect::<Vec<_>>();
    (0..24).map(|one| mean(&hour(one))).collect()
}

fn most_and_least(of: &[f64]) -> ((usize, f64), (usize, f64)) {
    let mut all: Vec<(usize, f64)> = of.iter().copied().enumerate().collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    (*all.last().unwrap(), all[0])
}

fn daily_ranges(of: &[f64]) -> Vec<f64> {
    of.chunks_exact(24)
        .map(|day| {
            day.iter().copied().fold(f64::MIN, f64::max)
                - day.iter().copied().fold(f64::MAX, f64::min)
        })
        .collect()
}

/// What is compared: all figures are printed before the first one that misses fails the test.
#[derive(Default)]
struct Figures(Vec<(String, f64, f64, f64)>);

impl Figures {
    fn add(&mut self, name: &str, found: f64, wanted: f64) {
        self.within(name, found, wanted, 0.25);
    }

    fn within(&mut self, name: &str, found: f64, wanted: f64, band: f64) {
        eprintln!("{name}: {found:.4}, real {wanted} ±{:.0} %", band * 100.0);
        self.0.push((name.to_owned(), found, wanted, band));
    }

    fn check(self) {
        for (name, found, wanted, band) in self.0 {
            assert!((found / wanted - 1.0).abs() <= band, "{name}: {found} instead of {wanted}");
        }
    }
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn air_is_like_beijing() {
    let fleet = fleet("air-city", 11, "2026-01-01T16:00:00Z");
    let names = ["pm2_5_ug_m3", "no2_ug_m3", "o3_ug_m3"];
    let one = series(&fleet, 0, (HOUR, 1460), &names);
    let other = series(&fleet, 4, (HOUR, 1460), &names);
    let pm = &one[0];
    let mut figures = Figures::default();
    figures.add("PM2.5 5 %", quantile(pm, 50), 7.0);
    figures.add("PM2.5 50 %", quantile(pm, 500), 55.0);
    figures.add("PM2.5 95 %", quantile(pm, 950), 239.0);
    figures.within("PM2.5 lag 1 h", lag(pm, 1), 0.969, 0.02);
    figures.add("PM2.5 lag 24 h", lag(pm, 24), 0.402);
    figures.add("PM2.5 hourly change 99 %", quantile(&changes(pm), 990), 77.0);
    figures.add("PM2.5 of two stations", correlation(pm, &other[0]), 0.88);
    let ratio = |of: &[f64]| {
        let (most, least) = most_and_least(&by_hour(of));
        (most.1 / least.1, most.0, least.0)
    };
    figures.add("PM2.5 by the hour", ratio(pm).0, 1.19);
    figures.add("NO2 by the hour", ratio(&one[1]).0, 1.54);
    let (o3, most, least) = ratio(&one[2]);
    figures.add("O3 by the hour", o3, 4.1);
    figures.check();
    assert_eq!((most, least), (16, 7));
}

#[test]
fn soil_is_like_a_rainfed_field() {
    let names = ["soil_moisture_10cm", "soil_moisture_30cm", "soil_temp", "air_temp"];
    let mut figures = Figures::default();
    // Five probes of the second farm under each of six skies, from April to October.
    let of = |seed: u64| {
        let fleet = fleet("soil-fields", seed, "2026-04-01T16:00:00Z");
        (20..25).map(|device| series(&fleet, device, (HOUR, 200), &names)).collect::<Vec<_>>()
    };
    let all: Vec<_> = (1..=6).flat_map(of).collect();
    let pooled =
        |of: &dyn Fn(&[Vec<f64>]) -> f64| mean(&all.iter().map(|one| of(one)).collect::<Vec<_>>());
    figures.within("VWC lag 1 h, shallow", pooled(&|one| lag(&one[0], 1)), 0.996, 0.004);
    figures.within("VWC lag 1 h, deep", pooled(&|one| lag(&one[1], 1)), 0.999, 0.002);
    figures.add(
        "VWC hourly change 99 %, shallow",
        pooled(&|one| quantile(&changes(&one[0]), 990)),
        0.012,
    );
    figures.add(
        "VWC hourly change 99 %, deep",
        pooled(&|one| quantile(&changes(&one[1]), 990)),
        0.004,
    );
    figures.add("VWC daily range", pooled(&|one| quantile(&daily_ranges(&one[0]), 500)), 0.006);
    figures.add(
        "soil temperature daily range",
        pooled(&|one| quantile(&daily_ranges(&one[2]), 500)),
        3.3,
    );
    figures.add(
        "air temperature daily range",
        pooled(&|one| quantile(&daily_ranges(&one[3]), 500)),
        12.6,
    );
    // Between probes of one farm at the same time.
    let spread = |farm: &[Vec<Vec<f64>>]| {
        let at: Vec<f64> = farm.iter().map(|one| one[0][1000]).collect();
        (at.iter().map(|x| (x - mean(&at)).powi(2)).sum::<f64>() / 4.0).sqrt()
    };
    let spreads: Vec<f64> = all.chunks_exact(5).map(spread).collect();
    // Five probes tell a standard deviation within a third of itself.
    figures.within("VWC between probes of a farm", mean(&spreads), 0.028, 0.35);
    figures.add("dry-down constant, days", dry_down(&all), 14.7);
    let largest = all.iter().flat_map(|one| changes(&one[0])).fold(0.0, f64::max);
    let drops =
        all.iter().flat_map(|one| one[0].windows(2).map(|p| p[0] - p[1]).collect::<Vec<_>>());
    let drop = drops.fold(0.0, f64::max);
    eprintln!("largest rise {largest:.3}, largest drop {drop:.3}");
    figures.check();
    assert!(largest > 3.0 * drop, "wetting is fast, drying slow");
}

/// Returns the median time constant of dry spells: five days and more without a rise, from three days after the
/// rain on, as the slope of the logarithm above 0.10.
fn dry_down(all: &[Vec<Vec<f64>>]) -> f64 {
    let mut found = Vec::new();
    for one in all {
        // Means of days have neither the course of the day nor the noise.
        let days: Vec<f64> = one[0].chunks_exact(24).map(mean).collect();
        let mut begin = 0;
        for day in 1..days.len() {
            let rises = days[day] > days[day - 1] + 0.001;
            if rises || day + 1 == days.len() {
                let spell = &days[(begin + 3).min(day)..day];
                if spell.len() >= 5 {
                    let (first, last) = (spell[0] - 0.10, spell[spell.len() - 1] - 0.10);
                    if last > 0.02 {
                        let span = f64::from(u32::try_from(spell.len() - 1).unwrap());
                        found.push(span / (first / last).ln());
                    }
                }
                begin = day;
            }
        }
    }
    eprintln!(
        "dry spells: {}, 10 % {:.1}, 90 % {:.1}",
        found.len(),
        quantile(&found, 100),
        quantile(&found, 900)
    );
    quantile(&found, 500)
}

#[test]
fn traffic_is_like_a_lane_of_a_freeway() {
    // Four weeks from a Monday, midnight of the place, on; detectors before the bottleneck.
    let fleet = fleet("traffic-corridor", 5, "2026-03-01T16:00:00Z");
    let step = Duration::from_mins(5);
    let mut figures = Figures::default();
    let flow = &series(&fleet, 20, (step, 28), &["flow_veh_per_h"])[0];
    let days: Vec<&[f64]> = flow.chunks_exact(288).collect();
    let is_weekend = |day: usize| day % 7 >= 5;
    let working: Vec<f64> =
        (0..28).filter(|day| !is_weekend(*day)).flat_map(|day| days[day].iter().copied()).collect();
    let volume = |weekend: bool| {
        mean(
            &(0..28)
                .filter(|day| is_weekend(*day) == weekend)
                .map(|day| mean(days[day]))
                .collect::<Vec<_>>(),
        )
    };
    figures.within("lag 5 min", lag(&working, 1), 0.960, 0.03);
    figures.within("lag 1 day", lag(&working, 288), 0.947, 0.05);
    let hourly: Vec<f64> = working.chunks_exact(12).map(mean).collect();
    let hours = by_hour(&hourly);
    let (most, least) = most_and_least(&hours);
    figures.add("peak to night", most.1 / least.1, 31.0);
    figures.add("peak hour share, %", 100.0 * most.1 / hours.iter().sum::<f64>(), 8.6);
    let dispersion = working.chunks_exact(12).filter(|hour| mean(hour) > 120.0).map(|hour| {
        let counts: Vec<f64> = hour.iter().map(|flow| flow / 12.0).collect();
        let m = mean(&counts);
        counts.iter().map(|x| (x - m) * (x - m)).sum::<f64>() / 11.0 / m
    });
    figures.add(
        "variance over mean of counts, median",
        quantile(&dispersion.collect::<Vec<_>>(), 500),
        1.25,
    );
    figures.add("weekend over weekday", volume(true) / volume(false), 0.72);
    figures.check();
}
