//! JSON objects, of which only the values of some keys are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::batch::Values;
use crate::role::Role;

/// Which key is which column.
pub(crate) type Keys = Vec<(String, Role)>;

/// The values of `keys` in the object that `text` is.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn values(text: &[u8], keys: &Keys) -> Result<Values, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let found = Wanted(keys).deserialize(&mut deserializer);
    let found = found.map_err(|e| e.to_string())?;
    deserializer.end().map_err(|e| e.to_string())?;
    Ok(found)
}

/// The keys of the object that `text` is.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn names(text: &[u8]) -> Result<BTreeSet<String>, String> {
    let found: BTreeMap<String, Text> = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    Ok(found.into_keys().collect())
}

struct Wanted<'a>(&'a Keys);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Values;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Values, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values = Values::default();
        while let Some(key) = map.next_key::<String>()? {
            if !self.0.iter().any(|(wanted, _)| *wanted == key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let Text(value) = map.next_value()?;
            for (_, role) in self.0.iter().filter(|(wanted, _)| *wanted == key) {
                values[*role as usize].clone_from(&value);
            }
        }
        Ok(values)
    }
}

/// A text, or a number or truth value as text; null and what holds other values is none.
struct Text(Option<Vec<u8>>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(text.as_bytes().to_vec())))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Text, E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Text, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Text, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Text, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        vec![("u".to_owned(), Role::Url), ("w".to_owned(), Role::Width)]
    }

    #[test]
    fn values_are_texts_and_numbers_of_the_wanted_keys() {
        let text = br#"{"x": [{"deep": []}], "u": "http://a.example/\u00e4", "w": 640.5}"#;
        let found = values(text, &keys()).expect("an object");
        assert_eq!(
            found[Role::Url as usize].as_deref(),
            Some("http://a.example/ä".as_bytes())
        );
        assert_eq!(found[Role::Width as usize].as_deref(), Some(&b"640.5"[..]));
        let found = values(br#"{"u": null, "w": {"a": 1}}"#, &keys()).expect("an object");
        assert_eq!(found, Values::default());
    }

    #[test]
    fn what_is_no_object_is_said() {
        for text in [
            "[1]",
            "{\"u\": 1",
            "{} {}",
            "",
            "null",
            "{\"u\": \"\u{0}\"}",
        ] {
            assert!(values(text.as_bytes(), &keys()).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(values(format!("{{\"x\": {deep}").as_bytes(), &keys()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = values(&text, &keys());
            let _ = names(&text);
        }
    }
}
