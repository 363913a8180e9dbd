//! The options of `laioncele download`, and what they mean to the engine, the shards and the folder.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use laioncele_core::DropReason;
use laioncele_core::manifest::{SourcePath, SourceSettings};
use laioncele_core::nearest::nearest;
use laioncele_download::{EngineSettings, PhotoRules, ShardFormat, ShardSettings, Shrink};
use laioncele_web::WebSettings;
use serde_json::{Map, Value, json};

use crate::units;

/// What a shard's photos are written as.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A Parquet file with the photos' bytes
    Parquet,
    /// A tar file that the webdataset library reads
    Webdataset,
    /// A folder of files
    Files,
}

/// What becomes of a photo whose bytes are not those of the list's hash.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum OnHashMismatch {
    /// It fails as `hash_mismatch`
    Drop,
    /// It is kept, like one without a hash
    Keep,
}

/// The options of `laioncele download`.
#[derive(clap::Args, Debug)]
pub(super) struct Options {
    /// Lists of urls: files, folders or patterns
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub(super) input: Vec<PathBuf>,
    /// The folder for the shards
    #[arg(long, short, value_name = "FOLDER")]
    pub(super) output: PathBuf,
    /// The lists' column of urls, where its name does not tell
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    url_column: Option<String>,
    /// The lists' column of captions, where its name does not tell
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    caption_column: Option<String>,
    /// The lists' column of MD5 or SHA-256 hashes, where its name does not tell
    #[arg(long, value_name = "NAME", help_heading = "Lists")]
    hash_column: Option<String>,
    /// What the photos are written as
    #[arg(long, value_enum, default_value = "parquet", help_heading = "Output")]
    format: Format,
    /// Rows of a shard at most
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Output")]
    rows_per_shard: u32,
    /// Photos whose longer side has more pixels are made so large, upright, as JPEGs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535), help_heading = "Photos")]
    max_side: Option<u32>,
    /// Quality of the JPEGs that --max-side makes
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u8).range(1..=100), requires = "max_side", help_heading = "Photos")]
    quality: u8,
    /// Pixels of the shorter side at least; smaller photos fail as too_small
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Photos")]
    min_side: u32,
    /// Width × height at most; larger photos fail as too_large before they are decoded
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100_000_000,
        help_heading = "Photos"
    )]
    max_pixels: u64,
    /// Size of a file at most
    #[arg(long, value_name = "SIZE", default_value = "20MiB", value_parser = units::size, help_heading = "Photos")]
    max_bytes: u64,
    /// What becomes of photos whose bytes are not those of the list's hash
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "drop",
        help_heading = "Photos"
    )]
    on_hash_mismatch: OnHashMismatch,
    /// Time for one try, redirects included
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration, help_heading = "Requests")]
    timeout: Duration,
    /// Time for all tries of one url together
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration, help_heading = "Requests")]
    deadline: Duration,
    /// Tries after the first one, for what is worth trying again
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = "Requests")]
    retries: u32,
    /// Redirects followed at most
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Requests")]
    max_redirects: u32,
    /// Requests under way at once
    #[arg(
        long,
        value_name = "N",
        default_value = "512",
        help_heading = "Requests"
    )]
    concurrency: NonZero<usize>,
    /// Requests under way at once to one host
    #[arg(long, value_name = "N", default_value = "8", help_heading = "Requests")]
    per_host: NonZero<usize>,
    /// Requests a second to one host at most
    #[arg(long, value_name = "RATE", value_parser = rate, help_heading = "Requests")]
    per_host_rate: Option<f64>,
    /// A host that may have a loopback, private or link-local address; may be repeated
    #[arg(long, value_name = "HOST", help_heading = "Requests")]
    allow_host: Vec<String>,
    /// The proxy that all requests go through: http://HOST:PORT. None is taken from the environment
    #[arg(long, value_name = "URL", help_heading = "Requests")]
    proxy: Option<String>,
    /// Download also what a site asks not to use (X-Robots-Tag)
    #[arg(long, help_heading = "Politeness")]
    ignore_opt_out: bool,
    /// Ask each site for its robots.txt, and keep to it
    #[arg(long, help_heading = "Politeness")]
    robots_txt: bool,
    /// Keep to reservations of the TDM reservation protocol
    #[arg(long, help_heading = "Politeness")]
    tdm_reservation: bool,
    /// An address or page for those who want to reach you, sent with each request
    #[arg(long, value_name = "TEXT", value_parser = header_text, help_heading = "Politeness")]
    contact: Option<String>,
    /// How the program introduces itself, in place of its name and the contact
    #[arg(long, value_name = "TEXT", conflicts_with = "contact", value_parser = header_text, help_heading = "Politeness")]
    user_agent: Option<String>,
    /// Threads that decode; all cores by default
    #[arg(long, value_name = "N", help_heading = "Resources")]
    threads: Option<NonZero<usize>>,
    /// Memory for files under way
    #[arg(long, value_name = "SIZE", default_value = "100MB", value_parser = units::size, help_heading = "Resources")]
    memory: u64,
    /// Ask again for rows of finished shards that failed with these classes
    #[arg(long, value_name = "CLASSES", value_delimiter = ',', value_parser = class)]
    retry: Vec<DropReason>,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && rate > 0.0 {
        Ok(rate)
    } else {
        Err("it must be above 0".to_owned())
    }
}

