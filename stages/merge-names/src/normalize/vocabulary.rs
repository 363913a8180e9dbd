//! One table of all words that the lists in `data/` know, so that a word is looked up once.

use std::sync::LazyLock;

use super::bare::without_marks;

/// What the lists say of a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The lists that hold it, by the bits of [`list`].
    pub(super) lists: u32,
    /// How frequent it is in each use, as digits: quarters of a decade above 10⁻⁹, 0 where no list has it.
    pub(super) given: u8,
    pub(super) surname: u8,
    pub(super) ordinary: u8,
    pub(super) place: u8,
}

/// Bits of [`Entry::lists`].
pub(super) mod list {
    pub(crate) const GIVEN: u32 = 1;
    pub(crate) const SURNAME: u32 = 1 << 1;
    pub(crate) const THING: u32 = 1 << 2;
    pub(crate) const COMMON: u32 = 1 << 3;
    pub(crate) const LEADING: u32 = 1 << 4;
    pub(crate) const PARTICLE: u32 = 1 << 5;
    pub(crate) const PLACE_START: u32 = 1 << 6;
    pub(crate) const AFTER_COMMA: u32 = 1 << 7;
    pub(crate) const AGENCY: u32 = 1 << 8;
    pub(crate) const CREDENTIAL: u32 = 1 << 9;
    pub(crate) const INSTITUTION: u32 = 1 << 10;
    pub(crate) const LASTING_TITLE: u32 = 1 << 11;
    pub(crate) const PREPOSITION: u32 = 1 << 12;
    pub(crate) const MONTH: u32 = 1 << 13;
    /// A noun for a kind of people.
    pub(crate) const ROLE: u32 = 1 << 14;
    /// A whole text that is a thing.
    pub(crate) const WHOLE_THING: u32 = 1 << 15;
    /// A whole text that is never a name: a place, brand or band.
    pub(crate) const NO_NAME: u32 = 1 << 16;
    /// A word that joins people, or that begins another name of one (`aka`, `born`).
    pub(crate) const JOINER: u32 = 1 << 17;
    /// One or two syllables of a Korean given name.
    pub(crate) const KOREAN: u32 = 1 << 18;
    pub(crate) const KOREAN_SURNAME: u32 = 1 << 19;
    /// An article, pronoun or other small word of German, French, Spanish, Italian, Dutch or
    /// Portuguese.
    pub(crate) const STOP: u32 = 1 << 20;
}

impl Entry {
    /// Whether one of `lists` holds the word.
    pub(super) fn is(self, lists: u32) -> bool {
        self.lists & lists != 0
    }

    /// Whether no frequency is known.
    pub(super) fn is_unknown(self) -> bool {
        self.given | self.surname | self.ordinary | self.place == 0
    }

    fn join(&mut self, other: Self) {
        self.lists |= other.lists;
        self.given = self.given.max(other.given);
        self.surname = self.surname.max(other.surname);
        self.ordinary = self.ordinary.max(other.ordinary);
        self.place = self.place.max(other.place);
    }
}

/// A hash table from words to entries. It holds the words' hashes instead of the words, so that a
/// word costs one read of memory: of a hundred million unknown words less than one is taken for
/// another.
pub(crate) struct Vocabulary {
    slots: Vec<Slot>,
    held: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Bits of the word's hash that do not say the slot; 0 where it is free.
    print: u32,
    entry: Entry,
}

/// Slots; a power of two, and twice as many as there are words.
const SLOTS: usize = 1 << 19;
/// Bytes of the longest word that is held.
const LONGEST: usize = 40;

