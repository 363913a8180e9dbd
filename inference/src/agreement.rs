//! Whether a name's portraits show one person, and what the manifest says of it. generate-portraits (whether to go on with
//! a name) and verify-portraits (whether to keep it) decide by the same rule and the same threshold.

use laioncele_core::{CoreError, Manifest};
use laioncele_face::{Face, cosine};
use serde::{Deserialize, Serialize};

use crate::FaceSection;

/// Portraits of a name.
pub const PORTRAITS: usize = 4;

/// `[verify_portraits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgreementSettings {
    /// Lowest cosine of two faces that show one person; every pair of a name's portraits must reach it. The paper names
    /// none: the default is ours, measured for the shipped recognizer; another one's `recognizer_spec` may have its own.
    /// generate-portraits compares the first two portraits by it too.
    pub same_person: f64,
}

impl Default for AgreementSettings {
    fn default() -> Self {
        Self { same_person: 0.40 }
    }
}

/// What of the section is given.
#[derive(Default, Deserialize)]
struct Given {
    same_person: Option<f64>,
}

impl AgreementSettings {
    /// The section, checked.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown key, a wrong type, or a threshold that is no cosine.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let mut settings: Self = manifest.section("verify_portraits")?;
        let Given { same_person } = manifest.section("verify_portraits")?;
        if same_person.is_none() {
            settings.same_person = FaceSection::thresholds(manifest)?.same_person;
        }
        if (-1.0..=1.0).contains(&settings.same_person) {
            return Ok(settings);
        }
        Err(manifest.error(format!(
            "[verify_portraits] same_person is {}: a cosine is between -1 and 1",
            settings.same_person
        )))
    }

    /// The threshold as it is compared with: cosines are 32-bit numbers.
    pub fn threshold(&self) -> f32 {
        self.same_person as f32
    }
}

/// What the decision needs to know of one portrait.
pub trait PortraitFaces {
    /// Faces found.
    fn faces(&self) -> usize;
    /// The embedding of the first one; unit length, empty without a face.
    fn vector(&self) -> &[f32];
}

impl PortraitFaces for Vec<Face> {
    fn faces(&self) -> usize {
        self.len()
    }
    fn vector(&self) -> &[f32] {
        self.first().map_or(&[], |face| &face.vector)
    }
}

/// The decision on a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AgreementVerdict {
    /// Each portrait has one face, and all pairs agree.
    Same {
        /// Lowest cosine among the pairs.
        min: f32,
        /// Mean cosine of the pairs.
        mean: f32,
    },
    /// A portrait has no face, or there is no pair of portraits.
    NoFace,
    /// A portrait has more than one face, and none has no face.
    SeveralFaces,
    /// Each portrait has one face, and a pair disagrees.
    Different {
        /// Lowest cosine among the pairs.
        min: f32,
    },
}

/// Whether all pairs of `portraits` (two to four) have a cosine of at least `same_person`. An agreeing set's subsets
/// agree, so that no portraits are needed after a pair that does not.
pub fn decide<P: PortraitFaces>(portraits: &[P], same_person: f32) -> AgreementVerdict {
    if portraits.len() < 2 || portraits.iter().any(|p| p.faces() == 0) {
        return AgreementVerdict::NoFace;
    }
    if portraits.iter().any(|p| p.faces() > 1) {
        return AgreementVerdict::SeveralFaces;
    }
    let (min, mean) = pair_similarity(portraits);
    // Not `min < same_person`: a similarity that is no number must not count as agreement.
    if min >= same_person {
        AgreementVerdict::Same { min, mean }
    } else {
        AgreementVerdict::Different { min }
    }
}

/// Lowest and mean cosine of all pairs, of which there is at least one; a pair without a number makes both so.
fn pair_similarity<P: PortraitFaces>(portraits: &[P]) -> (f32, f32) {
    let (mut min, mut sum, mut pairs) = (f32::INFINITY, 0.0, 0);
    for (i, a) in portraits.iter().enumerate() {
        for b in &portraits[..i] {
            let similarity = cosine(a.vector(), b.vector());
            min = if similarity.is_nan() {
                similarity
            } else {
                min.min(similarity)
            };
            sum += f64::from(similarity);
            pairs += 1;
        }
    }
    let mean = (sum / f64::from(pairs)) as f32;
    (if mean.is_nan() { mean } else { min }, mean)
}

#[cfg(test)]
mod tests {
    use laioncele_face::Detection;
    use proptest::prelude::*;

    use super::*;
    use crate::sections::testing::manifest;

    fn face(vector: Vec<f32>) -> Face {
        Face {
            detection: Detection {
                bbox: [0.0, 0.0, 9.0, 9.0],
                unclipped: [0.0, 0.0, 9.0, 9.0],
                landmarks: [[0.0; 2]; 5],
                score: 0.9,
            },
            vector,
        }
    }

    fn direction(angle: f32) -> Vec<f32> {
        vec![angle.cos(), angle.sin()]
    }

    fn portraits() -> impl Strategy<Value = Vec<Vec<Face>>> {
        let portrait = prop::collection::vec(-3.0f32..3.0, 0..4);
        prop::collection::vec(portrait, 0..5).prop_map(|all| {
            all.into_iter()
                .map(|angles| angles.into_iter().map(|a| face(direction(a))).collect())
                .collect()
        })
    }

