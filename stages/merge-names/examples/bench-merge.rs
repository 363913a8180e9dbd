//! Memory, time and files of merge-names' four steps on synthetic mentions: `make bench-merge`.
//!
//!     bench-merge MENTIONS SPELLINGS [FOLDER]    writes tables of mentions there, runs the steps, prints
//!
//! 64 shards and 4,096 buckets. Spellings are names of census words, one in six with a typo or in
//! capitals, one in ten no name; how often each is mentioned falls with its rank as Zipf has it. Each step
//! runs in a process of its own, so that its peak memory (`VmHWM`) is its own: one worker, one task after
//! the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use laioncele_core::digest::KeyHasher;
use laioncele_core::key::KeyParts;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::part_list::content_of_parts;
use laioncele_core::resources::Resources;
use laioncele_core::spec::{RuntimeEnvironment, TaskSpec};
use laioncele_core::store::Store;
use laioncele_core::table::Mention;
use laioncele_core::task::{NullReporter, WorkerContext};
use laioncele_core::{
    CaptionId, ImageId, Manifest, Part, PartList, PartWriter, Partition, Partitioning, Row, Scope,
    Step, TableId, Task,
};

type Failure = Box<dyn std::error::Error>;

const SHARDS: u32 = 64;
const BUCKETS: u32 = 4096;
const GIVEN: &str = include_str!("../data/given-names.txt");
const SURNAMES: &str = include_str!("../data/surnames.txt");

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", mentions, spellings, folder] => {
            make(Path::new(folder), mentions.parse()?, spellings.parse()?)
        }
        ["step", name, folder] => run_step(Path::new(folder), name),
        [mentions, spellings] => {
            let folder = std::env::temp_dir().join("laioncele-bench-merge");
            measure(&folder, mentions, spellings)?;
            Ok(std::fs::remove_dir_all(&folder)?)
        }
        [mentions, spellings, folder] => measure(Path::new(folder), mentions, spellings),
        _ => Err("bench-merge MENTIONS SPELLINGS [FOLDER]".into()),
    }
}

#[expect(clippy::print_stdout, reason = "its output")]
fn print(line: &str) {
    println!("{line}");
}

/// Makes the mentions and runs each step in a process of its own.
fn measure(folder: &Path, mentions: &str, spellings: &str) -> Result<(), Failure> {
    if folder.join("output").exists() {
        std::fs::remove_dir_all(folder.join("output"))?;
    }
    print(&format!(
        "{mentions} mentions, {spellings} spellings, {SHARDS} shards, {BUCKETS} buckets"
    ));
    print(
        "step              tasks  parts     rows out  CPU seconds  peak MB  records kB  inline kB",
    );
    let program = std::env::current_exe()?;
    let child = |arguments: &[&str]| -> Result<(), Failure> {
        let status = Command::new(&program)
            .args(arguments)
            .arg(folder)
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{arguments:?}: {status}").into())
        }
    };
    child(&["make", mentions, spellings])?;
    for step in laioncele_merge_names::steps() {
        child(&["step", step.spec().name])?;
    }
    Ok(())
}

fn manifest(folder: &Path) -> Result<Manifest, Failure> {
    let text = format!(
        "[run]\nseed = 1\nbuckets = {BUCKETS}\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 2048\nface = 512\nfeatures = 2048\n"
    );
    Ok(Manifest::parse(&folder.join("manifest.toml"), &text)?)
}

