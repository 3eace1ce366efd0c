//! Asks broker and store whether they would serve, without changing anything there.

mod broker;
mod connack;
mod store;
mod tls;

use telemetry::text::{Text, say};

pub use broker::broker;
pub use connack::BrokerAnswer;
pub use store::{Bucket, StoreAnswer, store};

/// What is wrong with a service, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub what: Text,
    /// What would help.
    pub remedy: Text,
}

impl Trouble {
    /// Makes one of the text of a name and the text `{name}.remedy`.
    fn of(name: &str, args: &[(&str, &dyn std::fmt::Display)]) -> Self {
        Self { what: say(name, args), remedy: say(&format!("{name}.remedy"), args) }
    }
}