fn header_text(text: &str) -> Result<String, String> {
    if text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("it must be printable ASCII, as it is sent in a header".to_owned())
    }
}

/// The classes that a row of a list may end with.
const CLASSES: [DropReason; 17] = [
    DropReason::Timeout,
    DropReason::Connect,
    DropReason::Dns,
    DropReason::Tls,
    DropReason::Http5xx,
    DropReason::Http4xx,
    DropReason::BadResponse,
    DropReason::TooManyRedirects,
    DropReason::TooLarge,
    DropReason::TooSmall,
    DropReason::NotAnImage,
    DropReason::Corrupt,
    DropReason::OptOut,
    DropReason::BlockedAddress,
    DropReason::HashMismatch,
    DropReason::BadUrl,
    DropReason::MalformedRow,
];

fn class(text: &str) -> Result<DropReason, String> {
    let known = CLASSES.iter().find(|class| class.as_str() == text.trim());
    known.copied().ok_or_else(|| {
        let names: Vec<String> = CLASSES.iter().map(ToString::to_string).collect();
        let near = match nearest(text, &names) {
            Some(class) => format!(": did you mean `{class}`?"),
            None => String::new(),
        };
        format!("no class of failures{near}; they are {}", names.join(", "))
    })
}

impl Options {
    /// How the lists are read.
    pub(super) fn source(&self) -> SourceSettings {
        let columns = [
            ("url", &self.url_column),
            ("caption", &self.caption_column),
            ("hash", &self.hash_column),
        ];
        let named = columns
            .into_iter()
            .filter_map(|(role, name)| Some((role.to_owned(), name.clone()?)));
        SourceSettings {
            path: SourcePath::Several(self.input.clone()),
            layout: None,
            columns: named.collect::<BTreeMap<_, _>>(),
        }
    }

    /// How the engine asks.
    pub(super) fn engine(&self) -> EngineSettings {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        EngineSettings {
            web: WebSettings {
                max_bytes: self.max_bytes,
                max_redirects: self.max_redirects,
                honour_opt_out: !self.ignore_opt_out,
                robots_txt: self.robots_txt,
                tdm_reservation: self.tdm_reservation,
                allow_hosts: self.allow_host.clone(),
                connect_timeout: self.timeout.min(Duration::from_secs(5)),
                timeout: self.timeout,
                user_agent: self.user_agent(),
                idle_per_host: self.per_host.get(),
                proxy: self.proxy.clone(),
            },
            retries: self.retries,
            backoff: Duration::from_millis(500),
            deadline: self.deadline,
            concurrency: self.concurrency.get(),
            per_host: self.per_host.get(),
            per_host_rate: self.per_host_rate,
            breaker_after: 10,
            memory: usize::try_from(self.memory).unwrap_or(usize::MAX),
            threads: self.threads.map_or(cores, NonZero::get),
            shared: None,
        }
    }

