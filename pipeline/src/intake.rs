//! An uplink: route, decode, and what becomes of it when that fails.

use std::sync::Arc;

use telemetry::codec::decode;
use telemetry::hash::sha256_hex;
use telemetry::reading::{Decoded, Element};
use telemetry::registry::Device as Registered;

use crate::account::Reason;
use crate::config::{ActiveConfig, UnknownDevice};
use crate::core::{Pipeline, Recorded};
use crate::letter::{Letter, PAYLOAD_KEPT_MAX, Subject};
use crate::outbox::{Entry, EntryKind, OutboxRecord};
use crate::record::{Origin, Uplink};

/// Tenant of a topic that names none.
pub(crate) const TENANT: &str = "default";
/// Site of a device that neither topic nor registry places.
pub(crate) const SITE: &str = "default";

/// What is known of the uplink whose readings are being taken.
pub(crate) struct Context<'a> {
    pub(crate) config: &'a ActiveConfig,
    pub(crate) uplink: &'a Uplink<'a>,
    /// What is being tried again, if anything.
    pub(crate) redrive: Option<Again>,
    pub(crate) profile: u16,
    pub(crate) tenant: &'a str,
    pub(crate) site: Option<&'a str>,
    pub(crate) device: Option<&'a str>,
    pub(crate) is_batch: bool,
    /// How many readings of the same device stand before the one being taken, in the order of the payload.
    pub(crate) before: i64,
    /// Alerts are collected until the whole batch is judged.
    pub(crate) alerts_wait: bool,
    /// Shared by the letters of this uplink, made with the first of them.
    pub(crate) origin: Option<Arc<Origin>>,
}

/// What a letter stood for that is being tried again. Should it be set aside once more, its new letter stands for the
/// same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again {
    pub(crate) subject: Subject,
    pub(crate) element: u32,
    pub(crate) is_batch: bool,
}

/// Why something is set aside, and in whose name.
pub(crate) struct Fault<'a> {
    pub(crate) reason: Reason,
    pub(crate) detail: Box<str>,
    pub(crate) device: &'a str,
}

impl Context<'_> {
    /// Returns whether a reading's entry counts as one that had been counted before.
    pub(crate) fn is_redriven(&self) -> bool {
        self.redrive.is_some_and(|again| again.subject != Subject::Uplink)
    }

    /// Returns whether a point is tried again that the store refused: it is not there, whatever is remembered of it.
    pub(crate) fn was_refused(&self) -> bool {
        self.redrive.is_some_and(|again| again.subject == Subject::Point)
    }

    /// Returns the slot of a property of the profile in its measurement.
    pub(crate) fn slot(&self, property: u16) -> Option<usize> {
        let place = self.config.place(self.profile)?;
        place.slots.get(usize::from(property)).map(|slot| usize::from(*slot))
    }

    fn origin(&mut self) -> Arc<Origin> {
        Arc::clone(self.origin.get_or_insert_with(|| Arc::new(origin_of(self.uplink))))
    }
}

fn origin_of(uplink: &Uplink<'_>) -> Origin {
    Origin {
        source: uplink.source,
        received_at_nanos: uplink.received_at.as_nanos(),
        topic: uplink.topic.to_owned(),
        payload: uplink.payload.to_vec(),
        full_len: uplink.full_len,
    }
}

impl Pipeline {
    /// Takes an uplink in.
    pub(crate) fn take_uplink(&mut self, uplink: &Uplink<'_>, out: &mut OutboxRecord) {
        self.work(uplink, None, out);
    }

    /// Takes a reading of recorded data in.
    pub(crate) fn take_recorded(&mut self, recorded: Recorded<'_>, out: &mut OutboxRecord) {
        let Some(config) = self.config.clone() else { return };
        let mut ctx = Context {
            config: &config,
            uplink: &recorded.uplink,
            redrive: None,
            profile: recorded.profile,
            tenant: recorded.tenant,
            site: recorded.site,
            device: Some(recorded.device),
            is_batch: false,
            before: 0,
            alerts_wait: false,
            origin: None,
        };
        self.take_elements(
            &mut ctx,
            Decoded { elements: vec![recorded.element], is_batch: false },
            out,
        );
    }

