//! All rules that are active together, bound to the profiles they watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry::document::{Problems, Section, nearest};
use telemetry::problem::Problem;
use telemetry::profile::Profile;
use telemetry::text::say;

use crate::bound::Bound;
use crate::condition::{Comparison, Condition};
use crate::program::Program;
use crate::rule::{Rule, Trigger};
use crate::schema::Schema;
use crate::scope::Scope;

/// Most rules of a set: the index of a rule is part of every state that is kept.
pub const RULES_MAX: usize = 10_000;

/// The active rules in the order of their names, and each bound to every profile in its scope.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Arc<Rule>>,
    /// By profile, in the order that profiles were given; within one, in the order of the rules.
    bound: Vec<Vec<Bound>>,
}

impl RuleSet {
    /// Reads rule files, given as name and text, and binds the rules to the profiles.
    ///
    /// Every problem is noted; each rule without one is kept. Of two rules of one name the first stays.
    /// Without any profile nothing is bound and properties are not checked.
    #[must_use]
    pub fn load(files: &[(String, String)], profiles: &[Profile], problems: &Problems) -> Self {
        let schemas: Vec<Schema<'_>> = profiles.iter().map(Schema::of).collect();
        Self::load_for(files, &schemas, problems)
    }

    pub(crate) fn load_for(
        files: &[(String, String)],
        schemas: &[Schema<'_>],
        problems: &Problems,
    ) -> Self {
        let mut by_name: BTreeMap<Box<str>, Arc<Rule>> = BTreeMap::new();
        for (file, text) in files {
            let Some((rule, line)) = Rule::parse(file, text, schemas, problems) else { continue };
            let refused = match by_name.get(&rule.name) {
                Some(first) => (
                    say("rules.name.twice", &[("file", &first.file)]),
                    say("rules.name.twice.remedy", &[]),
                ),
                None if by_name.len() == RULES_MAX => (
                    say("rules.too_many", &[("most", &RULES_MAX)]),
                    say("rules.too_many.remedy", &[]),
                ),
                None => {
                    by_name.insert(rule.name.clone(), rule);
                    continue;
                }
            };
            let (file, key, value) =
                (file.clone(), "name".to_owned(), format!("\"{}\"", rule.name));
            problems.add(Problem { file, line, key, value, what: refused.0, remedy: refused.1 });
        }
        let rules: Vec<Arc<Rule>> = by_name.into_values().collect();
        let bound = schemas.iter().map(|schema| bind_all(&rules, schema)).collect();
        Self { rules, bound }
    }

    /// Returns the rules in the order of their names.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Returns the rule of a name, with its index.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(u16, &Arc<Rule>)> {
        let at = self.rules.binary_search_by(|rule| (*rule.name).cmp(name)).ok()?;
        Some((u16::try_from(at).ok()?, self.rules.get(at)?))
    }

    /// Returns the rules bound to a profile, in the order of their names; `profile` counts as in [`RuleSet::load`].
    #[must_use]
    pub fn of_profile(&self, profile: usize) -> &[Bound] {
        self.bound.get(profile).map_or(&[], Vec::as_slice)
    }

    /// Returns which entries of [`RuleSet::of_profile`] watch a device, in their order.
    ///
    /// To be asked once per device and activation, not per reading.
    #[must_use]
    pub fn watching(&self, profile: usize, tenant: &str, site: &str, device: &str) -> Vec<u16> {
        let entries = self.of_profile(profile).iter().zip(0_u16..);
        entries
            .filter(|(bound, _)| bound.rule().covers(tenant, site, device))
            .map(|(_, at)| at)
            .collect()
    }

    /// Returns for each rule of this set its index in `newer`; `None` where it is gone or means something else.
    ///
    /// A state of a rule without a place in `newer` ends with [`crate::RuleState::rule_changed`].
    #[must_use]
    pub fn carried_into(&self, newer: &Self) -> Vec<Option<u16>> {
        let place = |rule: &Arc<Rule>| {
            newer
                .find(&rule.name)
                .filter(|(_, found)| found.version == rule.version)
                .map(|(at, _)| at)
        };
        self.rules.iter().map(place).collect()
    }
}

fn bind_all(rules: &[Arc<Rule>], schema: &Schema<'_>) -> Vec<Bound> {
    rules.iter().zip(0_u16..).filter_map(|(rule, index)| Bound::bind(rule, index, schema)).collect()
}

/// Notes each property that no profile in scope has as a number, and a mix that no single profile has.
pub(crate) fn check_properties(
    section: &Section,
    scope: &Scope,
    trigger: &Trigger,
    schemas: &[Schema<'_>],
) {
    if schemas.is_empty() {
        return;
    }
    let covered: Vec<&Schema<'_>> =
        schemas.iter().filter(|schema| scope.covers_profile(schema)).collect();
    if covered.is_empty() {
        section.problem(
            "scope",
            say("rules.scope.nothing", &[]),
            say("rules.scope.nothing.remedy", &[]),
        );
        return;
    }
    let Trigger::Condition(watch) = trigger else { return };
    let conditions =
        [Some(("when", &watch.when)), watch.clear.as_ref().map(|clear| ("clear", clear))];
    let mut is_good = true;
    for (key, condition) in conditions.into_iter().flatten() {
        is_good &= check_condition(section, key, condition, &covered);
    }
    let binds = |schema: &&&Schema<'_>| {
        let clear_binds =
            watch.clear.as_ref().is_none_or(|clear| Program::bind(clear, schema).is_some());
        clear_binds && Program::bind(&watch.when, schema).is_some()
    };
    if is_good && !covered.iter().any(|schema| binds(&schema)) {
        section.problem(
            "when",
            say("rules.property.apart", &[]),
            say("rules.property.apart.remedy", &[]),
        );
    }
}

fn check_condition(
    section: &Section,
    key: &str,
    condition: &Condition,
    covered: &[&Schema<'_>],
) -> bool {
    let mut is_good = true;
    for Comparison { property, column, .. } in condition.comparisons() {
        if covered.iter().any(|schema| schema.slot(property).is_some()) {
            continue;
        }
        is_good = false;
        let args: [(&str, &dyn std::fmt::Display); 2] =
            [("column", column), ("property", property)];
        if covered.iter().any(|schema| schema.has_text(property)) {
            section.problem(
                key,
                say("rules.property.text", &args),
                say("rules.property.text.remedy", &[]),
            );
            continue;
        }
        let mut known: Vec<&str> = covered.iter().flat_map(|schema| schema.numbers()).collect();
        known.sort_unstable();
        known.dedup();
        let remedy = match nearest(property, &known) {
            Some(meant) => say("document.did_you_mean", &[("known", &meant)]),
            None => say("rules.property.known", &[("known", &known.join(", "))]),
        };
        section.problem(key, say("rules.property.unknown", &args), remedy);
    }
    is_good
}

#[cfg(test)]
mod tests;