impl Vocabulary {
    fn new() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS],
            held: 0,
        }
    }

    /// What is known of a word in small letters, with or without its diacritics.
    pub(super) fn get(&self, lower: &str) -> Entry {
        let mut entry = self.exact(lower);
        if !lower.is_ascii() {
            entry.join(self.exact(&without_marks(lower)));
        }
        entry
    }

    fn exact(&self, word: &str) -> Entry {
        if word.len() > LONGEST {
            return Entry::default();
        }
        let (at, _) = self.slot_of(word.as_bytes());
        self.slots[at].entry
    }

    /// The slot that holds `word`, or the free one where it would go, and its print.
    fn slot_of(&self, word: &[u8]) -> (usize, u32) {
        let hash = hash(word);
        let print = ((hash >> 32) as u32).max(1);
        let mut at = hash as usize % SLOTS;
        while self.slots[at].print != 0 && self.slots[at].print != print {
            at = (at + 1) % SLOTS;
        }
        (at, print)
    }

    fn add(&mut self, word: &[u8], entry: Entry) {
        // A quarter of the slots stays free, so that every search ends.
        if word.is_empty() || word.len() > LONGEST || self.held >= SLOTS / 4 * 3 {
            return;
        }
        let (at, print) = self.slot_of(word);
        let slot = &mut self.slots[at];
        self.held += usize::from(slot.print == 0);
        slot.print = print;
        slot.entry.join(entry);
    }

    fn add_list<'a>(&mut self, words: impl IntoIterator<Item = &'a str>, bit: u32) {
        for word in words {
            let entry = Entry {
                lists: bit,
                ..Entry::default()
            };
            self.add(word.as_bytes(), entry);
        }
    }

    /// Adds the words of `data/words.txt`: each line begins with how many letters the word shares
    /// with the one before.
    fn add_frequencies(&mut self, lines: &str) {
        let mut word: Vec<u8> = Vec::with_capacity(LONGEST);
        for line in lines.lines() {
            let digits = read_front_coded(line, &mut word);
            let at = |i: usize| digits.get(i).map_or(0, |d| digit(*d));
            let entry = Entry {
                lists: kinds(at(4)),
                given: at(0),
                surname: at(1),
                ordinary: at(2),
                place: at(3),
            };
            self.add(&word, entry);
        }
    }

    /// Adds the texts of `data/thing-names.txt`, which are written like the words.
    fn add_things(&mut self, lines: &str) {
        let mut text: Vec<u8> = Vec::with_capacity(LONGEST);
        for line in lines.lines() {
            read_front_coded(line, &mut text);
            let entry = Entry {
                lists: list::WHOLE_THING,
                ..Entry::default()
            };
            self.add(&text, entry);
        }
    }
}

/// The lists that the bits of a word's fifth digit stand for.
fn kinds(digit: u8) -> u32 {
    let lists = [list::ROLE, list::KOREAN, list::KOREAN_SURNAME, list::STOP];
    let held = lists.iter().enumerate();
    held.filter(|(bit, _)| digit >> bit & 1 != 0)
        .fold(0, |all, (_, list)| all | list)
}

/// Reads a line that begins with how many letters its text shares with the one before, which is in
/// `text`; what follows the text are digits and capitals.
fn read_front_coded<'a>(line: &'a str, text: &mut Vec<u8>) -> &'a [u8] {
    let Some((shared, rest)) = line.as_bytes().split_first() else {
        return &[];
    };
    let end = rest
        .iter()
        .position(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let (own, digits) = rest.split_at(end.unwrap_or(rest.len()));
    text.truncate(digit(*shared).into());
    text.extend_from_slice(own);
    digits
}

/// How much likelier names have three letters in a row than other words have them.
pub(super) struct Letters(Vec<i8>);

/// The row and column of a letter in `data/letters.txt`; signs and ends of words are 0.
fn letter(byte: u8) -> usize {
    if byte.is_ascii_lowercase() {
        usize::from(byte - b'a') + 1
    } else {
        0
    }
}

pub(super) static LETTERS: LazyLock<Letters> = LazyLock::new(|| {
    let digits = include_str!("../../data/letters.txt");
    let even = digit(b'I') as i8;
    Letters(
        digits
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|d| digit(d) as i8 - even)
            .collect(),
    )
});

impl Letters {
    /// The evidence of all letters of a word: 0.15 nats each.
    pub(super) fn evidence(&self, lower: &str) -> i32 {
        let (mut one, mut two, mut sum) = (0, 0, 0);
        let mut started = false;
        for three in lower.bytes().map(letter).filter(|l| *l > 0).chain([0]) {
            if started {
                sum += i32::from(self.0[(one * 27 + two) * 27 + three]);
            }
            started = true;
            (one, two) = (two, three);
        }
        sum
    }
}

fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'Z' => byte - b'A' + 10,
        _ => 0,
    }
}

/// A multiplicative hash of eight bytes at a time: words are short, and come from our own lists.
fn hash(word: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = word.len() as u64;
    for chunk in word.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(bytes)).wrapping_mul(FACTOR);
        state ^= state >> 29;
    }
    state ^ (state >> 31)
}

fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .flat_map(str::split_whitespace)
}

fn marked(text: &'static str, mark: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter_map(move |l| l.strip_prefix(mark))
}

fn marked_words(text: &'static str, mark: &'static str) -> impl Iterator<Item = &'static str> {
    marked(text, mark).flat_map(str::split_whitespace)
}

/// Titles that stay where only one word would be left: royal, religious, noble.
const LASTING_TITLES: [&str; 52] = [
    "prince",
    "princess",
    "king",
    "queen",
    "pope",
    "saint",
    "st",
    "lady",
    "lord",
    "emperor",
    "empress",
    "tsar",
    "czar",
    "sultan",
    "duke",
    "duchess",
    "baron",
    "baroness",
    "count",
    "countess",
    "mother",
    "father",
    "archbishop",
    "bishop",
    "cardinal",
    "ayatollah",
    "viscount",
    "viscountess",
    "marquess",
    "marchioness",
    "maharaja",
    "maharani",
    "emir",
    "caliph",
    "infanta",
    "infante",
    "prinz",
    "prinzessin",
    "könig",
    "königin",
    "kaiserin",
    "papst",
    "princesse",
    "reine",
    "rey",
    "reina",
    "príncipe",
    "princesa",
    "principessa",
    "koningin",
    "dronning",
    "swami",
];

