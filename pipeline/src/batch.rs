//! An uplink of several readings.

use std::ops::Range;

use hashbrown::HashMap;
use telemetry::reading::{Element, Reading};
use telemetry::time::EventTime;

use crate::account::Reason;
use crate::core::Pipeline;
use crate::intake::{Context, Fault, device_of};
use crate::outbox::OutboxRecord;
use crate::time_policy::{judge_time, said_time};

/// Bytes of an uplink's results from which on its other readings are set aside, so that all of it fits a segment of
/// 20 MiB: letters so far behind in a record are short, and an uplink has 10,000 elements at most.
pub(crate) const RESULTS_UNTIL: usize = 12 << 20;

impl Pipeline {
    /// Takes the elements of a batch: judged in order of time, results in the order of the payload; then the
    /// alerts in the order of time, since one that ends must not stand before its beginning.
    ///
    /// Readings whose results the record has no room for become letters, each of which can be tried again alone.
    pub(crate) fn take_batch(
        &mut self,
        ctx: &mut Context<'_>,
        elements: &mut [Element],
        out: &mut OutboxRecord,
    ) {
        let Some(profile) = ctx.config.profile(ctx.profile) else { return };
        let received_at = ctx.uplink.received_at;
        let trusted: Vec<Option<i64>> = elements
            .iter()
            .map(|element| judge_time(&profile.time, said_time(element), received_at).ok())
            .map(|at| at.map(EventTime::as_nanos))
            .collect();
        // Where each time is trusted nobody asks for the counts.
        let is_timed = trusted.iter().all(Option::is_some);
        let before = if is_timed { Vec::new() } else { counts_before(elements, ctx.device) };
        let count = |place: usize| before.get(place).copied().unwrap_or(0);
        let mut order: Vec<(i64, usize, &mut Element)> = trusted
            .iter()
            .zip(elements)
            .enumerate()
            // One without a time to be trusted stands where its point does.
            .map(|(place, (at, element))| {
                let arrived = received_at.as_nanos();
                (at.unwrap_or_else(|| arrived.saturating_add(count(place))), place, element)
            })
            .collect();
        order.sort_by_key(|(at, place, _)| (*at, *place));
        let mut part = std::mem::take(&mut self.scratch.part);
        part.begin(received_at);
        self.scratch.alerts.begin(received_at);
        ctx.alerts_wait = true;
        let mut parts: Vec<(u32, Range<usize>)> = Vec::with_capacity(order.len());
        for (_, place, element) in order {
            let begin = part.bytes().len();
            let index = u32::try_from(place).unwrap_or(u32::MAX);
            ctx.before = count(place);
            let is_full = begin + self.scratch.alerts.bytes().len() >= RESULTS_UNTIL;
            match element {
                Element::Reading(reading) if is_full => {
                    self.leave_out(ctx, index, reading, &mut part);
                }
                Element::Reading(_) | Element::Bad(_) => {
                    self.take_element(ctx, index, element, &mut part);
                }
            }
            parts.push((index, begin..part.bytes().len()));
        }
        parts.sort_by_key(|(index, _)| *index);
        for (_, range) in parts {
            out.append_entries(&part, range);
        }
        out.append_all(&self.scratch.alerts);
        self.scratch.part = part;
    }

    /// Sets a reading aside whose results the uplink's record has no room for.
    fn leave_out(
        &mut self,
        ctx: &mut Context<'_>,
        index: u32,
        reading: &mut Reading,
        out: &mut OutboxRecord,
    ) {
        let own = reading.device.take();
        let device = own.as_deref().or(ctx.device).unwrap_or_default();
        let detail = "the uplink has too many results; send it in parts".into();
        let fault = Fault { reason: Reason::BadElement, detail, device };
        self.set_reading_aside(ctx, index, fault, out);
    }
}

/// Counts before each element the readings of its device, in the order of the payload.
fn counts_before<'a>(elements: &'a [Element], topic: Option<&'a str>) -> Vec<i64> {
    let mut counts: HashMap<&str, i64> = HashMap::with_capacity(elements.len());
    elements
        .iter()
        .map(|element| {
            let Some(device) = device_of(element, topic) else { return 0 };
            let count = counts.entry(device).or_insert(0);
            *count += 1;
            *count - 1
        })
        .collect()
}
