//! A world while it is being made. Each photo gets its page, its truth and its captions together,
//! so that web, captions and truth always agree.

use std::collections::BTreeMap;

use laioncele_core::{CaptionId, DropReason, ImageId};
use md5::{Digest, Md5};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::behaviour::{ADDRESSES, PageBehaviour};
use crate::captions::CaptionRow;
use crate::error::WorldError;
use crate::people::Person;
use crate::random;
use crate::recipe::ImageRecipe;
use crate::render::Anatomy;
use crate::spelling::Spelling;
use crate::truth::{FilteredCaption, PhotoContent, TrueMention, TrueName, TruePhoto, Truth};
use crate::web::{HOST_SUFFIX, Page, Web};

/// Hosts of the embedded world's web.
const HOSTS: [&str; 12] = [
    "img.pressroom.example",
    "cdn.redcarpet.example",
    "photos.daily-courier.example",
    "static.filmfans.example",
    "media.galanight.example",
    "www.portraitarchive.example",
    "i.snapshare.example",
    "assets.stageandscreen.example",
    "www.cityherald.example",
    "pics.fanpage.example",
    "img.bookfair.example",
    "cdn.stockpictures.example",
];
/// A host that no name server knows and that the web does not serve.
const UNKNOWN_HOST: &str = "photos.gone.invalid";
/// A host that wants to be left alone: nothing else is there that would have to wait with it.
const BUSY_HOST: &str = "busy.overload.example";
/// The host that shows one picture in place of many.
const HOTLINK_HOST: &str = "static.hotlink.example";
/// Heights that a photo may have, in pixels.
const HEIGHTS: [u32; 4] = [128, 144, 160, 192];

/// A name of the world, with the positions under which it and its person are stored.
#[derive(Clone, Debug)]
pub(super) struct NameRef {
    /// Position in the truth's names.
    pub(super) name: usize,
    /// The name's text.
    pub(super) text: String,
    /// The person's position in the web's people.
    pub(super) person: usize,
}

/// A name in a caption.
pub(super) struct NameInCaption<'a> {
    pub(super) name: &'a NameRef,
    pub(super) spelling: Spelling,
    /// The name as the caption has it.
    pub(super) text: String,
}

/// What is true of a photo under a name, see [`TruePhoto`].
#[derive(Clone, Copy, Debug)]
pub(super) struct PhotoTruth {
    pub(super) content: PhotoContent,
    pub(super) original: usize,
    pub(super) eligible: bool,
}

/// The world so far.
pub(super) struct WorldBuilder {
    pub(super) seed: u64,
    pub(super) web: Web,
    pub(super) rows: Vec<CaptionRow>,
    pub(super) truth: Truth,
    /// How many urls exist. Each gets its number.
    urls: u64,
    /// How many original images exist. Each gets its number.
    originals: usize,
}

impl WorldBuilder {
    pub(super) fn new(truth: Truth) -> Self {
        Self {
            seed: truth.seed,
            web: Web {
                people: Vec::new(),
                pages: BTreeMap::new(),
            },
            rows: Vec::new(),
            truth,
            urls: 0,
            originals: 0,
        }
    }

    /// Adds a name and its person.
    pub(super) fn add_name(&mut self, person: Person, known: bool) -> NameRef {
        let Person { name, anatomy } = person;
        let added = NameRef {
            name: self.truth.names.len(),
            text: name.clone(),
            person: self.add_person(anatomy),
        };
        self.truth.names.push(TrueName {
            name,
            known,
            excluded: false,
        });
        added
    }

    /// Adds a person and returns the position in the web's people.
    pub(super) fn add_person(&mut self, anatomy: Anatomy) -> usize {
        self.web.people.push(anatomy);
        self.web.people.len() - 1
    }

    /// The truth of a new original image.
    pub(super) fn new_truth(&mut self, content: PhotoContent, eligible: bool) -> PhotoTruth {
        self.originals += 1;
        PhotoTruth {
            content,
            original: self.originals,
            eligible,
        }
    }

    /// A random photo of `people`.
    pub(super) fn new_image(&mut self, people: Vec<usize>, rng: &mut ChaCha8Rng) -> ImageRecipe {
        ImageRecipe {
            close_up: people.len() == 1 && rng.random_ratio(1, 7),
            posed: false,
            people,
            seed: rng.random(),
            height: HEIGHTS[rng.random_range(0..HEIGHTS.len())],
            quality: rng.random_range(85..=95),
        }
    }