/// Lead-in words that open a mention, but say nothing when they stand inside it.
const PREPOSITIONS: [&str; 24] = [
    "about", "after", "against", "and", "at", "before", "by", "during", "ex", "first", "for",
    "from", "in", "inside", "is", "like", "on", "the", "via", "was", "when", "while", "with", "an",
];

/// Words that join people, and that begin another name of one person.
const JOINERS: [&str; 13] = [
    "and", "vs", "versus", "feat", "x", "und", "et", "aka", "born", "nee", "née", "a.k.a", "al",
];

/// Months that are names too; after a name they begin a date.
const NAME_MONTHS: [&str; 4] = ["april", "august", "june", "may"];

pub(crate) static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let places = include_str!("../../data/places.txt");
    let endings = include_str!("../../data/endings.txt");
    let more = include_str!("../../data/more-names.txt");
    let mut all = Vocabulary::new();
    all.add_frequencies(include_str!("../../data/words.txt"));
    all.add_things(include_str!("../../data/thing-names.txt"));
    all.add_list(
        words(include_str!("../../data/given-names.txt")),
        list::GIVEN,
    );
    all.add_list(marked_words(more, "given "), list::GIVEN);
    all.add_list(
        words(include_str!("../../data/surnames.txt")),
        list::SURNAME,
    );
    all.add_list(marked_words(more, "family "), list::SURNAME);
    all.add_list(words(include_str!("../../data/things.txt")), list::THING);
    all.add_list(
        words(include_str!("../../data/common-words.txt")),
        list::COMMON,
    );
    all.add_list(words(include_str!("../../data/leading.txt")), list::LEADING);
    all.add_list(
        words(include_str!("../../data/particles.txt")),
        list::PARTICLE,
    );
    all.add_list(marked_words(places, "^ "), list::PLACE_START);
    all.add_list(marked_words(places, ", "), list::AFTER_COMMA);
    all.add_list(marked_words(endings, "= "), list::AGENCY);
    all.add_list(marked_words(endings, "+ "), list::CREDENTIAL);
    all.add_list(marked_words(endings, "! "), list::INSTITUTION);
    all.add_list(
        marked(places, "= ").flat_map(|l| l.split('|')),
        list::NO_NAME,
    );
    all.add_list(JOINERS, list::JOINER);
    all.add_list(LASTING_TITLES, list::LASTING_TITLE);
    all.add_list(PREPOSITIONS, list::PREPOSITION);
    all.add_list(NAME_MONTHS, list::MONTH);
    all
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_with_the_lists_and_frequencies_of_each() {
        let get = |word: &str| VOCABULARY.get(word);
        assert!(get("emma").is(list::GIVEN) && !get("emma").is(list::THING));
        assert!(get("emma").given > get("emma").surname);
        assert!(get("watson").surname > get("watson").given);
        assert!(get("kitchen").ordinary > get("kitchen").surname);
        assert!(get("thailand").place > 0);
        assert!(get("björn").is(list::GIVEN));
        assert_eq!(get(""), Entry::default());
        assert_eq!(get("qqqqqq"), Entry::default());
        assert_eq!(get(&"a".repeat(300)), Entry::default());
    }

    #[test]
    fn no_word_of_the_lists_is_taken_for_another() {
        let mut prints = std::collections::HashMap::new();
        let mut text = Vec::new();
        let lists = [
            include_str!("../../data/words.txt"),
            include_str!("../../data/thing-names.txt"),
        ];
        for line in lists.iter().flat_map(|list| list.lines()) {
            read_front_coded(line, &mut text);
            let print = VOCABULARY.slot_of(&text);
            let other = prints.insert(print, text.clone());
            assert_eq!(other, None, "{line}");
        }
        assert!(VOCABULARY.held >= prints.len());
        assert!(
            VOCABULARY.held < SLOTS / 2 + SLOTS / 8,
            "{}",
            VOCABULARY.held
        );
    }

    #[test]
    fn the_lists_are_sorted_and_whole() {
        for (lines, least, most_digits) in [
            (include_str!("../../data/words.txt"), 100_000, 5),
            (include_str!("../../data/thing-names.txt"), 10_000, 0),
        ] {
            let (mut before, mut text) = (Vec::new(), Vec::new());
            for line in lines.lines() {
                let digits = read_front_coded(line, &mut text);
                assert!(text > before, "{line} after {before:?}");
                assert!(digits.len() <= most_digits, "{line}");
                before.clone_from(&text);
            }
            assert!(lines.lines().count() > least);
        }
        assert_eq!(LETTERS.0.len(), 27 * 27 * 27);
    }
}
