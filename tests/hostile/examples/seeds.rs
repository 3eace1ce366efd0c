//! Writes what the corpus begins with: `cargo run -p hostile --example seeds`.
//!
//! What a fuzzer found stands in the corpus beside it, under the name the fuzzer gave.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers")]

use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use pipeline::record::{
    ConfigActivated, Origin, Record, Redrive, Rejected, RejectedPoint, SourceState, Started, Tick,
    Uplink,
};
use pipeline::{Entry, EntryKind, Limits, OutboxRecord, Pipeline};
use telemetry::codec::frame::{encode, encode_named};
use telemetry::document::Problems;
use telemetry::profile::Profile;
use telemetry::time::IngestTime;

const CSV: &str = "seq,device,wet,count,on,note,ts,depth\n7,d1,0.231,3,true,NNW,1763856000000,10\n8,d2,,x,1,\"a \"\"b\"\"\",never,\n9,d3\n";
const LINES: &str = "every\\,\\ thing,depth=10,device=d1 wet=0.231,count=3i,on=t,note=\"a \\\"b\\\"\" 1763856000000\nevery\\,\\ thing,device=d2 on_flag=\"missing\",wet_flag=\"type\",note=\"\" 5\nair x=1\n# no line\nevery\\,\\ thing wet=\n";
const LONG: &str = "profile = \"everything\"\nlayout = \"long\"\nsite = { constant = \"beijing\" }\ndevice = { filename = \"^([a-z]+)\" }\ntime = { columns = [\"year\", \"month\", \"day\", \"hour\"], format = \"%Y %m %d %H\", zone = \"Asia/Shanghai\", ambiguous = \"earlier\" }\n[[columns]]\ncolumn = \"wet\"\nproperty = \"wet\"\nmissing = [\"NA\", \"-9999\"]\nunit = \"%\"\n\0year,month,day,hour,wet\n2013,3,1,0,23.1\n2013,3,1,1,NA\n2013,13,1,1,5\n2013,3\n";
const WIDE: &str = "profile = \"everything\"\nlayout = \"wide\"\nvalue = \"wet\"\nignore = [\"note\"]\ndevice = { header = true }\ntime = { start = \"2012-03-01T00:00:00Z\", step = \"5m\", column = \"n\" }\n\0n,d1,d2,note\n0,0.1,0.2,x\n1,,0.3,\n9223372036854775807,1,2,3\n";
const RFC: &str = "profile = \"everything\"\nlayout = \"long\"\ndelimiter = \";\"\ndevice = { column = \"station\" }\ntime = { column = \"dt\", format = \"rfc3339\" }\nreceived_at = { column = \"at\", format = \"unix_ms\" }\n[[columns]]\ncolumn = \"on\"\nproperty = \"on\"\n\0station;dt;at;on\nd1;2013-02-28T16:00:00Z;1763856000000;1\n;x;y;z\n";

