//! How a page of the embedded world's web behaves: it gives its image, gives it in an unusual but
//! valid way, or is a trap that leads to one drop reason.

use laioncele_core::DropReason;
use serde::{Deserialize, Serialize};

/// Values of `X-Robots-Tag` by which a site opts out of our use.
pub(crate) const OPT_OUTS: [&[&str]; 7] = [
    &["noai"],
    &["NoImageAI"],
    &["index, follow, noimageindex"],
    &["all", "none"],
    &["unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noindex"],
    &["googlebot: all, laioncele: noai"],
    &["max-snippet: 20, NOINDEX"],
];

/// How a page behaves. `web.json` keeps the words of its first version (the `rename`s), so that its
/// bytes stay the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageBehaviour {
    /// Gives the image.
    #[default]
    #[serde(rename = "plain")]
    Normal,
    /// A relative redirect, then the image.
    #[serde(rename = "moved")]
    Redirect,
    /// Three redirects, one of them with an absolute url, then the image.
    #[serde(rename = "moved_often")]
    ThreeRedirects,
    /// Some tenths of a second without an answer, then the image.
    Slow,
    /// 429 with `Retry-After` at the first request, then the image.
    #[serde(rename = "busy_at_first")]
    TooManyRequestsOnce,
    /// 503 at the first request, then the image.
    #[serde(rename = "broken_at_first")]
    UnavailableOnce,
    /// The image with chunked transfer encoding, so without a length.
    Chunked,
    /// The image with the content type `text/plain`.
    #[serde(rename = "called_text")]
    TextContentType,
    /// A PNG file behind a url that ends in .jpg.
    #[serde(rename = "png_inside")]
    PngNamedJpg,
    /// The image with an opt-out for another robot and with directives that are no opt-out.
    #[serde(rename = "not_for_us")]
    OptOutOfOtherRobot,

    /// A redirect to an ftp url.
    #[serde(rename = "to_ftp")]
    RedirectToFtp,
    /// A redirect to a host without an address.
    #[serde(rename = "to_nowhere")]
    RedirectToUnknownHost,
    /// The url's own host has no address.
    #[serde(rename = "no_host")]
    UnknownHost,
    /// The connection is closed without an answer.
    #[serde(rename = "hangup")]
    ClosedAtOnce,
    /// The connection is closed in the middle of the image.
    #[serde(rename = "cut_off")]
    ClosedMidBody,
    /// The url is https, but the port does not speak TLS.
    NoTls,
    /// No answer, ever.
    #[serde(rename = "silent")]
    NoAnswer,
    /// One byte now and then, without end.
    #[serde(rename = "drip")]
    SlowDrip,
    /// An answer that is not HTTP.
    #[serde(rename = "gibberish")]
    NotHttp,
    /// A redirect without a `Location`.
    #[serde(rename = "nowhere_to_go")]
    RedirectWithoutLocation,
    /// A redirect to itself.
    #[serde(rename = "loop")]
    RedirectLoop,
    /// One redirect after the other, without end.
    #[serde(rename = "chain")]
    EndlessRedirects,
    /// 404.
    #[serde(rename = "missing")]
    NotFound,
    /// 410.
    Gone,
    /// 403.
    Forbidden,
    /// 503, always.
    #[serde(rename = "broken")]
    Unavailable,
    /// A `Content-Length` of a terabyte.
    #[serde(rename = "huge")]
    HugeContentLength,
    /// A body without end.
    #[serde(rename = "endless")]
    EndlessBody,
    /// A PNG header that announces 50,000 × 50,000 pixels.
    HugePixels,
    /// HTML behind a url that ends in .jpg.
    Html,
    /// An empty body.
    #[serde(rename = "empty")]
    EmptyBody,
    /// The first half of a JPEG file.
    #[serde(rename = "truncated")]
    TruncatedFile,
    /// An image of 16 × 16 pixels.
    Thumbnail,
    /// The image with this entry of the list of opt-outs.
    OptOut(usize),
    /// A redirect to 127.0.0.1.
    #[serde(rename = "to_loopback")]
    RedirectToLoopback,
    /// A redirect to the name `localhost`.
    #[serde(rename = "to_localhost")]
    RedirectToLocalhost,
    /// A redirect to a cloud's metadata service.
    #[serde(rename = "to_metadata")]
    RedirectToMetadata,
    /// The image, but the captions' table has the hash of another file.
    #[serde(rename = "other_hash")]
    HashMismatch,
}

