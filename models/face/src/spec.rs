//! Model specs: what a detector or a recognizer takes as input and how its output is read, as TOML
//! files that `[models.face]` names. Without a spec, a network is taken for the one that the
//! repository ships.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::align::{SIDE, TEMPLATE};
use crate::error::FaceError;
use crate::files::{Crop, FaceFiles, FaceOptions};
use crate::pixels::{Channels, Pixels};

/// The most bytes that are read as a spec.
const MAX_BYTES: u64 = 1 << 20;
/// Side of FaceNet's input, in pixels.
const FACENET_SIDE: u32 = 160;
/// Sides of an aligned face that make sense, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 16..=1024;

/// How a detector's outputs are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decoder {
    /// Anchors, variances and two-class scores (Pytorch_Retinaface).
    #[default]
    RetinaFace,
    /// One prior per cell, class times objectness (libfacedetection, OpenCV Zoo).
    YuNet,
    /// Two anchors per cell, distances to the box's edges (InsightFace).
    Scrfd,
}

/// A number for all channels, or one for each.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum PerChannel {
    All(f32),
    Each([f32; 3]),
}

impl PerChannel {
    fn each(self) -> [f32; 3] {
        match self {
            Self::All(value) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

/// Tensor names: the input's, and the outputs' in the decoder's order; what is not named is found
/// by its shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Names {
    pub(crate) input: Option<String>,
    pub(crate) outputs: Vec<String>,
}

/// What is known of a detector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DetectorSpec {
    pub(crate) decoder: Decoder,
    pub(crate) pixels: Pixels,
    /// Width and height are padded to multiples of it.
    pub(crate) multiple: u32,
    pub(crate) names: Names,
    pub(crate) options: FaceOptions,
}

/// The cosines from which on two faces show one person, as measured for a recognizer. They differ from one recognizer
/// to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Of two portraits.
    pub same_person: f64,
    /// Of a photo's face and a person's portraits, the mean of their cosines.
    pub same_person_photo: f64,
}

impl Default for Thresholds {
    /// The shipped recognizer's; how they were measured is in its model card.
    fn default() -> Self {
        Self {
            same_person: 0.40,
            same_person_photo: 0.35,
        }
    }
}

impl Thresholds {
    /// Those of the recognizer among `files`, by its spec; the shipped recognizer's where that says nothing.
    ///
    /// # Errors
    /// A spec that cannot be read or is wrong.
    pub fn of(files: &FaceFiles) -> Result<Self, FaceError> {
        let spec = RecognizerSpec::load(files.recognizer_spec.as_deref(), files.crop)?;
        Ok(spec.thresholds)
    }

    fn check(&self) -> Result<(), String> {
        for (key, value) in [
            ("same_person", self.same_person),
            ("same_person_photo", self.same_person_photo),
        ] {
            if !(-1.0..=1.0).contains(&value) {
                return Err(format!("{key} is {value}: a cosine is between -1 and 1"));
            }
        }
        Ok(())
    }
}

/// What is known of a recognizer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecognizerSpec {
    /// Side of its input in pixels.
    pub(crate) side: u32,
    pub(crate) pixels: Pixels,
    pub(crate) names: Names,
    /// Where the five landmarks lie in its input, pixels.
    pub(crate) template: [[f32; 2]; 5],
    /// How a face is cut out: [`Crop::Aligned`] or [`Crop::Box`].
    pub(crate) crop: Crop,
    /// What its cosines mean.
    pub(crate) thresholds: Thresholds,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DetectorFile {
    #[serde(default)]
    decoder: Decoder,
    channels: Option<Channels>,
    mean: Option<PerChannel>,
    scale: Option<PerChannel>,
    multiple: Option<u32>,
    input: Option<String>,
    #[serde(default)]
    outputs: Vec<String>,
    min_score: Option<f32>,
    max_overlap: Option<f32>,
    min_side: Option<u32>,
    max_side: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecognizerFile {
    side: Option<u32>,
    channels: Option<Channels>,
    mean: Option<PerChannel>,
    scale: Option<PerChannel>,
    input: Option<String>,
    output: Option<String>,
    template: Option<[[f32; 2]; 5]>,
    #[serde(default)]
    crop: Crop,
    same_person: Option<f64>,
    same_person_photo: Option<f64>,
    #[serde(default)]
    metric: Metric,
}

/// How two embeddings are compared. Distances of unit vectors order pairs as their cosines do.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Metric {
    #[default]
    Cosine,
}

