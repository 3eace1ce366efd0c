//! The paths of a profile, compiled once: a payload is then read in one pass, whatever its order.

use smallvec::SmallVec;

use crate::path::{Path, Step};
use crate::profile::Profile;

/// What a value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Property(u16),
    Tag(u16),
    Time,
    Sequence,
    Device,
    /// The array of a batch.
    Batch,
}

/// One place in a payload, with what is wanted from it and from below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Node {
    pub(super) targets: SmallVec<[Target; 1]>,
    keys: Vec<Key>,
    items: Vec<(u32, usize)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Key {
    name: Box<str>,
    /// The name and the quote after it, as JSON has them; `None` where JSON would have an escape.
    quoted: Option<Box<[u8]>>,
    below: usize,
}

impl Node {
    /// Returns the index of the node below a name. Linear: a profile has a handful of names.
    pub(super) fn key(&self, name: &str) -> Option<usize> {
        self.keys.iter().find(|key| *key.name == *name).map(|key| key.below)
    }

    /// Finds the same by the bytes of a name; `place` becomes the one behind it.
    pub(super) fn key_of(&self, name: &[u8], place: &mut usize) -> Option<usize> {
        let found = self.keys.iter().position(|key| key.name.as_bytes() == name)?;
        *place = found + 1;
        self.keys.get(found).map(|key| key.below)
    }

    /// Returns the length of the name at `place` and the index of the node below it, if JSON text begins with that
    /// name and a quote; then `place` is the one behind it.
    #[inline]
    pub(super) fn expected(&self, text: &[u8], place: &mut usize) -> Option<(usize, usize)> {
        let key = self.keys.get(*place)?;
        let quoted = key.quoted.as_deref().filter(|quoted| text.starts_with(quoted))?;
        *place += 1;
        Some((quoted.len() - 1, key.below))
    }

    /// Returns the index of the node below an array's element.
    pub(super) fn item(&self, index: u32) -> Option<usize> {
        self.items.iter().find(|(known, _)| *known == index).map(|(_, below)| *below)
    }
}

/// The compiled paths.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Plan {
    nodes: Vec<Node>,
    /// Node where a reading begins: the payload, or each element of the array.
    pub(super) reading: usize,
    columns: Vec<(Box<str>, Target)>,
}

impl Plan {
    /// Compiles the paths of a profile.
    pub(crate) fn of(profile: &Profile) -> Self {
        let mut plan = Self { nodes: vec![Node::default()], reading: 0, columns: Vec::new() };
        if let Some(batch) = &profile.batch {
            plan.add(0, &batch.path, Target::Batch);
            plan.reading = plan.push();
        }
        let device = profile.batch.as_ref().and_then(|batch| batch.device.as_ref());
        let single = [(&profile.time.path, Target::Time), (&profile.sequence, Target::Sequence)];
        let single = single.into_iter().filter_map(|(path, target)| Some((path.as_ref()?, target)));
        let tags = (0..).zip(&profile.tags).map(|(index, tag)| (&tag.path, Target::Tag(index)));
        let properties =
            (0..).zip(&profile.properties).map(|(index, one)| (&one.path, Target::Property(index)));
        for (path, target) in
            single.chain(device.map(|path| (path, Target::Device))).chain(tags).chain(properties)
        {
            plan.add(plan.reading, path, target);
            plan.columns.push((path.as_str().into(), target));
        }
        plan
    }

    /// Returns a node by its index.
    pub(super) fn node(&self, index: usize) -> Option<&Node> {
        self.nodes.get(index)
    }

    /// Returns what a column or field of this name is for, where the format is flat.
    pub(super) fn column<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Target> + 'a {
        self.columns.iter().filter(move |(known, _)| **known == *name).map(|(_, target)| *target)
    }

    fn push(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn add(&mut self, from: usize, path: &Path, target: Target) {
        let mut at = from;
        for step in path.steps() {
            let below = self.nodes.get(at).and_then(|node| match step {
                Step::Key(name) => node.key(name),
                Step::Index(index) => node.item(*index),
            });
            at = below.unwrap_or_else(|| self.grow(at, step));
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.targets.push(target);
        }
    }

    fn grow(&mut self, at: usize, step: &Step) -> usize {
        let below = self.push();
        if let Some(node) = self.nodes.get_mut(at) {
            match step {
                Step::Key(name) => {
                    let is_plain = !name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                    let quoted = is_plain.then(|| format!("{name}\"").into_bytes().into());
                    node.keys.push(Key { name: name.clone(), quoted, below });
                }
                Step::Index(index) => node.items.push((*index, below)),
            }
        }
        below
    }
}