    /// Takes an uplink, or one element of it, and accounts for it.
    pub(crate) fn work(
        &mut self,
        uplink: &Uplink<'_>,
        redrive: Option<Again>,
        out: &mut OutboxRecord,
    ) {
        let Some(config) = self.config.clone() else {
            // Only a journal that lost its first records can begin without a configuration.
            let fault = Fault {
                reason: Reason::UnknownTopic,
                detail: "no configuration is active".into(),
                device: "",
            };
            self.set_uplink_aside(uplink, redrive, ("", fault), out);
            return;
        };
        let fault = match self.decode(&config, uplink) {
            Ok((mut ctx, decoded)) => {
                ctx.redrive = redrive;
                self.take_elements(&mut ctx, decoded, out);
                return;
            }
            Err(fault) => fault,
        };
        self.set_uplink_aside(uplink, redrive, fault, out);
    }

    /// Stage 1, stateless: topic, profile, codec. The error carries the tenant and the fault.
    fn decode<'a>(
        &self,
        config: &'a ActiveConfig,
        uplink: &'a Uplink<'a>,
    ) -> Result<(Context<'a>, Decoded), (&'a str, Fault<'a>)> {
        let fault =
            |reason, detail: String, device| Fault { reason, detail: detail.into(), device };
        let Some((routed, levels)) = config.route(uplink.topic) else {
            return Err((
                "",
                fault(Reason::UnknownTopic, "no [[uplinks]] pattern matches".to_owned(), ""),
            ));
        };
        let (tenant, named) = (levels.tenant.unwrap_or(TENANT), levels.device.unwrap_or_default());
        if is_too_large(config, uplink) {
            return Err((tenant, fault(Reason::TooLarge, too_large(uplink), named)));
        }
        let known = levels.device.and_then(|device| config.device(tenant, device));
        let profile_index = profile_for(config, known, routed);
        let Some(profile) = config.profile(profile_index) else {
            return Err((
                tenant,
                fault(Reason::Malformed, "the route has no profile".to_owned(), named),
            ));
        };
        if known.is_none()
            && config.unknown == UnknownDevice::Quarantine
            && levels.device.is_some()
            && !profile.names_devices()
        {
            return Err((
                tenant,
                fault(Reason::UnknownDevice, "not in the registry".to_owned(), named),
            ));
        }
        let decoded = match decode(profile, uplink.payload) {
            Ok(decoded) => decoded,
            Err(error) => return Err((tenant, fault(Reason::Malformed, error.to_string(), named))),
        };
        let ctx = Context {
            config,
            uplink,
            redrive: None,
            profile: profile_index,
            tenant,
            site: levels.site,
            device: levels.device,
            is_batch: decoded.is_batch,
            before: 0,
            alerts_wait: false,
            origin: None,
        };
        Ok((ctx, decoded))
    }

    fn take_elements(
        &mut self,
        ctx: &mut Context<'_>,
        mut decoded: Decoded,
        out: &mut OutboxRecord,
    ) {
        if let Some(again) = ctx.redrive.filter(|_| ctx.is_redriven()) {
            self.redrive_element(ctx, decoded, again.element, out);
            return;
        }
        self.account.uplinks_decoded += 1;
        self.account.readings_decoded += u64::try_from(decoded.elements.len()).unwrap_or(0);
        match decoded.elements.as_mut_slice() {
            [single] => self.take_element(ctx, 0, single, out),
            elements => self.take_batch(ctx, elements, out),
        }
    }

    /// Takes the one element that a letter names; counted before, so only what becomes of it counts.
    fn redrive_element(
        &mut self,
        ctx: &mut Context<'_>,
        decoded: Decoded,
        at: u32,
        out: &mut OutboxRecord,
    ) {
        let mut elements = decoded.elements;
        let place = usize::try_from(at).unwrap_or(usize::MAX).min(elements.len());
        let (before, from) = elements.split_at_mut(place);
        let mut gone = Element::Bad("the uplink no longer has this element".into());
        let element = from.first_mut().unwrap_or(&mut gone);
        let named = device_of(element, ctx.device);
        let same = before.iter().filter(|other| device_of(other, ctx.device) == named).count();
        ctx.before = i64::try_from(same).unwrap_or(i64::MAX);
        self.take_element(ctx, at, element, out);
    }

    /// Takes an element; what is kept of it is moved out.
    pub(crate) fn take_element(
        &mut self,
        ctx: &mut Context<'_>,
        index: u32,
        element: &mut Element,
        out: &mut OutboxRecord,
    ) {
        match element {
            Element::Reading(reading) => self.take_reading(ctx, index, reading, out),
            Element::Bad(detail) => {
                let device = ctx.device.unwrap_or_default();
                let detail = std::mem::take(detail);
                let fault = Fault { reason: Reason::BadElement, detail, device };
                self.set_reading_aside(ctx, index, fault, out);
            }
        }
    }

    /// Sets a whole uplink aside. Of a letter that stood for a reading or a point, that.
    fn set_uplink_aside(
        &mut self,
        uplink: &Uplink<'_>,
        redrive: Option<Again>,
        (tenant, fault): (&str, Fault<'_>),
        out: &mut OutboxRecord,
    ) {
        let mut origin = origin_of(uplink);
        // What a letter has had whole stays whole: the bound may be raised again.
        if fault.reason == Reason::TooLarge && redrive.is_none() {
            origin.payload.truncate(PAYLOAD_KEPT_MAX);
        }
        let whole = Again { subject: Subject::Uplink, element: 0, is_batch: false };
        let Again { subject, element, is_batch } = redrive.unwrap_or(whole);
        let kind = match subject {
            Subject::Uplink => {
                self.account.uplinks_dead.count(fault.reason);
                EntryKind::DeadUplink
            }
            Subject::Reading | Subject::Point => {
                self.account.readings_dead.count(fault.reason);
                EntryKind::DeadReading
            }
        };
        let letter = Letter {
            key: self.next_letter_key(),
            subject,
            point: None,
            element,
            is_batch,
            reason: fault.reason,
            detail: fault.detail.into(),
            tenant: tenant.to_owned(),
            device: fault.device.to_owned(),
            origin: Arc::new(origin),
        };
        self.file(letter, (kind, subject != Subject::Uplink), out);
    }

    /// Sets one reading aside.
    pub(crate) fn set_reading_aside(
        &mut self,
        ctx: &mut Context<'_>,
        index: u32,
        fault: Fault<'_>,
        out: &mut OutboxRecord,
    ) {
        self.account.readings_dead.count(fault.reason);
        let letter = Letter {
            key: self.next_letter_key(),
            subject: if ctx.was_refused() { Subject::Point } else { Subject::Reading },
            point: None,
            element: index,
            is_batch: ctx.is_batch,
            reason: fault.reason,
            detail: fault.detail.into(),
            tenant: ctx.tenant.to_owned(),
            device: fault.device.to_owned(),
            origin: ctx.origin(),
        };
        self.file(letter, (EntryKind::DeadReading, ctx.is_redriven()), out);
    }

    pub(crate) fn next_letter_key(&mut self) -> (u64, u32) {
        let key = (self.position, self.letter_number);
        self.letter_number += 1;
        key
    }

    pub(crate) fn file(
        &mut self,
        letter: Letter,
        (kind, redriven): (EntryKind, bool),
        out: &mut OutboxRecord,
    ) {
        out.push_with(kind, redriven, letter.element, |record| letter.write_entry(record));
        self.account.letters_expired += self.letters.add(letter);
    }
}

