//! What a pass took: the clocks of the benches' workers. The examples that are those workers
//! include this file.

use std::time::Instant;

use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

/// Clocks that run.
pub(crate) struct Clocks {
    wall: Instant,
    busy: f64,
}

impl Clocks {
    pub(crate) fn start() -> Result<Self, Failure> {
        let (wall, busy) = (Instant::now(), processor_seconds()?);
        Ok(Self { wall, busy })
    }

    /// Seconds by the wall clock and of the processors since the start, and the most memory that
    /// this process ever held, in bytes.
    pub(crate) fn report(&self) -> Result<Value, Failure> {
        Ok(json!({
            "wall": self.wall.elapsed().as_secs_f64(),
            "busy": processor_seconds()? - self.busy,
            "peak_memory": peak_memory()?,
        }))
    }
}

/// Seconds that processors spent on this process, in steps of 10 ms.
fn processor_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |field: Option<&str>| field.unwrap_or_default().parse::<f64>();
    let mut fields = after_name.split_whitespace().skip(11);
    Ok((ticks(fields.next())? + ticks(fields.next())?) / 100.0)
}

fn peak_memory() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap_or_default().trim().trim_end_matches(" kB");
    Ok(kilobytes.parse::<u64>()? * 1024)
}
