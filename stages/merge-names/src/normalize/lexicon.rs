//! The word lists that normalization decides by, read once from `data/`.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

type Words = HashSet<&'static str>;

/// Which words are names, and which are none. All lists hold lower-case words.
pub(crate) struct Lexicon {
    /// Given names of the US Census.
    given: Words,
    /// Frequent surnames of the US Census.
    surnames: Words,
    /// Words that are no part of a name.
    things: Words,
    /// Common English words that nobody in the census is called.
    common: Words,
    /// Titles, roles, peoples and lead-in words that may stand before a name.
    leading: Words,
    /// `van`, `de`, `of`, …
    particles: Words,
    /// Whole texts that are places, brands or bands.
    no_names: Words,
    /// First words of places.
    place_starts: Words,
    /// Words that make "X, Y" a place.
    after_comma: Words,
    /// Agencies.
    agencies: Words,
    /// Credentials.
    credentials: Words,
    /// Institutions and places that are named after people.
    institutions: Words,
}

pub(crate) static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let places = include_str!("../../data/places.txt");
    let endings = include_str!("../../data/endings.txt");
    let more = include_str!("../../data/more-names.txt");
    let more = |mark| marked(more, mark).flat_map(str::split_whitespace);
    Lexicon {
        given: words(include_str!("../../data/given-names.txt"))
            .into_iter()
            .chain(more("given "))
            .collect(),
        surnames: words(include_str!("../../data/surnames.txt"))
            .into_iter()
            .chain(more("family "))
            .collect(),
        things: words(include_str!("../../data/things.txt")),
        common: words(include_str!("../../data/common-words.txt")),
        leading: words(include_str!("../../data/leading.txt")),
        particles: words(include_str!("../../data/particles.txt")),
        no_names: marked(places, "= ").flat_map(|l| l.split('|')).collect(),
        place_starts: marked(places, "^ ")
            .flat_map(str::split_whitespace)
            .collect(),
        after_comma: marked(places, ", ")
            .flat_map(str::split_whitespace)
            .collect(),
        agencies: marked(endings, "= ")
            .flat_map(str::split_whitespace)
            .collect(),
        credentials: marked(endings, "+ ")
            .flat_map(str::split_whitespace)
            .collect(),
        institutions: marked(endings, "! ")
            .flat_map(str::split_whitespace)
            .collect(),
    }
});

fn words(text: &'static str) -> Words {
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect()
}

/// Whether `names` holds the word, with or without its diacritics.
fn holds(names: &Words, lower: &str) -> bool {
    names.contains(lower) || (!lower.is_ascii() && names.contains(without_marks(lower).as_str()))
}

fn without_marks(text: &str) -> String {
    text.nfd().filter(|c| !is_combining_mark(*c)).collect()
}

fn marked(text: &'static str, mark: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter_map(move |l| l.strip_prefix(mark))
}

/// Titles that stay where only one word would be left: royal, religious, noble.
const LASTING_TITLES: [&str; 22] = [
    "prince", "princess", "king", "queen", "pope", "saint", "st", "lady", "lord", "emperor",
    "empress", "tsar", "czar", "sultan", "duke", "duchess", "baron", "baroness", "count",
    "countess", "mother", "father",
];

impl Lexicon {
    pub(crate) fn is_given_name(&self, lower: &str) -> bool {
        holds(&self.given, lower)
    }

    pub(crate) fn is_surname(&self, lower: &str) -> bool {
        holds(&self.surnames, lower)
    }

    /// A word that people are called by, first or last.
    pub(crate) fn is_name_word(&self, lower: &str) -> bool {
        self.is_given_name(lower) || self.is_surname(lower)
    }

    /// A word that is never part of a name. A hyphenated word is what its last piece is
    /// (`Self-Portrait`).
    pub(super) fn is_only_thing(&self, lower: &str) -> bool {
        match lower.rsplit_once('-') {
            Some(_) if self.things.contains(lower) => true,
            Some((before, last)) => self.is_only_thing(last) && !self.is_name_word(before),
            None => self.things.contains(lower) && !self.is_name_word(lower),
        }
    }

    /// A word of everyday English that nobody is called, also with an ending; says less than
    /// [`Lexicon::is_only_thing`].
    pub(super) fn is_common(&self, lower: &str) -> bool {
        let ended = |ending: &str, instead: &str| {
            let stem = lower
                .strip_suffix(ending)
                .filter(|stem| stem.chars().count() >= 3);
            stem.is_some_and(|stem| self.common.contains(format!("{stem}{instead}").as_str()))
        };
        let endings = [
            ("s", ""),
            ("es", ""),
            ("ies", "y"),
            ("ing", ""),
            ("ing", "e"),
            ("ed", ""),
            ("ed", "e"),
            ("ly", ""),
        ];
        !self.is_name_word(lower)
            && (self.is_only_thing(lower)
                || self.common.contains(lower)
                || endings.iter().any(|(e, i)| ended(e, i)))
    }

    pub(super) fn is_institution(&self, lower: &str) -> bool {
        self.institutions.contains(lower)
    }

    /// A word that is no part of a name, or only sometimes (`Love`, `Snow`).
    pub(super) fn is_thing(&self, lower: &str) -> bool {
        self.things.contains(lower)
    }

    pub(super) fn is_leading(&self, lower: &str) -> bool {
        self.leading.contains(lower)
    }

    pub(super) fn is_lasting_title(&self, lower: &str) -> bool {
        LASTING_TITLES.contains(&lower)
    }

    pub(super) fn is_particle(&self, lower: &str) -> bool {
        self.particles.contains(lower)
    }

    pub(super) fn is_no_name(&self, lower: &str) -> bool {
        self.no_names.contains(lower)
    }

    pub(super) fn starts_place(&self, lower: &str) -> bool {
        self.place_starts.contains(lower)
    }

    pub(super) fn is_place_after_comma(&self, lower: &str) -> bool {
        self.after_comma.contains(lower)
    }

    pub(super) fn is_agency(&self, lower: &str) -> bool {
        self.agencies.contains(lower)
    }

    pub(super) fn is_credential(&self, lower: &str) -> bool {
        self.credentials.contains(lower)
    }
}
