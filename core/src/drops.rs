//! Why a row leaves the pipeline: one enum for all stages, and the unit that each count is in.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// What a row stands for in counts.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Unit {
    /// A caption of the source.
    Caption,
    /// A PERSON span in a caption.
    Mention,
    /// A canonical name.
    Name,
    /// A generated portrait.
    Portrait,
    /// A web image of a name: a candidate, later a photo.
    Image,
    /// A name with its photos.
    Identity,
    /// A generated image of an unseen person.
    Sample,
    /// Somebody with reference photos.
    Person,
}

impl Unit {
    /// Every value, in declared order.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word, as in tables, records and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a row was dropped. The detail (code, score, directive, kept id) is a column of its own.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DropReason {
    /// No PERSON span in the caption.
    NoPerson,
    /// Below the minimum width or height.
    TooSmall,
    /// `punsafe` above the setting.
    Unsafe,
    /// `pwatermark` above the setting.
    Watermarked,
    /// `similarity` below the setting.
    LowSimilarity,
    /// Null, empty or blank caption, or one that is not UTF-8.
    EmptyCaption,
    /// Not an http(s) url.
    BadUrl,
    /// The same url and caption again.
    RepeatedCaption,
    /// Beyond the setting's number of mentions in one caption; the name in the detail.
    TooManyMentions,
    /// The span is no person's name.
    NotAName,
    /// Fewer images than `min_images`.
    TooFewImages,
    /// One name word, and not common enough.
    Mononym,
    /// On the manifest's exclusion list.
    Excluded,
    /// The same name and image again.
    RepeatedImage,
    /// The name alone needs more than eight tokens.
    TooManyTokens,
    /// The generated image is not finite.
    BadPortrait,
    /// No face found.
    NoFace,
    /// More than one face in a portrait.
    SeveralFaces,
    /// Two portraits of one name disagree.
    DifferentPeople,
    /// The name has not passed verify-portraits.
    UnknownName,
    /// The host has no address.
    Dns,
    /// Refused, reset or cut off.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The whole-request deadline passed.
    Timeout,
    /// Malformed HTTP.
    BadResponse,
    /// More redirects than allowed, or a loop.
    TooManyRedirects,
    /// A 4xx answer, its code in the detail.
    #[serde(rename = "http_4xx")]
    #[strum(serialize = "http_4xx")]
    Http4xx,
    /// A 5xx answer, its code in the detail.
    #[serde(rename = "http_5xx")]
    #[strum(serialize = "http_5xx")]
    Http5xx,
    /// More bytes or pixels than the cap.
    TooLarge,
    /// The bytes are of no image format.
    NotAnImage,
    /// An image format, but it does not decode.
    Corrupt,
    /// An opt-out directive, in the detail.
    OptOut,
    /// A loopback, private, link-local or metadata address.
    BlockedAddress,
    /// The bytes are not those of the metadata's hash.
    HashMismatch,
    /// The same image as the one in the detail.
    DuplicateOf,
    /// One picture that stands for many images ("image not available"): under how many names, in the detail.
    Placeholder,
    /// No face in the photo matches the portraits.
    OtherPerson,
    /// The best face is smaller than the setting.
    FaceTooSmall,
    /// Beyond `max_images` of its identity.
    AboveCap,
    /// A line or sample of the source that cannot be read.
    MalformedRow,
    /// The source says that it has no image of this row: its status in the detail.
    NotDownloaded,
    /// It also shows a person set apart for validation, the one in the detail, and so is not trained on.
    ValidationPhoto,
    /// What looked at the row panicked or died of it, each time: step and signal in the detail.
    Poison,
    /// Taken down: `laioncele forget` keeps it out.
    Forgotten,
    /// Struck out by a person: `laioncele review`.
    Rejected,
    /// The base model draws the person by name: no reference.
    DrawnByName,
}

impl DropReason {
    /// Every value, in declared order.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether the cause may be gone later, so that `laioncele retry` asks again unless it is told otherwise.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Dns | Self::Connect | Self::Timeout | Self::Http5xx
        )
    }

    /// Whether it is what a download may end as, so that asking again may end otherwise.
    pub fn is_of_a_download(self) -> bool {
        let of_the_answer = matches!(
            self,
            Self::BadUrl
                | Self::Tls
                | Self::BadResponse
                | Self::TooManyRedirects
                | Self::Http4xx
                | Self::TooLarge
                | Self::TooSmall
                | Self::NotAnImage
                | Self::Corrupt
                | Self::OptOut
                | Self::BlockedAddress
                | Self::HashMismatch
                | Self::Poison
        );
        self.may_pass() || of_the_answer
    }

    /// The word, as in tables, records and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::StageName;
    use crate::table::TableId;

    /// Display, parsing, `as_str` and JSON agree on the word of every value, and no two values share one.
    fn check_words<T>(all: &[T], as_str: fn(T) -> &'static str)
    where
        T: Copy + PartialEq + std::fmt::Debug + std::fmt::Display,
        T: std::str::FromStr<Err = strum::ParseError>,
        T: Serialize + serde::de::DeserializeOwned,
    {
        for value in all {
            let word = value.to_string();
            assert_eq!(as_str(*value), word);
            assert_eq!(word.parse(), Ok(*value));
            assert_eq!(serde_json::to_value(value).ok(), Some(word.clone().into()));
            assert_eq!(serde_json::from_value(word.into()).ok(), Some(*value));
        }
        let mut words: Vec<_> = all.iter().copied().map(as_str).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all.len());
    }

    #[test]
    fn words_are_unique_and_the_same_in_text_and_json() {
        check_words(Unit::ALL, Unit::as_str);
        check_words(DropReason::ALL, DropReason::as_str);
        check_words(StageName::ALL, StageName::as_str);
        check_words(TableId::ALL, TableId::as_str);
    }

    /// Pinned: these words are in every record and table ever written.
    #[test]
    fn words_never_change() {
        let words: Vec<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(
            words.join(" "),
            "no_person too_small unsafe watermarked low_similarity empty_caption bad_url \
             repeated_caption too_many_mentions not_a_name too_few_images mononym excluded repeated_image \
             too_many_tokens bad_portrait no_face several_faces different_people \
             unknown_name dns connect tls timeout bad_response too_many_redirects \
             http_4xx http_5xx too_large not_an_image corrupt opt_out blocked_address \
             hash_mismatch duplicate_of placeholder other_person face_too_small above_cap \
             malformed_row not_downloaded validation_photo poison forgotten rejected drawn_by_name"
        );
    }
}
