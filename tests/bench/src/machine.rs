//! Where and when a run took place, without the machine's name.

use std::fs;

use serde::Serialize;

/// The machine, as the table names it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// When the run began, UTC.
    pub(crate) date: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    /// The processor's name.
    pub(crate) cpu: String,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Memory in GiB.
    pub(crate) memory_gib: u64,
    /// Processes that wanted a core in the minute before the run.
    pub(crate) load_before: String,
    /// Version of the service.
    pub(crate) tianlu: String,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn here(tianlu: String) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (cpu_info, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let cpu =
            cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let memory_kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let memory_kib =
            memory_kib.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: cpu.map_or("unknown", |(_, name)| name).to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_gib: memory_kib.unwrap_or(0) >> 20,
            load_before: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            tianlu,
        }
    }

    /// Returns one sentence that stands above the tables.
    pub(crate) fn sentence(&self) -> String {
        let Self { date, cores, cpu, kernel, memory_gib, load_before, tianlu } = self;
        format!(
            "{date}, {cores} cores ({cpu}), {memory_gib} GiB, Linux {kernel}, {tianlu}. Load average before the run: \
             {load_before}."
        )
    }
}
