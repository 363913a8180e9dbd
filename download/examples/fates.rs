//! What becomes of urls: a line of JSON (a text) in, a line of JSON out, by number of the line, as they end. For tools/hostile-web,
//! which holds the engine alone against its servers with it.

use std::error::Error;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use laioncele_download::{Engine, EngineSettings, Item, PhotoRules, check};
use laioncele_web::WebSettings;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::new(settings(), None)?;
    let lines = BufReader::new(std::io::stdin()).lines();
    let urls: Vec<String> = lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let items = urls.into_iter().zip(0..).map(|(url, id)| Item { id, url });
    let rules = PhotoRules {
        min_side: 64,
        max_pixels: 100_000_000,
    };
    let mut out = BufWriter::new(std::io::stdout());
    let mut written = Ok(());
    engine.download(
        items,
        move |_, bytes| check(bytes, &rules).map(|checked| checked.sha256),
        |done| {
            let fate = match &done.result {
                Ok(sha256) => json!({"id": done.id, "sha256": sha256}),
                Err(failure) => {
                    json!({"id": done.id, "reason": failure.reason.as_str(), "detail": failure.detail})
                }
            };
            written = writeln!(out, "{fate}");
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        },
        &AtomicBool::new(false),
    );
    written?;
    out.flush()?;
    Ok(())
}

fn settings() -> EngineSettings {
    EngineSettings {
        web: WebSettings {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            ..WebSettings::default()
        },
        retries: 2,
        backoff: Duration::from_secs(1),
        deadline: Duration::from_secs(30),
        concurrency: 1000,
        per_host: 8,
        per_host_rate: None,
        breaker_after: 10,
        memory: 200 << 20,
        threads: 2,
        shared: None,
    }
}
