//! Step ask-second-opinion: what a language model says about mentions that are only just rejected and
//! spellings that are only just not merged. Without `[merge_names.second_opinion]` it has no task.

use std::cmp::Reverse;

use laioncele_core::table::Opinion;
use laioncele_core::{
    CoreError, Manifest, Part, Partitioning, Reads, StageError, StageName, Step, StepSpec, TableId,
    Task, Unit,
};
use serde_json::json;

use crate::fold::fold_key;
use crate::merge::doubtful_pairs;
use crate::merge_spellings::exclusion_keys;
use crate::normalize::Normalizer;
use crate::normalized::{Normalized, Reader, evidence};
use crate::second_opinion::{Account, Answers, Question, SecondOpinionError, ask, check_key};
use crate::settings::Settings;

/// Whether the model of `[merge_names.second_opinion]` can be asked, as far as the environment tells
/// without asking it; none where nobody is to be asked.
pub fn check_second_opinion(manifest: &Manifest) -> Option<Result<String, SecondOpinionError>> {
    // What is wrong with the section the check of the settings says.
    let asked = Settings::from_manifest(manifest).ok()?.second_opinion?;
    if asked.dry_run {
        return None;
    }
    let found = match &asked.api_key_env {
        Some(variable) => format!("{}, with the key in {variable}", asked.url),
        None => asked.url.clone(),
    };
    Some(check_key(&asked).map(|()| found))
}

pub(crate) struct AskSecondOpinion;

const SPEC: StepSpec = StepSpec {
    name: "ask-second-opinion",
    stage: StageName::MergeNames,
    version: 2,
    partitioning: Partitioning::Chunks(1),
    reads: &[Reads::all(TableId::Spellings), Reads::all(TableId::Words)],
    writes: &[TableId::Opinions],
};

impl Step for AskSecondOpinion {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        let asks = Settings::from_manifest(manifest)?.second_opinion.is_some();
        Ok(Partitioning::Chunks(u32::from(asks)))
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        let Some(opinion) = &settings.second_opinion else {
            return Ok(serde_json::Value::Null);
        };
        Ok(json!({
            "min_images": settings.min_images,
            "common_ratio": settings.common_ratio,
            "several_people": settings.several_people,
            "exclude": settings.exclude,
            "second_opinion": opinion.key(),
        }))
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let Some(opinion) = &settings.second_opinion else {
            return Err(StageError::data("[merge_names.second_opinion] is missing"));
        };
        let questions = open_questions(task, &settings)?;
        let asked = questions.iter().map(|(question, _)| question.clone());
        let cache = task.cache("second-opinion");
        let opinions =
            ask(asked, opinion, cache, task.cancelled()).map_err(StageError::environment)?;
        let total = questions.len() as u64;
        task.progress(total, total, Unit::Name)?;
        report(task, &opinions.account, opinion.dry_run);
        let rows = questions.into_iter().map(|(question, mentions)| {
            let answer = opinions.answers.get(&question);
            row(question, mentions, answer.map(|a| a.as_str().to_owned()))
        });
        let rows: Vec<Opinion> = rows.collect();
        task.balance(Unit::Name, total, rows.len() as u64);
        task.write(rows)
    }
}

/// What is doubtful and worth a question, most mentions first. A text with fewer mentions than a name needs images is not.
fn open_questions(task: &Task, settings: &Settings) -> Result<Vec<(Question, u64)>, StageError> {
    let parts: Vec<Part> = task.inputs(TableId::Spellings).cloned().collect();
    let normalizer = Normalizer::new(evidence(task)?).with_several_people(settings.several_people);
    let reader = Reader {
        normalizer: &normalizer,
        answers: &Answers::default(),
        notes_doubts: true,
    };
    let normalized = Normalized::read(task, &parts, &reader)?;
    let doubts = normalized.doubts.into_iter();
    let mut questions: Vec<(Question, u64)> = doubts
        .filter(|(_, mentions)| *mentions >= u64::from(settings.min_images))
        .map(|(text, mentions)| (Question::IsPerson { text }, mentions))
        .collect();
    let table = normalized.spellings.into_table();
    let pairs = doubtful_pairs(&table, settings.common_ratio).into_iter();
    questions.extend(pairs.map(|(spelling, name)| {
        let text = |at: u32| table.spelling(at as usize).to_owned();
        let question = Question::SamePerson {
            spelling: text(spelling),
            name: text(name),
        };
        (question, table.mentions(spelling as usize))
    }));
    // Nothing of people who asked not to be in it.
    let excluded = exclusion_keys(settings);
    questions.retain(|(question, _)| {
        let mut texts = question.texts();
        !texts.any(|text| excluded.contains(&fold_key(text)))
    });
    questions.sort_unstable_by(|a, b| (Reverse(a.1), &a.0).cmp(&(Reverse(b.1), &b.0)));
    Ok(questions)
}

fn row(question: Question, mentions: u64, answer: Option<String>) -> Opinion {
    let (text, name) = match question {
        Question::IsPerson { text } => (text, None),
        Question::SamePerson { spelling, name } => (spelling, Some(name)),
    };
    Opinion {
        text,
        name,
        mentions,
        answer,
    }
}

fn report(task: &mut Task, account: &Account, dry_run: bool) {
    for (name, value) in [
        ("questions", account.questions as f64),
        ("answered_from_cache", account.cached as f64),
        ("answered", account.answered as f64),
        ("unanswered", account.unanswered as f64),
        ("requests", account.requests as f64),
        ("tokens_in", account.tokens_in as f64),
        ("tokens_out", account.tokens_out as f64),
        ("cost", account.cost),
    ] {
        task.metric(name, value);
    }
    let Account {
        questions,
        cached,
        unanswered,
        requests,
        tokens_in,
        tokens_out,
        cost,
        ..
    } = account;
    if dry_run {
        tracing::warn!(
            "second opinion, dry run: {questions} questions, {cached} of them answered before, would take {requests} requests, \
             about {tokens_in} tokens sent and {tokens_out} received, cost {cost:.2}"
        );
    } else if *unanswered > 0 {
        tracing::warn!(
            "second opinion: {unanswered} of {questions} questions have no answer (budget spent, or no useful reply): the rules decide"
        );
    }
}