fn main() {
    binary();
    text();
    println!("wrote the seeds below {}", corpus().display());
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn seed(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = corpus().join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

fn text() {
    seed("configuration", "sample", file("tianlu/samples/tianlu.toml"));
    seed("configuration", "compose", file("deploy/compose/tianlu.toml"));
    seed(
        "configuration",
        "broken",
        "[data\nkeep = \"one day\"\n[[mqtt]]\nurl = \"mqtt://u:p@h\"\ntopics = [\"a/#/b\"]\n[listener]\nbind = \"0.0.0.0:1\"\n[[notifiers]]\nkind = \"mqtt\"\n",
    );
    for name in ["soil-5in1", "traffic-detector", "weather-station"] {
        seed("profile", name, file(&format!("packs/profiles/{name}.toml")));
    }
    seed(
        "profile",
        "everything",
        "name = \"x\"\ndomain = \"air\"\nmeasurement = \"m\"\ninterval = \"1h\"\ncodec = \"frame\"\ntags = [\"a.b\"]\n[batch]\npath = \"r[0].s\"\ndevice = \"d\"\n[time]\npath = \"t\"\nformat = \"%Y-%m-%d %H:%M\"\nzone = \"Asia/Shanghai\"\npolicy = \"trust_device\"\n[[properties]]\nname = \"wet\"\npath = \"a.b[0].c\"\ntype = \"int\"\nunit = \"1\"\nrange = [0, 10]\nrequired = true\n",
    );
    for name in ["air/air-o3-heavy", "soil/soil-no-data", "soil/soil-drought-severe"] {
        seed("rule", &name.replace('/', "-"), file(&format!("packs/rules/{name}.toml")));
    }
    seed(
        "rule",
        "condition",
        "((soil_moisture_10cm < 0.12 && soil_temp >= -1e-3) || rh == 5) && battery_v != 3.3",
    );
    seed("registry", "compose", file("deploy/compose/devices.csv"));
    seed(
        "registry",
        "columns",
        "tenant,device,profile,site,lat,lon,region,name,group,depth\nt1,d1,,s1,39.9,116.4,110000,\"a, b\",g,10\nt1,d1,,,,,,,,\n,d2,x,,91,181,11,,,\nt1\n",
    );
    // Found: the wrong region was kept.
    seed("registry", "region", "tenant,device,region\nt1,d1,11\n");
    seed("registry", "small", "device\nd1\nd2\n");
    seed("topic", "default", "tianlu/v1/{tenant}/{site}/{device}/up\ntianlu/v1/farm/北田/s-01/up");
    seed("topic", "wildcards", "+/{device}/#\n/d/a/b");
    seed("topic", "broken", "a/{name}/#/b\na");
    let soil = "{\"ts\":1763856000000,\"seq\":7,\"soil_moisture_10cm\":0.231,\"soil_temp\":14.2}";
    seed("json", "soil", [b"\0", soil.as_bytes()].concat());
    let everything = "{\"seq\":\"7\",\"ts\":\"1763856000000\",\"depth\":10,\"a\":{\"b\":[null,{\"wet\":23.1}]},\"count\":5e2,\"on\":false,\"note\":\"a\\u000ab\\ud834\\udd1e\"}";
    seed("json", "everything", format!("\u{2}{everything}"));
    seed(
        "json",
        "batch",
        format!(
            "\u{3}{{\"readings\":[{everything},{{\"device\":\"d\",\"on\":1}},7,{{\"device\":3}}]}}"
        ),
    );
    seed("csv", "rows", CSV);
    seed("csv", "marked", format!("\u{feff}{CSV}"));
    seed("csv", "header", "on\n");
    seed("line_protocol", "lines", LINES);
    seed(
        "line_protocol",
        "raw",
        "every\\,\\ thing wet=1,sampled_at_raw=7i,count=18446744073709551615u 9\n",
    );
    seed(
        "line_protocol",
        "escapes",
        "every\\,\\ thing,device=a\\ b\\=c\\,d note=\"line\nbreak\\\\\" -1\n",
    );
    for (name, mapping) in [("long", LONG), ("wide", WIDE), ("rfc3339", RFC)] {
        seed("mapping", name, mapping);
    }
    let uplinks = "a s/probe-1 {\"ts\":1763856000000,\"soil_moisture_10cm\":0.01}\nb\nc b/t/x {\"readings\":[{\"device\":\"d\",\"on\":true,\"ts\":1}]}\nd elsewhere {}\ne s/probe-1 {\"ts\":1763856000000,\"soil_moisture_10cm\":0.02}\n\u{7f} s/probe-1 {\"soil_moisture_10cm\":null}";
    seed("uplink", "mixed", uplinks);
    seed("uplink", "ticks", "a\nb\nc s/d {\"soil_temp\":1}\nz\n~");
    seed("uplink", "one", "0 s/d x");
}

fn binary() {
    seed("snapshot", "state", hostile::pipeline_snapshot());
    seed("snapshot", "magic", b"TLSN\x02\x01\x00\x00\x00\x00\x00");
    seed("snapshot", "cut", hostile::pipeline_snapshot().get(..200).unwrap());
    // Found: a length in nine bytes asked for 25 GB.
    let whole = Pipeline::new(NonZeroU16::MIN, Limits::default()).snapshot();
    let (before, end) = whole.split_at(whole.len() - 21);
    let devices = [0, 0x80, 0xe1, 0xeb, 0x17];
    let sum = telemetry::hash::hash64(&devices).to_le_bytes();
    let many = [before, &[5, 5, 0, 0, 0], &sum, &devices, end].concat();
    seed("snapshot", "many-devices", many);
    let problems = Problems::default();
    let text =
        file("packs/profiles/soil-5in1.toml").replace("codec = \"json\"", "codec = \"frame\"");
    let profile = Profile::parse("soil.toml", &text, &problems).unwrap();
    let reading = telemetry::reading::Reading { sequence: Some(7), ..Default::default() };
    let hashed = encode(&profile, std::slice::from_ref(&reading)).unwrap();
    let named = encode_named(&profile, &[reading]).unwrap();
    seed("frame", "hashed", [b"\0", &hashed[..]].concat());
    seed("frame", "named-body", [b"\x02", named.get(7..).unwrap()].concat());
    seed("frame", "batch-body", b"\x03\x01\x02\x03wet\x04note\x01\x01\x01d\x01\x04\x01\x06\x01\x05depth\x0210\x03\x00\x07\x04\x02\x01\x06\x01a\x00\x00");
    for (name, record) in records() {
        seed("record", name, [&[record.kind().code()], &record.encode()[..]].concat());
    }
    let mut outbox = OutboxRecord::default();
    outbox.begin(IngestTime::from_nanos(42));
    seed("outbox", "empty", outbox.bytes());
    outbox.push(Entry { kind: EntryKind::Point, redriven: false, element: 0, data: b"soil v=1 5" });
    seed("outbox", "point", outbox.bytes());
    outbox.push(Entry { kind: EntryKind::Alert, redriven: true, element: 70_000, data: b"{}" });
    seed("outbox", "alert", outbox.bytes());
    seed("journal", "whole", b"\xff\xff");
    seed("journal", "flipped", b"\xff\xff\x00\x04\x01\x2d\x04\x80");
    seed("journal", "cut", b"\x50\x05");
    seed("journal", "raw", b"\xff\xffTLr1 is not a record at all");
}

fn records() -> Vec<(&'static str, Record<'static>)> {
    let origin = || Origin {
        source: 1,
        received_at_nanos: -5,
        topic: "a/b".to_owned(),
        payload: vec![0, 255],
        full_len: 2,
    };
    let point = RejectedPoint {
        position: 5,
        index: 1,
        element: 2,
        reason: 7,
        detail: "no".to_owned(),
        origin: origin(),
    };
    let state = SourceState { source: 0, connected: true, caught_up: false };
    let received_at = IngestTime::from_nanos(7);
    let topic = "tianlu/v1/河南/s/d/up";
    vec![
        (
            "uplink",
            Record::Uplink(Uplink { source: 3, received_at, topic, payload: b"{}", full_len: 2 }),
        ),
        ("tick", Record::Tick(Tick { at_nanos: 9, elapsed_ms: 1000, sources: vec![state] })),
        ("started", Record::Started(Started { at_nanos: 1, version: "0.1.0".to_owned() })),
        ("config", Record::ConfigActivated(ConfigActivated { at_nanos: 1, hash: "ab".to_owned() })),
        ("rejected", Record::Rejected(Rejected { at_nanos: 1, points: vec![point] })),
        (
            "redrive",
            Record::Redrive(Redrive {
                at_nanos: 1,
                letter: "x".to_owned(),
                element: Some(3),
                origin: origin(),
            }),
        ),
    ]
}
