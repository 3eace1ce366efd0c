//! Rows `full` and `shapes`: what one reading costs at full load, beside the floor and the peer.

use crate::load::Shape;
use crate::pass::{Consumer, Pass, Terms, run};
use crate::report::{Report, Table, mean, say, spread};

use super::Plan;

/// Passes of several consumers, in turn.
fn interleaved(subjects: &[(Consumer, Terms)], rounds: usize) -> (Vec<Vec<Pass>>, Vec<String>) {
    let mut passes = vec![Vec::new(); subjects.len()];
    let mut skipped = Vec::new();
    for round in 0..rounds {
        for (place, (consumer, terms)) in subjects.iter().enumerate() {
            if round > 0 && passes[place].is_empty() {
                continue; // it could not run in the first round
            }
            match run(*consumer, *terms) {
                Ok(pass) => passes[place].push(pass),
                Err(why) => skipped.push(format!("Skipped, {}: {why}", consumer.name())),
            }
        }
    }
    passes.retain(|passes| !passes.is_empty());
    (passes, skipped)
}

const COLUMNS: [&str; 8] = [
    "consumer",
    "consumer CPU s/M",
    "Mosquitto CPU s/M",
    "influxd CPU s/M",
    "generator CPU s/M",
    "readings/s to the last stored",
    "peak RSS MiB",
    "journal + outbox B/message",
];

fn of(passes: &[Pass], value: impl Fn(&Pass) -> f64) -> String {
    spread(&passes.iter().map(value).collect::<Vec<f64>>())
}

fn cells(name: String, passes: &[Pass]) -> Vec<String> {
    let disk: Vec<[f64; 2]> = passes.iter().filter_map(|pass| pass.disk_bytes).collect();
    let disk_of = |log: usize| mean(&disk.iter().map(|bytes| bytes[log]).collect::<Vec<f64>>());
    vec![
        name,
        of(passes, |pass| pass.consumer_cpu),
        of(passes, |pass| pass.broker_cpu),
        of(passes, |pass| pass.store_cpu),
        of(passes, |pass| pass.generator_cpu),
        of(passes, |pass| pass.per_second),
        of(passes, |pass| pass.peak_mib),
        if disk.is_empty() {
            "-".to_owned()
        } else {
            format!("{:.0} + {:.0}", disk_of(0), disk_of(1))
        },
    ]
}

/// Mosquitto and InfluxDB at full load: the service, the floor, the peer. Returns the service's readings a second.
pub(crate) fn full(plan: &Plan, report: &mut Report) -> Option<f64> {
    use Consumer::{Null, Telegraf, Tianlu};
    let terms = Terms { shape: Shape::Json, messages: plan.count };
    let subjects = [Tianlu(5), Tianlu(3), Telegraf, Null(5), Null(3)];
    let (all, skipped) = interleaved(&subjects.map(|consumer| (consumer, terms)), plan.rounds);
    let heading =
        "Full load: Mosquitto and InfluxDB, one JSON uplink of five observations a message";
    let mut table = Table::new(heading, &COLUMNS);
    for passes in &all {
        table.row(cells(passes[0].consumer.clone(), passes));
    }
    let cost = |consumer: Consumer| {
        let passes = all.iter().find(|passes| passes[0].consumer == consumer.name())?;
        Some(mean(&passes.iter().map(|pass| pass.consumer_cpu).collect::<Vec<f64>>()))
    };
    for (protocol, target) in [(3, 8.0), (5, 6.0)] {
        let own = cost(Tianlu(protocol));
        let version = if protocol == 3 { "3.1.1" } else { "5" };
        if let (Some(own), Some(peer)) = (own, cost(Telegraf)) {
            table.note(format!(
                "MQTT {version}: Telegraf takes {:.1} times the CPU of tianlu (target: at least {target}).",
                peer / own
            ));
        }
        if let (Some(own), Some(floor)) = (own, cost(Null(protocol))) {
            table.note(format!(
                "MQTT {version}: tianlu takes {:.1} times the CPU of dropping everything (target: at most 2.5).",
                own / floor
            ));
        }
    }
    skipped.into_iter().for_each(|why| table.note(why));
    let own = all.iter().find(|passes| passes[0].consumer == Tianlu(5).name());
    let per_second =
        own.map(|passes| passes.iter().map(|pass| pass.per_second).fold(0.0, f64::max));
    report.add("full", &table, &all);
    per_second
}

/// The same for each shape of a message, the service alone.
pub(crate) fn shapes(plan: &Plan, report: &mut Report) {
    let subjects = [Shape::Json, Shape::Frame, Shape::Batch].map(|shape| {
        (Consumer::Tianlu(5), Terms { shape, messages: plan.count / shape.readings() })
    });
    let (all, skipped) = interleaved(&subjects, plan.rounds);
    let heading = "Shapes: Mosquitto and InfluxDB at full load, MQTT 5; all per million readings, disk per message";
    let mut table = Table::new(heading, &COLUMNS);
    for passes in &all {
        let name = match passes[0].shape {
            Shape::Json => "one JSON uplink a message",
            Shape::Frame => "one frame a message",
            Shape::Batch => "50 JSON uplinks a message",
        };
        table.row(cells(name.to_owned(), passes));
    }
    skipped.into_iter().for_each(|why| say(&why));
    report.add("shapes", &table, &all);
}