    fn single_faces() -> impl Strategy<Value = Vec<Vec<Face>>> {
        prop::collection::vec(-1.5f32..1.5, 2..5)
            .prop_map(|all| all.into_iter().map(|a| vec![face(direction(a))]).collect())
    }

    fn same(verdict: AgreementVerdict) -> bool {
        matches!(verdict, AgreementVerdict::Same { .. })
    }

    proptest! {
        /// The order of the portraits does not matter but for rounding.
        #[test]
        fn verdict_ignores_the_order_of_portraits(mut all in portraits(), limit in -1.0f32..1.0) {
            let forward = decide(&all, limit);
            all.reverse();
            match (forward, decide(&all, limit)) {
                (AgreementVerdict::Same { min: a, mean: x }, AgreementVerdict::Same { min: b, mean: y }) => prop_assert!(a == b && (x - y).abs() < 1e-6),
                (a, b) => prop_assert_eq!(a, b),
            }
        }

        /// A name that passes also passes with fewer portraits and with a lower threshold.
        #[test]
        fn agreement_holds_for_fewer_portraits_and_lower_thresholds(all in single_faces(), limit in -1.0f32..1.0, lower in 0.0f32..0.5) {
            if same(decide(&all, limit)) {
                prop_assert!(same(decide(&all[..2], limit)));
                prop_assert!(same(decide(&all, limit - lower)));
            }
        }

        /// Same exactly where every pair agrees; min and mean are the pairs'.
        #[test]
        fn every_pair_must_agree(all in single_faces(), limit in -1.0f32..1.0) {
            let mut pairs = Vec::new();
            for (i, a) in all.iter().enumerate() {
                pairs.extend(all[..i].iter().map(|b| cosine(&a[0].vector, &b[0].vector)));
            }
            let lowest = pairs.iter().copied().fold(f32::INFINITY, f32::min);
            match decide(&all, limit) {
                AgreementVerdict::Same { min, mean } => prop_assert!(lowest >= limit && min == lowest && mean >= min - 1e-6),
                AgreementVerdict::Different { min } => prop_assert!(lowest < limit && min == lowest),
                other => prop_assert!(false, "{other:?}"),
            }
        }

        /// Faces that are missing or too many are never the same person.
        #[test]
        fn missing_or_several_faces_never_agree(all in portraits()) {
            let counts: Vec<_> = all.iter().map(Vec::len).collect();
            let verdict = decide(&all, -2.0);
            if counts.len() < 2 || counts.contains(&0) {
                prop_assert_eq!(verdict, AgreementVerdict::NoFace);
            } else if counts.iter().any(|n| *n > 1) {
                prop_assert_eq!(verdict, AgreementVerdict::SeveralFaces);
            } else {
                prop_assert!(same(verdict));
            }
        }
    }

    #[test]
    fn nan_disagrees() {
        let all = [
            vec![face(vec![f32::NAN, 0.0])],
            vec![face(direction(0.0))],
            vec![face(direction(0.0))],
        ];
        assert!(matches!(decide(&all, -1.0), AgreementVerdict::Different { min } if min.is_nan()));
        assert!(matches!(
            decide(&all[1..], f32::NAN),
            AgreementVerdict::Different { .. }
        ));
    }

    /// Another recognizer brings its own thresholds; what the manifest says goes before them.
    #[test]
    fn a_recognizers_spec_has_the_defaults() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let spec = folder.path().join("r.toml");
        let read = |line: &str, said: &str| {
            std::fs::write(&spec, line)?;
            let text = format!(
                "[models.face]\ndetector = \"d\"\nrecognizer = \"r\"\nrecognizer_spec = \"{}\"\n[verify_portraits]\n{said}",
                spec.display()
            );
            let settings = AgreementSettings::from_manifest(&manifest(&text));
            Ok::<_, std::io::Error>(settings.map(|settings| settings.same_person))
        };
        assert_eq!(read("same_person = 0.28", "")?.expect("a spec"), 0.28);
        assert_eq!(
            read("same_person = 0.28", "same_person = 0.6")?.expect("said"),
            0.6
        );
        assert_eq!(read("side = 112", "")?.expect("a spec without"), 0.4);
        let error = read("same_person = 28", "")?
            .expect_err("no cosine")
            .to_string();
        assert!(error.contains("r.toml") && error.contains("28"), "{error}");
        Ok(())
    }

    #[test]
    fn settings_have_a_default_and_a_range() {
        let read = |text: &str| AgreementSettings::from_manifest(&manifest(text));
        let section = |key: &str| read(&format!("[verify_portraits]\n{key}\n"));
        assert_eq!(read("").expect("settings").same_person, 0.4);
        let shipped = laioncele_face::Thresholds::default();
        let default = AgreementSettings::default();
        assert_eq!(default.same_person, shipped.same_person);
        assert_eq!(
            section("same_person = 0.55").expect("settings").threshold(),
            0.55
        );
        let error = section("same_person = 1.5")
            .expect_err("no cosine")
            .to_string();
        assert!(error.contains("1.5"), "{error}");
        let error = section("same_persn = 0.5")
            .expect_err("no such key")
            .to_string();
        assert!(error.contains("did you mean `same_person`?"), "{error}");
    }
}
