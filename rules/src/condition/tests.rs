use super::*;
use crate::program::Program;
use crate::schema::Schema;
use proptest::prelude::*;
use std::time::Duration;

fn schema(names: &[&'static str]) -> Schema<'static> {
    let properties = names.iter().map(|name| (*name, true)).collect();
    Schema { name: "p", domain: "soil", interval: Duration::from_mins(15), properties }
}

fn bind(text: &str) -> Program {
    Program::bind(&Condition::parse(text).unwrap(), &schema(&["a", "b", "c"])).unwrap()
}

/// `Some(true)`, `Some(false)`, or `None` where the reading is not judged.
fn judged(text: &str, values: &[Option<f64>]) -> Option<bool> {
    bind(text).run(values).map(|finding| finding.holds)
}

#[test]
fn conditions_are_judged_as_written() {
    let all = [Some(1.0), Some(2.0), Some(-3.0)];
    let cases = [
        ("a < 2", true),
        ("a<1", false),
        ("a <= 1", true),
        ("b > 2", false),
        ("b >= 2", true),
        ("a == 1", true),
        ("a == true", true),
        ("a != 1", false),
        ("c < -2.5e0", true),
        ("c == - 3", true),
        ("c > -1e-3", false),
        ("b < .5e1", true),
        // && binds tighter than ||, on either side.
        ("a == 1 || b == 0 && c == 0", true),
        ("b == 0 && c == 0 || a == 1", true),
        ("(a == 1 || b == 0) && c == 0", false),
        ("c == 0 && (b == 0 || a == 1)", false),
        ("((a == 1)) && ((b == 2 || c == 9) && c == -3)", true),
        ("a == 0 || b == 0 || c == 0", false),
        ("a == 1 && b == 2 && c == -3", true),
    ];
    for (text, holds) in cases {
        assert_eq!(judged(text, &all), Some(holds), "{text}");
    }
}

#[test]
fn a_needed_value_that_is_absent_leaves_the_reading_unjudged() {
    let cases = [
        ("a < 2", vec![None, Some(1.0)], None),
        ("a < 2 || b < 2", vec![Some(1.0), None], None),
        ("a < 2 || b < 2", vec![Some(1.0)], None),
        ("a < 2", vec![Some(1.0), None], Some(true)),
        ("a != 2", vec![Some(f64::NAN)], None),
    ];
    for (text, values, expected) in cases {
        assert_eq!(judged(text, &values), expected, "{text} on {values:?}");
    }
}

#[test]
fn the_first_true_comparison_in_text_order_is_the_cause() {
    let cases = [
        ("a < 0 || b > 1 || c < 0", (1, 2.0, 1.0)),
        ("c < 0 || b > 1", (2, -3.0, 0.0)),
        ("a > 0 && b > 5 || c < 0", (0, 1.0, 0.0)),
        ("b > 1 && b > 1.5", (1, 2.0, 1.0)),
    ];
    let values = [Some(1.0), Some(2.0), Some(-3.0)];
    for (text, (slot, value, limit)) in cases {
        let program = bind(text);
        let finding = program.run(&values).unwrap();
        assert_eq!(
            program.cause(finding, &values),
            Some(crate::program::Cause { slot, value, limit }),
            "{text}"
        );
    }
}

#[test]
fn an_error_tells_its_column() {
    let cases = [
        ("", "column 1: expected a property name"),
        ("a", "column 2: expected one of < <="),
        ("a <", "column 4: expected a finite number"),
        ("a < b", "column 5: expected a finite number"),
        ("0.12 > a", "column 1: expected a property name"),
        ("a = 1", "column 3: `=` has no meaning here"),
        ("a < 1 & b < 1", "column 7: `&` has no meaning here"),
        ("a < 1 and b < 1", "column 7: expected `&&`, `||` or the end"),
        ("0 < a < 1", "column 1: expected a property name"),
        ("a < 1 < 2", "column 7: expected `&&`"),
        ("(a < 1", "column 7: expected `&&`, `||` or `)`"),
        ("a < 1)", "column 6: expected `&&`, `||` or the end"),
        ("a < 12cm", "column 5: `12cm` is not a finite number"),
        ("a < 1e999", "column 5: `1e999` is not a finite number"),
        ("a < 1.2.3", "column 5: `1.2.3` is not a finite number"),
        ("a < nan", "column 5: expected a finite number"),
        ("a < --1", "column 6: expected a finite number"),
        ("土壤 < 1 且 b < 2", "column 8: expected `&&`"),
        ("a < 1 #", "column 7: `#` has no meaning here"),
    ];
    for (text, expected) in cases {
        let error = Condition::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn depth_comparisons_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}a < 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Condition::parse(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(
        Condition::parse(&nested(DEPTH_MAX + 1)),
        Err(ConditionError::TooDeep { column: 17 })
    );
    let many = |count: usize| vec!["a < 1"; count].join(" && ");
    assert!(Condition::parse(&many(COMPARISONS_MAX)).is_ok());
    assert!(matches!(
        Condition::parse(&many(COMPARISONS_MAX + 1)),
        Err(ConditionError::TooMany { .. })
    ));
    assert_eq!(Condition::parse(&"(".repeat(LENGTH_MAX + 1)), Err(ConditionError::TooLong));
    // The deepest stack that the grammar allows still fits its word.
    let mut deep = "a == 1".to_owned();
    for _ in 0..DEPTH_MAX {
        deep = format!("a == 0 || a == 1 && ({deep})");
    }
    assert_eq!(judged(&deep, &[Some(1.0)]), Some(true));
    assert_eq!(judged(&deep, &[Some(2.0)]), Some(false));
}

#[test]
fn spacing_and_needless_parentheses_mean_nothing_but_order_does() {
    let canonical = |text: &str| Condition::parse(text).unwrap().canonical();
    assert_eq!(canonical("a<0.12&&b>1"), canonical(" ( a < .120 ) && (b > 1e0) "));
    assert_eq!(canonical("a < 0"), canonical("a < -0.0"));
    assert_ne!(canonical("a < 1 && b < 1"), canonical("b < 1 && a < 1"));
    assert_ne!(canonical("a < 1"), canonical("a <= 1"));
    assert_ne!(canonical("a < 1 || b < 1 && c < 1"), canonical("(a < 1 || b < 1) && c < 1"));
}

#[test]
fn contradictions_are_seen_where_one_property_is_concerned() {
    let cases = [
        ("a < 0.12", "a < 0.15", true),
        ("a < 0.12", "a > 0.15", false),
        ("a < 0.12", "a < 0.12", true),
        ("a < 0.12", "a >= 0.1", false),
        ("a > 1 && a < 2", "a > 0", true),
        ("a == 1", "a != 2", true),
        ("a < 1", "b < 1", false),
        ("a < 1 && b < 1", "a < 1 && b < 1", true),
    ];
    for (when, clear, expected) in cases {
        let (when, clear) = (Condition::parse(when).unwrap(), Condition::parse(clear).unwrap());
        assert_eq!(when.implies(&clear), expected, "{when:?} {clear:?}");
    }
    for (text, expected) in [
        ("a > 2 && a < 1", true),
        ("a > 1 && a < 1.0000000000000002", true),
        ("a > 1 && a < 2", false),
    ] {
        assert_eq!(Condition::parse(text).unwrap().is_never_true(), expected, "{text}");
    }
}

/// A random expression with what it is on given truths; each leaf tests its own property for 1.
fn expression() -> impl Strategy<Value = (String, Vec<bool>, bool)> {
    let leaf = any::<bool>().prop_map(|truth| ("x == 1".to_owned(), vec![truth], truth));
    leaf.prop_recursive(5, 24, 2, |inner| {
        (inner.clone(), inner, any::<bool>()).prop_map(
            |((left, mut truths, a), (right, more, b), is_and)| {
                truths.extend(more);
                let (op, value) = if is_and { ("&&", a && b) } else { ("||", a || b) };
                (format!("({left}) {op} ({right})"), truths, value)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_program_gives_what_the_tree_gives((text, truths, expected) in expression()) {
        let condition = Condition::parse(&text).unwrap();
        let bits = truths.iter().enumerate().fold(0, |bits, (at, truth)| bits | u64::from(*truth) << at);
        prop_assert_eq!(combine(condition.ops(), bits), expected);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-c0-9eE<>=!&|()., 土+-]{0,60}") {
        if let Err(error) = Condition::parse(&text) {
            prop_assert!(!error.texts().0.en.is_empty());
        }
    }
}
