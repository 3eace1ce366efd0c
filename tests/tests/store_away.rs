//! InfluxDB is away, refuses the token, or answers with errors: alerts go out, memory stays, nothing is lost.

use std::thread;
use std::time::{Duration, Instant};

use proof::balance::assert_balance_always;
use proof::fault_proxy::{Fault, FaultProxy};
use proof::influx::{Influx, TOKEN};
use proof::letters::text;
use proof::mosquitto::Mosquitto;
use proof::publisher::{Message, Publisher};
use proof::sample::{Sample, assert_stored, fleet};
use proof::tianlu::Tianlu;
use proof::wait::now_ms;
use proof::webhook::Webhook;
use proof::work::{DRY, Work};

const IN_TIME: Duration = Duration::from_mins(2);
const PER_SECOND: u32 = 1000;
const MIB: u64 = 1 << 20;
/// Counts the writes that failed and are tried again.
const RETRIES: &str = "tianlu_store_retries_total";
/// What a payload has beside its reading, so that the uplinks of the time away are more than memory may grow by.
const PAD: usize = 2048;
const GROWTH_MAX_MIB: u64 = 32;

/// How long the store is away, seconds; `TIANLU_AWAY_SECONDS` makes it longer.
fn away_seconds() -> u32 {
    std::env::var("TIANLU_AWAY_SECONDS").ok().and_then(|given| given.parse().ok()).unwrap_or(20)
}

fn padded(sample: &Sample) -> Message {
    let payload = sample.payload();
    let open = payload.trim_end_matches('}');
    Message::uplink(&sample.device, format!("{open},\"pad\":\"{}\"}}", "p".repeat(PAD)))
}