impl Decoder {
    /// What networks of this kind are usually given.
    fn pixels(self) -> Pixels {
        let (channels, mean, scale) = match self {
            Self::RetinaFace => (Channels::Bgr, [104.0, 117.0, 123.0], [1.0; 3]),
            Self::YuNet => (Channels::Bgr, [0.0; 3], [1.0; 3]),
            Self::Scrfd => (Channels::Rgb, [127.5; 3], [128.0; 3]),
        };
        Pixels {
            channels,
            mean,
            scale,
        }
    }

    fn multiple(self) -> u32 {
        match self {
            Self::RetinaFace => 1,
            Self::YuNet | Self::Scrfd => 32,
        }
    }

    /// The authors' score and overlap, where they differ from the caller's.
    fn limits(self, given: &FaceOptions) -> [f32; 2] {
        match self {
            Self::RetinaFace => [given.min_score, given.max_overlap],
            Self::YuNet => [0.7, 0.3],
            Self::Scrfd => [0.5, 0.4],
        }
    }
}

impl DetectorSpec {
    /// The spec at `path`, or the shipped detector's; `options` where the spec says nothing.
    pub(crate) fn load(path: Option<&Path>, options: &FaceOptions) -> Result<Self, FaceError> {
        let Some(path) = path else {
            return Ok(Self::of(DetectorFile::default(), options));
        };
        let file: DetectorFile = read(path)?;
        let spec = Self::of(file, options);
        spec.check().map_err(|reason| wrong(path, reason))?;
        Ok(spec)
    }

    fn of(file: DetectorFile, options: &FaceOptions) -> Self {
        let usual = file.decoder.pixels();
        let [min_score, max_overlap] = file.decoder.limits(options);
        Self {
            decoder: file.decoder,
            pixels: pixels(usual, file.channels, file.mean, file.scale),
            multiple: file.multiple.unwrap_or(file.decoder.multiple()),
            names: Names {
                input: file.input,
                outputs: file.outputs,
            },
            options: FaceOptions {
                min_score: file.min_score.unwrap_or(min_score),
                max_overlap: file.max_overlap.unwrap_or(max_overlap),
                min_side: file.min_side.unwrap_or(options.min_side),
                max_side: file.max_side.unwrap_or(options.max_side),
            },
        }
    }

    fn check(&self) -> Result<(), String> {
        check_pixels(&self.pixels)?;
        let FaceOptions {
            min_score,
            max_overlap,
            min_side,
            max_side,
        } = self.options;
        if !(1..=4096).contains(&self.multiple) {
            return Err(format!("multiple is {}: 1 to 4096", self.multiple));
        }
        for (key, value) in [("min_score", min_score), ("max_overlap", max_overlap)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{key} is {value}: 0 to 1"));
            }
        }
        if min_side == 0 || min_side > max_side || max_side > 8192 {
            return Err(format!(
                "min_side is {min_side} and max_side {max_side}: 1 to 8192, the first not above the second"
            ));
        }
        Ok(())
    }
}

impl RecognizerSpec {
    /// The spec at `path`, or the shipped recognizer's; faces are cut out as `crop` says, where it says so.
    pub(crate) fn load(path: Option<&Path>, crop: Option<Crop>) -> Result<Self, FaceError> {
        let mut file = match path {
            Some(path) => read(path)?,
            None => RecognizerFile::default(),
        };
        file.crop = crop.unwrap_or(file.crop);
        let spec = Self::of(file);
        match path {
            Some(path) => spec.check().map_err(|reason| wrong(path, reason))?,
            None => debug_assert!(spec.check().is_ok()),
        }
        Ok(spec)
    }

    fn of(mut file: RecognizerFile) -> Self {
        if file.crop == Crop::Box160 {
            file.crop = Crop::Box;
            file.side = Some(FACENET_SIDE);
            file.channels = Some(Channels::Rgb);
            file.mean = Some(PerChannel::All(0.0));
            file.scale = Some(PerChannel::All(1.0));
        }
        let usual = Pixels {
            channels: Channels::Bgr,
            mean: [127.0; 3],
            scale: [128.0; 3],
        };
        let Metric::Cosine = file.metric;
        let shipped = Thresholds::default();
        let side = file.side.unwrap_or(SIDE);
        // The usual template belongs to 112 pixels; other sides get it in proportion.
        let factor = side as f32 / SIDE as f32;
        let usual_template = TEMPLATE.map(|point| point.map(|v| v * factor));
        Self {
            side,
            pixels: pixels(usual, file.channels, file.mean, file.scale),
            names: Names {
                input: file.input,
                outputs: file.output.into_iter().collect(),
            },
            template: file.template.unwrap_or(usual_template),
            crop: file.crop,
            thresholds: Thresholds {
                same_person: file.same_person.unwrap_or(shipped.same_person),
                same_person_photo: file.same_person_photo.unwrap_or(shipped.same_person_photo),
            },
        }
    }

