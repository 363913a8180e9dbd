//! The schedulers by their names in settings.

use std::str::FromStr;

use laioncele_sdxl::SchedulerKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A scheduler as settings name it: `model` for the one that the folder names, else a [`SchedulerKind`]'s name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerChoice(pub Option<SchedulerKind>);

impl SchedulerChoice {
    /// The setting's form.
    pub fn name(self) -> &'static str {
        self.0.map_or("model", SchedulerKind::name)
    }
}

impl Serialize for SchedulerChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for SchedulerChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "model" {
            return Ok(Self(None));
        }
        let kind = SchedulerKind::from_str(&name).map_err(serde::de::Error::custom)?;
        Ok(Self(Some(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedulers_have_names() {
        for name in ["model", "ddim", "euler_ancestral", "dpmpp_2m_sde", "tcd"] {
            let choice: SchedulerChoice = serde_json::from_value(name.into()).expect("a scheduler");
            assert_eq!(serde_json::to_value(choice).expect("a name"), name);
        }
        let wrong = serde_json::from_value::<SchedulerChoice>("ddpm".into());
        assert!(wrong.expect_err("unknown").to_string().contains("euler"));
    }
}
