//! The dataset card, written from the ledger: the funnel, settings, models with digests and
//! licences, opt-outs, limits.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::datatypes::Schema;
use laioncele_core::decisions;
use laioncele_core::forgotten::Forgotten;
use laioncele_core::ledger::{Record, RowBalance};
use laioncele_core::numbers::setting_text;
use laioncele_core::part::read_rows;
use laioncele_core::reachability::{Reached, Tally};
use laioncele_core::store::Store;
use laioncele_core::table::{Dropped, Identity, NamePeople};
use laioncele_core::{CoreError, Digest, DropReason, Manifest, StageName, TableId};
use laioncele_inference::{known_weights, licence, recognized};

use crate::card_head;
use crate::index::Shard;
use crate::lineage::{Lineage, balances};
use crate::settings::Settings;

/// What stands above the text.
const HEAD: &str = "
# LaionCele

Photos of people that a text-to-image model knows by name, each with the embedding of that name. Built by laioncele
after \"MagicNaming: Consistent Identity Generation by Finding a 'Name Space' in T2I Diffusion Models\".
";

const LIMITS: &str = "
## Known limits

- Who is here was decided by networks: a named entity recognizer found the names in captions, a text-to-image model
  generated portraits of them, and a face network compared portraits and photos. Each makes errors, and more for some
  groups of people than for others.
- A name shared by several people stands for the one that the model generates; photos of the others are dropped, but
  people who look alike may remain.
- Captions are as the web wrote them, in whatever language and tone.
- The photos are other people's works and show real people: their licences and the law where you are decide what you may do
  with them. Urls may be gone.
- No network's guess at anybody's gender or age is in here. Where images drawn beside this dataset are of a man or
  a woman, that is a guess about pictures, not about people.
- Copies were found by an average hash within a name; heavily cut or recoloured copies may remain.
";

/// What is published, as the card speaks of it.
#[derive(Clone, Copy)]
pub(crate) struct Published<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) schema: &'a Schema,
    pub(crate) shards: &'a [Shard],
    /// Photos that stand under several names.
    pub(crate) shared: usize,
    /// The people of each split.
    pub(crate) people: &'a BTreeMap<&'static str, usize>,
}

/// The card's text: the same ledger always gives the same text.
///
/// # Errors
/// Damaged parts.
pub(crate) fn card(
    store: &Store,
    manifest: &Manifest,
    lineage: &Lineage,
    published: &Published<'_>,
) -> Result<String, CoreError> {
    let mut text = card_head::yaml(published.settings, published.schema, published.shards);
    text.push_str(HEAD);
    summary(&mut text, lineage, published);
    funnel(&mut text, lineage);
    text.push_str(&card_head::columns(published.settings));
    text.push_str(&card_head::usage(published.settings));
    models(&mut text, manifest, lineage);
    homonyms(&mut text, store, manifest, lineage)?;
    opt_outs(&mut text, store, manifest, lineage)?;
    reachability(&mut text, store, manifest, lineage)?;
    takedowns(&mut text, store)?;
    text.push_str(LIMITS);
    settings(&mut text, manifest, lineage);
    Ok(text)
}

/// Appends a line; writing to a String does not fail.
macro_rules! line {
    ($text:expr, $($form:tt)*) => {{ let _ = writeln!($text, $($form)*); }};
}

fn summary(text: &mut String, lineage: &Lineage, published: &Published<'_>) {
    let shards = published.shards;
    let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
    let bytes: u64 = shards.iter().map(|shard| shard.bytes).sum();
    let people = lineage.people();
    line!(
        text,
        "\n**{people} people, {rows} photos**, in {} shards of {bytes} bytes together.",
        shards.len()
    );
    line!(
        text,
        "\n{} photos show several of these people and stand under each of their names, a row for each.",
        published.shared
    );
    if published.people.len() < 2 {
        return;
    }
    line!(text, "\n| split | people | photos |\n|---|---|---|");
    for (split, shards) in card_head::splits(shards) {
        let people = published.people.get(split).copied().unwrap_or_default();
        let rows: u64 = shards.iter().map(|shard| shard.rows).sum();
        line!(text, "| {split} | {people} | {rows} |");
    }
    line!(
        text,
        "\nNobody is in two splits, and no photo: people who share photos are kept together, most of them in `train`.\nThe encoder of this run has a split of its own, and may have been trained on people of all of these."
    );
}

