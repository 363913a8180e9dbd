//! How a page of the embedded world's web behaves: it gives its image, gives it in an unusual but
//! valid way, or is a trap that leads to one drop reason.

mod lists;

use laioncele_core::DropReason;
use serde::{Deserialize, Serialize};

pub(crate) use lists::{ADDRESSES, NO_OPT_OUTS, OPT_OUTS, OTHER_SCHEMES};

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

    /// 503 with `Retry-After: 1`. Who comes back sooner gets 403 for ever, the others the image.
    RetryAfterSecond,
    /// 429 with a date in the past as `Retry-After` at the first request, then the image.
    RetryAfterPast,
    /// Some 103 Early Hints and a 100 Continue, then the image.
    EarlyHints,
    /// The image under 300 headers.
    ManyHeaders,
    /// The image with headers that go on in the next line.
    FoldedHeaders,
    /// The image under a head with lines that are no headers.
    HeaderWithoutColon,
    /// The image under a head whose lines end in LF alone.
    BareLineFeeds,
    /// The image in chunks of a byte or a few, with extensions and a trailer.
    TinyChunks,
    /// The image in chunks under HTTP/1.0, which has none.
    ChunkedHttp10,
    /// The image without a length: it ends with the connection.
    UntilClose,
    /// The image packed by gzip, which nobody asked for.
    Gzip,
    /// The same without a word about it.
    GzipSilent,
    /// The image packed by deflate, which nobody asked for.
    Deflate,
    /// The same without the frame that the standard asks for.
    DeflateRaw,
    /// The image as it is, said to be packed by gzip.
    GzipLie,
    /// The image. The connection is said to be kept, and closed when it is used again.
    DiesOnReuse,
    /// A url with raw UTF-8 and blanks in its path.
    RawPath,
    /// A redirect whose `Location` has raw UTF-8 and blanks in its path.
    RawLocation,
    /// A url whose `&` are written as `&amp;`; the server knows them as `&` only.
    AmpInUrl,
    /// A redirect that sets cookies, and the image with or without them.
    CookieBanner,
    /// A GIF file behind a url that ends in .jpg, as all files below.
    Gif,
    /// A GIF file with the image as its first frame.
    AnimatedGif,
    /// A BMP file.
    Bmp,
    /// A TIFF file.
    Tiff,
    /// A WebP file.
    WebP,
    /// A JPEG file without colours.
    GrayJpeg,
    /// A PNG file of 16 bits a channel.
    DeepPng,
    /// A PNG file with an alpha channel.
    TransparentPng,
    /// An AVIF file, the same one on each page, as the files below.
    Avif,
    /// A JPEG file in CMYK.
    CmykJpeg,
    /// A PNG file of a bit a pixel.
    OneBitPng,
    /// A PNG file with a palette, one of its colours transparent.
    PalettePng,
    /// A WebP file of several frames.
    AnimatedWebP,
    /// The image with a comment of its own in the file: no two pages give the same bytes.
    Stamped,

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
    /// The url's host is this entry of the list of addresses where nobody may go.
    BlockedAddress(usize),
    /// A redirect to this entry of that list.
    RedirectToAddress(usize),
    /// A redirect to this entry of the list of urls that no web client asks for.
    RedirectToScheme(usize),
    /// One byte of the head now and then, without end.
    SlowHead,
    /// 429, and to be left alone for an hour.
    RetryAfterHour,
    /// A redirect to another url that leads back.
    RedirectCircle,
    /// Chunks without end.
    EndlessChunks,
    /// A chunk whose extension has no end.
    EndlessChunkExtension,
    /// A header of a megabyte.
    HugeHeader,
    /// Headers without end.
    EndlessHeaders,
    /// 103 Early Hints without end.
    EndlessHints,
    /// Two `Content-Length`s that differ.
    DifferentLengths,
    /// A `Content-Length` that is too short for the image.
    ShortLength,
    /// 64 MB of zeros, packed by gzip into 400 kB.
    GzipBomb,
    /// The first half of the image packed by gzip.
    GzipCut,
    /// A JPEG header that announces 65,500 × 65,500 pixels.
    HugeJpeg,
    /// A GIF header that announces 65,535 × 65,535 pixels.
    HugeGif,
    /// A drawing in SVG.
    Svg,
    /// The first half of a PNG file.
    TruncatedPng,
    /// The first half of a GIF file.
    TruncatedGif,
    /// A GIF file of one transparent pixel.
    TrackingPixel,
    /// The image, but the captions' table has the hash of another file.
    #[serde(rename = "other_hash")]
    HashMismatch,
}

impl PageBehaviour {
    /// The reason for which download-images must drop the photo; `None` if the image arrives.
    pub const fn expected_drop(self) -> Option<DropReason> {
        Some(match self {
            Self::RedirectToFtp | Self::RedirectToScheme(_) => DropReason::BadUrl,
            Self::RedirectToUnknownHost | Self::UnknownHost => DropReason::Dns,
            Self::ClosedAtOnce | Self::ClosedMidBody => DropReason::Connect,
            Self::NoTls => DropReason::Tls,
            Self::NoAnswer | Self::SlowDrip | Self::SlowHead => DropReason::Timeout,
            Self::NotHttp
            | Self::RedirectWithoutLocation
            | Self::EndlessChunkExtension
            | Self::HugeHeader
            | Self::EndlessHeaders
            | Self::EndlessHints
            | Self::DifferentLengths
            | Self::GzipCut => DropReason::BadResponse,
            Self::RedirectLoop | Self::RedirectCircle | Self::EndlessRedirects => {
                DropReason::TooManyRedirects
            }
            Self::NotFound | Self::Gone | Self::Forbidden | Self::RetryAfterHour => {
                DropReason::Http4xx
            }
            Self::Unavailable => DropReason::Http5xx,
            Self::HugeContentLength
            | Self::EndlessBody
            | Self::EndlessChunks
            | Self::GzipBomb
            | Self::HugePixels
            | Self::HugeJpeg
            | Self::HugeGif => DropReason::TooLarge,
            Self::Html | Self::Svg | Self::EmptyBody => DropReason::NotAnImage,
            Self::TruncatedFile | Self::TruncatedPng | Self::TruncatedGif | Self::ShortLength => {
                DropReason::Corrupt
            }
            Self::Thumbnail | Self::TrackingPixel => DropReason::TooSmall,
            Self::OptOut(_) => DropReason::OptOut,
            Self::RedirectToLoopback
            | Self::RedirectToLocalhost
            | Self::RedirectToMetadata
            | Self::BlockedAddress(_)
            | Self::RedirectToAddress(_) => DropReason::BlockedAddress,
            Self::HashMismatch => DropReason::HashMismatch,
            _ => return None,
        })
    }

    /// Whether the page gives a file that does not depend on its image and shows nobody.
    pub(crate) const fn has_its_own_file(self) -> bool {
        matches!(
            self,
            Self::Avif | Self::CmykJpeg | Self::OneBitPng | Self::PalettePng | Self::AnimatedWebP
        )
    }

    pub(crate) fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}
