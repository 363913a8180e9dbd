//! `laioncele sheet sweep`: one person by several δ of Equation 4 and η of Equation 5, with the same prompt and noise.

use clap::Args;
use laioncele_inference::generation::{Eta, PersonName};
use serde_json::{Value, json};

use super::labelled::{LabelledSheet, SheetArgs};
use crate::args::finite;
use crate::commands::about_image::{AboutImage, person_text};
use crate::commands::drawing::Drawing;
use crate::commands::generation::eta;
use crate::commands::images::Planned;
use crate::commands::person::Person;
use crate::commands::source::{Opened, Wish};
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  laioncele sheet sweep photo.jpg
  laioncele sheet sweep photo.jpg --deltas 1,3,5,7 --etas 40,60,80,mean --prompt 'a person in the snow'
  laioncele sheet sweep photo.jpg --encoder laioncele-encoder --model sdxl/ --steps 30

Writes sweep.png, a row for each delta and a column for each eta, and sweep.json with how each of
its images was made.";

/// `laioncele sheet sweep`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sweep {
    /// The person: a photo, or a folder of photos of one person
    #[arg(value_name = "PERSON")]
    person: Person,
    /// What the images show
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "a portrait of a person"
    )]
    prompt: String,
    /// δ of Equation 4, with commas between them
    #[arg(long, value_name = "DELTAS", value_delimiter = ',', default_value = "1,3,5,7", value_parser = finite::<f32>, allow_hyphen_values = true)]
    deltas: Vec<f32>,
    /// η of Equation 5, lengths or `mean`, with commas between them
    #[arg(long, value_name = "ETAS", value_delimiter = ',', default_value = "40,60,80,100,mean", value_parser = eta)]
    etas: Vec<Eta>,
    #[command(flatten)]
    args: SheetArgs,
}

impl Sweep {
    pub(super) fn execute(self, quiet: bool) -> Result<(), Failure> {
        let mut opened = self.args.source().open(&[&self.person])?;
        let name = opened.name_of(&self.person, None)?;
        if !name.predicted {
            let text = "only a name that was predicted from photos goes through Equations 4 and 5: give a photo";
            return Err(Failure::new(Exit::Usage, text));
        }
        let (fact, seed) = (self.person.about()?, self.args.generation.seed);
        let experiment = json!({
            "sheet": "sweep", "deltas": self.deltas, "etas": self.etas,
        });
        let about = opened.about(&name)?.of(&self.prompt, &fact, seed);
        let mut sheet = LabelledSheet::new(
            &self.args,
            ("sweep", self.title(&fact)),
            (
                self.etas.iter().map(|eta| eta_label(*eta)).collect(),
                self.deltas
                    .iter()
                    .map(|delta| format!("δ = {delta}"))
                    .collect(),
            ),
            (about, experiment),
        )?;
        self.draw(&name, &fact, &mut opened, &mut sheet, quiet)?;
        sheet.finish()
    }

    fn title(&self, fact: &Value) -> String {
        let seed = self.args.generation.seed;
        format!("{}, {:?}, seed {seed}", person_text(fact), self.prompt)
    }

    fn draw(
        &self,
        name: &PersonName,
        fact: &Value,
        opened: &mut Opened,
        sheet: &mut LabelledSheet<'_>,
        quiet: bool,
    ) -> Result<(), Failure> {
        let seed = self.args.generation.seed;
        let steps = opened.pipeline.sampling.steps;
        let drawing = Drawing::begin(self.deltas.len() * self.etas.len(), steps, quiet);
        for (row, delta) in self.deltas.iter().enumerate() {
            let mut wishes = Vec::new();
            let names: Vec<PersonName> = self
                .etas
                .iter()
                .map(|eta| {
                    (opened.pipeline.delta, opened.pipeline.eta) = (*delta, *eta);
                    let about = opened.about(name)?.of(&self.prompt, fact, seed);
                    wishes.push(Planned::new(String::new(), about));
                    Ok(PersonName {
                        embedding: opened.prepended(name)?,
                        predicted: false,
                    })
                })
                .collect::<Result<_, Failure>>()?;
            let wishes = wishes.into_iter().zip(&names);
            let wishes: Vec<Wish<'_>> = wishes
                .map(|(planned, name)| Wish {
                    name: Some(name),
                    planned,
                })
                .collect();
            opened.draw_each(&wishes, &drawing, |column, image| {
                let about: AboutImage = wishes[column].planned.about.clone();
                sheet.place(row, column, &image, about);
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn eta_label(eta: Eta) -> String {
    match eta {
        Eta::Length(length) => format!("η = {length}"),
        Eta::Mean(_) => "η = mean".to_owned(),
    }
}
