//! CSV by the mapping.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use telemetry::mapping::{OpenError, Rows};
use telemetry::reading::Element;

use super::super::plan::Plan;
use super::Found;
use super::file::Opened;
use super::names::Names;
use crate::playback::fault::{Fault, problem};

/// The rows of a CSV file.
pub(super) struct Table<'a> {
    rows: Rows<'a, Box<dyn BufRead>>,
    names: Names,
    /// Line of the row read last.
    line: u64,
    times_only: bool,
    /// The row read last as it stands in the file; a wide one is shared by its readings.
    raw: Arc<[u8]>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("line", &self.line).finish_non_exhaustive()
    }
}

impl<'a> Table<'a> {
    /// Reads the header.
    pub(super) fn open(plan: &'a Plan, path: &Path, opened: Opened) -> Result<Self, Fault> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let failure = opened.failure;
        let names = Names::of(&plan.mapping, name);
        let Some(bound) = plan.bound() else { return Err(Fault::Wrong(Vec::new())) };
        let rows = match bound.read(name, opened.reader) {
            Ok(rows) => rows,
            Err(error) => {
                return Err(match failure.take() {
                    Some(error) => Fault::unreadable(path, Some(1), &error),
                    None => Fault::Wrong(vec![misfit(path, &error)]),
                });
            }
        };
        Ok(Self {
            rows,
            names,
            line: 1,
            times_only: false,
            raw: Arc::default(),
            buffer: Vec::new(),
        })
    }

    /// Reads the times from now on, and nothing else.
    pub(super) fn read_times_only(&mut self) {
        self.times_only = true;
        self.rows.read_times_only();
    }

    /// Returns the next reading or bad row.
    pub(super) fn next(&mut self) -> Option<Found> {
        match self.rows.next()? {
            Ok(row) => {
                if row.line != self.line {
                    self.line = row.line;
                    self.keep_raw();
                }
                Some(Found {
                    received_at: row.received_at.map(telemetry::time::IngestTime::as_nanos),
                    tenant: row.tenant,
                    site: row.site,
                    device: row.device,
                    raw: Arc::clone(&self.raw),
                    element: Element::Reading(row.reading),
                })
            }
            Err(error) => {
                self.line = error.line;
                self.keep_raw();
                Some(self.names.bad(Arc::clone(&self.raw), &error.detail))
            }
        }
    }

    /// Returns the line of the row read last.
    pub(super) const fn line(&self) -> u64 {
        self.line
    }

    /// Returns how many rows were read.
    pub(super) fn rows(&self) -> u64 {
        self.rows.records()
    }

    fn keep_raw(&mut self) {
        if self.times_only {
            return;
        }
        self.buffer.clear();
        self.rows.write_raw(&mut self.buffer);
        self.raw = self.buffer.as_slice().into();
    }
}

/// Says why the header or the name of a file does not fit the mapping.
fn misfit(path: &Path, error: &OpenError) -> telemetry::problem::Problem {
    let place = path.display().to_string();
    if let OpenError::NoColumn { column, near } = error {
        let place = (&*place, Some(1));
        return match near {
            // The whole header as one column: it is separated by something else.
            Some(near) if near.contains([',', ';', '\t', '|']) => {
                let args: [(&str, &dyn std::fmt::Display); 2] =
                    [("column", column), ("near", near)];
                problem(place, "tianlu.replay.delimiter", &args)
            }
            Some(near) => {
                let args: [(&str, &dyn std::fmt::Display); 2] =
                    [("column", column), ("near", near)];
                problem(place, "tianlu.replay.column_near", &args)
            }
            None => problem(place, "tianlu.replay.column", &[("column", column)]),
        };
    }
    if let OpenError::FileName { .. } = error {
        return problem((&place, None), "tianlu.replay.file_name", &[]);
    }
    problem((&place, Some(1)), "tianlu.replay.header", &[("error", error)])
}
