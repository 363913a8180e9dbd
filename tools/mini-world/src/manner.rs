//! How a url of the embedded world's web answers: properly, oddly but well, or as a trap for one drop reason.

use laioncele_core::DropReason;
use serde::{Deserialize, Serialize};

/// Headers by which a site opts out of our use.
pub(crate) const OPT_OUTS: [&[&str]; 7] = [
    &["noai"],
    &["NoImageAI"],
    &["index, follow, noimageindex"],
    &["all", "none"],
    &["unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noindex"],
    &["googlebot: all, laioncele: noai"],
    &["max-snippet: 20, NOINDEX"],
];

/// How a url answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// The picture.
    #[default]
    Plain,
    /// A relative redirect, then the picture.
    Moved,
    /// Three redirects, one of them with an absolute url, then the picture.
    MovedOften,
    /// Some tenths of a second of silence, then the picture.
    Slow,
    /// 429 with `Retry-After` at first.
    BusyAtFirst,
    /// 503 at first.
    BrokenAtFirst,
    /// The picture in chunks, without a length.
    Chunked,
    /// The picture, called text.
    CalledText,
    /// A PNG behind .jpg.
    PngInside,
    /// An opt-out that addresses another robot, and directives that are none.
    NotForUs,

    /// A redirect to ftp.
    ToFtp,
    /// A redirect to a host without an address.
    ToNowhere,
    /// The url's own host has no address.
    NoHost,
    /// Closed without an answer.
    Hangup,
    /// Closed in the middle of the picture.
    CutOff,
    /// The url is https, the port is not.
    NoTls,
    /// Silence.
    Silent,
    /// A byte now and then, for ever.
    Drip,
    /// Another protocol.
    Gibberish,
    /// A redirect that does not say where to.
    NowhereToGo,
    /// A redirect to itself.
    Loop,
    /// Ever another redirect.
    Chain,
    /// 404.
    Missing,
    /// 410.
    Gone,
    /// 403.
    Forbidden,
    /// 503, always.
    Broken,
    /// A `Content-Length` of a terabyte.
    Huge,
    /// Bytes without end.
    Endless,
    /// A PNG header that announces 50,000 × 50,000 pixels.
    HugePixels,
    /// HTML behind .jpg.
    Html,
    /// No bytes.
    Empty,
    /// Half a JPEG.
    Truncated,
    /// 16 × 16 pixels.
    Thumbnail,
    /// The picture, with an opt-out in one of several dresses.
    OptOut(usize),
    /// A redirect to 127.0.0.1.
    ToLoopback,
    /// A redirect to the name `localhost`.
    ToLocalhost,
    /// A redirect to a cloud's metadata service.
    ToMetadata,
    /// The picture, but the captions' table has the hash of another one.
    OtherHash,
}

impl Manner {
    /// The odd ways in which a picture arrives all the same.
    pub const ODD: [Self; 9] = [
        Self::Moved,
        Self::MovedOften,
        Self::Slow,
        Self::BusyAtFirst,
        Self::BrokenAtFirst,
        Self::Chunked,
        Self::CalledText,
        Self::PngInside,
        Self::NotForUs,
    ];

    /// The traps. Those that take a downloader's patience stand beside each other, so that they can be met at once.
    pub const TRAPS: [Self; 34] = [
        Self::Silent,
        Self::Drip,
        Self::ToFtp,
        Self::ToNowhere,
        Self::NoHost,
        Self::Hangup,
        Self::CutOff,
        Self::NoTls,
        Self::Gibberish,
        Self::NowhereToGo,
        Self::Loop,
        Self::Chain,
        Self::Missing,
        Self::Gone,
        Self::Forbidden,
        Self::Broken,
        Self::Huge,
        Self::Endless,
        Self::HugePixels,
        Self::Html,
        Self::Empty,
        Self::Truncated,
        Self::Thumbnail,
        Self::OptOut(0),
        Self::OptOut(1),
        Self::OptOut(2),
        Self::OptOut(3),
        Self::OptOut(4),
        Self::OptOut(5),
        Self::OptOut(6),
        Self::ToLoopback,
        Self::ToLocalhost,
        Self::ToMetadata,
        Self::OtherHash,
    ];

    /// What download-images must say of it; `None` if the picture arrives.
    pub const fn expected(self) -> Option<DropReason> {
        Some(match self {
            Self::Plain
            | Self::Moved
            | Self::MovedOften
            | Self::Slow
            | Self::BusyAtFirst
            | Self::BrokenAtFirst
            | Self::Chunked
            | Self::CalledText
            | Self::PngInside
            | Self::NotForUs => return None,
            Self::ToFtp => DropReason::BadUrl,
            Self::ToNowhere | Self::NoHost => DropReason::Dns,
            Self::Hangup | Self::CutOff => DropReason::Connect,
            Self::NoTls => DropReason::Tls,
            Self::Silent | Self::Drip => DropReason::Timeout,
            Self::Gibberish | Self::NowhereToGo => DropReason::BadResponse,
            Self::Loop | Self::Chain => DropReason::TooManyRedirects,
            Self::Missing | Self::Gone | Self::Forbidden => DropReason::Http4xx,
            Self::Broken => DropReason::Http5xx,
            Self::Huge | Self::Endless | Self::HugePixels => DropReason::TooLarge,
            Self::Html | Self::Empty => DropReason::NotAnImage,
            Self::Truncated => DropReason::Corrupt,
            Self::Thumbnail => DropReason::TooSmall,
            Self::OptOut(_) => DropReason::OptOut,
            Self::ToLoopback | Self::ToLocalhost | Self::ToMetadata => DropReason::BlockedAddress,
            Self::OtherHash => DropReason::HashMismatch,
        })
    }

    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_drop_reason_of_download_images_has_a_trap() {
        let reasons: HashSet<_> = Manner::TRAPS.iter().filter_map(|m| m.expected()).collect();
        use DropReason as R;
        for reason in [
            R::BadUrl,
            R::Dns,
            R::Connect,
            R::Tls,
            R::Timeout,
            R::BadResponse,
            R::TooManyRedirects,
            R::Http4xx,
            R::Http5xx,
            R::TooLarge,
            R::NotAnImage,
            R::Corrupt,
            R::TooSmall,
            R::OptOut,
            R::BlockedAddress,
            R::HashMismatch,
        ] {
            assert!(reasons.contains(&reason), "{reason}");
        }
        assert!(Manner::ODD.iter().all(|m| m.expected().is_none()));
    }

    #[test]
    fn traps_are_distinct_and_every_opt_out_is_met() {
        assert_eq!(
            Manner::TRAPS.iter().collect::<HashSet<_>>().len(),
            Manner::TRAPS.len()
        );
        let dresses = Manner::TRAPS
            .iter()
            .filter(|m| matches!(m, Manner::OptOut(_)));
        assert_eq!(dresses.count(), OPT_OUTS.len());
    }
}
