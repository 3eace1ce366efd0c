//! Forms of inputs and outputs.

use std::io::Write as _;

use super::farm::{Farm, csv};

const ROWS: [(&str, u32, &str); 6] =
    [("a", 0, "30"), ("b", 0, "5"), ("a", 1, "70"), ("b", 1, ""), ("a", 2, "x"), ("b", 2, "30")];

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn two_replays_give_identical_bytes_also_of_gzip() {
    let farm = Farm::new();
    let text = csv(&ROWS);
    farm.write("in.csv", &text);
    // Two members in one file, as `cat a.gz b.gz` makes it.
    let (head, tail) = text.split_at(text.len() / 2);
    farm.write("in.csv.gz", [gzip(head), gzip(tail)].concat());
    let first = farm.replay("in.csv --mapping map.toml --rules rules", "first");
    let second = farm.replay("in.csv --mapping map.toml --rules rules", "second");
    let packed = farm.replay("in.csv.gz --mapping map.toml --rules rules", "packed");
    assert_eq!(first, second);
    assert_eq!(first, packed);
    let of = |name| first.count("readings", name);
    assert_eq!(
        [of("decoded"), of("stored"), of("dead"), of("duplicate"), of("held")],
        [6, 4, 2, 0, 0]
    );
    assert_eq!(first.count("flags", "range"), 1);
    assert_eq!(first.count("dead_by_reason", "no_value"), 2);
}

