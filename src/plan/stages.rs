//! Which stages a command is about: `all`, a name, a list, or a range.

use laioncele_core::StageName;
use laioncele_core::nearest::nearest;

use crate::registry;

/// Parses `all`, `NAME`, `a,b` or `from..to` (ends included; either end may be left out).
///
/// # Errors
/// The unknown word, the nearest stage, and the list of all.
pub fn parse(text: &str) -> Result<Vec<StageName>, String> {
    if text == "all" {
        return Ok(StageName::ALL.to_vec());
    }
    let mut stages = Vec::new();
    for item in text.split(',') {
        stages.extend(match item.split_once("..") {
            Some((from, to)) => range(from, to)?,
            None => vec![stage(item)?],
        });
    }
    stages.sort();
    stages.dedup();
    Ok(stages)
}

fn range(from: &str, to: &str) -> Result<Vec<StageName>, String> {
    let first = if from.trim().is_empty() {
        StageName::ALL[0]
    } else {
        stage(from)?
    };
    let last = if to.trim().is_empty() {
        StageName::ALL[StageName::ALL.len() - 1]
    } else {
        stage(to)?
    };
    if first > last {
        return Err(format!("`{first}` comes after `{last}`: an empty range"));
    }
    let all = StageName::ALL.iter().copied();
    Ok(all.filter(|s| (first..=last).contains(s)).collect())
}

fn stage(word: &str) -> Result<StageName, String> {
    let word = word.trim();
    word.parse().map_err(|_| {
        let words: Vec<_> = StageName::ALL.iter().map(ToString::to_string).collect();
        let near = near(word, &words);
        let list = format!("stages, in order: all, {}", words.join(", "));
        format!("unknown stage `{word}`{near}\n{list}")
    })
}

/// The stage whose step is called `word`, or the nearest stage; nothing where none is near.
fn near(word: &str, stages: &[String]) -> String {
    let steps = registry::steps();
    let mut steps = steps.iter().map(|step| step.spec());
    if let Some(step) = steps.find(|step| step.name == word) {
        return format!(": it is a step of the stage `{}`", step.stage);
    }
    match nearest(word, stages) {
        Some(stage) => format!(": did you mean `{stage}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lists_and_ranges() {
        use StageName::{DedupeImages, DownloadImages, Evaluate, ExtractNames, MergeNames};
        assert_eq!(parse("all").map(|s| s.len()), Ok(13));
        assert_eq!(parse("merge-names"), Ok(vec![MergeNames]));
        assert_eq!(
            parse("evaluate, extract-names"),
            Ok(vec![ExtractNames, Evaluate])
        );
        assert_eq!(
            parse("download-images..dedupe-images"),
            Ok(vec![DownloadImages, DedupeImages])
        );
        assert_eq!(parse("..merge-names"), Ok(vec![ExtractNames, MergeNames]));
        assert_eq!(parse("..").map(|s| s.len()), Ok(13));
    }

    #[test]
    fn an_unknown_stage_names_the_nearest_and_the_list() {
        let text = parse("merge-name").expect_err("no such stage");
        assert!(text.contains("did you mean `merge-names`?") && text.contains("evaluate"));
        let text = parse("score-photos").expect_err("a step");
        assert!(
            text.contains("a step of the stage `verify-images`"),
            "{text}"
        );
        let text = parse("xyz").expect_err("nothing is near");
        assert!(!text.contains("did you mean"), "{text}");
        assert!(parse("evaluate..extract-names").is_err());
        assert!(parse("").is_err());
    }
}