/// Scenario: InfluxDB is stopped for 20 s while 1,000 uplinks of 2 KiB a second come in, one of which is dry.
/// Guarantees: the alert reaches the webhook within 5 s; `/readyz` names the store with its address within
/// 10 s; resident memory grows by less than 32 MiB, and more than that comes in; afterwards everything is there.
#[test]
fn alerts_go_out_and_memory_stays_while_the_store_is_away() {
    let (Some(broker), Some(mut influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let hook = Webhook::start();
    let work = Work::new()
        .mqtt(&broker.url())
        .influx(&influx)
        .webhook(&hook.url(), "")
        .rule("soil-dry", DRY);
    let mut service = Tianlu::ready(&work);
    let watch = assert_balance_always(&work.base());
    let away_seconds = away_seconds();
    let mut samples = fleet("s", PER_SECOND, away_seconds, now_ms() - 3_600_000);
    let mut dry = Sample::new("dry", now_ms(), 1);
    dry.moisture_thousandths = 90;
    influx.stop();
    let (began, before) = (Instant::now(), service.resident_bytes());
    let highest = thread::scope(|scope| {
        let uplinks: Vec<Message> = samples.iter().map(padded).collect();
        let mut publisher = Publisher::new(&broker.address(), "p1");
        publisher.per_second = Some(PER_SECOND);
        publisher.within += Duration::from_secs(u64::from(away_seconds));
        let publishing = scope.spawn(move || publisher.send(&uplinks));
        proof::wait::pass(Duration::from_secs(3));
        let sent = Instant::now();
        Publisher::new(&broker.address(), "p2").send(&[dry.uplink()]);
        let delivered = hook.wait(1, Duration::from_secs(5));
        assert_eq!(delivered[0].request.json()["device"], "dry", "after {:?}", sent.elapsed());
        let reason = service.wait_not_ready("store", Duration::from_secs(10));
        assert!(reason["message"].as_str().unwrap().contains(&influx.url()), "{reason}");
        assert!(!reason["remedy"].as_str().unwrap().is_empty(), "{reason}");
        let mut highest = 0;
        while !publishing.is_finished()
            || began.elapsed() < Duration::from_secs(u64::from(away_seconds))
        {
            highest = highest.max(service.resident_bytes());
            proof::wait::pass(Duration::from_millis(200));
        }
        highest
    });
    let grown = highest.saturating_sub(before) / MIB;
    assert!(grown < GROWTH_MAX_MIB, "resident memory rose by {grown} MiB");
    influx.restart();
    // Back-off is at most 30 s, then ready within 5 s of the first success.
    service.wait_ready(Duration::from_secs(40));
    let told = u64::from(PER_SECOND * away_seconds) + 1;
    let balance = service.settle(told, IN_TIME);
    assert_eq!(balance.readings.stored, told);
    assert!(watch.finish() > 20);
    samples.push(dry);
    assert_stored(&influx, &samples);
}

/// Scenario: the store is away when the service is asked to end, and when it starts again.
/// Guarantees: SIGTERM ends it with exit code 0 within the drain; what was not written waits in the outbox.
#[test]
fn a_drain_without_a_store_ends_in_time_and_keeps_what_waits() {
    let (Some(broker), Some(mut influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().mqtt(&broker.url()).influx(&influx);
    let mut service = Tianlu::ready(&work);
    let samples = fleet("s", 10, 20, now_ms() - 3_600_000);
    influx.stop();
    let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
    Publisher::new(&broker.address(), "p1").send(&uplinks);
    service.wait_not_ready("store", Duration::from_secs(15));
    assert!(service.terminate().success());
    let mut service = Tianlu::start(&work);
    service.wait_not_ready("store", Duration::from_secs(30));
    influx.restart();
    service.wait_ready(Duration::from_secs(40));
    service.settle(200, IN_TIME);
    assert_stored(&influx, &samples);
}

/// Scenario: the token is wrong from the start; then the right one is written to its file.
/// Guarantees: `/readyz` names the store; intake goes on; nothing becomes a dead letter; all is stored then.
#[test]
fn a_wrong_token_holds_and_the_right_one_lets_go() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let work = Work::new().mqtt(&broker.url()).store(&influx.url(), "wrong-token");
    let mut service = Tianlu::start(&work);
    let reason = service.wait_not_ready("store", Duration::from_secs(30));
    assert!(reason["message"].as_str().unwrap().contains(&influx.url()), "{reason}");
    let samples = fleet("s", 10, 20, now_ms() - 3_600_000);
    proof::wait::until("intake", IN_TIME, || {
        let reasons = service.try_get("/readyz")?.json();
        let reasons = reasons["reasons"].as_array()?;
        // A broker keeps nothing for whom it does not know yet.
        reasons.iter().all(|reason| reason["part"] == "store").then_some(())
    });
    let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
    Publisher::new(&broker.address(), "p1").send(&uplinks);
    proof::wait::until("uplinks held for the store", IN_TIME, || {
        let balance = proof::balance::Balance::fetch(service.base())?;
        assert_eq!((balance.readings.stored, balance.readings.dead), (0, 0));
        (balance.readings.held == 200).then_some(())
    });
    work.token(TOKEN);
    service.wait_ready(Duration::from_secs(40));
    service.settle(200, IN_TIME);
    assert_stored(&influx, &samples);
}

/// Scenario: a proxy in front of InfluxDB answers 429 with `Retry-After`, 503 and 500 until `/readyz` says so, 413
/// above 2 KiB, closes, hangs and is slow, one after the other, each while 500 uplinks come in.
/// Guarantees: `/readyz` names the store with its address, and is ready again by itself; all is stored, nothing
/// becomes a dead letter; after 429 nothing is sent before the time told.
#[test]
fn errors_of_the_store_are_waited_out() {
    let (Some(broker), Some(influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let proxy = FaultProxy::start(&influx.address());
    let work = Work::new().mqtt(&broker.url()).store(&proxy.url(), TOKEN);
    let mut service = Tianlu::ready(&work);
    let watch = assert_balance_always(&work.base());
    let answer = |status, retry_after| Fault::Answer { times: u32::MAX, status, retry_after };
    let faults = [
        answer(429, Some(2)),
        answer(503, None),
        answer(500, None),
        Fault::TooLargeAbove(2048),
        Fault::Refuse,
        Fault::Hang,
        Fault::Slow(Duration::from_millis(300)),
    ];
    let mut all = Vec::new();
    for (number, fault) in faults.into_iter().enumerate() {
        let (failed, written) = (proxy.failed(), proxy.writes().len());
        let given_up = service.metric(RETRIES);
        proxy.fault(fault);
        let samples = fleet(&format!("f{number}-"), 50, 10, now_ms() - 3_600_000);
        let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
        Publisher::new(&broker.address(), "p1").send(&uplinks);
        all.extend(samples);
        match fault {
            Fault::Answer { .. } | Fault::Refuse | Fault::Hang => {
                let reason = service.wait_not_ready("store", IN_TIME);
                assert!(text(&reason, "message").contains(&proxy.url()), "{fault:?}: {reason}");
                assert_ne!(text(&reason, "remedy"), "", "{fault:?}: {reason}");
                // Also one that hangs is given up, to be sent again.
                proof::wait::until("the write to be given up", IN_TIME, || {
                    (service.metric(RETRIES) > given_up).then_some(())
                });
                if let Fault::Answer { retry_after: Some(_), .. } = fault {
                    // Two gaps are judged; a write that passes is followed by the next at once.
                    proof::wait::until("three writes", IN_TIME, || {
                        (proxy.writes().len() >= written + 3).then_some(())
                    });
                }
                proxy.fault(Fault::Pass);
            }
            Fault::TooLargeAbove(_) => {
                proof::wait::until("a 413", IN_TIME, || (proxy.failed() > failed).then_some(()))
            }
            Fault::Slow(_) | Fault::Pass => {}
        }
        let balance = service.settle(u64::try_from(all.len()).unwrap(), IN_TIME);
        assert_eq!((balance.uplinks.dead, balance.readings.dead), (0, 0), "{fault:?}");
        service.wait_ready(IN_TIME);
        if let Fault::Answer { retry_after: Some(seconds), .. } = fault {
            let least = Duration::from_millis(u64::from(seconds) * 1000 - 50);
            let writes = &proxy.writes()[written..];
            let gaps: Vec<Duration> = writes.windows(2).map(|two| two[1] - two[0]).collect();
            assert!(gaps[0] >= least && gaps[1] >= least, "sent again after {gaps:?}");
        }
    }
    assert!(watch.finish() > 20);
    assert_stored(&influx, &all);
}

/// Scenario: InfluxDB is killed with -9 right after it answered a write with 204, three times, while 250 uplinks a
/// second come in. Guarantees: each reading is stored exactly once.
#[test]
fn a_store_killed_right_after_its_answer_costs_nothing() {
    let (Some(broker), Some(mut influx)) = (Mosquitto::start(), Influx::start()) else { return };
    let proxy = FaultProxy::start(&influx.address());
    let work = Work::new().mqtt(&broker.url()).store(&proxy.url(), TOKEN);
    let mut service = Tianlu::ready(&work);
    let watch = assert_balance_always(&work.base());
    let samples = fleet("k", 100, 60, now_ms() - 3_600_000);
    thread::scope(|scope| {
        let uplinks: Vec<Message> = samples.iter().map(Sample::uplink).collect();
        let mut publisher = Publisher::new(&broker.address(), "p1");
        publisher.per_second = Some(250);
        scope.spawn(move || publisher.send(&uplinks));
        for _ in 0..3 {
            let (stored, waiting) = (proxy.stored(), Instant::now());
            while proxy.stored() == stored {
                assert!(waiting.elapsed() < IN_TIME, "nothing was stored");
                proof::wait::pass(Duration::from_millis(1));
            }
            influx.kill9();
            influx.restart();
        }
    });
    let balance = service.settle(6000, IN_TIME);
    assert_eq!((balance.readings.stored, balance.readings.dead), (6000, 0));
    assert!(watch.finish() > 20);
    assert_stored(&influx, &samples);
}
