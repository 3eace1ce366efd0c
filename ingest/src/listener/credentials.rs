//! Who may connect: lines of `tenant,device,password_hash[,publishes]`.
//!
//! The hash is an argon2id PHC string, with or without quotes around its commas; empty where the device has a
//! certificate. `publishes`: topic filters beside the device's own topics, separated by spaces, for gateways.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier};
use telemetry::problem::{Problem, excerpt};
use telemetry::text::{Text, say};
use telemetry::topic::{TopicPattern, is_name};

use super::config::SetUpError;
use super::terms::{DEFAULT_TENANT, Device};

/// Most memory that a hash may ask for, in KiB, and most passes: the file is checked by people, mistakes are not.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;
/// The start of a hash, as written.
const HASH_START: &str = "$argon2";

/// Every device that may connect. Its `Debug` shows no hash.
#[derive(Clone, Default)]
pub struct Credentials {
    of: HashMap<String, Entry>,
    /// Checked in place of the hash of a name that nobody has, so that it takes as long.
    stand_in: Option<Arc<str>>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) device: Arc<Device>,
    /// `None`: by certificate only.
    hash: Option<Arc<str>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("devices", &self.of.len()).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SetUpError`], with every wrong line.
    pub fn read(file: &Path) -> Result<Self, SetUpError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| SetUpError::CredentialsFile { file: file.to_owned(), source })?;
        Self::parse(&file.display().to_string(), &text)
            .map_err(|problems| SetUpError::Credentials { problems })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Every wrong line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let mut known = Self::default();
        let mut problems = Vec::new();
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        for record in reader.into_records() {
            let line = match &record {
                Ok(record) => record.position().map(csv::Position::line),
                Err(error) => error.position().map(csv::Position::line),
            };
            let line = line.and_then(|line| u32::try_from(line).ok());
            let read = match record {
                Ok(record) if record.get(0) == Some("tenant") && line == Some(1) => continue,
                Ok(record) => known.take_line(&fields(&record)),
                Err(error) => Err(wrong("", Text::plain(error.to_string()))),
            };
            if let Err(problem) = read {
                problems.push(Problem { file: file.to_owned(), line, ..*problem });
            }
        }
        if problems.is_empty() { Ok(known) } else { Err(problems) }
    }

    fn take_line(&mut self, fields: &[String]) -> Result<(), Box<Problem>> {
        let [tenant, device, hash, publishes @ ..] = fields else {
            return Err(wrong("", say("listener.credentials.fields", &[])));
        };
        for name in [tenant, device] {
            if !is_name(name) || name.contains(['/', '+', '#']) {
                return Err(wrong(name, say("listener.credentials.name", &[])));
            }
        }
        let hash = if hash.is_empty() { None } else { Some(checked(hash)?) };
        let filters = publishes.iter().flat_map(|field| field.split_whitespace());
        let parsed: Result<Vec<TopicPattern>, _> = filters
            .map(|filter| {
                TopicPattern::parse(filter)
                    .map_err(|error| wrong(filter, Text::plain(error.to_string())))
            })
            .collect();
        let known = Device {
            tenant: tenant.as_str().into(),
            name: device.as_str().into(),
            publishes: parsed?,
        };
        if self.stand_in.is_none() {
            self.stand_in.clone_from(&hash);
        }
        let entry = Entry { device: Arc::new(known), hash };
        if self.of.insert(wire_name(tenant, device), entry).is_some() {
            return Err(wrong(device, say("listener.credentials.twice", &[])));
        }
        Ok(())
    }

    /// Returns the line of a name as it is on the wire: `{device}`, or `{tenant}/{device}`.
    pub(crate) fn of(&self, name: &str) -> Option<&Entry> {
        let is_default = name.strip_prefix(DEFAULT_TENANT).is_some_and(|n| n.starts_with('/'));
        let short = if is_default { name.get(DEFAULT_TENANT.len() + 1..)? } else { name };
        self.of.get(short)
    }

    /// Returns the hash to check a password of this name against, and whether the outcome counts.
    pub(crate) fn hash_of(&self, name: &str) -> Option<(Arc<str>, bool)> {
        match self.of(name).and_then(|entry| entry.hash.clone()) {
            Some(hash) => Some((hash, true)),
            None => Some((self.stand_in.clone()?, false)),
        }
    }

    /// Returns whether both say the same of a device.
    pub(crate) fn agrees(&self, other: &Self, device: &Device) -> bool {
        let name = wire_name(&device.tenant, &device.name);
        self.of.get(&name) == other.of.get(&name)
    }
}

/// Returns tenant and device of a name on the wire.
pub(crate) fn names_of(name: &str) -> Option<(&str, &str)> {
    let (tenant, device) = name.split_once('/').unwrap_or((DEFAULT_TENANT, name));
    let is_right = is_name(tenant) && is_name(device) && !name.contains(['+', '#']);
    (is_right && !device.contains('/')).then_some((tenant, device))
}

fn wire_name(tenant: &str, device: &str) -> String {
    if tenant == DEFAULT_TENANT { device.to_owned() } else { format!("{tenant}/{device}") }
}

/// Joins a hash that was written without quotes: `$argon2id$v=19$m=…,t=…,p=…$…$…`.
fn fields(record: &csv::StringRecord) -> Vec<String> {
    let mut fields: Vec<String> = record.iter().map(str::to_owned).collect();
    let is_start = |field: &String| field.starts_with(HASH_START) && !field.contains(",t=");
    if fields.get(2).is_some_and(is_start) && fields.get(3).is_some_and(|f| f.starts_with("t=")) {
        let end = fields.len().min(5);
        let hash: Vec<String> = fields.splice(2..end, []).collect();
        fields.insert(2, hash.join(","));
    }
    fields
}

fn checked(hash: &str) -> Result<Arc<str>, Box<Problem>> {
    let is_right = PasswordHash::new(hash).ok().is_some_and(|parsed| {
        let bounded =
            |params: Params| params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX;
        parsed.algorithm == argon2::ARGON2ID_IDENT
            && parsed.hash.is_some()
            && Params::try_from(&parsed).is_ok_and(bounded)
    });
    // The value is not shown: it may be a password in clear.
    if is_right { Ok(hash.into()) } else { Err(wrong("", say("listener.credentials.hash", &[]))) }
}

/// Checks a password; takes tens of milliseconds.
pub(crate) fn is_password(hash: &str, password: &[u8]) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

fn wrong(value: &str, what: Text) -> Box<Problem> {
    Box::new(Problem {
        file: String::new(),
        line: None,
        key: String::new(),
        value: excerpt(value),
        what,
        remedy: say("listener.credentials.remedy", &[]),
    })
}
