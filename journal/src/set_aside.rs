//! Keeps a copy of damaged bytes, for whoever wants to find out.

use crate::disk::{DiskFile, read_full_at, write_all_at};
use crate::options::Damage;
use crate::shared::{Segment, Shared};
use crate::walk::Hole;
use std::io;

/// Counts a hole and copies its bytes to `damaged/{segment}.{offset}`. One stretch is copied once,
/// however many readers meet it, so the folder never outgrows the log.
pub(crate) fn set_aside(
    shared: &Shared,
    segment: &Segment,
    file: &dyn DiskFile,
    hole: Hole,
    damage: &mut Damage,
) {
    damage.stretches += 1;
    damage.bytes += hole.len;
    if shared.may_write && copy(shared, segment, file, hole).is_err() {
        // Reading goes on: a copy is worth less than the records behind the hole.
        damage.not_set_aside += 1;
    }
}

fn copy(shared: &Shared, segment: &Segment, file: &dyn DiskFile, hole: Hole) -> io::Result<()> {
    let dir = shared.dir.join("damaged");
    let path = dir.join(format!("{}.{:08x}", segment.head.name, hole.offset));
    if shared.disk.open(&path).is_ok() {
        return Ok(());
    }
    shared.disk.create_dir_all(&dir)?;
    let copy = shared.disk.create(&path)?;
    let mut buffer = vec![0; usize::try_from(hole.len).unwrap_or(usize::MAX).min(1 << 20)];
    let mut done = 0;
    while done < hole.len {
        let want = usize::try_from(hole.len - done).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..want) else { break };
        let n = read_full_at(file, part, hole.offset + done)?;
        if n == 0 {
            break;
        }
        write_all_at(&*copy, part.get(..n).unwrap_or_default(), done)?;
        done += n as u64;
    }
    copy.sync_data()
}
