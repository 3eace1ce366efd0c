//! What a CONNECT must be, and what it is answered. Pure.

use std::time::Duration;

use super::answer::Welcome;
use super::fault::Fault;
use super::frame::Version;
use super::packet::Connect;
use super::terms::{Identity, Limits, Terms};

/// Longest client identifier and user name: they stand in the maps of sessions.
const NAME_BYTES_MAX: usize = 512;

/// Refuses what can be seen before anybody proved anything.
pub(crate) fn check(connect: &Connect, limits: &Limits) -> Result<(), Fault> {
    let has_nul = |text: &str| text.contains('\0');
    // [MQTT-1.5.4-2], [MQTT-1.5.3-2] of 3.1.1: no NUL in a text.
    if has_nul(&connect.client_id) || connect.username.as_ref().is_some_and(|name| has_nul(name)) {
        return Err(Fault::Malformed);
    }
    if connect.has_auth_method {
        return Err(Fault::BadAuthMethod);
    }
    if connect.has_auth_data {
        return Err(Fault::Protocol);
    }
    let is_named = !connect.client_id.is_empty();
    // [MQTT-3.1.3-8] A client without a name has no session to come back to; MQTT 3.1 demands a name.
    if !is_named && (!connect.is_clean || connect.version == Version::V31) {
        return Err(Fault::ClientId);
    }
    if connect.client_id.len() > NAME_BYTES_MAX {
        return Err(Fault::ClientId);
    }
    if let Some(will) = &connect.will {
        if Terms::is_no_topic(&will.topic) {
            return Err(Fault::TopicInvalid);
        }
        if will.payload.len() > limits.will_bytes_max {
            return Err(Fault::PacketTooLarge);
        }
        // [MQTT-3.2.2-13] Retain Available is 0.
        if will.is_retained && connect.version == Version::V5 {
            return Err(Fault::Retain);
        }
    }
    Ok(())
}

/// Refuses a will that its client may not publish.
pub(crate) fn check_will(
    connect: &Connect,
    identity: &Identity,
    terms: &Terms,
) -> Result<(), Fault> {
    let is_permitted =
        connect.will.as_ref().is_none_or(|will| terms.may_publish(identity, &will.topic));
    if is_permitted { Ok(()) } else { Err(Fault::NotAuthorized) }
}

/// Returns the keep-alive that holds: what the client asked for, within the limit. 0 asks for none.
pub(crate) fn keep_alive(connect: &Connect, limits: &Limits) -> Duration {
    let asked = Duration::from_secs(connect.keep_alive_seconds.into());
    if asked.is_zero() { limits.keep_alive_max } else { asked.min(limits.keep_alive_max) }
}

/// Returns how long the session outlives the connection: what the client asked for, within the limit.
pub(crate) fn lasts(expiry_seconds: u32, limits: &Limits) -> Duration {
    Duration::from_secs(expiry_seconds.into()).min(limits.session_expiry_max)
}

/// Returns the CONNACK of a new session, with what differs from the client's wishes.
pub(crate) fn welcome(connect: &Connect, client_id: &str, limits: &Limits) -> Welcome {
    let (kept, lasts) = (keep_alive(connect, limits), lasts(connect.expiry_seconds, limits));
    let is_other_keep_alive = kept.as_secs() != u64::from(connect.keep_alive_seconds);
    let is_other_expiry = lasts.as_secs() != u64::from(connect.expiry_seconds);
    Welcome {
        is_session_present: false,
        assigned_client_id: connect.client_id.is_empty().then(|| client_id.to_owned()),
        keep_alive_seconds: is_other_keep_alive
            .then(|| u16::try_from(kept.as_secs()).unwrap_or(u16::MAX)),
        expiry_seconds: is_other_expiry.then(|| u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX)),
        receive_maximum: limits.receive_maximum,
        packet_bytes_max: limits.packet_bytes_max,
    }
}
