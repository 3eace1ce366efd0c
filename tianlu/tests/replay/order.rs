//! Order and ticks.

use super::farm::{Farm, csv};

#[test]
fn inputs_are_merged_by_time_ties_by_input_then_row() {
    let farm = Farm::new();
    farm.write("b.csv", csv(&[("b", 0, "30"), ("b", 2, "30"), ("b2", 2, "30")]));
    farm.write("a.csv", csv(&[("a", 1, "30"), ("a", 2, "30"), ("a", 3, "30")]));
    let replayed = farm.replay("b.csv a.csv --mapping map.toml", "out");
    let minutes = ["b 0", "a 1", "b 2", "b2 2", "a 2", "a 3"];
    let expected = minutes.map(|one| one.replacen(' ', " 2026-01-01T00:0", 1) + ":00Z");
    assert_eq!(replayed.order(), expected);
}

#[test]
fn a_file_that_runs_backward_is_sorted_and_gives_the_same() {
    let farm = Farm::new();
    let rows = [("a", 0, "30"), ("b", 0, "31"), ("a", 1, "10"), ("b", 1, "9"), ("a", 2, "30")];
    farm.write("forth.csv", csv(&rows));
    let mut back = rows;
    back.sort_by_key(|(_, minute, _)| std::cmp::Reverse(*minute));
    farm.write("back.csv", csv(&back));
    let forth = farm.replay("forth.csv --mapping map.toml --rules rules", "forth");
    let back = farm.replay("back.csv --mapping map.toml --rules rules", "back");
    assert_eq!(forth, back);
    assert_eq!(forth.count("readings", "stored"), 5);
    assert!(!forth.points.contains("late"), "{}", forth.points);
}

/// Scenario: `a` speaks once at the very beginning, `b` each minute for ten, `c` from minute 8 to 9.
/// Guarantees: silence of three intervals is raised when it is due, also of the first row; none after the last.
#[test]
fn silence_is_raised_when_it_is_due_and_not_after_the_last_row() {
    let farm = Farm::new();
    let mut rows = vec![("a", 0, "30")];
    rows.extend((0..=10).map(|minute| ("b", minute, "30")));
    rows.extend([("c", 8, "30"), ("c", 9, "30")]);
    rows.sort_by_key(|(_, minute, _)| *minute);
    farm.write("in.csv", csv(&rows));
    let replayed = farm.replay("in.csv --mapping map.toml --rules rules", "out");
    assert_eq!(replayed.transitions(), ["silent a firing 2026-01-01T00:03:00Z"]);
    assert_eq!(replayed.count("alerts", "firing"), 1);
}

#[test]
fn a_gap_of_all_raises_at_the_tick_before_the_next_row_and_resolves_with_it() {
    let farm = Farm::new();
    farm.write("in.csv", csv(&[("a", 0, "30"), ("a", 20, "30")]));
    let replayed = farm.replay("in.csv --mapping map.toml --rules rules", "out");
    let expected =
        ["silent a firing 2026-01-01T00:03:00Z", "silent a resolved 2026-01-01T00:20:00Z"];
    assert_eq!(replayed.transitions(), expected);
}

#[test]
fn rows_with_a_received_at_keep_their_order_of_arrival() {
    let farm = Farm::new();
    farm.edit(
        "map.toml",
        "[[columns]]\ncolumn = \"wet\"",
        "received_at = { column = \"got\", format = \"rfc3339\" }\n[[columns]]\ncolumn = \"wet\"",
    );
    farm.write(
        "in.csv",
        "device,at,got,wet,note\n\
         a,2026-01-01T00:02:00Z,2026-01-01T00:05:00Z,30,\n\
         a,2026-01-01T00:01:00Z,2026-01-01T00:06:00Z,30,\n\
         a,2025-12-01T00:00:00Z,2026-01-01T00:07:00Z,30,\n",
    );
    let replayed = farm.replay("in.csv --mapping map.toml", "out");
    let order = ["a 2026-01-01T00:02:00Z", "a 2026-01-01T00:01:00Z", "a 2026-01-01T00:07:00Z"];
    assert_eq!(replayed.order(), order);
    let lines: Vec<&str> = replayed.points.lines().collect();
    assert!(lines[1].contains("wet_flag=\"late\""), "{}", lines[1]);
    assert!(lines[2].contains("time_flag=\"past\""), "{}", lines[2]);
}

#[test]
fn a_row_without_a_time_stands_where_the_row_before_it_stands() {
    let farm = Farm::new();
    farm.write(
        "in.csv",
        "device,at,wet,note\n\
         a,,29,first\na,2026-01-01T00:01:00Z,30,\na,soon,31,\na,,32,\nb,2026-01-01T00:01:00Z,33,\n",
    );
    let replayed = farm.replay("in.csv --mapping map.toml", "out");
    let at = |nanos: u32| format!("2026-01-01T00:01:00.00000000{nanos}Z");
    let order = [
        format!("a {}", at(1)),
        "a 2026-01-01T00:01:00Z".to_owned(),
        format!("a {}", at(1)),
        format!("a {}", at(2)),
        "b 2026-01-01T00:01:00Z".to_owned(),
    ];
    assert_eq!(replayed.order(), order);
    assert_eq!(replayed.points.matches("time_flag=\"missing\"").count(), 3);
    assert_eq!(replayed.count("time_flags", "missing"), 3);
}

#[test]
fn recorded_time_passes_as_fast_as_it_is_told() {
    let farm = Farm::new();
    farm.write("in.csv", csv(&[("a", 0, "30"), ("a", 1, "30")]));
    let begun = std::time::Instant::now();
    let done = farm.run("in.csv --mapping map.toml --speed 600x --points -");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(100), "a minute at 600 times");
    assert_eq!(done.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
}