    fn user_agent(&self) -> String {
        if let Some(text) = &self.user_agent {
            return text.clone();
        }
        let about = match &self.contact {
            Some(contact) => format!("dataset research; contact: {contact}"),
            None => "dataset research".to_owned(),
        };
        format!("laioncele/{} ({about})", env!("CARGO_PKG_VERSION"))
    }

    /// How the rows become shards.
    pub(super) fn shards(&self) -> ShardSettings {
        ShardSettings {
            format: match self.format {
                Format::Parquet => ShardFormat::Parquet,
                Format::Webdataset => ShardFormat::Webdataset,
                Format::Files => ShardFormat::Files,
            },
            rows_per_shard: self.rows_per_shard as usize,
            rules: PhotoRules {
                min_side: self.min_side,
                max_pixels: self.max_pixels,
            },
            shrink: self.max_side.map(|max_side| Shrink {
                max_side,
                quality: self.quality,
            }),
            check_hash: self.on_hash_mismatch == OnHashMismatch::Drop,
            retry: self.retry.iter().copied().collect(),
        }
    }

    /// What all shards of a folder have in common: the settings that change what is in them. Patience and speed are none.
    pub(super) fn fixed(&self) -> Map<String, Value> {
        let settings = [
            ("url_column", json!(self.url_column)),
            ("caption_column", json!(self.caption_column)),
            ("hash_column", json!(self.hash_column)),
            ("format", json!(self.shards().format)),
            ("rows_per_shard", json!(self.rows_per_shard)),
            ("max_side", json!(self.max_side)),
            ("quality", json!(self.max_side.map(|_| self.quality))),
            ("min_side", json!(self.min_side)),
            ("max_pixels", json!(self.max_pixels)),
            ("max_bytes", json!(self.max_bytes)),
            ("check_hash", json!(self.shards().check_hash)),
            ("ignore_opt_out", json!(self.ignore_opt_out)),
            ("robots_txt", json!(self.robots_txt)),
            ("tdm_reservation", json!(self.tdm_reservation)),
        ];
        settings
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &str) -> Result<Options, String> {
        let arguments = format!("download --input a.txt --output o {arguments}");
        let parsed = Cli::try_parse_from(arguments.split_whitespace());
        parsed.map(|cli| cli.options).map_err(|e| e.to_string())
    }

    #[test]
    fn patience_and_speed_change_nothing_in_the_folder() {
        let plain = parse("").expect("parses").fixed();
        let fast = "--timeout 1s --deadline 2s --retries 0 --concurrency 9 --per-host 1 --per-host-rate 2 --threads 1 --memory 1GB --retry timeout";
        assert_eq!(parse(fast).expect("parses").fixed(), plain);
        for other in [
            "--format files",
            "--min-side 9",
            "--ignore-opt-out",
            "--url-column u",
            "--on-hash-mismatch keep",
        ] {
            assert_ne!(parse(other).expect("parses").fixed(), plain, "{other}");
        }
    }

    #[test]
    fn classes_are_those_that_a_row_may_end_with() {
        let options = parse("--retry timeout,http_5xx").expect("parses");
        let retry = options.shards().retry;
        assert_eq!(retry, [DropReason::Timeout, DropReason::Http5xx].into());
        let error = parse("--retry no_face").err().unwrap_or_default();
        assert!(error.contains("http_4xx"), "{error}");
    }

    #[test]
    fn a_contact_is_part_of_the_introduction() {
        let agent = |arguments| parse(arguments).expect("parses").engine().web.user_agent;
        assert!(
            agent("--contact https://a.example/bot")
                .ends_with("(dataset research; contact: https://a.example/bot)")
        );
        assert_eq!(agent("--user-agent me"), "me");
        assert!(parse("--user-agent me --contact you").is_err());
    }
}