/// Numbers without a seed: a number's own.
fn mix(k: u64) -> u64 {
    let k = (k ^ (k >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let k = (k ^ (k >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    k ^ (k >> 31)
}

/// The spelling of a rank: the same for each rank, different for most.
fn spelling(rank: u64, given: &[&str], surnames: &[&str]) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map_or(String::new(), |c| c.to_uppercase().chain(letters).collect())
    };
    let dice = mix(rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    let pick = |words: &[&str], shift: u32| capital(words[(dice >> shift) as usize % words.len()]);
    let (first, last) = (pick(given, 3), pick(surnames, 17));
    let middle = char::from(b'A' + (dice >> 40) as u8 % 26);
    let mut name = match dice >> 50 & 3 {
        0 => format!("{first} {last}"),
        1 => format!("{first} {} {last}", pick(given, 29)),
        _ => format!("{first} {middle}. {last}-{}", pick(surnames, 23)),
    };
    match rank % 30 {
        0..4 if name.len() > 9 => {
            let at = 1 + (dice >> 33) as usize % (name.len() - 2);
            if name.is_char_boundary(at) && name.is_char_boundary(at + 1) {
                name.remove(at);
            }
        }
        4 => name.make_ascii_uppercase(),
        5..8 => name = format!("{} {}", (dice >> 20) % 10_000, name.to_lowercase()),
        _ => {}
    }
    name
}

fn make(folder: &Path, mentions: u64, spellings: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let (manifest, store) = (manifest(folder)?, Store::local(&folder.join("output"))?);
    let words = |text: &'static str| -> Vec<&'static str> {
        text.lines()
            .filter(|l| !l.starts_with('#'))
            .flat_map(str::split_whitespace)
            .collect()
    };
    let (given, surnames) = (words(GIVEN), words(SURNAMES));
    let mut parts = Vec::new();
    for shard in 0..u64::from(SHARDS) {
        let mut writer =
            PartWriter::create(&store, Mention::schema(&manifest.embedding_dims), 16_384)?;
        let mut rows = Vec::new();
        for k in (shard..mentions).step_by(SHARDS as usize) {
            // Each spelling once; then the ranks of a Zipf distribution.
            let uniform = mix(k) as f64 / u64::MAX as f64;
            let rank = if k < spellings {
                k
            } else {
                (spellings as f64).powf(uniform) as u64
            };
            rows.push(mention(k, &spelling(rank, &given, &surnames), mentions));
            if rows.len() == 16_384 {
                let full = std::mem::take(&mut rows);
                writer.add(&Mention::to_batch(full, &manifest.embedding_dims)?)?;
            }
        }
        writer.add(&Mention::to_batch(rows, &manifest.embedding_dims)?)?;
        let written = writer.finish()?;
        let partition = Partition::shard(&format!("part-{shard:05}"));
        let part = Part {
            table: TableId::Mentions,
            path: format!("tables/mentions/{partition}/made.parquet"),
            partition,
            rows: written.rows,
            bytes: written.bytes,
            digest: written.digest,
        };
        store.adopt(written.file.path(), &part.path)?;
        parts.push(part);
    }
    Ok(store.put("made.json", serde_json::to_vec(&parts)?)?)
}

fn mention(k: u64, name: &str, mentions: u64) -> Mention {
    let url = format!(
        "https://images.example/photos/{:016x}.jpg",
        mix(k) % (mentions / 2 + 1)
    );
    let caption = format!(
        "{name} arrives at the {} premiere, photo {}",
        k % 977,
        k % 31
    );
    Mention {
        caption_id: CaptionId(mix(k ^ 0x5555)),
        image_id: ImageId(KeyHasher::new("bench").text("url", &url).finish().low_u64()),
        url,
        start: 0,
        end: name.len() as u32,
        name: name.to_owned(),
        caption,
        hash: None,
        image_at: None,
    }
}

/// Runs all tasks of a step, in this process.
fn run_step(folder: &Path, name: &str) -> Result<(), Failure> {
    let steps = laioncele_merge_names::steps();
    let step = steps
        .iter()
        .find(|step| step.spec().name == name)
        .ok_or("no such step")?;
    let manifest = Arc::new(manifest(folder)?);
    let store = Store::local(&folder.join("output"))?;
    let mut parts: Vec<Part> = serde_json::from_slice(&store.get("made.json")?)?;
    for record in Ledger::new(store.clone()).all()? {
        parts.extend(record.outputs);
    }
    parts.sort_by(|a, b| a.partition.cmp(&b.partition));
    let lists = lists(&**step, &parts);
    lists.iter().try_for_each(|list| list.store(&store))?;
    let context = WorkerContext {
        manifest: manifest.clone(),
        store,
        resources: Arc::new(Resources::default()),
        runtime_environment: RuntimeEnvironment {
            threads: 1,
            ..RuntimeEnvironment::default()
        },
        cancelled: Arc::new(AtomicBool::new(false)),
        rows: laioncele_core::spec::RowCare::default(),
    };
    drop(parts.extract_if(.., |part| {
        !step.spec().reads.iter().any(|r| r.table == part.table)
    }));
    let begun = processor_seconds()?;
    let (mut tasks, mut parts_out, mut rows_out) = (0, 0, 0);
    let (mut records, mut inline) = (0, 0);
    for partition in partitions(&**step, &manifest, &parts)? {
        let spec = spec(&**step, &manifest, &partition, &parts, &lists)?;
        let mut task = Task::new(
            spec,
            "bench".to_owned(),
            context.clone(),
            Box::new(NullReporter),
        )?;
        step.run(&mut task)?;
        let (record, _) = task.commit()?;
        tasks += 1;
        let written = record
            .outputs
            .iter()
            .filter(|p| p.table != TableId::Dropped);
        parts_out += written.clone().count();
        rows_out += written.map(|p| p.rows).sum::<u64>();
        let (bytes, all) = sizes(&record, &lists)?;
        records += bytes;
        inline += all;
    }
    let listed: usize = lists
        .iter()
        .map(|list| serde_json::to_vec(list.parts()).map_or(0, |b| b.len()))
        .sum();
    print(&format!(
        "{name:<16} {tasks:>6} {parts_out:>6} {rows_out:>12} {:>12.1} {:>8} {:>11} {:>10}",
        processor_seconds()? - begun,
        peak_memory()? / 1_000_000,
        (records + listed) / 1000,
        inline / 1000,
    ));
    Ok(())
}

/// Bytes of a record as it is, and as it would be with its lists inline.
fn sizes(record: &Record, lists: &[PartList]) -> Result<(usize, usize), Failure> {
    let own = serde_json::to_vec_pretty(record)?.len();
    let mut whole = record.clone();
    whole.lists.clear();
    whole
        .inputs
        .extend(lists.iter().flat_map(|list| list.parts().iter().cloned()));
    for part in &whole.inputs {
        let name = format!("{}/{}", part.table, part.partition);
        whole.key_parts.inputs.insert(name, part.digest);
    }
    Ok((own, serde_json::to_vec_pretty(&whole)?.len()))
}

fn lists(step: &dyn Step, parts: &[Part]) -> Vec<PartList> {
    let whole = step
        .spec()
        .reads
        .iter()
        .filter(|r| matches!(r.scope, Scope::All | Scope::Slice));
    let of = |table| {
        parts
            .iter()
            .filter(move |p| p.table == table)
            .cloned()
            .collect()
    };
    whole
        .map(|read| PartList::new(read.table, of(read.table)))
        .collect()
}

fn partitions(
    step: &dyn Step,
    manifest: &Manifest,
    parts: &[Part],
) -> Result<Vec<Partition>, Failure> {
    let shards = || {
        parts
            .iter()
            .filter(|p| p.table == TableId::Mentions)
            .map(|p| &p.partition)
    };
    let mut partitions: Vec<Partition> = match step.partitioning(manifest)? {
        Partitioning::Shards => shards().cloned().collect(),
        Partitioning::ShardGroups(groups) => shards().map(|shard| shard.group(groups)).collect(),
        Partitioning::Buckets => (0..manifest.run.buckets).map(Partition::Bucket).collect(),
        Partitioning::Once | Partitioning::Chunks(_) => vec![Partition::Whole],
    };
    partitions.sort();
    partitions.dedup();
    Ok(partitions)
}

fn spec(
    step: &dyn Step,
    manifest: &Manifest,
    partition: &Partition,
    parts: &[Part],
    lists: &[PartList],
) -> Result<TaskSpec, Failure> {
    let partitioning = step.partitioning(manifest)?;
    let own = |part: &&Part| match partitioning {
        Partitioning::ShardGroups(groups) => part.partition.group(groups) == *partition,
        _ => part.partition == *partition,
    };
    let mut inputs: Vec<Part> = Vec::new();
    for read in step
        .spec()
        .reads
        .iter()
        .filter(|r| matches!(r.scope, Scope::Own | Scope::Group))
    {
        inputs.extend(
            parts
                .iter()
                .filter(|p| p.table == read.table)
                .filter(own)
                .cloned(),
        );
    }
    let mut named: BTreeMap<_, _> = lists
        .iter()
        .map(|l| (l.reference().table.to_string(), l.content()))
        .collect();
    for part in &inputs {
        named.insert(
            format!("{}/{}", part.table, part.partition),
            content_of_parts([part]),
        );
    }
    let key_parts = KeyParts {
        version: step.spec().version,
        settings: BTreeMap::from([("settings".to_owned(), step.settings(manifest)?.to_string())])
            .into(),
        models: BTreeMap::new().into(),
        inputs: named,
    };
    Ok(TaskSpec {
        stage: step.spec().stage,
        step: step.spec().name.to_owned(),
        partition: partition.clone(),
        key: key_parts.key(step.spec().name, partition),
        key_parts,
        inputs,
        lists: lists.iter().map(|list| list.reference().clone()).collect(),
        again: None,
    })
}

/// The most memory that this process has held, in bytes.
fn peak_memory() -> Result<u64, Failure> {
    let text = std::fs::read_to_string(PathBuf::from("/proc/self/status"))?;
    let line = text
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .ok_or("no VmHWM")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes * 1024)
}

/// Seconds that processors spent on this process.
fn processor_seconds() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name, in brackets, may hold blanks.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(ticks as f64 / 100.0)
}
