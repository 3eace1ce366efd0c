//! The order of detectors along a road.
//!
//! First the kilometre: the registry's own column `km`, else a kilometre post in the name or id (`K12+300`,
//! `12.3km`). Then the id, its numbers compared as numbers (`d9` before `d10`). Those with a kilometre come first.

use std::cmp::Ordering;

/// Own column of the registry that tells the kilometre.
pub(super) const COLUMN: &str = "km";

/// Returns the kilometre of a detector.
pub(super) fn kilometre(column: Option<&str>, name: Option<&str>, device: &str) -> Option<f64> {
    column
        .and_then(|text| text.trim().parse().ok())
        .filter(|km: &f64| km.is_finite())
        .or_else(|| name.and_then(post))
        .or_else(|| post(device))
}

/// Compares two kilometres; those without one come last.
pub(super) fn along(one: Option<f64>, other: Option<f64>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => other.is_some().cmp(&one.is_some()),
    }
}

/// Reads a kilometre post: `K12+300`, `k12`, `12.3km`, `12.3 公里`.
fn post(text: &str) -> Option<f64> {
    let text = text.to_ascii_lowercase();
    let mut before: Option<char> = None;
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if !first.is_ascii_digit() {
            before = Some(first);
            rest = rest.get(first.len_utf8()..)?;
            continue;
        }
        let (number, after) = number(rest)?;
        // In `peak12` the k is no post.
        let is_after_k = before == Some('k') && {
            let head = text.get(..text.len() - rest.len() - 1)?;
            !head.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        if is_after_k {
            let metres = after.strip_prefix('+').and_then(self::number).map_or(0.0, |(m, _)| m);
            return Some(number + metres / 1000.0);
        }
        let unit = after.trim_start();
        if unit.starts_with("km") && !unit.starts_with("km/") || unit.starts_with("公里") {
            return Some(number);
        }
        before = Some('0');
        rest = after;
    }
    None
}

/// Takes a number without a sign from the front.
fn number(text: &str) -> Option<(f64, &str)> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.trim_end_matches('.').parse().ok()?, rest))
}

/// Compares texts with their numbers as numbers.
pub(super) fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one, other);
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len()).then_with(|| one.cmp(other));
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let ((m, rest_a), (n, rest_b)) = (digits(a), digits(b));
            let order = m.len().cmp(&n.len()).then_with(|| m.cmp(n));
            if order.is_ne() {
                return order;
            }
            (a, b) = (rest_a, rest_b);
            continue;
        }
        if x != y {
            return x.cmp(&y);
        }
        a = a.get(x.len_utf8()..).unwrap_or_default();
        b = b.get(y.len_utf8()..).unwrap_or_default();
    }
}

/// Takes the digits from the front, their leading zeros cut.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (digits.trim_start_matches('0'), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilometre_is_read_from_the_column_then_the_name_then_the_id() {
        for (column, name, device, km) in [
            (Some("7.5"), Some("K12+300"), "d1", Some(7.5)),
            (Some("far"), Some("K12+300 东行"), "d1", Some(12.3)),
            (None, Some("绕城高速 K8"), "k9", Some(8.0)),
            (None, None, "g60-k103+50", Some(103.05)),
            (None, Some("3.5 km"), "d", Some(3.5)),
            (None, Some("12公里"), "d", Some(12.0)),
            (None, Some("80 km/h 限速"), "d", None),
            (None, Some("peak12"), "d7", None),
            (None, Some("K"), "K12", Some(12.0)),
            (Some("nan"), None, "d", None),
        ] {
            assert_eq!(kilometre(column, name, device), km, "{column:?} {name:?} {device}");
        }
    }

    #[test]
    fn numbers_in_ids_count_as_numbers() {
        let mut ids = ["d10", "d9", "d1", "e1", "d09", "路2", "路10", "d", ""];
        ids.sort_by(|one, other| natural(one, other));
        assert_eq!(ids, ["", "d", "d1", "d09", "d9", "d10", "e1", "路2", "路10"]);
        assert_eq!(along(Some(2.0), Some(10.0)), Ordering::Less);
        assert_eq!(along(None, Some(10.0)), Ordering::Greater);
        assert_eq!(along(None, None), Ordering::Equal);
    }
}
