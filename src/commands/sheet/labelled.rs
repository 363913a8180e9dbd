//! What both sheets share: their arguments, and a sheet with its JSON beside it.

use clap::Args;
use image::RgbImage;
use laioncele_inference::{Sheet, SheetLabels};
use serde::Serialize;
use serde_json::Value;

use crate::args::RunPaths;
use crate::commands::about_image::AboutImage;
use crate::commands::encoder_args::EncoderArgs;
use crate::commands::generation::GenerationArgs;
use crate::commands::images::{ImageArgs, Planned, write_whole};
use crate::commands::model_args::ModelArgs;
use crate::commands::source::Source;
use crate::failure::{Exit, Failure};

/// Images on a sheet at most.
const MOST_IMAGES: usize = 400;

/// What draws a sheet, and how.
#[derive(Args, Debug)]
pub(super) struct SheetArgs {
    /// Edge of an image on the sheet, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 192, value_parser = clap::value_parser!(u32).range(64..=1024))]
    cell: u32,
    #[command(flatten)]
    pub(super) gallery: ImageArgs,
    #[command(flatten)]
    pub(super) generation: GenerationArgs,
    #[command(flatten)]
    paths: RunPaths,
    #[command(flatten)]
    encoder: EncoderArgs,
    #[command(flatten)]
    model: ModelArgs,
}

impl SheetArgs {
    pub(super) fn source(&self) -> Source<'_> {
        Source {
            generation: &self.generation,
            paths: &self.paths,
            model: &self.model,
            encoder: &self.encoder,
        }
    }
}

/// Where an image stands, and how it was made.
#[derive(Serialize)]
struct Cell {
    row: usize,
    column: usize,
    image: AboutImage,
}

/// The JSON beside a sheet.
#[derive(Serialize)]
struct Legend<'a> {
    title: &'a str,
    columns: &'a [String],
    rows: &'a [String],
    images: &'a [Cell],
}

/// A sheet in the making.
pub(super) struct LabelledSheet<'a> {
    args: &'a SheetArgs,
    planned: Planned,
    title: String,
    columns: Vec<String>,
    rows: Vec<String>,
    sheet: Sheet,
    cells: Vec<Cell>,
}

impl<'a> LabelledSheet<'a> {
    /// An empty sheet; `about` is what its images share, `experiment` what it shows: the sheet's file is replaced by the
    /// same only.
    ///
    /// # Errors
    /// A sheet that is there and shows something else; too many images.
    pub(super) fn new(
        args: &'a SheetArgs,
        (stem, title): (&str, String),
        (columns, rows): (Vec<String>, Vec<String>),
        (mut about, experiment): (AboutImage, Value),
    ) -> Result<Self, Failure> {
        let images = columns.len() * rows.len();
        if images > MOST_IMAGES {
            let text =
                format!("{images} images are too many for a sheet; {MOST_IMAGES} are possible");
            return Err(Failure::new(Exit::Usage, text));
        }
        about.more = experiment;
        let planned = Planned::new(stem.to_owned(), about);
        args.gallery.check([&planned])?;
        let labels = SheetLabels {
            title: &title,
            columns: &columns,
            rows: &rows,
        };
        Ok(Self {
            sheet: Sheet::new(&labels, args.cell),
            cells: Vec::new(),
            args,
            planned,
            title,
            columns,
            rows,
        })
    }

    pub(super) fn place(&mut self, row: usize, column: usize, image: &RgbImage, about: AboutImage) {
        self.sheet.place(row, column, image);
        self.cells.push(Cell {
            row,
            column,
            image: about,
        });
    }

    /// Writes the sheet and its JSON, and prints the sheet's path.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let gallery = &self.args.gallery;
        self.cells.sort_by_key(|cell| (cell.row, cell.column));
        let legend = Legend {
            title: &self.title,
            columns: &self.columns,
            rows: &self.rows,
            images: &self.cells,
        };
        let text = serde_json::to_string_pretty(&legend)
            .map_err(|e| Failure::new(Exit::Defect, format!("JSON: {e}")))?;
        let written = gallery.write(&self.planned, self.sheet.image())?;
        write_whole(
            &written.file.with_extension("json"),
            (text + "\n").as_bytes(),
        )?;
        gallery.print(&[written])
    }
}
