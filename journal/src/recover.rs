//! Finds out, after a crash or a clean end, what of a folder is a log.
//!
//! From the newest segment to the oldest: each head says which segment stood before it and where
//! that one ended, so only the newest segment's end has to be found out, unless it is sealed.
//!
//! **Torn or damaged?** The sectors written since the last fsync may survive a power cut in any
//! selection: a hole with good records behind it is possible in an unsynced tail, and so is a
//! damaged sector in front of acknowledged ones. Each record carries `synced_to`, what was durable
//! of its segment when it was made. A hole below the largest `synced_to` of all good records was
//! durable once: damage, to be stepped over. A hole at or above it was, as far as anything shows,
//! never synced, so that no record behind it was acknowledged either: the log is cut there.
//! (Records behind it are good bytes, but keeping them would show a gap, an alarm for a loss that
//! none was.) What the rule cannot tell: damage in the very last synced group before a crash looks
//! like a torn tail. Sealing at a clean end, and the next segment's head, close that gap for all
//! other ends.
//!
//! **What was read is not yet durable.** After a failed fsync the page cache may hold bytes that
//! the disk never got, and a later fsync of clean pages writes nothing. If the process (not the
//! machine) died in between, tail and seal look good. Opening therefore writes the unproven bytes
//! and the seal of the newest segment once more before it fsyncs.

use crate::disk::{Disk, DiskFile, is_full, read_full_at, write_all_at};
use crate::format::{End, HEAD_BYTES, HEAD_SECTORS, Link, Seal, SegmentHead, SegmentName};
use crate::options::{OpenError, Opened};
use crate::set_aside::set_aside;
use crate::shared::{Segment, Shared};
use crate::walk::{Hole, Step, Stretch, Window};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What recovery hands to the writer.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) opened: Opened,
    pub(crate) previous: Link,
    pub(crate) next_sequence: u64,
}

/// A look at the folder; nothing is changed yet.
#[derive(Debug, Default)]
struct Survey {
    /// Newest first.
    kept: Vec<Kept>,
    void: Vec<SegmentName>,
    missing_segments: u64,
    max_sequence: u64,
}

#[derive(Debug)]
struct Kept {
    head: SegmentHead,
    /// Both copies of the head are damaged.
    bare: bool,
    allocated: u64,
    end: u64,
    /// Only where the segment was looked through: files are not kept open by the hundred.
    tail: Option<Tail>,
}

/// What looking through a segment found.
#[derive(Debug)]
struct Tail {
    file: Arc<dyn DiskFile>,
    end: u64,
    last: End,
    /// Bytes known to be durable.
    synced_to: u64,
    damaged: Vec<Hole>,
    cut_bytes: u64,
    cut_records: u64,
}

/// Creates the folder and takes its lock.
pub(crate) fn take_lock(disk: &dyn Disk, dir: &Path) -> Result<Arc<dyn DiskFile>, OpenError> {
    disk.create_dir_all(dir).map_err(io_error("create folder", dir))?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).map_err(io_error("sync folder", parent))?;
    }
    let path = dir.join("lock");
    let file = match disk.open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(&path),
        opened => opened,
    };
    let file = file.map_err(io_error("open lock", &path))?;
    if file.try_lock().map_err(io_error("lock", &path))? {
        Ok(file)
    } else {
        Err(OpenError::InUse { dir: dir.to_owned() })
    }
}

/// Surveys and repairs; the segments stand in `shared` afterwards.
pub(crate) fn recover(shared: &Shared) -> Result<Found, OpenError> {
    let survey = survey(shared)?;
    for name in &survey.void {
        let path = shared.dir.join(name.to_string());
        shared.disk.remove(&path).map_err(io_error("remove void segment", &path))?;
    }
    // Always: a process that was killed may have left names that no sync has covered.
    shared.disk.sync_dir(&shared.dir).map_err(io_error("sync folder", &shared.dir))?;
    let next_sequence = survey.max_sequence + 1;
    let opened = install(shared, &survey)?;
    let newest = survey.kept.first();
    let previous = newest.map(|kept| Link { sequence: kept.head.name.sequence, end: kept.end });
    Ok(Found { opened, previous: previous.unwrap_or_default(), next_sequence })
}

