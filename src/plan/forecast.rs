//! The model of a large run, stage by stage: how many rows, hours and bytes. It is arithmetic on figures each of which says
//! where it comes from; nothing of a run is asked.

use std::collections::BTreeMap;

use laioncele_core::StageName;
use serde::{Deserialize, Serialize};

/// The figures that the program is shipped with.
const SHIPPED: &str = include_str!("rates.toml");

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Given on the command line.
    Given,
    /// Measured by the run at hand.
    Run,
    /// Measured in this repository.
    Measured,
    /// The paper says so.
    Paper,
    /// Nobody measured it.
    Assumed,
}

impl Origin {
    /// All of them, the firmest first.
    pub const ALL: [Self; 5] = [
        Self::Given,
        Self::Run,
        Self::Measured,
        Self::Paper,
        Self::Assumed,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Run => "measured by the run",
            Self::Measured => "measured",
            Self::Paper => "the paper's",
            Self::Assumed => "assumed",
        }
    }
}

/// A number that the model is computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// How much: above 0. Rates are of one core or GPU, sizes are bytes.
    pub value: f64,
    /// Where it comes from.
    pub origin: Origin,
    /// Where it was measured, or why it is assumed.
    pub source: String,
}

/// Figures by their names.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<String, Figure>);

/// A figure that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// The text is no table of figures.
    #[error("not a file of rates: {0}")]
    Form(#[from] toml::de::Error),
    /// The model has no figure of this name.
    #[error("the model has no figure `{0}`{1}")]
    Unknown(String, String),
    /// Not above 0, or not finite.
    #[error("`{0}` must be a number above 0")]
    Value(String),
}

/// The machines of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Nodes {
    /// How many.
    pub nodes: u32,
    /// Cores of each.
    pub cores: u32,
    /// GPUs of each; 0 where there are none.
    pub gpus: u32,
}

/// What a stage takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageForecast {
    /// The stage.
    pub stage: StageName,
    /// Rows that it works on.
    pub rows: f64,
    /// Of what.
    pub unit: &'static str,
    /// Hours of one core, summed over all.
    pub core_hours: f64,
    /// Hours of one GPU, summed over all.
    pub gpu_hours: f64,
    /// Hours on all nodes by the clock; none where it needs GPUs and there are none.
    pub hours: Option<f64>,
    /// Bytes that it writes.
    pub bytes_written: f64,
    /// Bytes that come from the web.
    pub bytes_downloaded: f64,
}

/// The model's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Captions of the source.
    pub captions: f64,
    /// The machines.
    pub machines: Nodes,
    /// Bytes of the captions' files.
    pub source_bytes: f64,
    /// The stages, in data order.
    pub stages: Vec<StageForecast>,
    /// Hours by the clock of all stages one after another; none as for a stage.
    pub hours: Option<f64>,
    /// Hours of one node, summed over all.
    pub node_hours: Option<f64>,
    /// Bytes written by all stages.
    pub bytes_written: f64,
    /// What it was computed from.
    pub figures: Figures,
}

impl Figures {
    /// The figures that the program is shipped with.
    ///
    /// # Errors
    /// Never, as a test shows.
    pub fn shipped() -> Result<Self, FigureError> {
        Ok(Self(toml::from_str(SHIPPED)?))
    }

    /// Takes figures of a file of the same form in the place of those of the same names.
    ///
    /// # Errors
    /// A text of another form, a figure that the model does not have, a value not above 0.
    pub fn read(&mut self, text: &str) -> Result<(), FigureError> {
        let more: BTreeMap<String, Figure> = toml::from_str(text)?;
        more.into_iter()
            .try_for_each(|(name, figure)| self.set(&name, figure))
    }

    /// Sets one figure.
    ///
    /// # Errors
    /// As [`Figures::read`].
    pub fn set(&mut self, name: &str, figure: Figure) -> Result<(), FigureError> {
        let known: Vec<String> = self.0.keys().cloned().collect();
        let Some(place) = self.0.get_mut(name) else {
            let hint = laioncele_core::nearest::suggestion(name, &known);
            return Err(FigureError::Unknown(name.to_owned(), hint));
        };
        if !figure.value.is_finite() || figure.value <= 0.0 {
            return Err(FigureError::Value(name.to_owned()));
        }
        *place = figure;
        Ok(())
    }

    /// All of them, by origin and name.
    pub fn by_origin(&self, origin: Origin) -> impl Iterator<Item = (&str, &Figure)> {
        let of = self.0.iter().filter(move |(_, f)| f.origin == origin);
        of.map(|(name, figure)| (name.as_str(), figure))
    }

