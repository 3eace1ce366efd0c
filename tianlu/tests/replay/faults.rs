//! What ends a replay early: exit code, place and remedy.

use super::farm::{Farm, csv};

#[test]
fn each_mistake_has_its_exit_code_and_says_where_and_what_to_do() {
    let farm = Farm::new();
    farm.write("good.csv", csv(&[("a", 0, "30")]));
    farm.write("timeless.csv", "device,at,wet,note\na,,30,\n");
    farm.write("header.csv", "device,at,wett,note\na,2026-01-01T00:00:00Z,30,\n");
    farm.write("form.txt", "");
    farm.write("broken.csv.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x01\x02");
    farm.write("wrong.toml", farm.text("map.toml").replace("\"soil\"", "\"soill\""));
    farm.write("bad-rules/a.toml", farm.text("rules/dry.toml").replace("wet <", "wett <"));
    let cases = [
        ("none.csv --mapping map.toml", 1, "none.csv: cannot be read"),
        ("broken.csv.gz --mapping map.toml", 1, "broken.csv.gz:1: cannot be read"),
        ("timeless.csv --mapping map.toml", 1, "timeless.csv: not one row has a time"),
        ("good.csv --mapping map.toml --points none/out.lp", 1, "none/out.lp: cannot be written"),
        ("--journal .", 1, "there is no journal"),
        ("header.csv --mapping map.toml", 2, "header.csv:1: the header has no column `wet`"),
        ("form.txt --mapping map.toml", 2, "form.txt: how to read this file is not known"),
        ("good.csv --mapping none.toml", 2, "none.toml: cannot be read"),
        ("good.csv --mapping wrong.toml", 2, "wrong.toml: profile = \"soill\""),
        ("good.csv --mapping map.toml --rules none", 2, "none: the folder cannot be read"),
        ("good.csv --mapping map.toml --rules bad-rules", 2, "did you mean `wet`?"),
        ("good.csv --mapping map.toml --points good.csv", 2, "good.csv is an input"),
        ("good.csv --mapping map.toml --points x --dead ./x", 2, "takes another result already"),
        ("good.csv --mapping map.toml --to mqtt://u:p@h", 2, "not the address of a broker"),
        ("good.csv --mapping map.toml --to mqtt://127.0.0.1:1", 1, "cannot publish to the broker"),
    ];
    for (arguments, code, text) in cases {
        let done = farm.run(arguments);
        let shown = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{arguments}\n{shown}");
        assert!(shown.contains(text), "{arguments}\n{shown}");
        assert!(shown.contains(" -> "), "no remedy: {shown}");
    }
    assert_eq!(farm.text("good.csv"), csv(&[("a", 0, "30")]), "an input is never written to");
}

#[test]
fn a_file_that_breaks_off_is_told_before_anything_is_replayed() {
    use std::io::Write as _;
    let farm = Farm::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let rows: Vec<(&str, u32, &str)> = (0..60).map(|minute| ("a", minute, "30")).collect();
    packed.write_all(csv(&rows).as_bytes()).unwrap();
    let mut packed = packed.finish().unwrap();
    packed.truncate(packed.len() - 20);
    farm.write("in.csv.gz", packed);
    let done = farm.run("in.csv.gz --mapping map.toml --points out.lp");
    assert_eq!(done.status.code(), Some(1));
    assert!(!farm.path().join("out.lp").exists());
}

#[test]
fn a_profile_is_found_beside_the_mapping_or_above_it() {
    let farm = Farm::new();
    farm.write("in.csv", csv(&[("a", 0, "30")]));
    farm.write("maps/map.toml", farm.text("map.toml"));
    farm.write(
        "maps/profiles/other.toml",
        farm.text("profiles/soil.toml")
            .replace("\"soil\"", "\"other\"")
            .replace("domain = \"other\"", "domain = \"soil\""),
    );
    let above = farm.replay("in.csv --mapping maps/map.toml", "above");
    assert_eq!(above.count("readings", "stored"), 1);
}
