//! The configuration: `tianlu.toml`, then the environment (`TIANLU__SECTION__KEY`), then flags.
//!
//! ```text
//! file ─┐
//! environment ─┼─ merge ─▶ tree with lines ─▶ read, check ─▶ Config   or every Problem at once
//! flags ─┘
//! ```
//!
//! - **C1 all at once**: a mistake never hides another one; what is readable is still checked.
//! - **C2 no secret shown**: neither `Debug` nor a problem shows a password, token, key, or the query of
//!   an address.

mod broker;
mod cross;
mod layers;
mod outlets;
mod read;
mod secret;
mod settings;
#[cfg(test)]
mod tests;

use std::path::Path;

use telemetry::document::{Problems, Section};
use telemetry::problem::Problem;

pub(crate) use cross::no_profile;
pub use layers::{ENVIRONMENT, FLAGS, Layers};
pub(crate) use read::show_size;
pub use secret::{Endpoint, Secret, SecretFile, redacted};
pub use settings::{
    Broker, Config, Data, Devices, Dirs, History, Http, InfluxDb, Listener, Mqtt, Notifier,
    NotifierTarget, Protocol, Store, Tls, UnknownDevices, UplinkRoute,
};

/// A profile that a route may refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProfile {
    /// Its name.
    pub name: String,
    /// Whether uplinks of this profile name their devices, as far as it can be read.
    pub may_name_devices: bool,
}

/// Names the profiles that folders hold.
pub type ProfilesIn<'a> = Option<&'a mut dyn FnMut(&Dirs) -> Vec<KnownProfile>>;

impl Config {
    /// Reads a configuration from the text of its file; `path` tells its name and the folder that its
    /// paths are relative to.
    ///
    /// Notes every problem. What could not be read has its default in the result, so that the files it
    /// names can be checked as well; it may be used only where no problem was noted. `profiles_in` names
    /// the profiles of folders, which the routes refer to; `None`: that is not checked.
    #[must_use]
    pub fn parse(
        path: &Path,
        text: &str,
        layers: &Layers,
        profiles_in: ProfilesIn<'_>,
        problems: &Problems,
    ) -> Self {
        let file = path.display().to_string();
        let found = Problems::default();
        let merged = layers::merge(&file, text, layers, &found);
        let root = Section::of(&file, merged.tree, &found);
        let config = read::config(path, root, profiles_in);
        let found = found.take();
        // A line that is no TOML has its problem; what was guessed of its value has none of its own.
        let broken: Vec<u32> = found
            .iter()
            .filter(|p| p.file == file && p.key.is_empty())
            .filter_map(|p| p.line)
            .collect();
        let is_guess =
            |p: &Problem| !p.key.is_empty() && p.line.is_some_and(|line| broken.contains(&line));
        for problem in found.into_iter().filter(|problem| !is_guess(problem)) {
            problems.add(merged.places.settle(problem, &file));
        }
        config
    }
}