#[test]
fn json_lines_are_decoded_by_the_profile_and_named_by_the_mapping() {
    let farm = Farm::new();
    farm.edit(
        "map.toml",
        "device = { column = \"device\" }",
        "tenant = \"t1\"\nsite = { column = \"field\" }\ndevice = { column = \"id\" }",
    );
    farm.write(
        "in.ndjson",
        "\u{feff}{\"id\":\"a\",\"field\":\"north\",\"at\":\"2026-01-01T00:00:00Z\",\"w\":30,\"seq\":1}\r\n\
         \n\
         {\"id\":7,\"at\":\"2026-01-01T00:01:00Z\",\"w\":31}\n\
         {\"id\":\"a\",\n\
         {\"at\":\"2026-01-01T00:02:00Z\",\"w\":32}\n\
         {\"id\":\"a\",\"w\":33}",
    );
    let replayed = farm.replay("in.ndjson --mapping map.toml", "out");
    assert_eq!(
        replayed.points,
        "soil,device=a,site=north,tenant=t1 wet=0.3 1767225600000000000\n\
         soil,device=7,site=default,tenant=t1 wet=0.31 1767225660000000000\n\
         soil,device=a,site=north,tenant=t1 time_flag=\"missing\",wet=0.33 1767225660000000001\n"
    );
    let details: Vec<_> = replayed
        .letters()
        .iter()
        .map(|letter| letter["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(details, ["bad_element", "bad_element"]);
    assert!(replayed.summary.starts_with("{\n  \"rows\": 5,"), "{}", replayed.summary);
}

/// Guarantees: points replay to the same points: units, flags, tags and untrusted times alike.
#[test]
fn points_replay_to_themselves() {
    let farm = Farm::new();
    farm.edit("profiles/soil.toml", "codec = \"json\"", "codec = \"json\"\ntags = [\"depth\"]");
    farm.write("devices.csv", "tenant,device,site,depth\ndefault,a,north field,10\n");
    farm.write(
        "in.csv",
        "device,at,wet,note\na,2026-01-01T00:00:00Z,30,\"say \"\"hi\"\", you\"\na,2026-01-01T00:01:00Z,99,\n\
         b c,2026-01-01T00:02:00Z,,only a note\na,,12,\na,1999-01-01T00:00:00Z,13,\n",
    );
    farm.write("plain.csv", "device,at,wet,note\na,2026-01-01T00:00:00Z,30,\n");
    let first = farm.replay("in.csv --mapping map.toml", "first");
    assert_eq!(first.points.lines().count(), 5, "{}", first.points);
    assert!(first.points.contains("depth=10,device=a,site=north\\ field"), "{}", first.points);
    std::fs::remove_file(farm.path().join("devices.csv")).unwrap();
    let second = farm.replay("first.lp --mapping map.toml", "second");
    assert_eq!(first.points, second.points);
    farm.write("odd.lp", "# a comment\nsoil,device=a wet=\nair,device=a wet=1 1767225600000000000\nsoil wet=1 1767225600000000000\nsoil,device=z wet=0.2 1767225600000000000");
    let odd = farm.replay("odd.lp --mapping map.toml", "out");
    assert_eq!((odd.points.lines().count(), odd.letters().len()), (1, 3), "{odd:?}");
}

#[test]
fn rows_that_cannot_be_read_are_dead_letters_with_the_row_as_it_stands() {
    let farm = Farm::new();
    let mut text = b"device,at,wet,note\na,2026-01-01T00:00:00Z,30,\na,1\n,2026-01-01T00:01:00Z,30,\"x,\ny\"\n".to_vec();
    text.extend_from_slice(b"\xb1\xb1,2026-01-01T00:02:00Z,30,\na,2026-01-01T00:03:00Z,30,\n");
    farm.write("in.csv", text);
    let replayed = farm.replay("in.csv --mapping map.toml", "out");
    let letters = replayed.letters();
    let payloads: Vec<Vec<u8>> = letters
        .iter()
        .map(|letter| {
            use base64::Engine as _;
            let text = letter["payload_base64"].as_str().unwrap();
            base64::engine::general_purpose::STANDARD.decode(text).unwrap()
        })
        .collect();
    let expected: [&[u8]; 3] =
        [b"a,1", b",2026-01-01T00:01:00Z,30,\"x,\ny\"", b"\xb1\xb1,2026-01-01T00:02:00Z,30,"];
    assert_eq!(payloads, expected);
    assert!(letters.iter().all(|letter| letter["reason"] == "bad_element"));
    assert_eq!(letters[0]["detail"], "the row has 2 cells, the header 4");
    assert_eq!(letters[0]["received_at"], "2026-01-01T00:00:00Z");
    assert_eq!(letters[0]["topic"], "replay/default/default/");
    let of = |name| replayed.count("readings", name);
    assert_eq!([of("decoded"), of("stored"), of("dead")], [5, 2, 3]);
}

#[test]
fn a_wide_file_gives_a_reading_a_cell() {
    let farm = Farm::new();
    farm.write(
        "wide.toml",
        "profile = \"soil\"\nlayout = \"wide\"\ndevice = { header = true }\nvalue = \"wet\"\nunit = \"%\"\n\
         time = { start = \"2026-01-01T00:00:00Z\", step = \"1m\" }\n",
    );
    farm.write("in.csv", "a,b\n30,31\n32,\n33,x\n");
    let replayed = farm.replay("in.csv --mapping wide.toml", "out");
    assert_eq!(replayed.points.lines().count(), 4);
    let letters = replayed.letters();
    assert_eq!((letters.len(), letters[0]["device"].as_str()), (1, Some("b")));
    assert_eq!(letters[0]["payload_base64"], "MzMseA==");
    assert!(replayed.summary.starts_with("{\n  \"rows\": 3,"), "{}", replayed.summary);
}

#[test]
fn a_person_gets_the_counts_where_no_file_is_named() {
    let farm = Farm::new();
    farm.write("in.csv", csv(&ROWS));
    let shown =
        String::from_utf8(farm.run("in.csv --mapping map.toml --rules rules").stdout).unwrap();
    for part in [
        "rows: 6, from 2026-01-01T00:00:00Z to 2026-01-01T00:02:00Z",
        "readings: 6; stored 4, dead 2, duplicate 0",
        "dead by reason: no_value 2",
        "flags of values: missing 4, range 1",
        "dry   yellow    1       1         0",
        "alerts: raised 1, resolved 1, still firing 0",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let zh = farm.run("in.csv --mapping map.toml --rules rules --lang zh");
    assert!(String::from_utf8(zh.stdout).unwrap().contains("读数 6：入库 4，搁置 2，重复 0"));
    let summary = farm.run("in.csv --mapping map.toml --summary -");
    assert!(serde_json::from_slice::<serde_json::Value>(&summary.stdout).is_ok());
}
