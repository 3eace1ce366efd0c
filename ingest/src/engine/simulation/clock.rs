//! The clocks of a world: tokio's paused one, and the host's, which jumps.

use std::cell::Cell;

use tokio::time::Instant;

/// When every world begins, nanoseconds since 1970.
pub(super) const START: i64 = 1_763_856_000_000_000_000;

thread_local! {
    /// When the world of this thread began, and how far the host's clock is off, nanoseconds.
    static HOST: Cell<(Option<Instant>, i64)> = const { Cell::new((None, 0)) };
}

/// Begins a world on this thread.
pub(super) fn begin() {
    HOST.set((Some(Instant::now()), 0));
}

/// Returns the true time, nanoseconds since 1970.
pub(super) fn now() -> i64 {
    let passed = HOST.get().0.map(|began| began.elapsed().as_nanos()).unwrap_or_default();
    START + i64::try_from(passed).unwrap()
}

/// Returns what the host's clock shows.
pub(super) fn host() -> i64 {
    now() + HOST.get().1
}

/// Makes the host's clock jump.
pub(super) fn jump(seconds: i64) {
    let (began, off) = HOST.get();
    HOST.set((began, off + seconds * 1_000_000_000));
}
