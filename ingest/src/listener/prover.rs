//! Who a connection is: by certificate, by a password that was checked before, or by a check beside the loop.
//!
//! A check of argon2id takes tens of milliseconds and megabytes. What was right once is remembered by a keyed hash, so
//! that the devices of a region that all come back at once cost one fast hash each. Only what was right is remembered;
//! a name that nobody has takes as long as a wrong password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::ring;
use sha2::Sha256;

use super::credentials::{self, Credentials, names_of};
use super::fault::Fault;
use super::packet::Connect;
use super::terms::{Device, Identity};

/// Checks that may wait or run; beyond it a client hears that the listener is busy.
const CHECKS_MAX: usize = 128;
/// Of them, those of one address, so that one that tries passwords keeps out nobody else.
const CHECKS_OF_ADDRESS_MAX: usize = 32;

type Proof = [u8; 32];

/// A password to be checked beside the loop.
pub(crate) struct Check {
    name: String,
    proof: Proof,
    hash: Arc<str>,
    counts: bool,
    password: Bytes,
}

impl Check {
    /// Checks; takes tens of milliseconds.
    pub(crate) fn is_right(&self) -> bool {
        credentials::is_password(&self.hash, &self.password) && self.counts
    }
}

/// What is known of a client at once.
pub(crate) enum Verdict {
    Settled(Result<Identity, Fault>),
    /// To be run, then given to [`Prover::handle_checked`].
    Unsettled(Check),
}

/// Proves who connections are.
pub(crate) struct Prover {
    credentials: Option<Credentials>,
    /// Whether anybody may connect: neither credentials nor client certificates are asked for.
    is_open: bool,
    key: Proof,
    /// Of each name the password that was right.
    proven: HashMap<String, Proof>,
    checks: usize,
    checks_of: HashMap<IpAddr, usize>,
}

impl Prover {
    pub(crate) fn new(credentials: Option<Credentials>, has_client_authorities: bool) -> Self {
        let mut key = Proof::default();
        let filled = ring::default_provider().secure_random.fill(&mut key);
        debug_assert!(filled.is_ok(), "the system has no randomness");
        let is_open = credentials.is_none() && !has_client_authorities;
        Self {
            credentials,
            is_open,
            key,
            proven: HashMap::new(),
            checks: 0,
            checks_of: HashMap::new(),
        }
    }

    /// Looks who a client is; `certificate`: the name in its verified certificate.
    pub(crate) fn look(
        &mut self,
        connect: &Connect,
        certificate: Option<&str>,
        peer: IpAddr,
    ) -> Verdict {
        if let Some(name) = certificate {
            return Verdict::Settled(self.by_certificate(name));
        }
        if self.is_open {
            return Verdict::Settled(Ok(Identity::Anyone));
        }
        let bad = Verdict::Settled(Err(Fault::BadCredentials));
        let (Some(known), Some(name), Some(password)) =
            (&self.credentials, &connect.username, &connect.password)
        else {
            return bad;
        };
        let Some((hash, counts)) = known.hash_of(name) else { return bad };
        let proof = self.proof(name, password);
        if self.proven.get(&**name).is_some_and(|right| is_same(right, &proof)) {
            return Verdict::Settled(self.identity(name));
        }
        let of_address = self.checks_of.get(&peer).copied().unwrap_or(0);
        if self.checks >= CHECKS_MAX || of_address >= CHECKS_OF_ADDRESS_MAX {
            return Verdict::Settled(Err(Fault::Busy));
        }
        self.checks += 1;
        *self.checks_of.entry(peer).or_default() += 1;
        let password = Bytes::copy_from_slice(password);
        Verdict::Unsettled(Check { name: name.to_string(), proof, hash, counts, password })
    }

