//! What the world answers later: points refused by the store, dead letters tried again.

use std::sync::Arc;

use telemetry::codec::decode;
use telemetry::profile::Profile;
use telemetry::reading::Element;

use crate::account::Reason;
use crate::core::Pipeline;
use crate::intake::TENANT;
use crate::letter::{Letter, Subject};
use crate::outbox::{EntryKind, OutboxRecord};
use crate::record::{Redrive, Rejected, RejectedPoint, Uplink};

impl Pipeline {
    /// Notes the points that the store refused.
    pub(crate) fn take_rejected(&mut self, rejected: &Rejected, out: &mut OutboxRecord) {
        let mut devices = BatchDevices::default();
        for point in &rejected.points {
            // After a crash between this record and its cursor the store refuses the same points again.
            if self.letters.has_point((point.position, point.index)) {
                continue;
            }
            let reason = Reason::from_number(point.reason);
            self.account.store_dead.count(reason);
            let config = self.config.clone();
            let levels = config.as_ref().and_then(|config| config.route(&point.origin.topic));
            let (tenant, device, is_batch) = match (&levels, &config) {
                (Some((profile, levels)), Some(config)) => {
                    let profile = config.profile(*profile).filter(|one| one.batch.is_some());
                    let named = profile.and_then(|profile| devices.find(profile, point));
                    (
                        levels.tenant.unwrap_or(TENANT),
                        named.or(levels.device).unwrap_or_default(),
                        profile.is_some(),
                    )
                }
                _ => ("", "", false),
            };
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
                origin: Arc::new(point.origin.clone()),
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
        self.work(&uplink, Some(letter.subject), letter.redrive_element(), out);
    }
}

/// The devices that the elements of one uplink name: points of a batch are refused together.
#[derive(Default)]
struct BatchDevices {
    position: u64,
    names: Vec<Option<Box<str>>>,
}

impl BatchDevices {
    /// Returns the device of a point, where its element names one.
    fn find(&mut self, profile: &Profile, point: &RejectedPoint) -> Option<&str> {
        if self.position != point.position {
            let elements = decode(profile, &point.origin.payload).ok()?.elements;
            let name = |element| match element {
                Element::Reading(reading) => reading.device,
                Element::Bad(_) => None,
            };
            self.names = elements.into_iter().map(name).collect();
            self.position = point.position;
        }
        self.names.get(usize::try_from(point.element).ok()?)?.as_deref()
    }
}