    /// The value of a figure that [`SHIPPED`] has.
    fn of(&self, name: &str) -> f64 {
        self.0.get(name).map_or(f64::NAN, |figure| figure.value)
    }
}

/// What a stage does, before it is spread over nodes.
struct Work {
    stage: StageName,
    rows: f64,
    unit: &'static str,
    /// Seconds of one core that can be spread over all.
    core_seconds: f64,
    /// Seconds of one core in one task: they are not spread.
    serial_seconds: f64,
    gpu_seconds: f64,
    bytes_written: f64,
    bytes_downloaded: f64,
}

impl Work {
    fn new(stage: StageName, rows: f64, unit: &'static str) -> Self {
        Self {
            stage,
            rows,
            unit,
            core_seconds: 0.0,
            serial_seconds: 0.0,
            gpu_seconds: 0.0,
            bytes_written: 0.0,
            bytes_downloaded: 0.0,
        }
    }

    fn on(self, machines: Nodes, network: f64) -> StageForecast {
        let (nodes, cores) = (f64::from(machines.nodes), f64::from(machines.cores));
        let gpus = nodes * f64::from(machines.gpus);
        let computing = self.core_seconds / (nodes * cores);
        let waiting = self.bytes_downloaded / (nodes * network);
        let drawing = match self.gpu_seconds > 0.0 {
            true if machines.gpus == 0 => None,
            true => Some(self.gpu_seconds / gpus),
            false => Some(0.0),
        };
        StageForecast {
            stage: self.stage,
            rows: self.rows,
            unit: self.unit,
            core_hours: (self.core_seconds + self.serial_seconds) / 3600.0,
            gpu_hours: self.gpu_seconds / 3600.0,
            hours: drawing.map(|drawing| {
                (computing.max(waiting).max(drawing) + self.serial_seconds) / 3600.0
            }),
            bytes_written: self.bytes_written,
            bytes_downloaded: self.bytes_downloaded,
        }
    }
}

/// The model of a run over `captions` captions on `machines`.
pub fn forecast(captions: f64, machines: Nodes, figures: Figures) -> Forecast {
    let network = figures.of("network_bytes_per_node_second");
    let work = [names_work(captions, &figures), photos_work(&figures)];
    let stages = work.into_iter().flatten();
    let stages: Vec<StageForecast> = stages.map(|work| work.on(machines, network)).collect();
    let hours = stages.iter().map(|stage| stage.hours).sum::<Option<f64>>();
    Forecast {
        captions,
        machines,
        source_bytes: captions * figures.of("bytes_per_caption"),
        hours,
        node_hours: hours.map(|hours| hours * f64::from(machines.nodes)),
        bytes_written: stages.iter().map(|stage| stage.bytes_written).sum(),
        stages,
        figures,
    }
}

/// From captions to names whose portraits agree.
fn names_work(captions: f64, figures: &Figures) -> Vec<Work> {
    let of = |name| figures.of(name);
    let mentions = captions * of("mentions_per_caption");
    let spellings = mentions * of("spellings_per_mention");
    let names = of("names");
    let portraits = names * of("portraits_per_name");
    let each = |rate| mentions / of(rate);
    vec![
        Work {
            core_seconds: captions / of("captions_per_core_second"),
            bytes_written: mentions * of("bytes_per_mention"),
            ..Work::new(StageName::ExtractNames, captions, "captions")
        },
        Work {
            core_seconds: each("counted_mentions_per_core_second")
                + each("filed_mentions_per_core_second")
                + each("named_mentions_per_core_second"),
            serial_seconds: spellings / of("merged_spellings_per_core_second"),
            bytes_written: mentions * of("bytes_per_mention"),
            ..Work::new(StageName::MergeNames, mentions, "mentions")
        },
        Work {
            gpu_seconds: names / of("names_per_gpu_second"),
            bytes_written: names * of("bytes_per_name"),
            ..Work::new(StageName::EncodeNames, names, "names")
        },
        Work {
            gpu_seconds: portraits * of("seconds_per_portrait"),
            bytes_written: portraits * of("bytes_per_portrait"),
            ..Work::new(StageName::GeneratePortraits, portraits, "portraits")
        },
        Work {
            core_seconds: portraits / of("portraits_scored_per_core_second"),
            ..Work::new(StageName::VerifyPortraits, portraits, "portraits")
        },
    ]
}