    /// Takes the outcome of a check; `None` where its connection ended first.
    pub(crate) fn handle_checked(
        &mut self,
        peer: IpAddr,
        checked: Option<(Check, bool)>,
    ) -> Result<Identity, Fault> {
        self.checks = self.checks.saturating_sub(1);
        if let Some(count) = self.checks_of.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.checks_of.remove(&peer);
            }
        }
        let Some((check, true)) = checked else { return Err(Fault::BadCredentials) };
        // The check may have begun before a reload: only what the credentials say now counts.
        let now = self.credentials.as_ref().and_then(|known| known.hash_of(&check.name));
        if now != Some((Arc::clone(&check.hash), true)) {
            return Err(Fault::BadCredentials);
        }
        let identity = self.identity(&check.name)?;
        self.proven.insert(check.name, check.proof);
        Ok(identity)
    }

    /// Puts new credentials in place and returns the old ones; passwords of lines that stayed need no new check.
    /// `None`, and nothing changes, where there were none before or are none now: whether they are asked for at all
    /// is settled with the address and TLS, at the start.
    pub(crate) fn replace(&mut self, credentials: Option<Credentials>) -> Option<Credentials> {
        match (&mut self.credentials, credentials) {
            (Some(known), Some(new)) => {
                let before = std::mem::replace(known, new);
                self.proven.retain(|name, _| known.of(name) == before.of(name));
                Some(before)
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                tracing::warn!("whether the listener asks for passwords changes at a restart");
                None
            }
        }
    }

    /// Returns whether the credentials still say of a device what `before` said.
    pub(crate) fn agrees(&self, before: &Credentials, identity: &Identity) -> bool {
        let Identity::Device(device) = identity else { return true };
        self.credentials.as_ref().is_some_and(|now| now.agrees(before, device))
    }

    fn by_certificate(&self, name: &str) -> Result<Identity, Fault> {
        if let Ok(identity) = self.identity(name) {
            return Ok(identity);
        }
        let (tenant, device) = names_of(name).ok_or(Fault::NotAuthorized)?;
        let device = Device { tenant: tenant.into(), name: device.into(), publishes: Vec::new() };
        Ok(Identity::Device(Arc::new(device)))
    }

    fn identity(&self, name: &str) -> Result<Identity, Fault> {
        let entry = self.credentials.as_ref().and_then(|known| known.of(name));
        entry.map(|entry| Identity::Device(Arc::clone(&entry.device))).ok_or(Fault::BadCredentials)
    }

    fn proof(&self, name: &str, password: &[u8]) -> Proof {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return Proof::default();
        };
        let len = u64::try_from(name.len()).unwrap_or(u64::MAX);
        mac.update(&len.to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(password);
        mac.finalize().into_bytes().into()
    }
}

/// Compares without a hint at which byte differs.
fn is_same(one: &Proof, other: &Proof) -> bool {
    one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::frame::Version;
    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    const OTHER: &str = "QQQQQQQQQQQQQQQQQQQQQQ";

    /// Credentials of one device, by its hash.
    fn credentials(device: &str, hash: &str) -> Option<Credentials> {
        let hash = format!("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ${hash}");
        let text = format!("tenant,device,password_hash\ndefault,{device},\"{hash}\"\n");
        Some(Credentials::parse("devices.csv", &text).unwrap())
    }

    fn look(prover: &mut Prover) -> Verdict {
        let connect = Connect {
            version: Version::V5,
            client_id: "c".into(),
            username: Some("d".into()),
            password: Some(Bytes::from_static(b"secret")),
            is_clean: true,
            keep_alive_seconds: 60,
            expiry_seconds: 0,
            receive_maximum: 1,
            packet_bytes_max: 1000,
            will: None,
            has_auth_method: false,
            has_auth_data: false,
        };
        prover.look(&connect, None, PEER)
    }

    fn check(prover: &mut Prover) -> Check {
        let Verdict::Unsettled(check) = look(prover) else { panic!("it is not checked") };
        check
    }

    fn is_settled(prover: &mut Prover) -> bool {
        matches!(look(prover), Verdict::Settled(Ok(_)))
    }

    #[test]
    fn a_check_that_began_before_a_reload_proves_what_still_stands() {
        for (device, hash, stands) in [("d", ONE, true), ("d", OTHER, false), ("e", ONE, false)] {
            let mut prover = Prover::new(credentials("d", ONE), false);
            let begun = check(&mut prover);
            assert!(prover.replace(credentials(device, hash)).is_some());
            let proven = prover.handle_checked(PEER, Some((begun, true)));
            assert_eq!(proven.is_ok(), stands, "{device} {hash}");
            assert_eq!(is_settled(&mut prover), stands, "{device} {hash}");
        }
    }

    #[test]
    fn what_a_reload_leaves_alone_needs_no_new_check() {
        for (hash, stands) in [(ONE, true), (OTHER, false)] {
            let mut prover = Prover::new(credentials("d", ONE), false);
            let begun = check(&mut prover);
            assert!(prover.handle_checked(PEER, Some((begun, true))).is_ok());
            assert!(prover.replace(credentials("d", hash)).is_some());
            assert_eq!(is_settled(&mut prover), stands, "{hash}");
        }
    }

    #[test]
    fn a_reload_neither_opens_nor_closes_the_listener() {
        let mut closed = Prover::new(credentials("d", ONE), false);
        assert!(closed.replace(None).is_none());
        let begun = check(&mut closed);
        assert!(closed.handle_checked(PEER, Some((begun, true))).is_ok());
        let mut open = Prover::new(None, false);
        assert!(open.replace(credentials("d", ONE)).is_none());
        assert!(is_settled(&mut open), "anybody");
    }
}
