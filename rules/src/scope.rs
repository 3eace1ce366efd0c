//! Which devices a rule watches.

use telemetry::document::{Section, nearest};
use telemetry::profile::Domain;
use telemetry::text::say;

use crate::fingerprint::Fingerprint;
use crate::schema::Schema;

/// Lists of allowed names; an empty list allows all. Sorted, each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Scope {
    domains: Vec<String>,
    profiles: Vec<String>,
    tenants: Vec<String>,
    sites: Vec<String>,
    devices: Vec<String>,
}

impl Scope {
    /// Reads the table `scope`; `None` where it is absent or something in it is wrong.
    pub(crate) fn parse(rule: &mut Section, schemas: &[Schema<'_>]) -> Option<Self> {
        if !rule.has("scope") {
            rule.missing("scope", "kind.table");
        }
        let mut table = rule.table("scope")?;
        let known: Vec<&str> = schemas.iter().map(|schema| schema.name).collect();
        let scope = (
            names(&mut table, "domain", &Domain::ALL.map(|(word, _)| word)),
            names(&mut table, "profile", &known),
            names(&mut table, "tenant", &[]),
            names(&mut table, "site", &[]),
            names(&mut table, "device", &[]),
        );
        table.finish();
        let (domains, profiles, tenants, sites, devices) = scope;
        Some(Self {
            domains: domains?,
            profiles: profiles?,
            tenants: tenants?,
            sites: sites?,
            devices: devices?,
        })
    }

    /// Returns whether devices of this profile can be in scope.
    pub(crate) fn covers_profile(&self, schema: &Schema<'_>) -> bool {
        allows(&self.domains, schema.domain) && allows(&self.profiles, schema.name)
    }

    /// Returns whether a device of a covered profile is in scope.
    pub(crate) fn covers_device(&self, tenant: &str, site: &str, device: &str) -> bool {
        allows(&self.tenants, tenant) && allows(&self.sites, site) && allows(&self.devices, device)
    }

    /// Returns each list that restricts, with its key.
    pub(crate) fn restrictions(&self) -> Vec<(&'static str, &[String])> {
        let lists: [(&str, &[String]); 5] = [
            ("domain", &self.domains),
            ("profile", &self.profiles),
            ("tenant", &self.tenants),
            ("site", &self.sites),
            ("device", &self.devices),
        ];
        lists.into_iter().filter(|(_, names)| !names.is_empty()).collect()
    }

    pub(crate) fn add_to(&self, mut print: Fingerprint) -> Fingerprint {
        for list in [&self.domains, &self.profiles, &self.tenants, &self.sites, &self.devices] {
            // The length keeps one list apart from the next.
            print = print.field(&u64::try_from(list.len()).unwrap_or(u64::MAX).to_be_bytes());
            for name in list {
                print = print.field(name.as_bytes());
            }
        }
        print
    }
}

fn allows(names: &[String], name: &str) -> bool {
    names.is_empty() || names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
}

/// Reads one list of the scope; with `known` names given, each must be one of them. `None`: something is wrong.
fn names(table: &mut Section, key: &'static str, known: &[&str]) -> Option<Vec<String>> {
    if !table.has(key) {
        // Asking makes the key known to the search for unknown ones.
        return Some(table.texts(key).unwrap_or_default());
    }
    let mut names = table.texts(key)?;
    if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
        table.problem(key, say("rules.scope.empty", &[]), say("rules.scope.empty.remedy", &[]));
        return None;
    }
    names.sort();
    names.dedup();
    let mut is_good = true;
    for name in names.iter().filter(|name| !known.is_empty() && !known.contains(&name.as_str())) {
        let remedy = match nearest(name, known) {
            Some(meant) => say("document.did_you_mean", &[("known", &meant)]),
            None => say("document.choice.remedy", &[("choices", &known.join(", "))]),
        };
        table.problem_with(key, format!("\"{name}\""), say("rules.scope.unknown", &[]), remedy);
        is_good = false;
    }
    is_good.then_some(names)
}
