//! Numbers as the page has them: five digits, so that files stay small and rounding does not show.

use serde_json::Value;

/// A finite number with five significant digits, or null.
pub(super) fn number(value: f64) -> Value {
    let short: f64 = format!("{value:.4e}").parse().unwrap_or(f64::NAN);
    match short {
        own if own == own.trunc() && own.abs() < 1e15 => Value::from(own as i64),
        own => serde_json::Number::from_f64(own).map_or(Value::Null, Value::Number),
    }
}

/// A number, or null where there is none.
pub(super) fn maybe(value: Option<f64>) -> Value {
    value.map_or(Value::Null, number)
}

/// The same value with every number that is no whole one shortened.
pub(super) fn shortened(value: Value) -> Value {
    match value {
        Value::Number(own) if own.is_f64() => maybe(own.as_f64()),
        Value::Array(all) => all.into_iter().map(shortened).collect(),
        Value::Object(all) => Value::Object(all.into_iter().map(|(key, own)| (key, shortened(own))).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn five_digits_are_kept() {
        assert_eq!(number(0.123_456_78).to_string(), "0.12346");
        assert_eq!(
            [number(-2.0), number(1.0e-7), number(f64::NAN), number(123_456.0)].map(|own| own.to_string()),
            ["-2", "1e-7", "null", "123460"]
        );
        assert_eq!(shortened(json!({"a": [1.234_567, 3, "x"]})), json!({"a": [1.2346, 3, "x"]}));
    }
}
