use super::*;
use std::time::Duration;
use telemetry::text::Lang;

fn schemas() -> [Schema<'static>; 3] {
    let interval = Duration::from_mins(15);
    let schema = |name, domain, properties: &[(&'static str, bool)]| Schema {
        name,
        domain,
        interval,
        properties: properties.to_vec(),
    };
    [
        schema(
            "soil-5in1",
            "soil",
            &[("soil_moisture_10cm", true), ("soil_temp", true), ("note", false)],
        ),
        schema("soil-ec", "soil", &[("soil_temp", true), ("ec", true)]),
        schema("traffic-detector", "traffic", &[("speed_km_h", true)]),
    ]
}

const GOOD: &str = r#"name = "soil-dry"
scope = { domain = "soil" }
when = "soil_moisture_10cm < 0.12"
clear = "soil_moisture_10cm > 0.15"
on_delay = "30m"
severity = "yellow"
message = { zh = "{site} {value}", en = "{site} {value}" }
"#;

fn load(files: &[&str]) -> (RuleSet, Vec<String>) {
    let files: Vec<(String, String)> =
        files.iter().zip(1..).map(|(text, n)| (format!("{n}.toml"), (*text).to_owned())).collect();
    let problems = Problems::default();
    let set = RuleSet::load_for(&files, &schemas(), &problems);
    (set, problems.take().iter().map(|problem| problem.show(Lang::En)).collect())
}

#[test]
fn a_rule_binds_to_each_profile_in_scope_that_has_its_properties() {
    let (set, problems) = load(&[
        GOOD,
        &GOOD
            .replace("soil-dry", "all")
            .replace("domain = \"soil\"", "")
            .replace("soil_moisture_10cm", "soil_temp"),
    ]);
    assert_eq!(problems, [""; 0]);
    let names = |profile| -> Vec<&str> {
        set.of_profile(profile).iter().map(|bound| bound.rule().name()).collect()
    };
    assert_eq!((names(0), names(1), names(2)), (vec!["all", "soil-dry"], vec!["all"], vec![]));
    assert_eq!(set.find("soil-dry").map(|(at, rule)| (at, rule.file())), Some((1, "1.toml")));
    assert_eq!(set.of_profile(9).len(), 0);
}

#[test]
fn scope_chooses_devices_by_tenant_site_and_device() {
    let scoped = |name: &str, scope: &str| {
        GOOD.replace("soil-dry", name).replace("domain = \"soil\"", scope)
    };
    let (set, problems) = load(&[
        &scoped("a", "tenant = \"t1\""),
        &scoped("b", "site = [\"north\", \"east\"]"),
        &scoped("c", "device = \"d2\", site = \"east\""),
        &scoped("d", "profile = [\"soil-5in1\"]"),
    ]);
    assert_eq!(problems, [""; 0]);
    let scope = set.rules()[1].scope();
    assert_eq!(scope, [("site", ["east".to_owned(), "north".to_owned()].as_slice())]);
    let cases = [
        (("t1", "east", "d2"), "abcd"),
        (("t1", "west", "d2"), "ad"),
        (("t2", "north", "d2"), "bd"),
        (("t2", "east", "d1"), "bd"),
    ];
    for ((tenant, site, device), expected) in cases {
        let bound = set.of_profile(0);
        let found = set.watching(0, tenant, site, device);
        let found: String = found.iter().map(|at| bound[usize::from(*at)].rule().name()).collect();
        assert_eq!(found, expected, "{tenant} {site} {device}");
    }
}

/// Each text gives the problem, and no rule.
fn check(cases: &[(String, &str)]) {
    for (text, expected) in cases {
        let (set, problems) = load(&[text]);
        assert!(
            problems.iter().any(|problem| problem == expected),
            "{text}\n{problems:#?}\n{expected}"
        );
        assert!(problems.len() <= 2, "{text}\n{problems:#?}");
        assert!(set.rules().is_empty(), "{text}");
    }
}

#[test]
fn a_missing_or_unknown_key_has_a_remedy() {
    let lacking = |key: &str| {
        GOOD.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n")
    };
    check(&[
        (
            lacking("name"),
            "1.toml: name: the required key `name` is missing -> add `name` (a string)",
        ),
        (
            lacking("scope"),
            "1.toml: scope: the required key `scope` is missing -> add `scope` (a table)",
        ),
        (
            lacking("severity"),
            "1.toml: severity: the required key `severity` is missing -> add `severity` (a string)",
        ),
        (
            lacking("message"),
            "1.toml: message: the required key `message` is missing -> add `message` (a string, or a table with `zh` and `en`)",
        ),
        (
            lacking("when"),
            "1.toml: neither `when` nor `no_data` is there -> add `when = \"property < number\"` or `no_data = \"3 intervals\"`",
        ),
        (
            format!("{GOOD}no_data = \"3 intervals\""),
            "1.toml:8: no_data = \"3 intervals\": `when` and `no_data` exclude each other -> remove one of them, or write two rules",
        ),
        (
            format!("{GOOD}on_dely = \"3m\""),
            "1.toml:8: on_dely = \"3m\": unknown key `on_dely` -> did you mean `on_delay`?",
        ),
    ]);
}

#[test]
fn a_condition_that_cannot_be_judged_has_its_line_its_column_and_a_remedy() {
    let when = |text: &str| GOOD.replace("soil_moisture_10cm < 0.12", text);
    check(&[
        (
            when("soil_moistur_10cm < 0.12"),
            "1.toml:3: when = \"soil_moistur_10cm < 0.12\": column 1: no profile in scope has the property `soil_moistur_10cm` -> did you mean `soil_moisture_10cm`?",
        ),
        (
            when("soil_temp < 1 && speed_km_h < 3"),
            "1.toml:3: when = \"soil_temp < 1 && speed_km_h < 3\": column 18: no profile in scope has the property `speed_km_h` -> properties in scope: ec, soil_moisture_10cm, soil_temp",
        ),
        (
            when("note == 1"),
            "1.toml:3: when = \"note == 1\": column 1: the property `note` is text and cannot be compared with a number -> choose a property that is a number or truth",
        ),
        (
            when("soil_moisture_10cm < 0.12 && ec > 1"),
            "1.toml:3: when = \"soil_moisture_10cm < 0.12 && ec > 1\": no single profile has all properties of this rule, so that it would never be judged -> write one rule for each profile, or narrow the scope",
        ),
        (
            when("soil_temp < nan"),
            "1.toml:3: when = \"soil_temp < nan\": column 13: `nan` has no meaning here -> a finite number stands here, such as 0.12, -5 or 1e3; its unit is the property's and is not written",
        ),
        (
            when("soil_temp < "),
            "1.toml:3: when = \"soil_temp < \": column 13: the condition ends too early -> a finite number stands here, such as 0.12, -5 or 1e3; its unit is the property's and is not written",
        ),
        (
            when("soil_temp > 2 && soil_temp < 1"),
            "1.toml:3: when = \"soil_temp > 2 && soil_temp < 1\": no value can fulfil this condition -> check operators and limits; where one of two is enough, write `||`",
        ),
        (
            GOOD.replace("> 0.15", "< 0.12"),
            "1.toml:4: clear = \"soil_moisture_10cm < 0.12\": `clear` holds whenever `when` holds, so that each alert would end at once -> write `clear` on the other side of the limit, or remove it (default: not `when`)",
        ),
    ]);
}

#[test]
fn a_wrong_value_has_its_line_and_a_remedy() {
    let message = |text: &str| GOOD.replace("en = \"{site} {value}\"", text);
    check(&[
        (
            GOOD.replace("yellow", "yelow"),
            "1.toml:6: severity = \"yelow\": not one of the choices -> did you mean `yellow`?",
        ),
        (
            GOOD.replace("30m", "soon"),
            "1.toml:5: on_delay = \"soon\": not a duration -> write it like `90s`, `15m`, `2h` or `30d`",
        ),
        (
            GOOD.replace("domain = \"soil\"", "domain = \"sol\""),
            "1.toml:2: scope.domain = \"sol\": not a known name -> did you mean `soil`?",
        ),
        (
            GOOD.replace("domain = \"soil\"", "profile = \"x\""),
            "1.toml:2: scope.profile = \"x\": not a known name -> choose one of: soil-5in1, soil-ec, traffic-detector",
        ),
        (
            GOOD.replace("domain = \"soil\"", "domain = \"air\""),
            "1.toml:2: scope: no device profile is in this scope -> change `domain` or `profile`, or load a profile that fits",
        ),
        (
            GOOD.replace("domain = \"soil\"", "site = []"),
            "1.toml:2: scope.site = []: an empty list or name matches no device -> name at least one, or remove the key to allow all",
        ),
        (
            message("en = \"{sit}\""),
            "1.toml:7: message.en = \"{sit}\": unknown placeholder `{sit}` -> did you mean `{site}`?",
        ),
        (
            message("en = \"{\""),
            "1.toml:7: message.en = \"{\": an opening brace without its closing one -> placeholders: {site} {device} {tenant} {property} {value} {limit} {rule} {severity} {name} {region}",
        ),
        (
            message("e = \"x\""),
            "1.toml:7: message.en: the required key `en` is missing -> add `en` (a string)",
        ),
    ]);
}

#[test]
fn a_rule_about_silence_has_intervals_and_no_property() {
    let silent = |extra: &str, text: &str| {
        format!("name = \"n\"\nscope = {{}}\nseverity = \"red\"\nmessage = \"{text}\"\n{extra}")
    };
    let (set, problems) = load(&[&silent("no_data = \"1 interval\"", "{device} {value}")]);
    assert_eq!(
        (problems.len(), set.rules().first().and_then(|rule| rule.no_data_intervals())),
        (0, Some(1))
    );
    let wait = set.of_profile(2).first().and_then(Bound::silence_ms_max);
    assert_eq!(wait, Some(15 * 60_000));
    for wrong in [
        "3",
        "3 days",
        "0 intervals",
        "-1 intervals",
        "+3 intervals",
        "1.5 intervals",
        "999999999999 intervals",
        "",
    ] {
        let (_, problems) = load(&[&silent(&format!("no_data = \"{wrong}\""), "m")]);
        let expected = format!(
            "1.toml:5: no_data = \"{wrong}\": not a number of intervals -> write it like `3 intervals`, from 1 to 100000"
        );
        assert_eq!(problems, [expected]);
    }
    let (_, problems) =
        load(&[&silent("no_data = \"3 intervals\"\non_delay = \"1m\"", "{property}")]);
    assert_eq!(
        problems,
        [
            "1.toml:4: message = \"{property}\": a `no_data` rule has no property to put into `{property}` -> remove `{property}`",
            "1.toml:6: on_delay = \"1m\": `on_delay` means nothing beside `no_data` -> remove it: the number of intervals is the delay, and the next reading clears",
        ]
    );
}

#[test]
fn a_bad_file_never_takes_a_good_one_along_and_the_first_of_a_name_stays() {
    let (set, problems) = load(&["when = ", GOOD, "x", GOOD]);
    assert_eq!(set.rules().iter().map(|rule| rule.file()).collect::<Vec<_>>(), ["2.toml"]);
    let twice = "4.toml:1: name = \"soil-dry\": this name is already used in 2.toml -> give each rule a name of its own";
    assert!(problems.iter().any(|problem| problem == twice), "{problems:#?}");
}

#[test]
fn without_profiles_the_text_of_rules_is_still_checked() {
    let problems = Problems::default();
    let files = [
        ("r.toml".to_owned(), GOOD.to_owned()),
        ("s.toml".to_owned(), GOOD.replace("< 0.12", "<")),
    ];
    let set = RuleSet::load_for(&files, &[], &problems);
    assert_eq!((set.rules().len(), problems.len()), (1, 1));
}

#[test]
fn a_silence_beyond_every_clock_is_only_never_due() {
    let text = "name = \"n\"\nscope = {}\nseverity = \"red\"\nmessage = \"m\"\nno_data = \"100000 intervals\"";
    let mut schemas = schemas();
    schemas[0].interval = Duration::MAX;
    let set = RuleSet::load_for(
        &[("n.toml".to_owned(), text.to_owned())],
        &schemas,
        &Problems::default(),
    );
    assert_eq!(set.of_profile(0).first().and_then(Bound::silence_ms_max), Some(u64::MAX));
}
