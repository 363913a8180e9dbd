//! The worker of `make bench-ner`: reads captions (a JSON string a line) once, then does a pass
//! over all of them for each line of standard input and answers with one line of JSON: seconds by
//! the wall clock and of the processors, tokens and entities found, the share of tokens whose
//! embedding was in the cache, peak memory. A line `dump FILE` writes the entities instead.
//!
//!     throughput MODEL_FOLDER CAPTIONS THREADS

#[path = "../../../benches/clocks.rs"]
mod clocks;

use std::io::{BufRead, Write};
use std::path::Path;

use clocks::Clocks;
use laioncele_ner::{CacheUse, Entity, Ner};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, captions, threads] = arguments.as_slice() else {
        return Err("usage: throughput MODEL_FOLDER CAPTIONS THREADS".into());
    };
    let (ner, threads) = (Ner::load(Path::new(folder))?, threads.parse()?);
    let captions = std::fs::read_to_string(captions)?;
    let captions: Vec<String> = captions
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let texts: Vec<&str> = captions.iter().map(String::as_str).collect();
    let tokens: usize = texts.iter().map(|text| ner.tokens(text).len()).sum();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = pool.build()?;
    for line in std::io::stdin().lock().lines() {
        if let Some(file) = line?.strip_prefix("dump ") {
            dump(&ner, &texts, file)?;
        }
        let (clocks, before) = (Clocks::start()?, ner.cache_use());
        let found = match threads {
            1 => ner.entities(&texts),
            _ => pool.install(|| ner.entities_parallel(&texts)),
        };
        let mut report = clocks.report()?;
        report["tokens"] = json!(tokens);
        report["entities"] = json!(found.iter().map(Vec::len).sum::<usize>());
        report["cached"] = json!(hit_rate(before, ner.cache_use()));
        writeln!(std::io::stdout(), "{report}")?;
    }
    Ok(())
}

/// A line of JSON per caption: its entities as [start, end, label], in code points.
fn dump(ner: &Ner, texts: &[&str], file: &str) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for (text, entities) in texts.iter().zip(ner.entities(texts)) {
        let offsets = entities.iter().flat_map(|e| [e.start, e.end]);
        let offsets = laioncele_ner::code_points(text, offsets);
        let span = |(at, e): (&[usize], &Entity)| (at[0], at[1], e.label.to_string());
        let spans: Vec<_> = offsets.chunks_exact(2).zip(&entities).map(span).collect();
        writeln!(out, "{}", serde_json::to_string(&spans)?)?;
    }
    Ok(out.flush()?)
}

/// The share of tokens whose embedding was found.
fn hit_rate(before: CacheUse, after: CacheUse) -> f64 {
    let looked_up = after.looked_up - before.looked_up;
    (after.found - before.found) as f64 / looked_up as f64
}
