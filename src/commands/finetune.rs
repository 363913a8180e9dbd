//! `laioncele finetune`: the U-Net trained with name embeddings in the texts, as a LoRA or whole.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use laioncele_core::error::chain;
use laioncele_finetune_run::{
    Card, FinetuneError, Progress, Settings, Stored, Training, What as Trained,
};
use laioncele_verify_images::Settings as PhotoSettings;

use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::manifest_of_run;
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele finetune --what lora --dataset laioncele-output/laioncele --into tuned/lora
  laioncele finetune --what unet --dataset photos/ --into tuned/unet --steps 2000
  laioncele generate photo.jpg --unet tuned/unet/unet

A data set is LaionCele as a run publishes it (Parquet files), or a folder with a sub-folder of
photos for each person; a caption is the .txt file beside its photo, else \"a photo of a person\".
Photos without a face are skipped and counted; of several faces the one that LaionCele kept, else
the main one, gives the name. Settings are those of [finetune] in the manifest; options come first.

Interrupted, the same command goes on from the last checkpoint and ends with the same bytes. The
folder holds training.json (which training it is of), examples/ (the prepared photos), checkpoints/
(the last two), losses.csv, card.json and what was trained.";

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A LoRA beside the attention's projections
    Lora,
    /// All weights of the U-Net
    Unet,
}

/// Programs that a LoRA is also written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    /// ComfyUI and A1111
    Webui,
}

/// How a whole U-Net is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Numbers {
    /// 16 bits
    F16,
    /// 32 bits
    F32,
}

/// `laioncele finetune`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Finetune {
    /// What is trained
    #[arg(long, value_enum)]
    what: What,
    /// The photos: LaionCele's folder of Parquet files, or a folder with a sub-folder for each person
    #[arg(long, value_name = "FOLDER")]
    dataset: PathBuf,
    /// Where results go; a training that was interrupted there goes on
    #[arg(long, value_name = "FOLDER", default_value = "finetuned")]
    into: PathBuf,
    /// The name encoder's folder, with encoder.json and encoder.safetensors [default: encoder/ of the run]
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// Also write a LoRA for these programs, as lora-webui.safetensors
    #[arg(long = "for", value_enum, value_name = "PROGRAM")]
    program: Option<For>,
    /// How the weights of a whole U-Net are stored
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f16")]
    save_as: Numbers,
    /// Steps of the optimizer [default: the manifest's; 10000]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Photos in a step [default: the manifest's; 16]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// The learning rate [default: the manifest's; 1e-5]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Rank of a LoRA [default: the manifest's; 16]
    #[arg(long, value_name = "N")]
    rank: Option<usize>,
    /// Edge of the square photos in pixels [default: the manifest's; the model's own]
    #[arg(long, value_name = "PIXELS")]
    resolution: Option<usize>,
    /// Seed of everything that is drawn [default: the manifest's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Steps between checkpoints [default: the manifest's; 500]
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<u64>,
    /// People who must not be in the data set, by name or by face: a photo or a sub-folder of photos
    /// each [default: the manifest's]
    #[arg(long, value_name = "FOLDER")]
    evaluation_people: Option<PathBuf>,
    #[command(flatten)]
    paths: RunPaths,
    /// Print the card as JSON
    #[arg(long)]
    json: bool,
}

impl Finetune {
    /// Trains, writes and prints.
    ///
    /// # Errors
    /// Missing models or encoder, photos that cannot be used, another training's folder, a training
    /// that diverges.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let manifest = manifest_of_run(&self.paths)?;
        let settings = self.settings(Settings::from_manifest(&manifest)?);
        let encoder = self.encoder.clone();
        let training = Training {
            what: match self.what {
                What::Lora => Trained::Lora,
                What::Unet => Trained::Unet,
            },
            settings,
            dataset: self.dataset.clone(),
            encoder: encoder.unwrap_or_else(|| self.paths.output.join("encoder")),
            into: self.into.clone(),
            webui: self.program == Some(For::Webui),
            stored: match self.save_as {
                Numbers::F16 => Stored::F16,
                Numbers::F32 => Stored::F32,
            },
            same_person: PhotoSettings::from_manifest(&manifest)?.same_person_photo,
        };
        let shows = std::io::stderr().is_terminal();
        let mut tenths = 0;
        let mut progress = |progress: Progress| match progress {
            Progress::Resumed(step) => {
                output::message(&format!("goes on from the checkpoint of step {step}"));
            }
            Progress::Photos(photos) if shows => {
                output::message(&format!("{} prepared", count(photos, "photo")));
            }
            Progress::Step(step, all, loss) => {
                let reached = step * 10 / all.max(1);
                if reached > tenths && shows {
                    output::message(&format!("step {step} of {all}, loss {loss:.4}"));
                }
                tenths = reached;
            }
            Progress::Photos(_) => {}
        };
        let card = training.run(&manifest, &mut progress).map_err(failure)?;
        self.print(&card)
    }

    fn settings(&self, mut settings: Settings) -> Settings {
        fn take<T: Copy>(to: &mut T, given: Option<T>) {
            *to = given.unwrap_or(*to);
        }
        take(&mut settings.steps, self.steps);
        take(&mut settings.batch, self.batch);
        take(&mut settings.learning_rate, self.learning_rate);
        take(&mut settings.rank, self.rank);
        take(&mut settings.checkpoint_every, self.checkpoint_every);
        settings.resolution = self.resolution.or(settings.resolution);
        settings.seed = self.seed.or(settings.seed);
        if self.evaluation_people.is_some() {
            settings
                .evaluation_people
                .clone_from(&self.evaluation_people);
        }
        settings
    }

    fn print(&self, card: &Card) -> Result<(), Failure> {
        if self.json {
            return output::json(card);
        }
        let skipped: usize = card.skipped.values().sum();
        output::message(&format!(
            "{} of {} ({} skipped), {}, loss {:.4} at first, {:.4} at last",
            count(card.photos, "photo"),
            match card.people {
                1 => "1 person".to_owned(),
                people => format!("{people} people"),
            },
            skipped,
            count(card.steps as usize, "step"),
            card.first_loss,
            card.last_loss,
        ));
        for file in card.files.iter().map(String::as_str).chain(["card.json"]) {
            output::data(&self.into.join(file).display().to_string())?;
        }
        Ok(())
    }
}

/// A fine-tuning's error as the user sees it.
fn failure(error: FinetuneError) -> Failure {
    let text = chain(&error);
    match error {
        FinetuneError::Core(error) => error.into(),
        FinetuneError::Setting(_) => Failure::new(Exit::Usage, text),
        FinetuneError::NoDataSet { .. }
        | FinetuneError::NoPhoto { .. }
        | FinetuneError::Shard { .. } => {
            Failure::new(Exit::Usage, text).hint(
                "--dataset takes LaionCele's folder of Parquet files, or a folder with a sub-folder of photos for each person",
            )
        }
        FinetuneError::EvaluationPeople { .. } => Failure::new(Exit::Usage, text)
            .hint("take them out of the data set, or evaluate with others: --evaluation-people FOLDER"),
        FinetuneError::OtherTraining { .. } | FinetuneError::OtherCheckpoint { .. } => {
            Failure::new(Exit::Usage, text)
                .hint("choose another folder with --into, or delete this one")
        }
        FinetuneError::Encoder(_) => Failure::new(Exit::Environment, text).hint(
            "name the folder of a trained encoder with --encoder, or run `laioncele run --stage train-encoder`",
        ),
        FinetuneError::Diverged { .. } => Failure::new(Exit::TasksFailed, text),
        _ => Failure::new(Exit::Environment, text),
    }
}
