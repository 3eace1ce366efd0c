use proptest::prelude::*;

use super::*;
use crate::codec::json::decode_text;
use crate::profile::sample;

const PROPERTIES: &str = "[time]\npath = 'ts'\nformat = 'unix_ms'\n[sequence]\npath = 'seq'\n\
    [[properties]]\nname = 'wet'\npath = 'soil.wet'\nunit = 'm3/m3'\nrange = [0.0, 0.6]\n\
    [[properties]]\nname = 'temp'\npath = 't[1].c'\nunit = 'C'\nrequired = true\n\
    [[properties]]\nname = 'count'\npath = 'n'\ntype = 'int'\nunit = '1'\n\
    [[properties]]\nname = 'on'\npath = 'on'\ntype = 'bool'\nunit = '1'\n\
    [[properties]]\nname = 'note'\npath = 'note'\ntype = 'string'\nunit = '1'\n";

fn profile(batch: &str) -> Profile {
    sample(&format!(
        "name = 'p'\ndomain = 'soil'\nmeasurement = 'soil'\ninterval = '15m'\ncodec = 'json'\ntags = ['depth']\n{batch}{PROPERTIES}"
    ))
}

fn profiles() -> [Profile; 3] {
    [
        profile(""),
        profile("[batch]\npath = ''\ndevice = 'id'\n"),
        profile("[batch]\npath = 'a.b'\ndevice = 'id'\n"),
    ]
}

/// The short way gives what the long way gives, or nothing. Returns whether it gave something.
fn compare(profile: &Profile, text: &str) -> bool {
    let Some(short) = decode(profile, text) else { return false };
    let long = decode_text(profile, text).unwrap();
    assert_eq!(format!("{short:?}"), format!("{long:?}"), "{text}");
    true
}

#[test]
fn what_sensors_send_takes_the_short_way() {
    let [single, list, below] = profiles();
    let one = r#"{"ts":1764000000000,"seq":17,"soil":{"wet":0.231},"t":[{},{"c":-3.5}], "n" : 4 ,"on":true,"x":[[],{}],"note":"北 田","depth":"10"}"#;
    assert!(compare(&single, one));
    assert!(compare(&list, &format!("[{one},{one}]")));
    assert!(compare(&below, &format!("{{\"a\":{{\"b\":[{one},{{}}]}}}}\n")));
}

#[test]
fn what_is_not_plain_is_left_to_the_long_way() {
    let [single, list, below] = profiles();
    for text in [
        "",
        "{",
        "{}x",
        "[]",
        "{} {}",
        r#"{"n":01}"#,
        r#"{"n":-}"#,
        r#"{"n":1.}"#,
        r#"{"n":.5}"#,
        r#"{"n":1e3}"#,
        r#"{"n":-0}"#,
        r#"{"n":1,}"#,
        r#"{,}"#,
        r#"{"n" 1}"#,
        r#"{"n":tru}"#,
        r#"{"n":truex}"#,
        r#"{"note":"a\nb"}"#,
        "{\"note\":\"a\nb\"}",
        r#"{"note":"a"#,
        r#"{"n":"#,
        r#"{"n":1234567890123456789}"#,
        r#"{"n":9007199254740993.0}"#,
        "{\"n\":1\u{b}}",
        "null",
    ] {
        assert!(!compare(&single, text), "{text}");
    }
    assert!(!compare(&below, "{}"), "no array");
    assert!(!compare(&list, "[1]"), "an element that is not an object");
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(!compare(&single, &format!("{{\"x\":{deep}}}")));
    let most = format!("[{}{{}}]", "{},".repeat(ELEMENTS_MAX - 1));
    assert!(compare(&list, &most) && !compare(&list, &most.replacen('[', "[{},", 1)));
}

fn text() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        (any::<i64>(), 0..63_u32, 0..24_usize).prop_map(|(number, shift, decimals)| {
            let digits = format!("{:025}", (number >> shift).unsigned_abs());
            let (whole, rest) = digits.split_at(25 - decimals);
            let whole = whole.trim_start_matches('0');
            format!(
                "{}{}.{rest}0",
                if number < 0 { "-" } else { "" },
                if whole.is_empty() { "0" } else { whole }
            )
        }),
        "-?[0-9]{1,3}(\\.[0-9]{1,3})?([eE]-?[0-9])?",
    ];
    let leaf = prop_oneof![
        4 => number,
        1 => "(null|true|false|\\{\\}|\\[\\]|nul|\"\\\\\\\\u00e9\")",
        2 => "\"[ -~北]{0,20}\"",
    ];
    let name = "(ts|seq|soil|wet|t|c|n|on|note|depth|id|a|b|x[a-z]{0,9})";
    let pair = move |value: BoxedStrategy<String>| {
        let space = "[ \n]{0,1}";
        (name, space, value)
            .prop_map(|(name, space, value)| format!("\"{name}\"{space}:{space}{value}"))
    };
    leaf.prop_recursive(4, 40, 8, move |inner| {
        let inner = inner.boxed();
        let object = proptest::collection::vec(pair(inner.clone()), 0..8);
        let array = proptest::collection::vec(inner, 0..4);
        prop_oneof![
            3 => object.prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
            1 => array.prop_map(|items| format!("[{}]", items.join(", "))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_short_way_gives_what_the_long_way_gives(
        text in text(),
        cut in any::<prop::sample::Index>(),
        put in prop::sample::select(vec!["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", " ", "\u{1}", "é"]),
    ) {
        for profile in &profiles() {
            compare(profile, &text);
            compare(profile, &format!("{{\"a\":{{\"b\":[{text}]}}}}"));
            compare(profile, &format!("[{text},{text}]"));
            // One character is another, or is gone.
            let Some((at, removed)) = text.char_indices().nth(cut.index(text.chars().count())) else { continue };
            let mut changed = text.clone();
            changed.replace_range(at..at + removed.len_utf8(), put);
            compare(profile, &changed);
        }
    }
}
