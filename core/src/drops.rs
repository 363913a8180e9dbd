//! Why a row leaves the pipeline: one enum for all stages, and the unit that each count is in.

use serde::{Deserialize, Serialize};

macro_rules! closed_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in declared order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word written in tables, records and reports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|v| v.as_str()).collect();
                    format!("unknown value `{text}`: one of {}", words.join(", "))
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use closed_words;

closed_words! {
    /// What a row stands for in counts.
    Unit {
        /// A caption of the source.
        Caption = "caption",
        /// A PERSON span in a caption.
        Mention = "mention",
        /// A canonical name.
        Name = "name",
        /// A generated portrait.
        Portrait = "portrait",
        /// A web image of a name: a candidate, later a photo.
        Image = "image",
        /// A name with its photos.
        Identity = "identity",
        /// A generated picture of an unseen person.
        Sample = "sample",
    }
}

closed_words! {
    /// Why a row was dropped. The detail (code, score, directive, kept id) is a column of its own.
    DropReason {
        /// No PERSON span in the caption.
        NoPerson = "no_person",
        /// Below the minimum width or height.
        TooSmall = "too_small",
        /// `punsafe` above the setting.
        Unsafe = "unsafe",
        /// `pwatermark` above the setting.
        Watermarked = "watermarked",
        /// `similarity` below the setting.
        LowSimilarity = "low_similarity",
        /// Null, empty or blank caption, or one that is not UTF-8.
        EmptyCaption = "empty_caption",
        /// Not an http(s) url.
        BadUrl = "bad_url",
        /// The same url and caption again.
        RepeatedCaption = "repeated_caption",
        /// The span is no person's name.
        NotAName = "not_a_name",
        /// Fewer images than `min_images`.
        TooFewImages = "too_few_images",
        /// One name word, and not common enough.
        Mononym = "mononym",
        /// On the manifest's exclusion list.
        Excluded = "excluded",
        /// The same name and image again.
        RepeatedImage = "repeated_image",
        /// The name alone needs more than eight tokens.
        TooManyTokens = "too_many_tokens",
        /// The image could not be decoded when drawn (not finite).
        BadPortrait = "bad_portrait",
        /// No face found.
        NoFace = "no_face",
        /// More than one face in a portrait.
        SeveralFaces = "several_faces",
        /// Two portraits of one name disagree.
        DifferentPeople = "different_people",
        /// The name has not passed verify-portraits.
        UnknownName = "unknown_name",
        /// The host has no address.
        Dns = "dns",
        /// Refused, reset or cut off.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The whole-request deadline passed.
        Timeout = "timeout",
        /// Malformed HTTP.
        BadResponse = "bad_response",
        /// More redirects than allowed, or a loop.
        TooManyRedirects = "too_many_redirects",
        /// A 4xx answer, its code in the detail.
        Http4xx = "http_4xx",
        /// A 5xx answer, its code in the detail.
        Http5xx = "http_5xx",
        /// More bytes or pixels than the cap.
        TooLarge = "too_large",
        /// The bytes are of no image format.
        NotAnImage = "not_an_image",
        /// An image format, but it does not decode.
        Corrupt = "corrupt",
        /// An opt-out directive, in the detail.
        OptOut = "opt_out",
        /// A loopback, private, link-local or metadata address.
        BlockedAddress = "blocked_address",
        /// The bytes are not those of the metadata's hash.
        HashMismatch = "hash_mismatch",
        /// The same picture as the image in the detail.
        DuplicateOf = "duplicate_of",
        /// No face in the photo matches the portraits.
        OtherPerson = "other_person",
        /// The best face is smaller than the setting.
        FaceTooSmall = "face_too_small",
        /// Beyond `max_images` of its identity.
        AboveCap = "above_cap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_parse_back() {
        for reason in DropReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
        let mut words: Vec<_> = DropReason::ALL.iter().map(|r| r.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), DropReason::ALL.len());
    }
}
