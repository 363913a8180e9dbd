//! `laioncele sheet disentangle`: Figure 2 of the paper. The first name with every prompt and at every place, then the other
//! names with the same prompts and the same noise.

use std::str::FromStr;

use clap::Args;
use laioncele_inference::generation::PersonName;
use laioncele_sdxl::Naming;
use serde_json::{Value, json};

use super::labelled::{LabelledSheet, SheetArgs};
use crate::commands::about_image::{AboutImage, person_text};
use crate::commands::drawing::Drawing;
use crate::commands::images::Planned;
use crate::commands::person::Person;
use crate::commands::source::{Opened, Wish};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele sheet disentangle 'name:Mira Castellan' 'name:Jonas Whitfield' photo.jpg
  laioncele sheet disentangle photo.jpg --prompt 'a person in the snow' --prompt 'a person at the beach' \\
      --positions start,middle,end,substitute
  laioncele sheet disentangle 'name:Mira Castellan' --model sdxl/ --steps 30

Writes disentangle.png, and disentangle.json with how each of its images was made. All images begin
with the same noise: what changes along a row is the prompt, what changes along a column the name
or its place.";

/// Prompts where none is given.
const PROMPTS: [&str; 3] = [
    "a portrait of a person",
    "a photo of a person at the beach",
    "an oil painting of a person",
];

/// `laioncele sheet disentangle`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Disentangle {
    /// The persons: photos, folders of photos of one person, `name:` and a name, `name-file:` and a
    /// file; the first one's name goes to several places
    #[arg(value_name = "PERSON", required = true)]
    persons: Vec<Person>,
    /// What the images show; may be given several times [default: three prompts]
    #[arg(long, short, value_name = "TEXT")]
    prompt: Vec<String>,
    /// Where the first name stands in the prompts: `start`, `middle`, `end`, a token's position, or
    /// `substitute` for "a person" and the like
    #[arg(
        long,
        value_name = "PLACES",
        value_delimiter = ',',
        default_value = "start,middle,end"
    )]
    positions: Vec<Place>,
    #[command(flatten)]
    args: SheetArgs,
}

/// Where a name stands in any prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Middle,
    End,
    Token(usize),
    Substitute,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "start" => Ok(Self::Start),
            "middle" => Ok(Self::Middle),
            "end" => Ok(Self::End),
            "substitute" => Ok(Self::Substitute),
            number => match number.parse() {
                Ok(token) if token > 0 => Ok(Self::Token(token)),
                _ => Err("start, middle, end, substitute or a position from 1".to_owned()),
            },
        }
    }
}

impl Place {
    /// In a prompt of so many tokens.
    fn naming(self, tokens: usize) -> Naming {
        match self {
            Self::Start => Naming::Prepend,
            Self::Middle => Naming::Insert(1 + tokens / 2),
            Self::End => Naming::Insert(1 + tokens),
            Self::Token(position) => Naming::Insert(position),
            Self::Substitute => Naming::Substitute,
        }
    }

    fn label(self) -> String {
        match self {
            Self::Start => "name before the prompt".to_owned(),
            Self::Middle => "name in the middle".to_owned(),
            Self::End => "name behind the prompt".to_owned(),
            Self::Token(position) => format!("name before token {position}"),
            Self::Substitute => "name for the words".to_owned(),
        }
    }
}

/// A row of the sheet.
struct Row {
    /// Which of the persons.
    person: usize,
    place: Place,
}

impl Disentangle {
    pub(super) fn execute(mut self, quiet: bool) -> Result<(), Failure> {
        if self.prompt.is_empty() {
            self.prompt = PROMPTS.map(str::to_owned).to_vec();
        }
        let persons: Vec<&Person> = self.persons.iter().collect();
        let mut opened = self.args.source().open(&persons)?;
        let name = |person: &&Person| opened.name_of(person, None);
        let names: Vec<PersonName> = persons.iter().map(name).collect::<Result<_, _>>()?;
        let facts: Vec<Value> = persons
            .iter()
            .map(|p| p.about())
            .collect::<Result<_, _>>()?;
        let rows = self.rows();
        let label = |row: &Row| {
            let who = person_text(&facts[row.person]);
            format!("{who}: {}", row.place.label())
        };
        let places: Vec<String> = self.positions.iter().map(|p| p.label()).collect();
        let experiment = json!({
            "sheet": "disentangle", "prompts": self.prompt, "persons": facts, "places": places,
        });
        let seed = self.args.generation.seed;
        let about = opened.about(&names[0])?.of("", &Value::Null, seed);
        let mut sheet = LabelledSheet::new(
            &self.args,
            ("disentangle", format!("Names and prompts, seed {seed}")),
            (self.prompt.clone(), rows.iter().map(label).collect()),
            (about, experiment),
        )?;
        let steps = opened.pipeline.sampling.steps;
        let drawing = Drawing::begin(rows.len() * self.prompt.len(), steps, quiet);
        for (at, row) in rows.iter().enumerate() {
            let (name, fact) = (&names[row.person], &facts[row.person]);
            self.draw_row((at, row), (name, fact), &mut opened, &mut sheet, &drawing)?;
        }
        drop(drawing);
        sheet.finish()
    }

    /// The first person at every place, then the others at the first one.
    fn rows(&self) -> Vec<Row> {
        let first = self.positions.iter().map(|place| Row {
            person: 0,
            place: *place,
        });
        let others = (1..self.persons.len()).map(|person| Row {
            place: self.positions[0],
            person,
        });
        first.chain(others).collect()
    }

    fn draw_row(
        &self,
        (at, row): (usize, &Row),
        (name, fact): (&PersonName, &Value),
        opened: &mut Opened,
        sheet: &mut LabelledSheet<'_>,
        drawing: &Drawing,
    ) -> Result<(), Failure> {
        // The place in tokens is another one in each prompt.
        for (column, prompt) in self.prompt.iter().enumerate() {
            let naming = row.place.naming(opened.pipeline.token_count(prompt)?);
            opened.pipeline.naming = naming;
            let seed = self.args.generation.seed;
            let about = AboutImage {
                naming: naming.to_string(),
                ..opened.about(name)?.of(prompt, fact, seed)
            };
            let wish = Wish {
                name: Some(name),
                planned: Planned::new(String::new(), about.clone()),
            };
            opened.draw_each(&[wish], drawing, |_, image| {
                sheet.place(at, column, &image, about.clone());
                Ok(())
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_tokens() {
        let naming = |text: &str| text.parse::<Place>().expect("a place").naming(6);
        assert_eq!(naming("start"), Naming::Prepend);
        assert_eq!(naming("middle"), Naming::Insert(4));
        assert_eq!(naming("end"), Naming::Insert(7));
        assert_eq!(naming("3"), Naming::Insert(3));
        assert_eq!(naming("substitute"), Naming::Substitute);
        for wrong in ["0", "-1", "behind", ""] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
