//! Reading what a model replied: strict JSON with one answer for each question, or nothing.

use serde::Deserialize;

use super::question::Answer;

/// Why a reply is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Useless {
    /// Not the JSON that was asked for.
    #[error("the reply is not the JSON object that was asked for")]
    NotJson,
    /// An id that was not asked, one twice, or one that is absent.
    #[error("the reply does not answer each question once")]
    NotOneEach,
    /// A question with a known answer was answered otherwise.
    #[error("the reply fails a control question")]
    Control,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    answers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: usize,
    answer: Answer,
}

/// The answers to questions 1 to `asked`, in their order.
///
/// # Errors
/// [`Useless`].
pub(super) fn read(content: &str, asked: usize) -> Result<Vec<Answer>, Useless> {
    let reply: Reply = serde_json::from_str(unfenced(content)).map_err(|_| Useless::NotJson)?;
    let mut answers = vec![None; asked];
    for entry in reply.answers {
        let place = entry.id.checked_sub(1).and_then(|at| answers.get_mut(at));
        match place {
            Some(place @ None) => *place = Some(entry.answer),
            _ => return Err(Useless::NotOneEach),
        }
    }
    answers
        .into_iter()
        .collect::<Option<_>>()
        .ok_or(Useless::NotOneEach)
}

/// Without the Markdown fence that many models put around JSON.
fn unfenced(content: &str) -> &str {
    let text = content.trim();
    let inside = text
        .strip_prefix("```json")
        .or_else(|| text.strip_prefix("```"))
        .and_then(|t| t.strip_suffix("```"));
    inside.unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_question_is_answered_once() {
        let good = r#"{"answers": [{"id": 2, "answer": "no"}, {"id": 1, "answer": "yes"}]}"#;
        assert_eq!(read(good, 2), Ok(vec![Answer::Yes, Answer::No]));
        let fenced = format!("```json\n{good}\n```");
        assert_eq!(read(&fenced, 2), Ok(vec![Answer::Yes, Answer::No]));
        assert_eq!(read(good, 3), Err(Useless::NotOneEach));
        assert_eq!(read(good, 1), Err(Useless::NotOneEach));
        let twice = r#"{"answers": [{"id": 1, "answer": "no"}, {"id": 1, "answer": "yes"}]}"#;
        assert_eq!(read(twice, 2), Err(Useless::NotOneEach));
        let zero = r#"{"answers": [{"id": 0, "answer": "no"}]}"#;
        assert_eq!(read(zero, 1), Err(Useless::NotOneEach));
    }

    #[test]
    fn anything_else_is_useless() {
        for text in [
            "",
            "yes",
            "Sure! Here is the JSON: {\"answers\": []}",
            r#"{"answers": [{"id": 1, "answer": "maybe"}]}"#,
            r#"{"answers": [{"id": 1, "answer": "yes", "name": "Somebody Else"}]}"#,
            r#"{"answers": [{"id": 1, "answer": "yes"}"#,
            r#"{"answers": [{"id": -1, "answer": "yes"}]}"#,
        ] {
            assert_eq!(read(text, 1), Err(Useless::NotJson), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".{0,200}", asked in 0usize..5) {
            if let Ok(answers) = read(&text, asked) {
                prop_assert_eq!(answers.len(), asked);
            }
        }
    }
}
