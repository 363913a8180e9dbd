//! What methods are called, in manifests, on the command line and in the table of samples.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A method that generates images of a person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MethodName {
    /// `laioncele`: the paper's own.
    LaionCele,
    /// `sdxl-name`: the person's name in the prompt.
    SdxlName,
    /// `ip-adapter`, or `ip-adapter-s0.6` with a scale of its own.
    IpAdapter(Option<f64>),
    /// `photomaker`
    PhotoMaker,
}

/// What images of nobody in particular are called in the table of samples: the base model's.
pub const BASE_MODEL: &str = "sdxl";

const WITH_SCALE: &str = "ip-adapter-s";

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaionCele => f.write_str("laioncele"),
            Self::SdxlName => f.write_str("sdxl-name"),
            Self::IpAdapter(None) => f.write_str("ip-adapter"),
            Self::IpAdapter(Some(scale)) => write!(f, "{WITH_SCALE}{scale}"),
            Self::PhotoMaker => f.write_str("photomaker"),
        }
    }
}

impl FromStr for MethodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "`{text}` is no method: laioncele, sdxl-name, ip-adapter, ip-adapter-sSCALE (as in ip-adapter-s0.6) or photomaker is expected"
            )
        };
        match text {
            "laioncele" => Ok(Self::LaionCele),
            "sdxl-name" => Ok(Self::SdxlName),
            "ip-adapter" => Ok(Self::IpAdapter(None)),
            "photomaker" => Ok(Self::PhotoMaker),
            _ => {
                let scale = text.strip_prefix(WITH_SCALE).ok_or_else(unknown)?;
                let scale: f64 = scale.parse().map_err(|_| unknown())?;
                match scale.is_finite() {
                    // -0 and 0 are one.
                    true => Ok(Self::IpAdapter(Some(scale + 0.0))),
                    false => Err(format!("`{text}`: a scale is a finite number")),
                }
            }
        }
    }
}

impl Serialize for MethodName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MethodName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// With which settings the methods that LaionCele is compared with generate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// As LaionCele: scheduler, steps, guidance and negative prompt are those of the section.
    #[default]
    Common,
    /// As their authors recommend.
    Recommended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in [
            "laioncele",
            "sdxl-name",
            "ip-adapter",
            "ip-adapter-s0.6",
            "ip-adapter-s-2",
            "photomaker",
        ] {
            let method: MethodName = name.parse().expect(name);
            assert_eq!(method.to_string(), name);
        }
        let same = ["ip-adapter-s0.60", "ip-adapter-s6e-1"].map(str::parse::<MethodName>);
        assert_eq!(same[0], same[1]);
        for wrong in [
            "",
            "sdxl",
            "ip-adapter-",
            "ip-adapter-s",
            "ip-adapter-snan",
            "ip-adapter-sinf",
            "Photomaker",
        ] {
            let error = wrong.parse::<MethodName>().expect_err(wrong);
            assert!(
                error.contains("finite") || error.contains("photomaker"),
                "{error}"
            );
        }
    }
}