/// Surveys for a reader that may change nothing.
pub(crate) fn look(shared: &Shared) -> Result<Opened, OpenError> {
    let survey = survey(shared)?;
    install(shared, &survey)
}

/// Puts the segments where readers find them, repairing each whose end was found out.
fn install(shared: &Shared, survey: &Survey) -> Result<Opened, OpenError> {
    let mut opened = Opened::default();
    opened.damage.missing_segments = survey.missing_segments;
    for kept in survey.kept.iter().rev() {
        let segment = Segment::new(kept.head, kept.end, true);
        segment.allocated.store(kept.allocated, Ordering::Relaxed);
        if kept.bare {
            opened.damage.stretches += 1;
            opened.damage.bytes += HEAD_BYTES;
        }
        if let Some(tail) = &kept.tail {
            opened.cut_bytes += tail.cut_bytes;
            opened.cut_records += tail.cut_records;
            opened.end = tail.last;
            for hole in &tail.damaged {
                set_aside(shared, &segment, &*tail.file, *hole, &mut opened.damage);
            }
            if shared.may_write {
                let path = shared.path(&kept.head);
                settle(shared, &segment, tail).map_err(io_error("settle", &path))?;
            }
        }
        shared.segments().push(Arc::new(segment));
    }
    shared.publish(opened.end);
    Ok(opened)
}

/// Makes an end that was found out durable and final.
fn settle(shared: &Shared, segment: &Segment, tail: &Tail) -> io::Result<()> {
    // What a seal speaks of was durable before it was written.
    let from = if segment.head.seal.is_some() { tail.end } else { tail.synced_to };
    if segment.head.seal.is_none() && tail.file.set_len(tail.end).is_ok() {
        // Where the file system copies on write, what was reserved makes room for what follows.
        segment.allocated.store(tail.end, Ordering::Relaxed);
    }
    // A sync alone would not do, even on a full disk: one that failed before has dropped what it was
    // to write, and the next one does not say so.
    rewrite(&*tail.file, from, tail.end)?;
    match shared.seal(segment, &*tail.file, Seal { end: tail.end, last: tail.last }) {
        // The log opens all the same, so that space can be made; the next segment's head will say
        // where this one ended.
        Err(e) if is_full(&e) => Ok(()),
        done => done,
    }
}

/// Writes the bytes from `from` to `to` once more, and makes them durable.
fn rewrite(file: &dyn DiskFile, mut from: u64, to: u64) -> io::Result<()> {
    let mut buffer =
        vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX).min(1 << 20)];
    while from < to {
        let want = usize::try_from(to - from).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..want) else { break };
        let n = read_full_at(file, part, from)?;
        if n == 0 {
            break;
        }
        write_all_at(file, part.get(..n).unwrap_or_default(), from)?;
        from += n as u64;
    }
    if buffer.is_empty() { Ok(()) } else { file.sync_data() }
}

fn survey(shared: &Shared) -> Result<Survey, OpenError> {
    let list = match shared.disk.list(&shared.dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && !shared.may_write => Vec::new(),
        list => list.map_err(io_error("list", &shared.dir))?,
    };
    let mut names: Vec<_> = list.iter().filter_map(|name| SegmentName::parse(name)).collect();
    names.sort_unstable_by_key(|name| std::cmp::Reverse(name.sequence));
    let mut survey = Survey::default();
    let mut window = Window::default();
    // What the segment after the one looked at says about those before it.
    let mut link: Option<Link> = None;
    for name in names {
        survey.max_sequence = survey.max_sequence.max(name.sequence);
        if link.is_some_and(|link| name.sequence > link.sequence) {
            survey.void.push(name);
            continue;
        }
        let path = shared.dir.join(name.to_string());
        let kept = match keep(shared, name, (link, survey.kept.is_empty()), &mut window) {
            // Cut away by the writer while this reader looked.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !shared.may_write => continue,
            kept => kept.map_err(io_error("read", &path))?,
        };
        let Some(kept) = kept else {
            survey.void.push(name);
            continue;
        };
        survey.missing_segments +=
            u64::from(link.is_some_and(|link| link.sequence != name.sequence));
        if let Some(newer) = survey.kept.last_mut().filter(|newer| newer.head.previous.is_none()) {
            newer.head.previous = Some(Link { sequence: name.sequence, end: kept.end });
        }
        link = kept.head.previous;
        survey.kept.push(kept);
    }
    Ok(survey)
}

