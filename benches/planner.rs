//! Time and memory of planning, and how they grow with the number of tasks.
//!
//! Times are those of the processor, which other programs disturb less than the clock. Each size is
//! planned in a process of its own, so that its peak memory is its own. The pipeline has the shape
//! of the real one: a step over source shards, a step that reads all of their output, eleven steps
//! over name buckets, and a step that reads all of the last one's.

#[path = "clocks.rs"]
mod clocks;

use std::collections::BTreeMap;
use std::process::Command;

use clocks::Clocks;
use laioncele::plan::{PlanInputs, Planner, Records, StepInfo, plan};
use laioncele_core::ledger::{RECORD_FORMAT, Record};
use laioncele_core::spec::TaskSpec;
use laioncele_core::{Digest, Part, Partition, Partitioning, Reads, StageName, TableId};
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
/// Steps over buckets, each with the table that it writes; each reads the one before it.
const BUCKET_TABLES: [TableId; 11] = [
    TableId::NameEmbeddings,
    TableId::Portraits,
    TableId::PortraitFaces,
    TableId::KnownNames,
    TableId::Photos,
    TableId::UniquePhotos,
    TableId::PhotoFaces,
    TableId::Matches,
    TableId::Identities,
    TableId::LaionCele,
    TableId::PhotoFeatures,
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().find_map(|a| a.parse().ok()) {
        Some(tasks) => print(&measure(tasks)?),
        None => compare()?,
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its output")]
fn print(line: &Value) {
    println!("{line}");
}

/// Measures every size and prints a table.
#[expect(clippy::print_stdout, reason = "its output")]
fn compare() -> Result<(), Failure> {
    println!("   tasks  whole run, s  growth  all done, s  growth  peak memory, MB  growth");
    let mut before: Option<[f64; 3]> = None;
    for tasks in SIZES {
        let output = Command::new(std::env::current_exe()?)
            .arg(tasks.to_string())
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let found: Value = serde_json::from_slice(&output.stdout)?;
        let number = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
        let now = [number("run"), number("done"), number("memory") / 1e6];
        let growth = |k: usize| before.map_or(String::new(), |b| format!("{:.1} x", now[k] / b[k]));
        println!(
            "{:>8}  {:>12.3}  {:>6}  {:>11.3}  {:>6}  {:>15.1}  {:>6}",
            number("tasks"),
            now[0],
            growth(0),
            now[1],
            growth(1),
            now[2],
            growth(2),
        );
        before = Some(now);
    }
    Ok(())
}

/// Plans a pipeline of about `tasks` tasks: as a run does from nothing to the end, and when all is
/// done.
fn measure(tasks: u32) -> Result<Value, Failure> {
    let inputs = pipeline(tasks);
    let mut records = Records::default();
    let mut seconds = 0.0;
    let mut count = 0;
    let mut planner = Planner::new(&inputs)?;
    for step in &inputs.steps {
        let start = processor_seconds()?;
        let mut planned = planner.plan_step(step, &records);
        seconds += processor_seconds()? - start;
        let done: Vec<Record> = planned.missing().map(|(s, _)| perform(step, s)).collect();
        count += done.len();
        let start = processor_seconds()?;
        planned.mark_done(done.clone());
        planner.add(step, &planned);
        seconds += processor_seconds()? - start;
        for record in done {
            records.add(record);
        }
    }
    let start = processor_seconds()?;
    let complete = plan(&inputs, &records)?;
    let done = processor_seconds()? - start;
    if !complete
        .steps
        .iter()
        .all(laioncele::plan::StepPlan::complete)
    {
        return Err("a step is not complete".into());
    }
    let memory = Clocks::start()?.report()?["peak_memory"].clone();
    Ok(json!({"tasks": count, "run": seconds, "done": done, "memory": memory}))
}

/// Seconds that the processor spent on this thread; planning has one.
fn processor_seconds() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().unwrap_or_default();
    Ok(nanoseconds.parse::<f64>()? / 1e9)
}

fn pipeline(tasks: u32) -> PlanInputs {
    // A twelfth are shards, the others buckets of eleven steps.
    let width = (tasks / 12).max(1);
    let mut steps = vec![
        step(
            0,
            Partitioning::Shards,
            Reads::own(TableId::Captions),
            TableId::Mentions,
        ),
        step(
            1,
            Partitioning::Once,
            Reads::all(TableId::Mentions),
            TableId::Names,
        ),
    ];
    let mut read = TableId::Names;
    for table in BUCKET_TABLES {
        steps.push(step(
            steps.len(),
            Partitioning::Buckets,
            Reads::own(read),
            table,
        ));
        read = table;
    }
    steps.push(step(
        steps.len(),
        Partitioning::Once,
        Reads::all(read),
        TableId::Encoder,
    ));
    let shard = |k: u32| part(TableId::Captions, Partition::shard(&format!("{k:05}")), "");
    PlanInputs {
        steps,
        buckets: width,
        shards: (0..width).map(shard).collect(),
    }
}

fn step(number: usize, partitioning: Partitioning, reads: Reads, writes: TableId) -> StepInfo {
    let setting = |k: u32| (format!("step_{number}.setting_{k}"), k.to_string());
    StepInfo {
        name: format!("step-{number}"),
        stage: StageName::ALL[number.min(StageName::ALL.len() - 1)],
        version: 1,
        partitioning,
        reads: vec![reads],
        writes: vec![writes],
        settings: (0..8).map(setting).collect(),
        models: BTreeMap::from([("models.face".to_owned(), Digest::of(b"weights"))]).into(),
    }
}

fn part(table: TableId, partition: Partition, content: &str) -> Part {
    Part {
        path: format!("tables/{table}/{partition}/{content}.parquet"),
        digest: Digest::of(format!("{partition} {content}").as_bytes()),
        table,
        partition,
        rows: 1,
        bytes: 1,
    }
}

/// The record of a task: a part in its own partition, and of the step that merges all shards a part
/// per bucket.
fn perform(step: &StepInfo, spec: &TaskSpec) -> Record {
    let content = spec.key.to_string();
    let output = |partition| part(step.writes[0], partition, &content);
    let outputs = if step.writes[0] == TableId::Names {
        let buckets = u32::try_from(spec.inputs.len()).unwrap_or(u32::MAX);
        (0..buckets).map(Partition::Bucket).map(output).collect()
    } else {
        vec![output(spec.partition.clone())]
    };
    Record {
        format: RECORD_FORMAT,
        stage: spec.stage,
        step: spec.step.clone(),
        partition: spec.partition.clone(),
        key: spec.key,
        key_parts: spec.key_parts.clone(),
        attempt: "bench".to_owned(),
        inputs: spec.inputs.clone(),
        lists: spec.lists.clone(),
        outputs,
        pruned: Vec::new(),
        balances: Vec::new(),
        metrics: BTreeMap::new(),
        started: std::time::UNIX_EPOCH,
        seconds: 0.0,
        host: String::new(),
        program: String::new(),
    }
}
