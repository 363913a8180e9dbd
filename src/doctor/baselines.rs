//! The checks of the methods that LaionCele is compared with: each file is held against the SDXL of the manifest.

use laioncele_baselines::{AdapterInput, AdapterPhotos, IpAdapter, PhotoMaker};
use laioncele_clip::ImageEncoder;
use laioncele_core::Manifest;
use laioncele_core::error::chain;
use laioncele_inference::{IpAdapterSection, PhotoMakerSection, SdxlSection};
use laioncele_nn::LoadOptions;
use laioncele_sdxl::{Sdxl, SdxlFiles, TextEncoders};
use serde::de::IgnoredAny;

use super::Check;

const ADAPTER: &str = "models.ip_adapter";
const MAKER: &str = "models.photomaker";

/// Checks the sections that the manifest has; `deep` reads all weights.
pub(super) fn check(manifest: &Manifest, deep: bool) -> Vec<Check> {
    let has = |section: &str| manifest.model::<IgnoredAny>(section).is_ok();
    let mut checks = Vec::new();
    if has("ip_adapter") {
        checks.push(adapter(manifest, deep));
    }
    if has("photomaker") {
        checks.push(photomaker(manifest, deep));
    }
    checks
}

fn adapter(manifest: &Manifest, deep: bool) -> Check {
    let section = match IpAdapterSection::from_manifest(manifest) {
        Ok(section) => section,
        Err(error) => return Check::new(ADAPTER, None, Err(chain(&error))),
    };
    let found = || -> Result<String, String> {
        let files = sdxl_files(manifest)?;
        let sdxl = dry(&files)?;
        let adapter = IpAdapter::load(&section.file, sdxl.unet(), !deep).map_err(|e| chain(&e))?;
        let (tokens, input) = (adapter.image_tokens(), adapter.input());
        let folder = &section.image_encoder;
        let encoder = ImageEncoder::load(folder, &options(&files, deep)).map_err(|e| chain(&e))?;
        let fit = AdapterPhotos::new(adapter, encoder, folder, section.square);
        fit.map_err(|e| chain(&e))?;
        Ok(match input {
            AdapterInput::Embedding { width } => {
                format!("base, {tokens} image tokens of embeddings of {width}")
            }
            AdapterInput::States { width } => {
                format!("plus, {tokens} image tokens of hidden states of {width}")
            }
        })
    };
    Check::new(ADAPTER, Some(&section.file), found())
}

fn photomaker(manifest: &Manifest, deep: bool) -> Check {
    let section = match PhotoMakerSection::from_manifest(manifest) {
        Ok(section) => section,
        Err(error) => return Check::new(MAKER, None, Err(chain(&error))),
    };
    let found = || -> Result<String, String> {
        let files = sdxl_files(manifest)?;
        let texts = TextEncoders::load(&files.folder, &options(&files, false));
        let widths = texts.map_err(|e| chain(&e))?.widths();
        let vision = section.vision.as_deref();
        let maker = PhotoMaker::load(&section.file, vision, widths, &options(&files, deep));
        let maker = maker.map_err(|e| chain(&e))?;
        let mut sdxl = dry(&files)?;
        maker.check_lora(sdxl.unet_mut()).map_err(|e| chain(&e))?;
        let [first, second] = widths;
        Ok(format!("V1, photos as vectors of {first} + {second}"))
    };
    Check::new(MAKER, Some(&section.file), found())
}

fn sdxl_files(manifest: &Manifest) -> Result<SdxlFiles, String> {
    let section = SdxlSection::from_manifest(manifest);
    section.map(|s| s.files).map_err(|e| chain(&e))
}

fn options(files: &SdxlFiles, deep: bool) -> LoadOptions {
    LoadOptions {
        dtype: files.precision.dtype(),
        dry: !deep,
        ..LoadOptions::default()
    }
}

/// The model without its numbers.
fn dry(files: &SdxlFiles) -> Result<Sdxl, String> {
    Sdxl::load_dry(files).map_err(|e| chain(&e))
}
