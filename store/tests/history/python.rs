//! The files as others read them: DuckDB, by its Python module (`tests/services/get` fetches it).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use journal::sim::Dice;
use store::history::{History, HistoryOptions};

use crate::model::{DEVICES, Offer, at, query};

/// Prints count, sum, least and greatest value of each measurement, device and field, and what else must be
/// right for a reader that knows nothing of us.
const SCRIPT: &str = r#"
import sys, duckdb
folder = sys.argv[1]
db = duckdb.connect()
db.execute("set timezone = 'UTC'")
everything = f"read_parquet('{folder}/**/*.parquet', union_by_name = true)"
for measurement in ['soil', '空气 1']:
    rows = f"(select * from {everything} where measurement = '{measurement}')"
    for device in range(4):
        for field in ['f', 'i', 'b']:
            count, total, least, most = db.execute(
                f"select count({field}), sum({field}::double), min({field}::double), max({field}::double)"
                f" from {rows} where device = 'd{device}' and tenant = 't'").fetchone()
            print(measurement, device, field, count, total or 0.0, least or 0.0, most or 0.0, sep='\t')
types = dict(db.execute(f"select column_name, column_type from (describe select * from {everything})").fetchall())
assert types['time'].startswith('TIMESTAMP'), types
assert (types['f'], types['i'], types['b'], types['f_flag']) == ('DOUBLE', 'BIGINT', 'BOOLEAN', 'VARCHAR'), types
sites = db.execute(f"select distinct site from {everything} where site is not null").fetchall()
assert sites == [('north east',)], sites
one = f"'{folder}/measurement=soil/*.parquet'"
codecs = db.execute(f"select distinct compression from parquet_metadata({one})").fetchall()
assert codecs == [('ZSTD',)], codecs
first = db.execute(f"select min(time) from {everything}").fetchone()[0]
assert first.year == 2026, first
doubles = db.execute(f"select count(*) from (select 1 from {everything} group by measurement, device, site, time having count(*) > 1)").fetchone()
assert doubles == (0,), doubles
# A month of one measurement has one schema: no option is needed.
db.execute(f"select count(*) from read_parquet({one}, union_by_name = true)").fetchone()
"#;

/// Scenario: random points, some of them late, in many flushes, merged to days and months; then DuckDB
/// reads the folder as it is.
/// Guarantees: it finds the same count, sum and bounds of each field of each device as our reader, each
/// point once.
#[test]
fn duckdb_reads_what_we_read() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("history");
    let options = HistoryOptions::new(dir.clone(), Duration::from_hours(24 * 4_000));
    let (history, _) = History::open(options).unwrap();
    let mut dice = Dice::new(7);
    let mut now = at("2026-05-01T00:00:00Z");
    for flush in 0..150_u64 {
        for _ in 0..20 {
            let taken = Offer::throw(&mut dice, now).offer(&history, 0);
            assert!(matches!(taken, Ok(()) | Err("type_conflict")), "{taken:?}");
        }
        history.flush(&flush.to_le_bytes()).unwrap();
        now = now.plus(Duration::from_hours(dice.below(12)));
    }
    let (before, _) = history.files();
    while history.maintain(now.plus(Duration::from_hours(24 * 40))).unwrap().has_more {}
    let (after, _) = history.files();
    assert!(after * 10 < before, "{before} files became {after}");

    let mut expected = String::new();
    for measurement in ["soil", "空气 1"] {
        for device in 0..DEVICES {
            for field in ["f", "i", "b"] {
                let mut query = query(device, field);
                query.measurement = Some(measurement.to_owned());
                let points = history.range(&query).unwrap();
                let values = || points.iter().map(|(_, value)| *value);
                let bound = |pick: fn(f64, f64) -> f64| values().reduce(pick).unwrap_or(0.0);
                let (sum, min, max) = (values().sum::<f64>(), bound(f64::min), bound(f64::max));
                let count = points.len();
                writeln!(
                    expected,
                    "{measurement}\t{device}\t{field}\t{count}\t{sum:?}\t{min:?}\t{max:?}"
                )
                .unwrap();
            }
        }
    }
    // Multiples of an eighth: their sum does not depend on the order.
    assert_eq!(run(&python, &dir), expected);
}

fn run(python: &Path, dir: &Path) -> String {
    let output = Command::new(python)
        .env("PYTHONUTF8", "1")
        .arg("-c")
        .arg(SCRIPT)
        .arg(dir)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the Python that `tests/services/get` makes. Without it the test is left out, but not in CI.
fn python() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let python = cache?.join("tianlu/services/python/bin/python");
    if python.is_file() {
        return Some(python);
    }
    let missing = format!("{} is missing: tests/services/get makes it", python.display());
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
    eprintln!("left out: {missing}");
    None
}
