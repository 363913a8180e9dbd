//! The worker of `make bench-names`: invents a crowd and what captions write of it, and measures
//! normalizing and merging.
//!
//!     names SPELLINGS SEED [SAMPLE FILE]
//!
//! Answers with JSON lines: the parameters, normalized mentions and merged spellings per second of
//! one thread and of all, peak memory, and how well the merging found who is meant. SAMPLE spellings
//! with their counts are written to FILE for the peer.
//!
//! People are drawn from the shares of given names and surnames in a census, so that look-alikes are
//! as frequent as they are. The i-th has about top/i mentions. Of a person's mentions some are misspelt:
//! most in a few ways that are this name's own, the others in new ways; what a misspelling does
//! follows the counts of Pollock and Zamora (1984): a letter left out, added, replaced or swapped.

#[path = "../../../benches/clocks.rs"]
mod clocks;

use std::collections::HashMap;
use std::io::Write;

use clocks::Clocks;
use laioncele_merge_names::merge::{Merged, SpellingTable, merge};
use laioncele_merge_names::normalize::normalize;
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

/// Of all spellings so many are people's right ones.
const PEOPLE: f64 = 0.75;
/// The share of mentions that are misspelt.
const MISSPELT: f64 = 0.03;
/// The share of those that are misspelt in one of the name's own ways.
const USUAL: f64 = 0.6;
/// The ways of each name.
const WAYS: u64 = 6;
/// Least mentions between a name and its misspelling: the default of the settings.
const LEAST_RATIO: f64 = 5.0;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (spellings, seed) = match arguments.as_slice() {
        [spellings, seed, ..] => (spellings.parse()?, seed.parse()?),
        _ => return Err("usage: names SPELLINGS SEED [SAMPLE FILE]".into()),
    };
    let crowd = Crowd::invent(spellings, seed);
    let table = &crowd.table;
    say(&json!({
        "spellings": table.len(), "people": crowd.people, "seed": seed, "misspelt": MISSPELT, "usual": USUAL, "ways": WAYS,
        "mentions": table.iter().map(|(_, n)| n).sum::<u64>(), "most_mentions": crowd.top,
        "bytes_of_text": table.iter().map(|(s, _)| s.len()).sum::<usize>(),
    }))?;
    if let [_, _, sample, file] = arguments.as_slice() {
        crowd.write_sample(sample.parse()?, file)?;
    }
    measure_normalizing(&crowd, seed)?;
    let threads = std::thread::available_parallelism()?.get();
    for threads in if threads > 1 {
        vec![1, threads]
    } else {
        vec![1]
    } {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        let before = resident("VmRSS")?;
        let clocks = Clocks::start()?;
        let merged = pool.install(|| merge(table, LEAST_RATIO));
        let report = clocks.report()?;
        let seconds = report["busy"].as_f64().unwrap_or(f64::NAN);
        say(&json!({
            "merge": report, "threads": threads,
            "spellings_per_second_and_core": table.len() as f64 / seconds,
            "table_and_crowd_mb": before / 1e6, "peak_mb": resident("VmHWM")? / 1e6, "found": crowd.score(&merged),
        }))?;
    }
    Ok(())
}

fn say(line: &serde_json::Value) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// A field of this process's status, in bytes.
fn resident(field: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix(field));
    let kilobytes = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
    Ok(kilobytes.ok_or("no such field")?.parse::<f64>()? * 1024.0)
}

