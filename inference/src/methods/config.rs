//! What a method is loaded with: its files, and the settings of its preset.

use laioncele_encoder::Crop;
use laioncele_face::FaceFiles;
use laioncele_sdxl::{NegativePrompt, SamplingSettings, SchedulerKind, SdxlFiles};

use super::name::{MethodName, Preset};
use crate::{IpAdapterSection, PhotoMakerSection};

/// A method that LaionCele is compared with, and everything that its images depend on.
#[derive(Clone, Debug)]
pub struct MethodConfig {
    /// The model that generates.
    pub sdxl: SdxlFiles,
    /// The method.
    pub method: BaselineMethod,
    /// What guidance guides away from.
    pub negative: NegativePrompt,
    /// How images are sampled.
    pub sampling: SamplingSettings,
    /// The face networks; needed for a face crop, and with their gender network for the word for the person.
    pub face: Option<FaceFiles>,
}

/// A method that LaionCele is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum BaselineMethod {
    /// The person's name in the prompt.
    SdxlName,
    /// IP-Adapter with a scale.
    IpAdapter(IpAdapterSection, f64),
    /// PhotoMaker; the last step that knows only the text, -1 for none.
    PhotoMaker(PhotoMakerSection, i64),
}

/// Negative prompts that the authors recommend.
const IP_ADAPTER_NEGATIVE: &str = "monochrome, lowres, bad anatomy, worst quality, low quality";
const PHOTOMAKER_NEGATIVE: &str = "(asymmetry, worst quality, low quality, illustration, 3d, 2d, painting, cartoons, sketch), open mouth, grayscale";

/// The settings that a preset changes.
#[derive(Clone, Debug)]
pub struct PresetSettings {
    /// What guidance guides away from.
    pub negative: NegativePrompt,
    /// How images are sampled.
    pub sampling: SamplingSettings,
}

impl PresetSettings {
    /// Those of `method`: `common`, or what its authors recommend.
    pub fn of(method: MethodName, preset: Preset, common: Self) -> Self {
        let recommended = |steps: usize, negative: &str| Self {
            negative: NegativePrompt::Text(negative.to_owned()),
            sampling: SamplingSettings {
                scheduler: Some(SchedulerKind::Euler),
                steps,
                guidance: 5.0,
                ..common.sampling.clone()
            },
        };
        match (preset, method) {
            (Preset::Recommended, MethodName::IpAdapter(_)) => recommended(30, IP_ADAPTER_NEGATIVE),
            (Preset::Recommended, MethodName::PhotoMaker) => recommended(50, PHOTOMAKER_NEGATIVE),
            _ => common,
        }
    }
}

impl BaselineMethod {
    /// IP-Adapter with the scale of the method's own name, else of the section, else of the preset: as it was trained, or
    /// the balance that its authors recommend with a text.
    pub fn ip_adapter(section: IpAdapterSection, own: Option<f64>, preset: Preset) -> Self {
        let of_preset = match preset {
            Preset::Common => 1.0,
            Preset::Recommended => 0.6,
        };
        let scale = own.or(section.scale).unwrap_or(of_preset);
        Self::IpAdapter(section, scale)
    }

    /// PhotoMaker with the start of the section, else of the preset: after a fifth of the steps, or after step 10 of the 50
    /// that its authors recommend.
    pub fn photomaker(section: PhotoMakerSection, preset: Preset, steps: usize) -> Self {
        let of_preset = match preset {
            Preset::Common => (steps / 5) as i64,
            Preset::Recommended => 10,
        };
        let start = section.start_merge_step.unwrap_or(of_preset);
        Self::PhotoMaker(section, start)
    }

    /// What it sees of photos.
    pub fn crop(&self) -> Crop {
        match self {
            Self::SdxlName => Crop::Whole,
            Self::IpAdapter(section, _) => section.photo,
            Self::PhotoMaker(section, _) => section.photo,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_change_what_their_authors_recommend() {
        let settings = |method, preset| {
            let common = PresetSettings {
                negative: NegativePrompt::Model,
                sampling: SamplingSettings::default(),
            };
            let PresetSettings { negative, sampling } = PresetSettings::of(method, preset, common);
            (
                negative == NegativePrompt::Model,
                sampling.steps,
                sampling.guidance,
            )
        };
        for method in [
            MethodName::SdxlName,
            MethodName::IpAdapter(None),
            MethodName::PhotoMaker,
        ] {
            assert_eq!(settings(method, Preset::Common), (true, 100, 7.0));
        }
        let recommended = |method| settings(method, Preset::Recommended);
        assert_eq!(recommended(MethodName::SdxlName), (true, 100, 7.0));
        assert_eq!(
            recommended(MethodName::IpAdapter(Some(0.5))),
            (false, 30, 5.0)
        );
        assert_eq!(recommended(MethodName::PhotoMaker), (false, 50, 5.0));
    }

    #[test]
    fn scales_and_starts_are_the_nearest_that_is_given() {
        let section = |scale| IpAdapterSection {
            file: "a".into(),
            image_encoder: "b".into(),
            scale,
            photo: Crop::Whole,
            square: Default::default(),
        };
        let scale =
            |given, own, preset| match BaselineMethod::ip_adapter(section(given), own, preset) {
                BaselineMethod::IpAdapter(_, scale) => scale,
                other => panic!("{other:?}"),
            };
        assert_eq!(scale(None, None, Preset::Common), 1.0);
        assert_eq!(scale(None, None, Preset::Recommended), 0.6);
        assert_eq!(scale(Some(0.3), None, Preset::Recommended), 0.3);
        assert_eq!(scale(Some(0.3), Some(0.0), Preset::Common), 0.0);
        let start = |given, preset, steps| {
            let section = PhotoMakerSection {
                file: "a".into(),
                vision: None,
                trigger: "img".to_owned(),
                start_merge_step: given,
                photo: Crop::Whole,
            };
            match BaselineMethod::photomaker(section, preset, steps) {
                BaselineMethod::PhotoMaker(_, start) => start,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(start(None, Preset::Common, 100), 20);
        assert_eq!(start(None, Preset::Common, 4), 0);
        assert_eq!(start(None, Preset::Recommended, 50), 10);
        assert_eq!(start(Some(-1), Preset::Common, 100), -1);
    }
}