/// From known names to the packed dataset. Rows of a few bytes are left out of what is written.
fn photos_work(figures: &Figures) -> Vec<Work> {
    let of = |name| figures.of(name);
    let urls = of("known_names") * of("urls_per_known_name");
    let photos = urls * of("reached_share");
    let packed = of("photos");
    let bytes = of("bytes_per_photo");
    vec![
        Work {
            core_seconds: photos / of("downloads_per_core_second"),
            bytes_written: photos * bytes,
            bytes_downloaded: photos * bytes,
            ..Work::new(StageName::DownloadImages, urls, "urls")
        },
        Work {
            core_seconds: photos / of("fingerprints_per_core_second"),
            ..Work::new(StageName::DedupeImages, photos, "photos")
        },
        Work {
            core_seconds: photos / of("photos_scored_per_core_second"),
            ..Work::new(StageName::VerifyImages, photos, "photos")
        },
        Work {
            bytes_written: packed * bytes + of("identities") * of("bytes_per_name"),
            ..Work::new(StageName::PackShards, packed, "photos")
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINES: Nodes = Nodes {
        nodes: 2,
        cores: 10,
        gpus: 4,
    };

    fn shipped() -> Figures {
        Figures::shipped().expect("a file of rates")
    }

    fn stage(forecast: &Forecast, stage: StageName) -> &StageForecast {
        let found = forecast.stages.iter().find(|s| s.stage == stage);
        found.expect("a stage")
    }

    #[test]
    fn every_figure_is_used_and_none_is_missing() {
        let figures = shipped();
        let base = forecast(1e9, MACHINES, figures.clone());
        let numbers = |forecast: &Forecast| {
            let mut forecast = serde_json::to_value(forecast).expect("JSON");
            let fields = forecast.as_object_mut().expect("an object");
            fields.remove("figures");
            forecast.to_string()
        };
        assert!(!numbers(&base).contains("null"), "{}", numbers(&base));
        for name in figures.0.keys() {
            let mut other = figures.clone();
            let mut figure = other.0[name].clone();
            figure.value *= 1.5;
            other.set(name, figure).expect("above 0");
            let moved = forecast(1e9, MACHINES, other);
            assert_ne!(numbers(&moved), numbers(&base), "{name}");
        }
    }

    #[test]
    fn hours_are_those_of_what_a_stage_waits_for() {
        let mut figures = shipped();
        let mut set = |name: &str, value: f64| {
            let origin = Origin::Given;
            let source = "a test".to_owned();
            let figure = Figure {
                value,
                origin,
                source,
            };
            figures.set(name, figure).expect("a figure");
        };
        set("captions_per_core_second", 1000.0);
        set("names", 3600.0);
        set("portraits_per_name", 2.0);
        set("seconds_per_portrait", 8.0);
        set("known_names", 10.0);
        set("urls_per_known_name", 100.0);
        set("reached_share", 0.5);
        set("bytes_per_photo", 7200.0);
        set("network_bytes_per_node_second", 500.0);
        let forecast = forecast(7.2e7, MACHINES, figures);
        let captions = stage(&forecast, StageName::ExtractNames);
        assert_eq!((captions.core_hours, captions.hours), (20.0, Some(1.0)));
        let portraits = stage(&forecast, StageName::GeneratePortraits);
        assert_eq!((portraits.gpu_hours, portraits.hours), (16.0, Some(2.0)));
        // The network, not the cores: 500 photos of 7,200 bytes over 2 × 500 bytes a second.
        let photos = stage(&forecast, StageName::DownloadImages);
        assert_eq!((photos.rows, photos.hours), (1000.0, Some(1.0)));
    }

    #[test]
    fn without_gpus_nobody_says_how_long_it_takes() {
        let machines = Nodes {
            gpus: 0,
            ..MACHINES
        };
        let forecast = forecast(1e6, machines, shipped());
        assert_eq!((forecast.hours, forecast.node_hours), (None, None));
        assert!(stage(&forecast, StageName::ExtractNames).hours.is_some());
    }

    #[test]
    fn figures_are_replaced_by_name_and_wrong_ones_refused() {
        let mut figures = shipped();
        let text = "[names]\nvalue = 7\norigin = \"given\"\nsource = \"x\"\n";
        figures.read(text).expect("one figure");
        assert_eq!(figures.of("names"), 7.0);
        let message = |text: &str| shipped().read(text).expect_err("wrong").to_string();
        assert!(message(&text.replace("names", "nmes")).contains("did you mean `names`"));
        assert!(message(&text.replace('7', "-7")).contains("above 0"));
        assert!(message(&text.replace("value", "amount")).contains("not a file of rates"));
    }
}
