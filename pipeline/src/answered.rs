//! What the world answers later: points refused by the store, dead letters tried again.

use std::sync::Arc;

use telemetry::codec::decode;
use telemetry::profile::Profile;
use telemetry::reading::Element;

use crate::account::Reason;
use crate::config::ActiveConfig;
use crate::core::Pipeline;
use crate::intake::{Again, TENANT, profile_for};
use crate::letter::{Letter, Subject};
use crate::outbox::{EntryKind, OutboxRecord};
use crate::record::{Origin, Redrive, Rejected, RejectedPoint, Uplink};

impl Pipeline {
    /// Notes the points that the store refused.
    pub(crate) fn take_rejected(&mut self, rejected: &Rejected, out: &mut OutboxRecord) {
        let config = self.config.clone();
        let mut sent = Sent::default();
        let mut shared: Option<(u64, Arc<Origin>)> = None;
        for (point, origin) in rejected.with_origins() {
            // After a crash between this record and its cursor the store refuses the same points again.
            if self.letters.has_point((point.position, point.index)) {
                continue;
            }
            let reason = Reason::from_number(point.reason);
            self.account.store_dead.count(reason);
            let (tenant, device, is_batch) = match &config {
                Some(config) => sent.whose(config, point, origin),
                None => ("", "", false),
            };
            let same = shared.take().filter(|(position, _)| *position == point.position);
            let (_, origin) =
                shared.insert(same.unwrap_or_else(|| (point.position, Arc::new(origin.clone()))));
            let letter = Letter {
                key: self.next_letter_key(),
                subject: Subject::Point,
                point: Some((point.position, point.index)),
                element: point.element,
                is_batch,
                reason,
                detail: point.detail.clone(),
                tenant: tenant.to_owned(),
                device: device.to_owned(),
                origin: Arc::clone(origin),
            };
            self.file(letter, (EntryKind::StoreLetter, false), out);
        }
    }

    /// Tries a dead letter again. One that is not open does nothing.
    pub(crate) fn take_redrive(&mut self, redrive: &Redrive, out: &mut OutboxRecord) {
        let Some(letter) = self.letters.close(&redrive.letter) else { return };
        let origin = &redrive.origin;
        let uplink = Uplink {
            source: origin.source,
            received_at: telemetry::time::IngestTime::from_nanos(origin.received_at_nanos),
            topic: &origin.topic,
            payload: &origin.payload,
            full_len: origin.full_len,
        };
        match letter.subject {
            Subject::Uplink => self.account.uplinks_redriven += 1,
            Subject::Reading | Subject::Point => self.account.readings_redriven += 1,
        }
        let Letter { subject, element, is_batch, .. } = letter;
        self.work(&uplink, Some(Again { subject, element, is_batch }), out);
    }
}

/// The uplink that was decoded last: points of a batch are refused together.
#[derive(Default)]
struct Sent {
    position: Option<u64>,
    /// The device that each element names.
    names: Vec<Option<Box<str>>>,
    is_batch: bool,
}

impl Sent {
    /// Returns tenant and device of a point, and whether its uplink is a batch.
    fn whose<'a>(
        &'a mut self,
        config: &ActiveConfig,
        point: &RejectedPoint,
        origin: &'a Origin,
    ) -> (&'a str, &'a str, bool) {
        let Some((routed, levels)) = config.route(&origin.topic) else {
            return ("", "", false);
        };
        let tenant = levels.tenant.unwrap_or(TENANT);
        let known = levels.device.and_then(|device| config.device(tenant, device));
        if self.position != Some(point.position) {
            let profile = config.profile(profile_for(config, known, routed));
            let decoded = profile.map(|profile| Self::decode(profile, point.position, origin));
            *self = decoded.unwrap_or_default();
        }
        let element = usize::try_from(point.element).unwrap_or(usize::MAX);
        let named = self.names.get(element).and_then(Option::as_deref);
        (tenant, named.or(levels.device).unwrap_or_default(), self.is_batch)
    }

    fn decode(profile: &Profile, position: u64, origin: &Origin) -> Self {
        let position = Some(position);
        // Since it was taken in the profile may have become one that cannot read it.
        let Ok(decoded) = decode(profile, &origin.payload) else {
            return Self { position, names: Vec::new(), is_batch: profile.batch.is_some() };
        };
        let name = |element| match element {
            Element::Reading(reading) => reading.device,
            Element::Bad(_) => None,
        };
        let names = decoded.elements.into_iter().map(name).collect();
        Self { position, names, is_batch: decoded.is_batch }
    }
}
