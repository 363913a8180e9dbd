//! Numbers as they were written: 0.6 where a float32 was widened to 0.6000000238418579.

use serde_json::{Number, Value};

/// Longer numbers that are exactly a float32 are taken for widened ones. A float32 needs nine digits at most.
const LONGEST_WRITTEN: usize = 12;

/// The shortest float64 whose digits name the float32 `value`: 0.6 for `0.6_f32`, where `f64::from` gives
/// 0.6000000238418579. For output; a cast back gives `value` exactly. Infinities and NaN stay what they are.
pub fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// A setting of a task's key for people: numbers that stem from a float32 with its digits. `json` is the setting's JSON
/// text; the key itself keeps it as it is.
pub fn setting_text(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(value) => shortened(value).to_string(),
        Err(_) => json.to_owned(),
    }
}

fn shortened(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(shortened_number(number)),
        Value::Array(values) => values.into_iter().map(shortened).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.map(|(name, v)| (name, shortened(v))).collect()
        }
        other => other,
    }
}

fn shortened_number(number: Number) -> Number {
    let Some(wide) = number.as_f64().filter(|_| number.is_f64()) else {
        return number;
    };
    let narrow = wide as f32;
    if f64::from(narrow) == wide && number.to_string().len() > LONGEST_WRITTEN {
        Number::from_f64(shortest(narrow)).unwrap_or(number)
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_names_the_same_float32() {
        for value in [0.6_f32, 1.0, -0.1, 1e-10, 3.4e38, f32::MIN_POSITIVE, 0.0] {
            let wide = shortest(value);
            assert_eq!(wide as f32, value);
            assert!(wide.to_string().len() <= f64::from(value).to_string().len());
        }
        assert_eq!(shortest(0.6_f32), 0.6);
        assert!(shortest(f32::NAN).is_nan() && shortest(f32::INFINITY).is_infinite());
    }

    #[test]
    fn setting_text_shortens_widened_numbers_only() {
        let cases = [
            ("0.6000000238418579", "0.6"),
            ("[0.10000000149011612,1]", "[0.1,1]"),
            ("{\"a\":0.30000001192092896}", "{\"a\":0.3}"),
            ("0.6", "0.6"),
            ("0.123456789012", "0.123456789012"),
            ("7.0", "7.0"),
            ("1234567.125", "1234567.125"),
            ("18446744073709551615", "18446744073709551615"),
            ("\"0.6000000238418579\"", "\"0.6000000238418579\""),
            ("no JSON", "no JSON"),
        ];
        for (json, text) in cases {
            assert_eq!(setting_text(json), text);
        }
    }
}
