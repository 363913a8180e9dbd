//! What PEFT writes into the header of a LoRA: alphas, and features that are not read.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde_json::{Map, Value};

/// The key of the header's text.
pub(super) const KEY: &str = "lora_adapter_metadata";

/// The largest regular expression that is compiled, in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

/// The settings of `lora_adapter_metadata`, `PART.KEY` → value.
#[derive(Debug, Default)]
pub(super) struct PeftSettings(Map<String, Value>);

impl PeftSettings {
    /// Reads the header's texts; nothing where PEFT wrote none.
    ///
    /// # Errors
    /// Text that is no JSON object; a feature that is not read, by name.
    pub(super) fn read(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        let Some(text) = metadata.get(KEY) else {
            return Ok(Self::default());
        };
        let settings: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| format!("its {KEY} is no JSON object: {error}"))?;
        for (key, value) in &settings {
            let (_, name) = key.rsplit_once('.').unwrap_or(("", key));
            let refused = match name {
                "modules_to_save" => value.as_array().is_some_and(|list| !list.is_empty()),
                "bias" => value.as_str().is_some_and(|bias| bias != "none"),
                _ => false,
            };
            if refused {
                return Err(format!("it has {key} = {value}, which is not supported"));
            }
        }
        Ok(Self(settings))
    }

    /// Whether a part was trained as DoRA.
    pub(super) fn is_dora(&self, part: &str) -> bool {
        self.is(part, "use_dora")
    }

    fn is(&self, part: &str, key: &str) -> bool {
        (self.0.get(&format!("{part}.{key}"))).and_then(Value::as_bool) == Some(true)
    }

    /// What the product of a module of this rank is multiplied by, where the file has no alpha for
    /// it: alpha is the pattern's that matches the module, else the part's, else the rank.
    ///
    /// # Errors
    /// A pattern that is no regular expression; an alpha that is no number.
    pub(super) fn scale(&self, part: &str, module: &str, rank: usize) -> Result<f64, String> {
        let rank = rank as f64;
        let divisor = match self.is(part, "use_rslora") {
            true => rank.sqrt(),
            false => rank,
        };
        Ok(self
            .alpha(part, module)?
            .map_or(1.0, |alpha| alpha / divisor))
    }

    fn alpha(&self, part: &str, module: &str) -> Result<Option<f64>, String> {
        let Some(plain) = self.0.get(&format!("{part}.lora_alpha")) else {
            return Ok(None);
        };
        let patterns = self.0.get(&format!("{part}.alpha_pattern"));
        let patterns = patterns.and_then(Value::as_object).into_iter().flatten();
        for (pattern, alpha) in patterns {
            if is_match(pattern, module)? {
                return number(alpha).map(Some);
            }
        }
        number(plain).map(Some)
    }
}

/// Whether a module's whole name, or the end of it after a point, is what `pattern` says.
fn is_match(pattern: &str, module: &str) -> Result<bool, String> {
    let text = format!(r"^(.*\.)?({pattern})$");
    let regex = RegexBuilder::new(&text).size_limit(PATTERN_LIMIT).build();
    let regex = regex.map_err(|_| format!("its alpha_pattern {pattern:?} is not understood"))?;
    Ok(regex.is_match(module))
}

fn number(value: &Value) -> Result<f64, String> {
    let number = value.as_f64().filter(|alpha| alpha.is_finite());
    number.ok_or_else(|| format!("its lora_alpha {value} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<PeftSettings, String> {
        let metadata = BTreeMap::from([(KEY.to_owned(), json.to_owned())]);
        PeftSettings::read(&metadata)
    }

    #[test]
    fn a_pattern_overrides_the_parts_alpha() {
        let settings = read(
            r#"{"unet.lora_alpha": 8, "unet.alpha_pattern": {"mid\\.to_q": 6, "to_k": 1}, "text_encoder.lora_alpha": 4, "text_encoder.use_rslora": true}"#,
        );
        let settings = settings.expect("settings");
        let scale = |part, module, rank| settings.scale(part, module, rank).expect("a scale");
        assert_eq!(scale("unet", "up.to_v", 4), 2.0);
        assert_eq!(scale("unet", "a.mid.to_q", 2), 3.0);
        assert_eq!(scale("unet", "a.mid_to_q", 2), 4.0);
        assert_eq!(scale("unet", "b.to_k", 4), 0.25);
        assert_eq!(scale("unet", "b.to_key", 4), 2.0);
        assert_eq!(scale("text_encoder", "x", 4), 2.0);
        assert_eq!(scale("text_encoder_2", "x", 4), 1.0);
    }

    #[test]
    fn what_is_not_read_is_refused_by_name() {
        for (json, words) in [
            (r#"{"unet.bias": "all"}"#, "unet.bias"),
            (
                r#"{"unet.modules_to_save": ["conv_in"]}"#,
                "modules_to_save",
            ),
            ("[]", "no JSON object"),
        ] {
            let error = read(json).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
        assert!(read(r#"{"unet.bias": "none", "unet.modules_to_save": null}"#).is_ok());
        let settings = read(r#"{"unet.lora_alpha": 8, "unet.alpha_pattern": {"(": 6}}"#);
        let error = settings.expect("settings").scale("unet", "x", 4);
        assert!(error.expect_err("a pattern").contains("alpha_pattern"));
    }
}