/// Mentions around names, as captions have them.
fn measure_normalizing(crowd: &Crowd, seed: u64) -> Result<(), Failure> {
    let mut random = Random(seed ^ 7);
    let mentions: Vec<String> = (0..crowd.table.len().min(1_000_000))
        .map(|_| {
            let name = crowd
                .table
                .spelling(random.below(crowd.table.len() as u64) as usize);
            match random.below(10) {
                0 => name.to_uppercase(),
                1 => name.to_lowercase(),
                2 => format!("{name}'s"),
                3 => format!("Actor {name}"),
                4 => format!("{name} 2019"),
                _ => name.to_owned(),
            }
        })
        .collect();
    normalize("Warm Up").ok();
    let clocks = Clocks::start()?;
    let names = mentions.iter().filter(|m| normalize(m).is_ok()).count();
    let report = clocks.report()?;
    let seconds = report["busy"].as_f64().unwrap_or(f64::NAN);
    say(&json!({
        "normalize": report, "threads": 1, "mentions": mentions.len(), "names": names,
        "mentions_per_second": mentions.len() as f64 / seconds,
    }))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Words with the shares of people who have them, cumulated.
struct Words {
    words: Vec<String>,
    upto: Vec<f64>,
}

impl Words {
    fn of(lines: &str) -> Self {
        let (mut words, mut upto, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for line in lines.lines().filter(|l| !l.starts_with('#')) {
            let mut fields = line.split(' ');
            let rarity: f64 = fields.next().and_then(|f| f.parse().ok()).unwrap_or(999.0);
            for word in fields {
                sum += (-rarity / 10.0).exp();
                let capital = word[..1].to_uppercase() + &word[1..];
                words.push(capital);
                upto.push(sum);
            }
        }
        Self { words, upto }
    }

    fn draw(&self, random: &mut Random) -> &str {
        let at = random.unit() * self.upto.last().copied().unwrap_or(0.0);
        &self.words[self
            .upto
            .partition_point(|u| *u <= at)
            .min(self.words.len() - 1)]
    }
}

/// A spelling, its mentions, the person that is meant, whether that is the name.
type Written = (String, u32, u32, bool);

/// Spellings and who is meant.
struct Crowd {
    table: SpellingTable,
    /// The person that most of a spelling's mentions mean.
    meant: Vec<u32>,
    /// Whether it is that person's right spelling.
    right: Vec<bool>,
    people: usize,
    top: f64,
}

impl Crowd {
    fn invent(spellings: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let given = Words::of(include_str!("../data/given-name-shares.txt"));
        let family = Words::of(include_str!("../data/surname-shares.txt"));
        let people = (spellings as f64 * PEOPLE) as usize;
        let misspellings = spellings as f64 * (1.0 - PEOPLE);
        // Some 45 % of the misspelt mentions are a spelling that was not there.
        let top = misspellings / 0.45 / MISSPELT / (people as f64).max(2.0).ln();
        let mut names: Vec<String> = Vec::with_capacity(people);
        let mut seen = std::collections::HashSet::new();
        while names.len() < people {
            let name = format!("{} {}", given.draw(&mut random), family.draw(&mut random));
            if seen.insert(hash(&name)) {
                names.push(name);
            }
        }
        drop(seen);
        let mut written: Vec<Written> = Vec::with_capacity(spellings);
        for (person, name) in names.into_iter().enumerate() {
            let mentions = (1.0 + top * (0.5 + random.unit()) / (person + 1) as f64) as u64;
            misspell(&name, mentions, person as u32, &mut random, &mut written);
            let mentions = mentions.min(u64::from(u32::MAX)) as u32;
            written.push((name, mentions, person as u32, true));
        }
        written.sort_unstable();
        let mut crowd = Self {
            table: SpellingTable::with_capacity(written.len(), 0),
            meant: Vec::with_capacity(written.len()),
            right: Vec::with_capacity(written.len()),
            people,
            top,
        };
        for same in written.chunk_by(|a, b| a.0 == b.0) {
            let mut by_person: HashMap<u32, (u64, bool)> = HashMap::new();
            for (_, mentions, person, right) in same {
                let of_person = by_person.entry(*person).or_default();
                of_person.0 += u64::from(*mentions);
                of_person.1 |= right;
            }
            let most = by_person
                .iter()
                .max_by_key(|(person, n)| (n.0, u32::MAX - **person));
            let all = by_person.values().map(|n| n.0).sum();
            crowd.table.push(&same[0].0, all, 0);
            crowd.meant.push(most.map_or(0, |(person, _)| *person));
            crowd.right.push(most.is_some_and(|(_, n)| n.1));
        }
        crowd
    }

    fn write_sample(&self, sample: usize, file: &str) -> Result<(), Failure> {
        let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
        let every = (self.table.len() / sample.max(1)).max(1);
        for (spelling, mentions) in self.table.iter().step_by(every) {
            writeln!(out, "{spelling}\t{mentions}")?;
        }
        Ok(())
    }

    /// Pairs of spellings that are filed under one name: how many mean one person, of all that
    /// mean one person.
    fn score(&self, merged: &Merged) -> serde_json::Value {
        let pairs = |labels: &mut Vec<(u32, u32)>| -> u64 {
            labels.sort_unstable();
            let runs = labels.chunk_by(|a, b| a == b).map(|run| run.len() as u64);
            runs.map(|n| n * (n - 1) / 2).sum()
        };
        let both = || merged.filed.iter().copied().zip(self.meant.iter().copied());
        let right = pairs(&mut both().collect());
        let made = pairs(&mut both().map(|(name, _)| (name, 0)).collect());
        let wanted = pairs(&mut both().map(|(_, person)| (person, 0)).collect());
        // People whose own, right spelling was filed under another's name.
        let lost = both().enumerate().filter(|(at, (name, person))| {
            *name as usize != *at && self.meant[*name as usize] != *person && self.right[*at]
        });
        json!({
            "pair_precision": right as f64 / made as f64, "pair_recall": right as f64 / wanted as f64,
            "names": both().enumerate().filter(|(at, (name, _))| *name as usize == *at).count(),
            "people_merged_into_others": lost.count(),
        })
    }
}

fn hash(text: &str) -> u64 {
    let mut random = Random(0);
    for byte in text.bytes() {
        random.0 ^= u64::from(byte);
        random.0 = random.next();
    }
    random.0
}

/// Adds the misspellings among `mentions` of `name`.
fn misspell(
    name: &str,
    mentions: u64,
    person: u32,
    random: &mut Random,
    written: &mut Vec<Written>,
) {
    let expected = mentions as f64 * MISSPELT;
    let wrong = expected as u64 + u64::from(random.unit() < expected.fract());
    let usual = (wrong as f64 * USUAL).round() as u64;
    let own = random.next();
    let mut left = usual;
    for way in 0..WAYS {
        let share = if way + 1 == WAYS {
            left
        } else {
            left.div_ceil(2)
        };
        if share > 0 {
            let text = misspelling(name, &mut Random(own ^ way));
            written.push((text, share as u32, person, false));
        }
        left -= share;
    }
    for _ in 0..wrong - usual {
        written.push((misspelling(name, random), 1, person, false));
    }
}

/// `name` with one slip, now and then two.
fn misspelling(name: &str, random: &mut Random) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    for _ in 0..=u64::from(random.unit() < 0.06) {
        slip(&mut letters, random);
    }
    let text: String = letters.into_iter().collect();
    if text == name {
        format!("{name}e")
    } else {
        text
    }
}

fn slip(letters: &mut Vec<char>, random: &mut Random) {
    // The first letter of a word is right in 97 of 100 misspellings.
    let at = loop {
        let at = random.below(letters.len() as u64) as usize;
        let first = letters[at].is_uppercase();
        if letters[at] != ' ' && (!first || random.unit() < 0.1) {
            break at;
        }
    };
    let vowels = ['a', 'e', 'i', 'o', 'u', 'y'];
    let any = char::from(b'a' + random.below(26) as u8);
    let replacement = if vowels.contains(&letters[at]) && random.unit() < 0.7 {
        vowels[random.below(6) as usize]
    } else {
        any
    };
    match random.below(100) {
        0..34 => drop(letters.remove(at)),
        34..61 if random.unit() < 0.5 => letters.insert(at + 1, letters[at].to_ascii_lowercase()),
        34..61 => letters.insert(at + 1, replacement),
        61..85 => letters[at] = replacement,
        _ if at + 1 < letters.len() && letters[at + 1] != ' ' && !letters[at].is_uppercase() => {
            letters.swap(at, at + 1);
        }
        _ => drop(letters.remove(at)),
    }
}
