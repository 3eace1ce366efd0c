//! How far it is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use telemetry::text::{Lang, say};

use crate::out;

/// Readings between two looks at the clock.
const LOOK_EVERY: u64 = 4096;
/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Shows progress on standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: Option<u64>,
    done: u64,
    shown: Instant,
    lang: Lang,
}

impl Progress {
    /// Begins; `total` is how many steps there will be, where that is known.
    pub(crate) fn new(total: Option<u64>, lang: Lang) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} {eta}");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, total, done: 0, shown: Instant::now(), lang }
    }

    /// Counts a step.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(LOOK_EVERY) {
            self.show();
        }
    }

    /// Shows where it is, unless that was just done.
    pub(crate) fn show(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            return;
        }
        if self.shown.elapsed() < LINE_EVERY {
            return;
        }
        self.shown = Instant::now();
        let line = match self.total {
            Some(total) => {
                say("tianlu.playback.progress", &[("done", &self.done), ("total", &total)])
            }
            None => say("tianlu.playback.progress_open", &[("done", &self.done)]),
        };
        out::note(&line.show(self.lang));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
