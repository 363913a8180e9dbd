//! Loading of models, and where they are kept.

use std::sync::Arc;

use laioncele_clip::ImageEncoders;
use laioncele_core::{EmbeddingDims, StageError, Task};
use laioncele_encoder::Encoder;
use laioncele_face::{FaceFiles, FaceNets, FaceOptions};
use laioncele_sdxl::{NAME_TOKENS, Sdxl, SdxlFiles, TextEncoders};

use crate::{ImageEncoderSection, ModelError};

/// Loads models and checks that their dims are the manifest's. A task's models are kept by its
/// worker for later tasks; the command line loads each once.
#[derive(Clone, Copy)]
pub struct ModelLoader<'a> {
    /// The task whose worker keeps the models.
    task: Option<&'a Task>,
    dims: &'a EmbeddingDims,
}

impl<'a> ModelLoader<'a> {
    /// Models of a task's manifest, kept by the task's worker.
    pub fn of_task(task: &'a Task) -> Self {
        Self {
            task: Some(task),
            dims: task.embedding_dims(),
        }
    }

    /// Models of a run whose embeddings have these dims, kept by the caller alone.
    pub fn without_task(dims: &'a EmbeddingDims) -> Self {
        Self { task: None, dims }
    }

    /// The dims that models must have.
    pub fn dims(&self) -> &'a EmbeddingDims {
        self.dims
    }

    /// SDXL's U-Net and VAE.
    ///
    /// # Errors
    /// A folder that is no SDXL, a GPU that is not there, memory, other dims of a name than the
    /// manifest's.
    pub fn sdxl(&self, files: &SdxlFiles) -> Result<Arc<Sdxl>, StageError> {
        let key = format!("sdxl images {files:?}");
        let sdxl = self.keep(&key, || Ok(Sdxl::load_files(files)?))?;
        self.check_name(sdxl.name_width())?;
        Ok(sdxl)
    }

    /// SDXL's two text encoders.
    ///
    /// # Errors
    /// As [`Self::sdxl`].
    pub fn text_encoders(&self, files: &SdxlFiles) -> Result<Arc<TextEncoders>, StageError> {
        let key = format!("sdxl texts {files:?}");
        let encoders = self.keep(&key, || Ok(TextEncoders::load_files(files)?))?;
        self.check_name(encoders.name_width())?;
        Ok(encoders)
    }

    /// The face networks.
    ///
    /// # Errors
    /// Missing or wrong networks, no ONNX Runtime, other dims of a face than the manifest's.
    pub fn face_nets(&self, files: &FaceFiles) -> Result<Arc<FaceNets>, StageError> {
        let key = format!("face {files:?}");
        let nets = self.keep(&key, || Ok(FaceNets::load(files, &FaceOptions::default())?))?;
        let (found, expected) = (nets.width(), self.dims.face);
        if found == expected {
            return Ok(nets);
        }
        Err(ModelError::FaceDims { expected, found }.into())
    }

    /// Both CLIP image encoders.
    ///
    /// # Errors
    /// Folders that are missing or of another kind, a GPU that is not there, other dims of the
    /// features than the manifest's.
    pub fn image_encoders(
        &self,
        section: &ImageEncoderSection,
    ) -> Result<Arc<ImageEncoders>, StageError> {
        let key = format!("image encoders {section:?}");
        let encoders = self.keep(&key, || {
            let options = section.load_options()?;
            Ok(ImageEncoders::load(
                &section.first,
                &section.second,
                &options,
            )?)
        })?;
        let (found, expected) = (encoders.width(), self.dims.features);
        if found == expected {
            return Ok(encoders);
        }
        Err(ModelError::FeatureDims { expected, found }.into())
    }

    /// The trained encoder, from the bytes of its two files. `key` says which it is.
    ///
    /// # Errors
    /// Files that are no encoder; what `bytes` returns.
    pub fn encoder<B: AsRef<[u8]>>(
        &self,
        key: &str,
        bytes: impl FnOnce() -> Result<[B; 2], StageError>,
    ) -> Result<Arc<Encoder>, StageError> {
        self.keep_any(&format!("encoder {key}"), || {
            let [config, weights] = bytes()?;
            let encoder = Encoder::from_bytes(config.as_ref(), weights.as_ref());
            Ok(encoder.map_err(ModelError::from)?)
        })
    }

    /// A loaded thing of any kind, kept under `key` where there is a worker to keep it.
    ///
    /// # Errors
    /// What `load` returns.
    pub fn keep_any<T: Send + Sync + 'static>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        match self.task {
            Some(task) => task.resource(key, load),
            None => load().map(Arc::new),
        }
    }

    fn keep<T: Send + Sync + 'static>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<T, ModelError>,
    ) -> Result<Arc<T>, StageError> {
        self.keep_any(key, || Ok(load()?))
    }

    fn check_name(&self, channels: usize) -> Result<(), ModelError> {
        let dims = self.dims;
        if (dims.name_tokens, dims.name_channels) == (NAME_TOKENS, channels) {
            return Ok(());
        }
        Err(ModelError::NameDims {
            tokens: dims.name_tokens,
            channels: dims.name_channels,
            found_tokens: NAME_TOKENS,
            found_channels: channels,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use laioncele_core::file_digests::FileDigests;
    use laioncele_core::{Digest, ModelFiles};

    use super::*;
    use crate::SdxlSection;

    fn mini() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/mini")
    }

    fn dims() -> EmbeddingDims {
        EmbeddingDims {
            name_tokens: NAME_TOKENS,
            name_channels: 128,
            face: 512,
            features: 128,
        }
    }

    fn sdxl_files() -> SdxlFiles {
        SdxlFiles {
            folder: mini().join("sdxl-mini"),
            ..SdxlFiles::default()
        }
    }

    fn text<T>(result: Result<T, StageError>) -> String {
        result.err().map_or_else(String::new, |e| e.to_string())
    }

    /// The section over an SDXL folder, and that over its image encoders.
    fn sections(folder: &Path) -> (SdxlSection, ImageEncoderSection) {
        let sdxl = SdxlSection {
            files: SdxlFiles {
                folder: folder.to_owned(),
                ..SdxlFiles::default()
            },
            unconditional: Default::default(),
        };
        let images = ImageEncoderSection {
            first: folder.join("image_encoder"),
            second: folder.join("image_encoder_2"),
            precision: Default::default(),
            device: Default::default(),
        };
        (sdxl, images)
    }

    fn model_files(folder: &Path) -> Vec<ModelFiles> {
        let (sdxl, images) = sections(folder);
        let files = [
            sdxl.text_model_files(),
            sdxl.image_model_files(),
            images.model_files(),
        ];
        files.concat()
    }

    /// Label → digest.
    fn digests(folder: &Path) -> Vec<(String, Digest)> {
        let digests = FileDigests::open(None);
        let digest = |model: &ModelFiles| {
            let digest = digests.of_model(model).expect("a digest");
            (model.label.clone(), digest)
        };
        model_files(folder).iter().map(digest).collect()
    }

    fn load_all(folder: &Path) -> Result<(), StageError> {
        let (sdxl, images) = sections(folder);
        let dims = dims();
        let loader = ModelLoader::without_task(&dims);
        loader.sdxl(&sdxl.files)?;
        loader.text_encoders(&sdxl.files)?;
        loader.image_encoders(&images).map(drop)
    }

    /// A folder with nothing but what keys digest.
    fn only_what_is_read() -> (tempfile::TempDir, Vec<PathBuf>) {
        let whole = mini().join("sdxl-mini");
        let folder = tempfile::tempdir().expect("a folder");
        let mut copies = Vec::new();
        for model in model_files(&whole) {
            let files = match model.path.is_dir() {
                true => (model.files_read)(&model.path).expect("files"),
                false => vec![model.path],
            };
            for file in files {
                let copy = folder
                    .path()
                    .join(file.strip_prefix(&whole).expect("inside"));
                std::fs::create_dir_all(copy.parent().expect("a parent")).expect("folders");
                std::fs::copy(file, &copy).expect("copied");
                copies.push(copy);
            }
        }
        (folder, copies)
    }

    /// What keys digest is what is read: it is enough to load everything, and nothing of it can be spared.
    #[test]
    fn keys_digest_what_loading_reads() {
        let (folder, files) = only_what_is_read();
        load_all(folder.path()).expect("everything is there");
        assert!(files.len() > 15, "{files:?}");
        let aside = folder.path().join("aside");
        for file in files {
            std::fs::rename(&file, &aside).expect("moved");
            assert!(
                load_all(folder.path()).is_err(),
                "{} is not read",
                file.display()
            );
            std::fs::rename(&aside, &file).expect("moved back");
        }
    }

    #[test]
    fn files_that_are_not_read_change_no_digest() {
        let (folder, _) = only_what_is_read();
        let before = digests(folder.path());
        for name in [
            "README.md",
            ".gitattributes",
            ".cache/huggingface/download/x.lock",
            "unet/model.onnx",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.bin",
            "vae/.cache/x",
            "text_encoder/model.onnx_data",
            "text_encoder_2/flax_model.msgpack",
            "tokenizer/special_tokens_map.json",
            "image_encoder/pytorch_model.bin",
            "image_encoder/tokenizer.json",
            "scheduler/README.md",
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, b"not read").expect("written");
        }
        assert_eq!(digests(folder.path()), before);
        let config = folder.path().join("vae/config.json");
        let text = std::fs::read_to_string(&config).expect("a file");
        std::fs::write(&config, text + " ").expect("written");
        let after = digests(folder.path());
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b);
        let changed: Vec<&str> = changed.map(|((label, _), _)| label.as_str()).collect();
        assert_eq!(changed, ["models.sdxl.vae"]);
    }

    #[test]
    fn names_of_other_dims_are_refused() {
        let wrong = EmbeddingDims {
            name_channels: 2048,
            ..dims()
        };
        assert!(
            ModelLoader::without_task(&dims())
                .text_encoders(&sdxl_files())
                .is_ok()
        );
        let loader = ModelLoader::without_task(&wrong);
        for error in [
            text(loader.text_encoders(&sdxl_files())),
            text(loader.sdxl(&sdxl_files())),
        ] {
            assert!(error.contains("name_channels = 2048"), "{error}");
            assert!(error.contains("8 x 128"), "{error}");
        }
    }

    #[test]
    fn features_of_other_dims_are_refused() {
        let section = ImageEncoderSection {
            first: mini().join("sdxl-mini/image_encoder"),
            second: mini().join("sdxl-mini/image_encoder_2"),
            precision: Default::default(),
            device: Default::default(),
        };
        let encoders = ModelLoader::without_task(&dims()).image_encoders(&section);
        assert_eq!(encoders.expect("encoders").width(), 128);
        let wrong = EmbeddingDims {
            features: 3,
            ..dims()
        };
        let error = text(ModelLoader::without_task(&wrong).image_encoders(&section));
        assert!(
            error.contains("features = 3") && error.contains("128"),
            "{error}"
        );
    }

    #[test]
    fn faces_of_other_dims_are_refused() {
        let files = FaceFiles {
            detector: mini().join("face/retinaface_mobilenet025_dynamic.onnx"),
            recognizer: mini().join("face/faceplugin_fr_feature_512.onnx"),
            ..FaceFiles::default()
        };
        assert!(ModelLoader::without_task(&dims()).face_nets(&files).is_ok());
        let wrong = EmbeddingDims { face: 4, ..dims() };
        let error = text(ModelLoader::without_task(&wrong).face_nets(&files));
        assert!(
            error.contains("face = 4") && error.contains("512"),
            "{error}"
        );
    }
}