/// Looks at one segment. `None`: it was never finished being made.
fn keep(
    shared: &Shared,
    name: SegmentName,
    (link, newest): (Option<Link>, bool),
    window: &mut Window,
) -> io::Result<Option<Kept>> {
    let file = shared.disk.open(&shared.dir.join(name.to_string()))?;
    let mut sectors = [0; HEAD_SECTORS];
    read_full_at(&*file, &mut sectors, 0)?;
    let len = file.len()?;
    let read = SegmentHead::decode(&sectors, name);
    let head = read.unwrap_or_else(|| bare_head(name, len));
    let linked = link.filter(|link| link.sequence == name.sequence).map(|link| link.end);
    let proven = linked.or(head.seal.map(|seal| seal.end));
    let bare = read.is_none();
    let mut kept = Kept { head, bare, allocated: len, end: proven.unwrap_or(len), tail: None };
    window.clear();
    if newest || proven.is_none() {
        let tail = look_through(&kept, file, proven, window)?;
        if bare && tail.end == HEAD_BYTES {
            return Ok(None);
        }
        kept.end = tail.end;
        kept.tail = Some(tail);
    }
    Ok(Some(kept))
}

/// Stands in for a head whose two copies are damaged: the name holds what it takes to read the
/// records.
fn bare_head(name: SegmentName, len: u64) -> SegmentHead {
    let after = End { position: name.first_position.saturating_sub(1), ordinal: 0 };
    SegmentHead { name, after, previous: None, capacity: len, seal: None }
}

/// Finds the end of a segment, or what is damaged before an end that is proven. See the module
/// text.
fn look_through(
    kept: &Kept,
    file: Arc<dyn DiskFile>,
    proven: Option<u64>,
    window: &mut Window,
) -> io::Result<Tail> {
    let head = &kept.head;
    let limit = proven.unwrap_or(kept.allocated);
    let unproven = proven.is_none();
    let mut tail = Tail {
        file,
        end: HEAD_BYTES,
        last: head.after,
        synced_to: HEAD_BYTES,
        damaged: Vec::new(),
        cut_bytes: 0,
        cut_records: 0,
    };
    // Each hole with what was good before it.
    let mut holes: Vec<(Hole, End, u64)> = Vec::new();
    let (mut offset, mut records, mut above) = (HEAD_BYTES, 0, head.after.position);
    loop {
        match window.step(&*tail.file, Stretch { salt: head.name.salt, offset, limit, above })? {
            Step::Record(record) => {
                records += 1;
                tail.last = record.end;
                above = record.end.position;
                tail.synced_to = tail.synced_to.max(u64::from(record.synced_to));
                offset += record.size();
            }
            Step::Hole(hole) => {
                holes.push((hole, tail.last, records));
                if let Some(damaged) = hole.head {
                    tail.last = damaged.end;
                    above = damaged.end.position;
                }
                offset += hole.len;
            }
            Step::End => break,
        }
    }
    tail.end = offset.max(HEAD_BYTES);
    let cut = holes.iter().position(|(hole, ..)| unproven && hole.offset >= tail.synced_to);
    if let Some((hole, last, before)) = cut.and_then(|at| holes.get(at)) {
        let trailing = holes.last().filter(|(hole, ..)| hole.offset + hole.len == offset);
        let used = trailing.map_or(offset, |(hole, ..)| hole.offset + hole.filled);
        tail.cut_bytes = used.saturating_sub(hole.offset);
        tail.cut_records = records - before;
        tail.end = hole.offset;
        tail.last = *last;
    }
    holes.truncate(cut.unwrap_or(holes.len()));
    tail.damaged = holes.into_iter().map(|(hole, ..)| hole).collect();
    if let Some(seal) =
        head.seal.filter(|seal| seal.last.position > tail.last.position && seal.end == tail.end)
    {
        tail.last = seal.last;
    }
    Ok(tail)
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { doing, path, source }
}