fn funnel(text: &mut String, lineage: &Lineage) {
    line!(
        text,
        "\n## How it was made\n\n| stage | unit | in | out | dropped |\n|---|---|---|---|---|"
    );
    for records in lineage.steps() {
        for balance in balances(records) {
            let RowBalance {
                unit,
                rows_in,
                rows_out,
                ..
            } = &balance;
            line!(
                text,
                "| {} | {unit} | {rows_in} | {rows_out} | {} |",
                records[0].step,
                drops(&balance)
            );
        }
    }
}

fn drops(balance: &RowBalance) -> String {
    let reasons = balance
        .dropped
        .iter()
        .map(|(reason, count)| format!("{count} `{reason}`"));
    reasons.collect::<Vec<_>>().join(", ")
}

fn models(text: &mut String, manifest: &Manifest, lineage: &Lineage) {
    let mut models: BTreeMap<&String, Digest> = BTreeMap::new();
    for record in lineage.records() {
        models.extend(
            record
                .key_parts
                .models
                .iter()
                .map(|(label, digest)| (label, *digest)),
        );
    }
    models.retain(|label, _| label.as_str() != decisions::LABEL);
    line!(
        text,
        "\n## Models\n\n| model | BLAKE3 | licence |\n|---|---|---|"
    );
    for (label, digest) in models {
        line!(
            text,
            "| `{label}` | `{digest}` | {} |",
            licence(manifest, label)
        );
    }
    text.push_str(&recognized(manifest));
    text.push_str(&known_weights(manifest));
}

/// Homonyms that the card lists at most.
const LISTED_HOMONYMS: usize = 20;

/// The identities whose name another person has too, those with most photos of the other first.
fn homonyms(
    text: &mut String,
    store: &Store,
    manifest: &Manifest,
    lineage: &Lineage,
) -> Result<(), CoreError> {
    let dims = &manifest.embedding_dims;
    let mut found = Vec::new();
    for part in lineage.parts(TableId::NamePeople, None) {
        let rows = read_rows::<NamePeople>(store, part, dims)?.into_iter();
        found.extend(rows.filter(|row| row.homonym > 0));
    }
    let mut names = BTreeMap::new();
    if !found.is_empty() {
        for part in lineage.parts(TableId::Identities, None) {
            let rows = read_rows::<Identity>(store, part, dims)?.into_iter();
            names.extend(rows.map(|row| (row.name_id, row.name)));
        }
    }
    found.retain(|row| names.contains_key(&row.name_id));
    found.sort_by_key(|row| (std::cmp::Reverse(row.second), row.name_id));
    line!(
        text,
        "\n## Homonyms\n\n{} of these names also have photos of one other person again and again. Those photos are not here.",
        found.len()
    );
    if !found.is_empty() {
        line!(
            text,
            "\n| name | photos | photos of the other person |\n|---|---|---|"
        );
    }
    for row in found.iter().take(LISTED_HOMONYMS) {
        let name = names[&row.name_id].replace('|', "\\|");
        line!(text, "| {name} | {} | {} |", row.first, row.second);
    }
    Ok(())
}

fn opt_outs(
    text: &mut String,
    store: &Store,
    manifest: &Manifest,
    lineage: &Lineage,
) -> Result<(), CoreError> {
    let (mut directives, mut excluded) = (BTreeMap::<String, u64>::new(), 0u64);
    for record in lineage.records() {
        let dropped = |reason| {
            record
                .balances
                .iter()
                .filter_map(move |a| a.dropped.get(&reason))
                .sum::<u64>()
        };
        excluded += dropped(DropReason::Excluded);
        if record.stage == StageName::DownloadImages && dropped(DropReason::OptOut) > 0 {
            count_directives(store, manifest, record, &mut directives)?;
        }
    }
    line!(
        text,
        "\n## Opt-outs\n\n- {excluded} names and mentions left out because they are on the run's list of people who asked not to be here."
    );
    let all: u64 = directives.values().sum();
    line!(
        text,
        "- {all} photos left out because their server forbids this use:"
    );
    for (directive, count) in directives {
        line!(text, "  - {count} by `{directive}`");
    }
    Ok(())
}

