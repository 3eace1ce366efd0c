//! Everything a file replay needs to know beside its inputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::config::SourceFile;
use pipeline::{ActiveConfig, ConfigSource};
use telemetry::document::Problems;
use telemetry::mapping::{Bound, Mapping};
use telemetry::problem::Problem;
use telemetry::profile::Profile;

use super::bundle::{bundle, profiles, rules, text};
use crate::cli::ReplayArgs;
use crate::config::no_profile;
use crate::playback::fault::Fault;

/// Mapping, profile, registry and rules, free of problems.
#[derive(Debug)]
pub(super) struct Plan {
    /// How rows become readings.
    pub(super) mapping: Mapping,
    /// Profiles, registry, rules.
    pub(super) config: Arc<ActiveConfig>,
    /// Index of the mapping's profile.
    pub(super) profile: u16,
}

impl Plan {
    /// Reads everything and reports every problem of every file at once.
    ///
    /// Profiles come from `--profiles`, else from `profiles` beside the mapping, else from `../profiles`: the
    /// first of the two that has the mapping's profile. The registry is `--devices`, else `devices.csv` beside
    /// the mapping, if there is one. Without `--rules` there are none.
    pub(super) fn read(args: &ReplayArgs) -> Result<Self, Fault> {
        let problems = Problems::default();
        // The arguments were parsed so that it is there.
        let path = args.mapping.as_deref().unwrap_or(Path::new(""));
        let base = path.parent().unwrap_or(Path::new(""));
        let mapping = text(path, &problems)
            .and_then(|file| Mapping::parse(&file.name, &file.text, &problems));
        let wanted = mapping.as_ref().map(|mapping| mapping.profile.as_str());
        let profiles = match &args.profiles {
            Some(dir) => profiles(dir, &problems),
            None => near(base, wanted, &problems),
        };
        let beside = base.join("devices.csv");
        let registry = args.devices.clone().or_else(|| beside.is_file().then_some(beside));
        let registry = registry.and_then(|path| text(&path, &problems));
        let rules = args.rules.as_deref().map_or_else(Vec::new, |dir| rules(dir, &problems));
        let config = match ActiveConfig::build(&bundle(profiles, rules, registry)) {
            Ok(config) => Some(config),
            Err(found) => {
                found.into_iter().for_each(|problem| problems.add(problem));
                None
            }
        };
        let profile = config.as_ref().zip(mapping.as_ref()).and_then(|(config, mapping)| {
            let found = config.profile_index(&mapping.profile);
            match found.and_then(|index| config.profile(index)) {
                Some(profile) => drop(mapping.bind(profile, &problems)),
                None => problems.add(unknown_profile(path, &mapping.profile, config)),
            }
            found
        });
        match (mapping, config, profile) {
            (Some(mapping), Some(config), Some(profile)) if problems.is_empty() => {
                Ok(Self { mapping, config, profile })
            }
            _ => Err(Fault::Wrong(problems.take())),
        }
    }

    /// Returns the mapping with its profile; `None` never, since that was tried when the plan was read.
    pub(super) fn bound(&self) -> Option<Bound<'_>> {
        self.mapping.bind(self.profile()?, &Problems::default())
    }

    /// Returns the profile.
    pub(super) fn profile(&self) -> Option<&Profile> {
        self.config.profile(self.profile)
    }
}

impl ConfigSource for Plan {
    fn load(&self, hash: &str) -> Option<Arc<ActiveConfig>> {
        (self.config.hash == hash).then(|| Arc::clone(&self.config))
    }
}

/// Reads the folder `profiles` beside the mapping or above it that has the wanted one.
fn near(base: &Path, wanted: Option<&str>, problems: &Problems) -> Vec<SourceFile> {
    let folders: Vec<PathBuf> = [base.join("profiles"), base.join("../profiles")]
        .into_iter()
        .filter(|dir| dir.is_dir())
        .collect();
    let has_wanted = |dir: &PathBuf| {
        let unheard = Problems::default();
        let named = profiles(dir, &unheard);
        let mut parsed =
            named.iter().filter_map(|file| Profile::parse(&file.name, &file.text, &unheard));
        parsed.any(|profile| Some(profile.name.as_str()) == wanted)
    };
    let chosen = folders.iter().find(|dir| has_wanted(dir)).or(folders.first());
    chosen.map_or_else(Vec::new, |dir| profiles(dir, problems))
}

fn unknown_profile(file: &Path, name: &str, config: &ActiveConfig) -> Problem {
    let known: Vec<String> = config.profiles.iter().map(|profile| profile.name.clone()).collect();
    let (what, remedy) = no_profile(name, &known);
    let (file, key, value) =
        (file.display().to_string(), "profile".to_owned(), format!("\"{name}\""));
    Problem { file, line: None, key, value, what, remedy }
}