impl PageBehaviour {
    /// Unusual ways in which the image arrives all the same.
    pub const UNUSUAL: [Self; 9] = [
        Self::Redirect,
        Self::ThreeRedirects,
        Self::Slow,
        Self::TooManyRequestsOnce,
        Self::UnavailableOnce,
        Self::Chunked,
        Self::TextContentType,
        Self::PngNamedJpg,
        Self::OptOutOfOtherRobot,
    ];

    /// The traps. Those that a downloader has to wait for come first, beside each other, so that it
    /// can wait for them at the same time.
    pub const TRAPS: [Self; 34] = [
        Self::NoAnswer,
        Self::SlowDrip,
        Self::RedirectToFtp,
        Self::RedirectToUnknownHost,
        Self::UnknownHost,
        Self::ClosedAtOnce,
        Self::ClosedMidBody,
        Self::NoTls,
        Self::NotHttp,
        Self::RedirectWithoutLocation,
        Self::RedirectLoop,
        Self::EndlessRedirects,
        Self::NotFound,
        Self::Gone,
        Self::Forbidden,
        Self::Unavailable,
        Self::HugeContentLength,
        Self::EndlessBody,
        Self::HugePixels,
        Self::Html,
        Self::EmptyBody,
        Self::TruncatedFile,
        Self::Thumbnail,
        Self::OptOut(0),
        Self::OptOut(1),
        Self::OptOut(2),
        Self::OptOut(3),
        Self::OptOut(4),
        Self::OptOut(5),
        Self::OptOut(6),
        Self::RedirectToLoopback,
        Self::RedirectToLocalhost,
        Self::RedirectToMetadata,
        Self::HashMismatch,
    ];

    /// The reason for which download-images must drop the photo; `None` if the image arrives.
    pub const fn expected_drop(self) -> Option<DropReason> {
        Some(match self {
            Self::Normal
            | Self::Redirect
            | Self::ThreeRedirects
            | Self::Slow
            | Self::TooManyRequestsOnce
            | Self::UnavailableOnce
            | Self::Chunked
            | Self::TextContentType
            | Self::PngNamedJpg
            | Self::OptOutOfOtherRobot => return None,
            Self::RedirectToFtp => DropReason::BadUrl,
            Self::RedirectToUnknownHost | Self::UnknownHost => DropReason::Dns,
            Self::ClosedAtOnce | Self::ClosedMidBody => DropReason::Connect,
            Self::NoTls => DropReason::Tls,
            Self::NoAnswer | Self::SlowDrip => DropReason::Timeout,
            Self::NotHttp | Self::RedirectWithoutLocation => DropReason::BadResponse,
            Self::RedirectLoop | Self::EndlessRedirects => DropReason::TooManyRedirects,
            Self::NotFound | Self::Gone | Self::Forbidden => DropReason::Http4xx,
            Self::Unavailable => DropReason::Http5xx,
            Self::HugeContentLength | Self::EndlessBody | Self::HugePixels => DropReason::TooLarge,
            Self::Html | Self::EmptyBody => DropReason::NotAnImage,
            Self::TruncatedFile => DropReason::Corrupt,
            Self::Thumbnail => DropReason::TooSmall,
            Self::OptOut(_) => DropReason::OptOut,
            Self::RedirectToLoopback | Self::RedirectToLocalhost | Self::RedirectToMetadata => {
                DropReason::BlockedAddress
            }
            Self::HashMismatch => DropReason::HashMismatch,
        })
    }

    pub(crate) fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn traps_cover_every_drop_reason_of_download_images() {
        use DropReason as R;
        let traps = PageBehaviour::TRAPS.iter();
        let reasons: HashSet<_> = traps.filter_map(|trap| trap.expected_drop()).collect();
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
    }

    #[test]
    fn unusual_behaviours_drop_nothing() {
        let mut unusual = PageBehaviour::UNUSUAL.iter();
        assert!(unusual.all(|behaviour| behaviour.expected_drop().is_none()));
    }

    #[test]
    fn traps_are_distinct_and_use_every_opt_out() {
        let distinct: HashSet<_> = PageBehaviour::TRAPS.iter().collect();
        assert_eq!(distinct.len(), PageBehaviour::TRAPS.len());
        let opt_outs = PageBehaviour::TRAPS
            .iter()
            .filter(|trap| matches!(trap, PageBehaviour::OptOut(_)));
        assert_eq!(opt_outs.count(), OPT_OUTS.len());
    }
}