/// Hosts that the card lists at most.
const LISTED_HOSTS: usize = 20;

/// How the web answered: all urls by class, and the hosts with most of them.
fn reachability(
    text: &mut String,
    store: &Store,
    manifest: &Manifest,
    lineage: &Lineage,
) -> Result<(), CoreError> {
    let parts = lineage.parts(TableId::Reachability, None);
    let reached = Reached::read(store, &manifest.embedding_dims, parts, LISTED_HOSTS)?;
    line!(
        text,
        "\n## How the web answered\n\n{} of {} urls were photos when they were asked for; the others:\n",
        reached.total.photos,
        reached.total.urls()
    );
    for (reason, urls) in &reached.total.dropped {
        line!(text, "- {urls} `{reason}`");
    }
    line!(
        text,
        "\n| host | urls | photos | others |\n|---|---|---|---|"
    );
    for (host, tally) in &reached.hosts {
        tally_line(text, host, tally);
    }
    if !reached.years.is_empty() {
        line!(
            text,
            "\nBy the year that a url's path names, where it names one:\n\n| year | urls | photos | others |\n|---|---|---|---|"
        );
    }
    for (year, tally) in &reached.years {
        tally_line(text, year, tally);
    }
    Ok(())
}

fn tally_line(text: &mut String, name: &str, tally: &Tally) {
    let others = tally.dropped.iter();
    let others: Vec<_> = others
        .map(|(reason, n)| format!("{n} `{reason}`"))
        .collect();
    let name = name.replace('|', "\\|");
    line!(
        text,
        "| {name} | {} | {} | {} |",
        tally.urls(),
        tally.photos,
        others.join(", ")
    );
}

fn count_directives(
    store: &Store,
    manifest: &Manifest,
    record: &Record,
    directives: &mut BTreeMap<String, u64>,
) -> Result<(), CoreError> {
    for part in record.outputs_of(TableId::Dropped) {
        for row in read_rows::<Dropped>(store, part, &manifest.embedding_dims)? {
            if row.reason == DropReason::OptOut {
                *directives
                    .entry(row.detail.unwrap_or_default())
                    .or_default() += 1;
            }
        }
    }
    Ok(())
}

/// How many people and images were taken down; nothing where nobody was.
fn takedowns(text: &mut String, store: &Store) -> Result<(), CoreError> {
    let Some(stones) = Forgotten::load(store)? else {
        return Ok(());
    };
    let (people, images) = (stones.people(), stones.images());
    line!(
        text,
        "\n## Takedowns\n\n- {people} people and {images} single images were taken out after they had been in the run; they stay out."
    );
    let encoder = store.get("encoder/encoder.safetensors");
    let encoder = encoder.is_ok_and(|weights| stones.was_trained_before(Digest::of(&weights)));
    if encoder {
        line!(
            text,
            "- The encoder published beside this dataset was trained before the removal, on photos of theirs too."
        );
    }
    Ok(())
}

fn settings(text: &mut String, manifest: &Manifest, lineage: &Lineage) {
    line!(
        text,
        "\n## Settings\n\nThose of the manifest whose text has the BLAKE3 digest `{}`.\n\n| step | setting | value |\n|---|---|---|",
        manifest.digest()
    );
    for records in lineage.steps() {
        for (name, value) in &*records[0].key_parts.settings {
            let value = setting_text(value).replace('|', "\\|").replace('\n', " ");
            line!(text, "| {} | `{name}` | `{value}` |", records[0].step);
        }
    }
}
