//! Lists as the contract prints them: one JSON value a line, an array, or an array under one name.

use serde_json::Value;

/// Reads a list of alerts, dead letters or problems, in whichever of these shapes it came.
#[must_use]
pub fn list(text: &str) -> Vec<Value> {
    let lines: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_str(text).into_iter().collect();
    let values = lines.unwrap_or_else(|e| panic!("not JSON ({e}): {text}"));
    let [only] = values.as_slice() else { return values };
    let inner = only.as_object().and_then(|object| {
        let mut arrays = object.values().filter_map(Value::as_array);
        let found = arrays.next()?;
        (object.len() <= 2 && arrays.next().is_none()).then(|| found.clone())
    });
    only.as_array().cloned().or(inner).unwrap_or(values)
}

/// Returns the text under a key, empty where there is none.
#[must_use]
pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn the_three_shapes_give_the_same_list() {
        for shape in
            [r#"[{"a":1},{"a":2}]"#, "{\"a\":1}\n{\"a\":2}\n", r#"{"alerts":[{"a":1},{"a":2}]}"#]
        {
            assert_eq!(list(shape).len(), 2, "{shape}");
        }
        assert_eq!(list("").len(), 0);
        assert_eq!(list(r#"{"alerts":[]}"#).len(), 0);
    }
}
