//! A world while it is being written: every photo gets a page, a filing and its captions at once, so that the web, the
//! captions and the truth cannot disagree.

use laioncele_core::{CaptionId, DropReason, ImageId};
use md5::{Digest, Md5};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::CaptionRow;
use crate::chance;
use crate::error::WorldError;
use crate::manner::Manner;
use crate::picture::Picture;
use crate::render::Anatomy;
use crate::spelling::Spelling;
use crate::truth::{Filing, Filtered, Shows, TrueName, Truth, Written};
use crate::web::{Page, Web};

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
/// Sides that a photo may have, in pixels.
const SIDES: [u32; 4] = [128, 144, 160, 192];

/// A member of the cast in the world.
#[derive(Clone, Debug)]
pub(super) struct Player {
    /// Position in the truth's names.
    pub(super) name: usize,
    /// The name.
    pub(super) text: String,
    /// Position in the web's people.
    pub(super) person: usize,
}

/// A name in a caption.
pub(super) struct Naming<'a> {
    pub(super) player: &'a Player,
    pub(super) spelling: Spelling,
    pub(super) text: String,
}

/// What a photo is to the name it is filed under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filed {
    pub(super) shows: Shows,
    pub(super) scene: usize,
    pub(super) eligible: bool,
}

/// The world so far.
pub(super) struct Draft {
    pub(super) seed: u64,
    pub(super) web: Web,
    pub(super) rows: Vec<CaptionRow>,
    pub(super) truth: Truth,
    /// Urls made so far; each gets its number.
    urls: u64,
    scenes: usize,
}

impl Draft {
    pub(super) fn new(truth: Truth) -> Self {
        Self {
            seed: truth.seed,
            web: Web {
                people: Vec::new(),
                pages: Default::default(),
            },
            rows: Vec::new(),
            truth,
            urls: 0,
            scenes: 0,
        }
    }

    /// A name of the truth with its face.
    pub(super) fn player(&mut self, name: String, anatomy: Anatomy, known: bool) -> Player {
        let player = Player {
            name: self.truth.names.len(),
            text: name.clone(),
            person: self.face(anatomy),
        };
        self.truth.names.push(TrueName {
            name,
            known,
            excluded: false,
        });
        player
    }

    /// A face of the web.
    pub(super) fn face(&mut self, anatomy: Anatomy) -> usize {
        self.web.people.push(anatomy);
        self.web.people.len() - 1
    }

    /// A number that no other picture has.
    pub(super) fn scene(&mut self) -> usize {
        self.scenes += 1;
        self.scenes
    }

    /// A new picture.
    pub(super) fn picture(&mut self, who: Vec<usize>, rng: &mut ChaCha8Rng) -> Picture {
        Picture {
            close_up: who.len() == 1 && rng.random_ratio(1, 7),
            posed: false,
            who,
            seed: rng.random(),
            side: SIDES[rng.random_range(0..SIDES.len())],
            quality: rng.random_range(85..=95),
        }
    }

    /// A new url of the web that answers with `picture` in this manner.
    pub(super) fn page(&mut self, about: &str, picture: Picture, manner: Manner) -> String {
        let number = self.urls;
        self.urls += 1;
        let mut rng = chance::generator(self.seed, "url", number);
        let host = match manner {
            Manner::NoHost => "photos.gone.invalid",
            _ => HOSTS[rng.random_range(0..HOSTS.len())],
        };
        let slug = about
            .to_lowercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = format!("/{}/{slug}-{number:04}.jpg", rng.random_range(2006..2022));
        if manner != Manner::NoHost {
            self.web
                .pages
                .insert(Web::key(host, &path), Page { picture, manner });
        }
        let scheme = if manner == Manner::NoTls {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{host}{path}")
    }

    /// Files the photo at `url` under a name.
    pub(super) fn file(&mut self, player: &Player, url: &str, filed: Filed, manner: Manner) {
        let trap = manner.expected();
        self.truth.filings.push(Filing {
            name: player.name,
            url: url.to_owned(),
            shows: filed.shows,
            scene: filed.scene,
            eligible: filed.eligible && trap.is_none(),
            trap,
        });
    }

    /// A caption beside `url` that names those in `namings`.
    pub(super) fn caption(&mut self, url: &str, text: String, namings: &[Naming<'_>]) {
        let caption = CaptionId::of(url, &text);
        for naming in namings {
            self.truth.mentions.push(Written {
                name: naming.player.name,
                caption,
                image: ImageId::of(url),
                text: naming.text.clone(),
                spelling: naming.spelling,
            });
        }
        self.row(url, Some(text), |_| {});
    }

    /// A caption that the source's filters must drop: `spoil` makes it so.
    pub(super) fn filtered_caption(
        &mut self,
        url: &str,
        text: String,
        reason: DropReason,
        spoil: fn(&mut CaptionRow),
    ) {
        let caption = CaptionId::of(url, &text);
        self.truth.filtered.push(Filtered { caption, reason });
        self.row(url, Some(text), spoil);
    }

    /// A row of the source with metadata that pass its filters, but for `change`.
    pub(super) fn row(
        &mut self,
        url: &str,
        text: Option<String>,
        change: impl Fn(&mut CaptionRow),
    ) {
        let mut rng = chance::generator(self.seed, "row", self.rows.len() as u64);
        let page = url
            .split_once("://")
            .and_then(|(_, key)| self.web.pages.get(key));
        let (width, height) = match page {
            Some(Page { picture: p, .. }) => (p.width(), p.side),
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

    /// Notes the MD5 of the last caption's photo in its row: the right one, or another.
    pub(super) fn note_hash(&mut self, right: bool) -> Result<(), WorldError> {
        let Some(row) = self.rows.last_mut() else {
            return Ok(());
        };
        let page = row
            .url
            .split_once("://")
            .and_then(|(_, key)| self.web.pages.get(key));
        let mut bytes = match page {
            Some(page) => page.picture.jpeg(&self.web.people)?,
            None => Vec::new(),
        };
        if !right {
            bytes.push(0);
        }
        let digest = Md5::digest(&bytes);
        row.md5 = Some(digest.iter().map(|b| format!("{b:02x}")).collect());
        Ok(())
    }
}