/// Returns the device whose reading an element is: the one that it names, else the topic's.
pub(crate) fn device_of<'a>(element: &'a Element, topic: Option<&'a str>) -> Option<&'a str> {
    match element {
        Element::Reading(reading) => reading.device.as_deref().or(topic),
        Element::Bad(_) => None,
    }
}

fn is_too_large(config: &ActiveConfig, uplink: &Uplink<'_>) -> bool {
    let held = u64::try_from(uplink.payload.len()).unwrap_or(u64::MAX);
    uplink.full_len > config.max_payload(uplink.source) || uplink.full_len > held
}

fn too_large(uplink: &Uplink<'_>) -> String {
    let hash = sha256_hex(uplink.payload);
    format!(
        "payload of {} bytes, sha256 of the {} bytes taken in {hash}",
        uplink.full_len,
        uplink.payload.len()
    )
}

/// Returns the profile that the registry gives a device.
pub(crate) fn profile_of(config: &ActiveConfig, known: &Registered) -> Option<u16> {
    known.profile.as_deref().and_then(|name| config.profile_index(name))
}

/// Returns the profile that decodes what a device sends: the one that the registry gives it, else the route's.
pub(crate) fn profile_for(config: &ActiveConfig, known: Option<&Registered>, routed: u16) -> u16 {
    known.and_then(|known| profile_of(config, known)).unwrap_or(routed)
}

/// An entry without data.
pub(crate) const fn marker(kind: EntryKind, redriven: bool, element: u32) -> Entry<'static> {
    Entry { kind, redriven, element, data: &[] }
}