    /// Adds a page with `image` to the web and returns its url, which has `title` in its path.
    pub(super) fn add_page(
        &mut self,
        title: &str,
        image: ImageRecipe,
        behaviour: PageBehaviour,
    ) -> String {
        let number = self.urls;
        self.urls += 1;
        let mut rng = random::generator(self.seed, "url", number);
        let host = match behaviour {
            PageBehaviour::UnknownHost => UNKNOWN_HOST,
            PageBehaviour::RetryAfterHour => BUSY_HOST,
            PageBehaviour::Stamped => HOTLINK_HOST,
            PageBehaviour::BlockedAddress(at) => ADDRESSES[at % ADDRESSES.len()],
            _ => HOSTS[rng.random_range(0..HOSTS.len())],
        };
        let slug = title
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let year = rng.random_range(2006..2022);
        let path = match behaviour {
            PageBehaviour::RawPath => format!("/{year}/portr\u{e4}t von {slug}-{number:04}.jpg"),
            _ => format!("/{year}/{slug}-{number:04}.jpg"),
        };
        if host.ends_with(HOST_SUFFIX) {
            let page = Page { image, behaviour };
            self.web.pages.insert(Web::key(host, &path), page);
        }
        let scheme = match behaviour {
            PageBehaviour::NoTls => "https",
            _ => "http",
        };
        let query = match behaviour {
            PageBehaviour::AmpInUrl => "?size=large&amp;v=2",
            _ => "",
        };
        format!("{scheme}://{host}{path}{query}")
    }

    /// Notes that the photo at `url` is under `name`.
    pub(super) fn add_photo(
        &mut self,
        name: &NameRef,
        url: &str,
        truth: PhotoTruth,
        expected_drop: Option<DropReason>,
    ) {
        self.truth.photos.push(TruePhoto {
            name: name.name,
            url: url.to_owned(),
            content: truth.content,
            original: truth.original,
            eligible: truth.eligible && expected_drop.is_none(),
            expected_drop,
        });
    }

    /// Adds a caption beside `url` in which `names` are written.
    pub(super) fn add_caption(&mut self, url: &str, text: String, names: &[NameInCaption<'_>]) {
        let caption = CaptionId::of(url, &text);
        for name in names {
            self.truth.mentions.push(TrueMention {
                name: name.name.name,
                caption,
                image: ImageId::of(url),
                text: name.text.clone(),
                spelling: name.spelling,
            });
        }
        self.add_row(url, Some(text), |_| {});
    }

    /// Adds a caption that the source's filters must drop for `reason`, after `spoil` has changed
    /// its row.
    pub(super) fn add_filtered_caption(
        &mut self,
        url: &str,
        text: String,
        reason: DropReason,
        spoil: fn(&mut CaptionRow),
    ) {
        let caption = CaptionId::of(url, &text);
        self.truth
            .filtered
            .push(FilteredCaption { caption, reason });
        self.add_row(url, Some(text), spoil);
    }

    /// Adds a row whose metadata pass the source's filters, then lets `change` change it.
    pub(super) fn add_row(
        &mut self,
        url: &str,
        text: Option<String>,
        change: impl Fn(&mut CaptionRow),
    ) {
        let mut rng = random::generator(self.seed, "row", self.rows.len() as u64);
        let (width, height) = match self.web.page(url) {
            Some(Page { image, .. }) => (image.width(), image.height),
            None => (rng.random_range(128..1200), rng.random_range(128..1200)),
        };
        let mut row = CaptionRow {
            url: url.to_owned(),
            text,
            width: Some(width.into()),
            height: Some(height.into()),
            similarity: Some(f64::from(rng.random_range(2600..4200)) / 10_000.0),
            punsafe: Some(rng.random_range(0..200) as f32 / 1000.0),
            pwatermark: Some(rng.random_range(0..400) as f32 / 1000.0),
            md5: None,
        };
        change(&mut row);
        self.rows.push(row);
    }

    /// Writes an MD5 into the last row: that of its photo if `right`, else that of another file.
    pub(super) fn add_hash_to_last_row(&mut self, right: bool) -> Result<(), WorldError> {
        let Some(row) = self.rows.last_mut() else {
            return Ok(());
        };
        let mut bytes = match self.web.page(&row.url) {
            Some(page) => page.image.jpeg(&self.web.people)?,
            None => Vec::new(),
        };
        if !right {
            bytes.push(0);
        }
        let digest = Md5::digest(&bytes);
        row.md5 = Some(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        Ok(())
    }
}
