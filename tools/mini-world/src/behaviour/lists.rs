//! The values that pages of one behaviour vary in, and which behaviours a world has pages of.

use super::PageBehaviour;

/// Values of `X-Robots-Tag` by which a site opts out of our use.
pub(crate) const OPT_OUTS: [&[&str]; 14] = [
    &["noai"],
    &["NoImageAI"],
    &["index, follow, noimageindex"],
    &["all", "none"],
    &["unavailable_after: Wed, 25 Jun 2031 15:00:00 GMT, noindex"],
    &["googlebot: all, laioncele: noai"],
    &["max-snippet: 20, NOINDEX"],
    &["none"],
    &["*: noai"],
    &["laioncele : noindex"],
    &["LaionCele/0.1: none"],
    &["noarchive; noimageai"],
    &["nofollow", "googlebot: all", "NOAI"],
    &["max-image-preview:large,max-video-preview:-1,noimageindex"],
];

/// Values of `X-Robots-Tag` that are no opt-out from our use: for another robot, or about something else.
pub(crate) const NO_OPT_OUTS: [&str; 6] = [
    "googlebot: noindex",
    "nofollow, noarchive",
    "Some Other Bot/2.0: noai",
    "otherbot: all, noimageai",
    "max-image-preview: none",
    "googlebot: unavailable_after: 25 Jun 2031 15:00:00 GMT, noindex",
];

/// Hosts that are addresses where no url from the web may lead, in many spellings.
pub(crate) const ADDRESSES: [&str; 33] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.1.",
    "\u{ff11}\u{ff12}\u{ff17}.\u{ff10}.\u{ff10}.\u{ff11}",
    "\u{2460}\u{2461}\u{2466}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "localhost",
    "photos.localhost",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "3232235777",
    "0300.0250.0.1",
    "100.64.0.1",
    "169.254.0.1",
    "169.254.169.254",
    "2852039166",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[fd00:ec2::254]",
    "[fc00::1]",
    "[fe80::1]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::1]",
];

/// Urls that no web client asks for.
pub(crate) const OTHER_SCHEMES: [&str; 5] = [
    "file:///etc/passwd",
    "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=",
    "javascript:history.back()",
    "gopher://files.example/photo.jpg",
    "about:blank",
];

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

    /// What a server may do out of rudeness or age, and an image that it gives all the same.
    pub const RUDE: [Self; 33] = [
        Self::RetryAfterSecond,
        Self::RetryAfterPast,
        Self::EarlyHints,
        Self::ManyHeaders,
        Self::FoldedHeaders,
        Self::HeaderWithoutColon,
        Self::BareLineFeeds,
        Self::TinyChunks,
        Self::ChunkedHttp10,
        Self::UntilClose,
        Self::Gzip,
        Self::GzipSilent,
        Self::Deflate,
        Self::DeflateRaw,
        Self::GzipLie,
        Self::DiesOnReuse,
        Self::RawPath,
        Self::RawLocation,
        Self::AmpInUrl,
        Self::CookieBanner,
        Self::Gif,
        Self::AnimatedGif,
        Self::Bmp,
        Self::Tiff,
        Self::WebP,
        Self::GrayJpeg,
        Self::DeepPng,
        Self::TransparentPng,
        Self::Avif,
        Self::CmykJpeg,
        Self::OneBitPng,
        Self::PalettePng,
        Self::AnimatedWebP,
    ];

    /// The traps. Those that a downloader has to wait for come first, beside each other, so that it
    /// can wait for them at the same time.
    pub fn traps() -> Vec<Self> {
        let mut traps = Self::SINGLE_TRAPS.to_vec();
        traps.extend((0..OPT_OUTS.len()).map(Self::OptOut));
        traps.extend((0..OTHER_SCHEMES.len()).map(Self::RedirectToScheme));
        traps.extend((0..ADDRESSES.len()).map(Self::BlockedAddress));
        traps.extend((0..ADDRESSES.len()).map(Self::RedirectToAddress));
        traps.push(Self::HashMismatch);
        traps
    }

    /// The traps of which there is one form.
    const SINGLE_TRAPS: [Self; 44] = [
        Self::NoAnswer,
        Self::SlowDrip,
        Self::SlowHead,
        Self::RetryAfterHour,
        Self::RedirectToFtp,
        Self::RedirectToUnknownHost,
        Self::UnknownHost,
        Self::ClosedAtOnce,
        Self::ClosedMidBody,
        Self::NoTls,
        Self::NotHttp,
        Self::RedirectWithoutLocation,
        Self::RedirectLoop,
        Self::RedirectCircle,
        Self::EndlessRedirects,
        Self::NotFound,
        Self::Gone,
        Self::Forbidden,
        Self::Unavailable,
        Self::HugeContentLength,
        Self::EndlessBody,
        Self::EndlessChunks,
        Self::EndlessChunkExtension,
        Self::HugeHeader,
        Self::EndlessHeaders,
        Self::EndlessHints,
        Self::DifferentLengths,
        Self::ShortLength,
        Self::GzipBomb,
        Self::GzipCut,
        Self::HugePixels,
        Self::HugeJpeg,
        Self::HugeGif,
        Self::Html,
        Self::Svg,
        Self::EmptyBody,
        Self::TruncatedFile,
        Self::TruncatedPng,
        Self::TruncatedGif,
        Self::Thumbnail,
        Self::TrackingPixel,
        Self::RedirectToLoopback,
        Self::RedirectToLocalhost,
        Self::RedirectToMetadata,
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use laioncele_core::DropReason;

    use super::*;

    #[test]
    fn traps_cover_every_drop_reason_of_download_images() {
        use DropReason as R;
        let traps = PageBehaviour::traps();
        let reasons: HashSet<_> = traps.iter().filter_map(|t| t.expected_drop()).collect();
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
    fn traps_drop_and_the_others_drop_nothing() {
        let drops = |behaviour: &PageBehaviour| behaviour.expected_drop().is_some();
        assert!(PageBehaviour::traps().iter().all(drops));
        let mut kept = PageBehaviour::UNUSUAL.iter().chain(&PageBehaviour::RUDE);
        assert!(!kept.any(drops));
    }

    #[test]
    fn behaviours_are_listed_once() {
        let traps = PageBehaviour::traps();
        let all = (traps.iter())
            .chain(&PageBehaviour::UNUSUAL)
            .chain(&PageBehaviour::RUDE);
        let distinct: HashSet<_> = all.clone().collect();
        assert_eq!(distinct.len(), all.count());
    }
}
