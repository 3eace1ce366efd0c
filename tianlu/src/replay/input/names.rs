//! Tenant, site and device where no row of a table names them.

use std::sync::Arc;

use telemetry::mapping::{Mapping, Naming};
use telemetry::reading::Element;
use telemetry::topic::is_name;

use super::Found;

/// Where a line finds a name.
#[derive(Debug, Clone)]
pub(super) enum Name {
    /// The same in every line.
    Same(Arc<str>),
    /// The entry or tag of this name.
    Key(String),
}

/// What the mapping says of the names in a file.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The tenant.
    pub(super) tenant: Arc<str>,
    /// The site; `None`: the registry knows it.
    pub(super) site: Option<Name>,
    /// The device; `None`: nothing but the line itself names it.
    pub(super) device: Option<Name>,
}

impl Names {
    /// Resolves the names that a file's name gives.
    pub(super) fn of(mapping: &Mapping, file_name: &str) -> Self {
        let name = |naming: &Option<Naming>| match naming.as_ref()? {
            Naming::Constant(text) => Some(Name::Same(text.as_str().into())),
            Naming::Column(column) => Some(Name::Key(column.clone())),
            Naming::Filename(pattern) => {
                let groups = pattern.captures(file_name)?;
                let found = groups.get(1).or_else(|| groups.get(0))?.as_str();
                is_name(found).then(|| Name::Same(found.into()))
            }
        };
        let (site, device) = (name(&mapping.site), name(&mapping.device));
        Self { tenant: mapping.tenant.as_str().into(), site, device }
    }

    /// Makes what stands for a row that cannot be read.
    pub(super) fn bad(&self, raw: Arc<[u8]>, detail: &str) -> Found {
        let same = |name: &Option<Name>| match name {
            Some(Name::Same(name)) => Some(Arc::clone(name)),
            Some(Name::Key(_)) | None => None,
        };
        Found {
            received_at: None,
            tenant: Arc::clone(&self.tenant),
            site: same(&self.site),
            device: same(&self.device).unwrap_or_default(),
            raw,
            element: Element::Bad(detail.into()),
        }
    }
}

impl Name {
    /// Returns the name, asking `entry` for what the line has under a key.
    pub(super) fn read(
        name: Option<&Self>,
        entry: impl Fn(&str) -> Option<String>,
    ) -> Option<Arc<str>> {
        match name? {
            Self::Same(name) => Some(Arc::clone(name)),
            Self::Key(key) => entry(key).filter(|found| is_name(found)).map(Arc::from),
        }
    }
}
