//! Why a bucket refused, in words that hold no key: answers of stores may repeat what they were sent.

use object_store::Error;

/// Longest text of a reason that has no words of its own.
const LONGEST: usize = 300;

/// What stores call their refusals, and what that means.
const CODES: [(&str, &str); 14] = [
    ("NoSuchBucket", "there is no such bucket"),
    ("ContainerNotFound", "there is no such container"),
    (
        "InvalidAccessKeyId",
        "the store does not know the access key: see AWS_ACCESS_KEY_ID",
    ),
    (
        "SignatureDoesNotMatch",
        "the secret key is not that of the access key: see AWS_SECRET_ACCESS_KEY",
    ),
    (
        "ExpiredToken",
        "the session token has expired: see AWS_SESSION_TOKEN",
    ),
    (
        "InvalidToken",
        "the session token is not valid: see AWS_SESSION_TOKEN",
    ),
    (
        "RequestTimeTooSkewed",
        "this machine's clock is not that of the store",
    ),
    ("AllAccessDisabled", "the account or bucket is disabled"),
    ("AccountProblem", "the store has a problem with the account"),
    (
        "AccessDenied",
        "the key has no right to do this here: a run reads, writes, lists and deletes",
    ),
    ("AuthenticationFailed", "the store does not accept the key"),
    (
        "SlowDown",
        "the store is too busy, also after several tries",
    ),
    (
        "ServiceUnavailable",
        "the store is too busy, also after several tries",
    ),
    (
        "PermanentRedirect",
        "the bucket is in another region: see AWS_REGION",
    ),
];

/// What is said of an answer that does not come whole.
const BROKE: &str = "the connection broke again and again";

/// Why it refused.
pub(super) fn of(error: &Error) -> String {
    let text = everything(error);
    if let Some((_, words)) = CODES.iter().find(|(code, _)| text.contains(code)) {
        return (*words).to_owned();
    }
    if let Some(words) = without_answer(&text) {
        return words;
    }
    match error {
        // Answers to HEAD have no text that says which of them it is.
        Error::PermissionDenied { .. } => {
            "the store denies access: see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (GOOGLE_…, AZURE_…), and what the key may do"
                .to_owned()
        }
        Error::Unauthenticated { .. } => {
            "the store does not accept the key: see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (GOOGLE_…, AZURE_…)".to_owned()
        }
        Error::NotImplemented { .. } | Error::NotSupported { .. } => {
            "the store cannot do this".to_owned()
        }
        _ => cut(&text),
    }
}

/// What there are no answers to tell from.
fn without_answer(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if any(&[
        "169.254.169.254",
        "metadata.google",
        "instance metadata",
        "missing credential",
    ]) {
        let text = "there are no keys in the environment, and none that the machine itself could ask for: \
                    set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (GOOGLE_…, AZURE_…)";
        return Some(text.to_owned());
    }
    if any(&["http is not allowed", "scheme is not allowed", "url scheme"]) {
        return Some(
            "the endpoint speaks http without encryption: AWS_ALLOW_HTTP=true allows it".to_owned(),
        );
    }
    let words = if any(&["dns error", "failed to lookup"]) {
        "the store's name is not known: see AWS_ENDPOINT and the network"
    } else if any(&[
        "connection refused",
        "error trying to connect",
        "tcp connect",
    ]) {
        "no connection to the store: see AWS_ENDPOINT and the network"
    } else if any(&["timed out", "timeout"]) {
        "the store does not answer in time"
    } else if any(&[
        "connection closed",
        "connection reset",
        "incomplete",
        "body error",
        "decoding response body",
    ]) {
        BROKE
    } else {
        return None;
    };
    Some(words.to_owned())
}

/// Whether nothing is there, and no reason to doubt the bucket.
pub(super) fn is_missing(error: &Error) -> bool {
    let bucket = ["NoSuchBucket", "ContainerNotFound"];
    matches!(error, Error::NotFound { .. })
        && !bucket.iter().any(|code| everything(error).contains(code))
}

/// Whether a write may have been done although it was not confirmed.
pub(super) fn may_have_happened(error: &Error) -> bool {
    matches!(error, Error::Generic { .. }) && without_answer(&everything(error)).is_some()
}

/// Whether an answer began and did not come whole.
pub(super) fn is_cut(error: &Error) -> bool {
    without_answer(&everything(error)).is_some_and(|words| words == BROKE)
}

/// The messages of an error and of all its causes.
fn everything(error: &Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |cause| (*cause).source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// The head of `text`, without what the store answered.
fn cut(text: &str) -> String {
    let head = text.find('<').map_or(text, |at| &text[..at]);
    let head = head.trim_end_matches([' ', ':', '-']);
    head.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    #[test]
    fn answers_that_repeat_keys_are_not_repeated() {
        let answer = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
                      <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId><StringToSign>x</StringToSign></Error>";
        let words = of(&generic(answer));
        assert!(
            words.contains("AWS_SECRET_ACCESS_KEY") && !words.contains("AKIA"),
            "{words}"
        );
        let strange = "status code: 418: <Error><Code>Teapot</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        let words = of(&generic(strange));
        assert!(words.contains("418") && !words.contains("AKIA"), "{words}");
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        let not_found = |text: &str| Error::NotFound {
            path: "x".to_owned(),
            source: text.to_owned().into(),
        };
        assert!(is_missing(&not_found("<Code>NoSuchKey</Code>")));
        assert!(!is_missing(&not_found("<Code>NoSuchBucket</Code>")));
        assert_eq!(
            of(&not_found("<Code>NoSuchBucket</Code>")),
            "there is no such bucket"
        );
    }

    #[test]
    fn what_got_no_answer_may_have_happened() {
        assert!(may_have_happened(&generic(
            "error sending request: operation timed out"
        )));
        assert!(!may_have_happened(&generic("status code: 400 Bad Request")));
        assert!(is_cut(&generic(
            "error decoding response body: end of file"
        )));
        assert!(!is_cut(&generic("tcp connect error: connection refused")));
    }
}
