//! Merges the inputs by time: ties by input, then row.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use super::input::{Input, Item};
use super::plan::Plan;
use crate::playback::fault::Fault;

/// The readings of all inputs in the order of their time.
///
/// A file in order is streamed; one that runs backward is held and sorted in memory.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    feeds: Vec<Feed<'a>>,
    /// Time and feed of every reading in `Feed::next`, the earliest first.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    total: u64,
}

#[derive(Debug)]
struct Feed<'a> {
    input: Input<'a>,
    /// The readings, where the file had to be sorted.
    sorted: Option<std::vec::IntoIter<Item>>,
    next: Option<Item>,
}

impl<'a> Merge<'a> {
    /// Looks through every input, so that one that cannot be read is known before anything is written.
    pub(super) fn open(plan: &'a Plan, inputs: &[PathBuf]) -> Result<Self, Fault> {
        let mut merge = Self { feeds: Vec::new(), heads: BinaryHeap::new(), total: 0 };
        for path in inputs {
            let (mut input, scan) = Input::open(plan, path)?;
            merge.total += scan.items;
            let sorted = if scan.is_backward { Some(sorted(&mut input)?) } else { None };
            merge.feeds.push(Feed { input, sorted, next: None });
        }
        for at in 0..merge.feeds.len() {
            merge.fill(at)?;
        }
        Ok(merge)
    }

    /// Returns the next reading or bad row.
    pub(super) fn next(&mut self) -> Result<Option<Item>, Fault> {
        let Some(Reverse((_, at))) = self.heads.pop() else { return Ok(None) };
        let item = self.feeds.get_mut(at).and_then(|feed| feed.next.take());
        self.fill(at)?;
        Ok(item)
    }

    /// Returns how many readings and bad rows there are in all; of wide tables at most.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Returns how many rows were read.
    pub(super) fn rows(&self) -> u64 {
        self.feeds.iter().map(|feed| feed.input.rows()).sum()
    }

    fn fill(&mut self, at: usize) -> Result<(), Fault> {
        let Some(feed) = self.feeds.get_mut(at) else { return Ok(()) };
        feed.next = match &mut feed.sorted {
            Some(sorted) => sorted.next(),
            None => feed.input.next()?,
        };
        if let Some(item) = &feed.next {
            self.heads.push(Reverse((item.key, at)));
        }
        Ok(())
    }
}

/// Reads a whole file and sorts it; rows of one time keep their order.
fn sorted(input: &mut Input<'_>) -> Result<std::vec::IntoIter<Item>, Fault> {
    let mut items = Vec::new();
    while let Some(item) = input.next()? {
        items.push(item);
    }
    items.sort_by_key(|item| item.key);
    Ok(items.into_iter())
}