    fn check(&self) -> Result<(), String> {
        check_pixels(&self.pixels)?;
        if !SIDES.contains(&self.side) {
            return Err(format!("side is {}: 16 to 1024 pixels", self.side));
        }
        let numbers = self.template.as_flattened();
        if numbers.iter().any(|v| !v.is_finite()) {
            return Err("template has a number that is not finite".to_owned());
        }
        self.thresholds.check()
    }
}

fn pixels(
    usual: Pixels,
    channels: Option<Channels>,
    mean: Option<PerChannel>,
    scale: Option<PerChannel>,
) -> Pixels {
    Pixels {
        channels: channels.unwrap_or(usual.channels),
        mean: mean.map_or(usual.mean, PerChannel::each),
        scale: scale.map_or(usual.scale, PerChannel::each),
    }
}

fn check_pixels(pixels: &Pixels) -> Result<(), String> {
    if pixels.mean.iter().any(|v| !v.is_finite()) {
        return Err(format!("mean is {:?}", pixels.mean));
    }
    if pixels.scale.iter().any(|v| !v.is_finite() || *v == 0.0) {
        return Err(format!("scale is {:?}: what is divided by", pixels.scale));
    }
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, FaceError> {
    let fail = |source| FaceError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(fail)?.len() > MAX_BYTES {
        return Err(wrong(path, "more than a megabyte".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    toml::from_str(&text).map_err(|e| wrong(path, e.to_string().trim_end().to_owned()))
}

fn wrong(path: &Path, reason: String) -> FaceError {
    FaceError::Invalid {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spec.toml");
        std::fs::write(&path, text).expect("a spec");
        (folder, path)
    }

    #[test]
    fn an_empty_spec_is_the_shipped_networks() -> Result<(), FaceError> {
        let (_folder, path) = written("");
        let options = FaceOptions::default();
        let spec = DetectorSpec::load(Some(&path), &options)?;
        assert_eq!(spec, DetectorSpec::load(None, &options)?);
        assert_eq!((spec.decoder, spec.multiple), (Decoder::RetinaFace, 1));
        let spec = RecognizerSpec::load(Some(&path), None)?;
        assert_eq!(spec, RecognizerSpec::load(None, None)?);
        assert_eq!((spec.side, spec.template), (112, TEMPLATE));
        Ok(())
    }

    #[test]
    fn facenets_crop_brings_its_size_and_its_colours() -> Result<(), FaceError> {
        let (_folder, path) = written("crop = \"box160\"\nside = 112\n");
        let spec = RecognizerSpec::load(Some(&path), None)?;
        assert_eq!(
            (spec.side, spec.crop, spec.pixels),
            (160, Crop::Box, Pixels::RAW)
        );
        assert_eq!(spec, RecognizerSpec::load(None, Some(Crop::Box160))?);
        assert_eq!(
            RecognizerSpec::load(Some(&path), Some(Crop::Aligned))?.side,
            112
        );
        Ok(())
    }

    #[test]
    fn a_decoder_brings_its_own_preparation() -> Result<(), FaceError> {
        let (_folder, path) = written("decoder = \"scrfd\"\nmax_side = 320\nmean = [1, 2, 3]\n");
        let spec = DetectorSpec::load(Some(&path), &FaceOptions::default())?;
        assert_eq!(spec.pixels.channels, Channels::Rgb);
        assert_eq!(
            (spec.pixels.mean, spec.pixels.scale),
            ([1.0, 2.0, 3.0], [128.0; 3])
        );
        assert_eq!((spec.options.min_score, spec.options.max_side), (0.5, 320));
        Ok(())
    }

    #[test]
    fn wrong_specs_are_refused_with_the_key() {
        for (text, word) in [
            ("decoder = \"viola\"", "viola"),
            ("scale = 0", "scale"),
            ("multiple = 0", "multiple"),
            ("min_score = 60", "min_score"),
            ("min_side = 700", "min_side"),
            ("colour = 1", "colour"),
            ("decoder =", "decoder"),
        ] {
            let (_folder, path) = written(text);
            let error = DetectorSpec::load(Some(&path), &FaceOptions::default());
            let error = error.expect_err(text).to_string();
            assert!(
                error.contains(word) && error.contains("spec.toml"),
                "{error}"
            );
        }
        for (text, word) in [
            ("side = 3", "side"),
            ("metric = \"l1\"", "l1"),
            ("template = [[1, 2]]", "template"),
            ("crop = \"round\"", "round"),
        ] {
            let (_folder, path) = written(text);
            let error = RecognizerSpec::load(Some(&path), None)
                .expect_err(text)
                .to_string();
            assert!(
                error.contains(word) && error.contains("spec.toml"),
                "{error}"
            );
        }
    }
}
