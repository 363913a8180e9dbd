//! The words of a clause: what stands before and after the name goes, the rest is written as a
//! name.

use super::bare::small;
use super::case::{is_mixed, is_numeral};
use super::knowledge::Knowledge;
use super::lexicon::LEXICON;
use super::score;
use super::spelling::{Rejection, Spelling};
use super::vocabulary::list;
use super::word::{Word, is_suffix};
use super::writing::{surname_first, write_name};

/// Words of the longest name that is believed.
const MOST_WORDS: usize = 8;

/// The name in `text`, which has no commas that matter and no clauses.
pub(super) fn read_words(text: &str, knowledge: &Knowledge) -> Result<Spelling, Rejection> {
    if LEXICON.is_no_name(&small(text)) || text.contains(['%', '$']) {
        return Err(Rejection::NotAName);
    }
    let mut words = split_words(text, knowledge)?;
    let possessive = cut_possessive(&mut words, knowledge)?;
    let has_capital = |w: &Word| w.written.chars().any(char::is_uppercase);
    let mixed_text = words.iter().any(Word::is_small) && words.iter().any(has_capital);
    cut_credit(&mut words);
    cut_digits(&mut words, knowledge);
    cut_leading(&mut words, mixed_text);
    cut_trailing(&mut words, mixed_text)?;
    cut_repetition(&mut words);
    if are_two_people(&words) {
        return Err(Rejection::SeveralPeople);
    }
    if possessive && words.len() == 1 && !words[0].is_name_word() {
        return Err(Rejection::NotAName);
    }
    let words = surname_first(words);
    if are_impossible(&words) {
        return Err(Rejection::NotAName);
    }
    let count = name_words(&words);
    if count == 0 {
        return Err(Rejection::NotAName);
    }
    score::check(&words, are_things(&words), knowledge.least_odds)?;
    write_name(words, count)
}

/// Words with their signs trimmed; initials that cling to the next word are parted.
fn split_words(text: &str, knowledge: &Knowledge) -> Result<Vec<Word>, Rejection> {
    let mut words: Vec<Word> = Vec::with_capacity(MOST_WORDS);
    for written in text.split_whitespace() {
        let at_end =
            |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '\'' | '&' | '+') || is_mark(c));
        let trimmed = written.trim_matches(at_end).trim_start_matches(['.', '\'']);
        if joins_people(trimmed) {
            words.push(Word::joiner(trimmed));
            continue;
        }
        let trimmed = ["-USA", "-US", "-UK"]
            .iter()
            .find_map(|e| trimmed.strip_suffix(e))
            .unwrap_or(trimmed);
        let mut push = |piece: &str| {
            let word = Word::new(piece, knowledge);
            if !word.bare.is_empty() {
                words.push(word);
            }
        };
        if trimmed.contains('.') {
            part_initials(trimmed).iter().for_each(|piece| push(piece));
        } else {
            push(trimmed);
        }
    }
    join_apostrophes(&mut words, text, knowledge);
    let joins = |w: &Word| w.bare == "&";
    while words.last().is_some_and(joins) {
        words.pop();
    }
    let leading = words.iter().take_while(|w| joins(w)).count();
    words.drain(..leading);
    if words.iter().any(joins) {
        Err(several_or_nothing(&words))
    } else {
        Ok(words)
    }
}

fn is_mark(c: char) -> bool {
    if c.is_ascii() {
        return false;
    }
    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
    c.general_category_group() == GeneralCategoryGroup::Mark
}

/// Words and signs between people.
const JOINS: [&str; 10] = [
    "&", "+", "and", "vs", "versus", "def.", "feat", "x", "und", "et",
];

pub(super) fn joins_people(word: &str) -> bool {
    let plain = word.trim_end_matches('.');
    let joins = |join: &&str| join.eq_ignore_ascii_case(plain) || join.eq_ignore_ascii_case(word);
    word != "X" && JOINS.iter().any(joins)
}

/// Joined words are several people, or a firm's name; both are no name.
fn several_or_nothing(words: &[Word]) -> Rejection {
    let people = words
        .iter()
        .filter(|w| w.bare != "&")
        .all(|w| !w.is_only_thing());
    if people {
        Rejection::SeveralPeople
    } else {
        Rejection::NotAName
    }
}

/// `L.Jackson` → `L.`, `Jackson`; `J.R.R.Tolkien` → `J.R.R.`, `Tolkien`.
fn part_initials(word: &str) -> Vec<String> {
    let Some(dot) = word.rfind('.') else {
        return vec![word.to_owned()];
    };
    if word.split('.').all(|p| p.chars().count() == 1) {
        return vec![format!("{word}.")];
    }
    let (initials, rest) = word.split_at(dot + 1);
    let single = initials
        .split_terminator('.')
        .all(|p| p.chars().count() == 1);
    if single && rest.chars().count() >= 2 {
        vec![initials.to_owned(), rest.to_owned()]
    } else {
        vec![word.to_owned()]
    }
}

/// `O 'Toole` was `O'Toole`.
fn join_apostrophes(words: &mut Vec<Word>, text: &str, knowledge: &Knowledge) {
    for i in (1..words.len()).rev() {
        let (one, next) = (&words[i - 1].written, &words[i].written);
        if matches!(one.as_str(), "O" | "o" | "D" | "d") && text.contains(&format!("{one} '{next}"))
        {
            let joined = format!("{one}'{next}");
            words[i - 1] = Word::new(&joined, knowledge);
            words.remove(i);
        }
    }
}

/// Cuts the possessive and what follows it. `true` where one was cut.
fn cut_possessive(words: &mut Vec<Word>, knowledge: &Knowledge) -> Result<bool, Rejection> {
    let stem = |w: &str| {
        let plain = w.trim_end_matches('\'');
        let cut = plain.strip_suffix("'s").or_else(|| {
            plain
                .strip_suffix("'S")
                .filter(|_| plain.chars().count() > 2)
        });
        cut.map(str::to_owned)
            .or_else(|| (plain.len() < w.len()).then(|| plain.to_owned()))
    };
    let Some((at, owner)) = words
        .iter()
        .enumerate()
        .find_map(|(i, w)| Some((i, stem(&w.written)?)))
    else {
        return Ok(false);
    };
    let follows = words.len() - at - 1;
    let owner_named = words[..at].iter().any(|w| !w.is_leading());
    if follows > 1 && !(owner_named && words[0].is_given_name()) && opens_name(&words[at + 1..]) {
        // `Norway's Daniel Tande`, `FC Bayern's Thomas Müller`.
        words.drain(..=at);
        return Ok(false);
    }
    words.truncate(at + 1);
    words[at] = Word::new(&owner, knowledge);
    let named = words.iter().filter(|w| !w.is_leading()).count();
    if follows > 0 && named < 2 {
        Err(Rejection::NotAName)
    } else {
        Ok(true)
    }
}

/// Whether words begin with a given name and a word that may be a surname.
fn opens_name(words: &[Word]) -> bool {
    let [first, second, ..] = words else {
        return false;
    };
    first.is_given_name()
        && !first.is_thing()
        && !first.is_small()
        && !second.is_small()
        && !second.is_common()
        && !second.is_thing()
}

/// Cuts numbers and codes before the name, and everything from the first one after it.
fn cut_digits(words: &mut Vec<Word>, knowledge: &Knowledge) {
    let before = words.iter().take_while(|w| w.has_digit()).count();
    words.drain(..before);
    let Some(at) = words.iter().position(Word::has_digit) else {
        return;
    };
    let letters: String = words[at]
        .written
        .chars()
        .take_while(|c| c.is_alphabetic())
        .collect();
    words.truncate(at);
    // `Hepburn1954`, `Hurd-7`: the number only clings.
    if letters.chars().count() >= 3 && is_mixed(&letters) && !words.is_empty() {
        words.push(Word::new(&letters, knowledge));
    }
}

/// `Photography by Priscilla Falk` → `Priscilla Falk`.
fn cut_credit(words: &mut Vec<Word>) {
    let by = words.iter().rposition(|w| w.bare == "by");
    if let Some(at) = by.filter(|at| at + 2 < words.len()) {
        words.drain(..=at);
    }
}

/// Cuts titles, roles and other words before the name.
fn cut_leading(words: &mut Vec<Word>, mixed_text: bool) {
    let is_role = |w: &Word| {
        let small = mixed_text && w.is_small();
        ((w.is_leading() && !w.is_name_word())
            || (small && w.is(list::ROLE | list::LEADING) && !w.is_particle()))
            && !w.is(list::PREPOSITION)
    };
    // Everything up to the last role that is followed by two words at least:
    // `Cleveland Cavaliers forward LeBron James`.
    if words.len() > 2 {
        let last_role = (1..words.len() - 2)
            .rev()
            .find(|&i| is_role(&words[i]) && !words[i].is_particle());
        let keeps_name = |i: usize| i > 2 || words[..i].iter().any(|w| !w.is_given_name());
        if let Some(i) = last_role.filter(|&i| keeps_name(i)) {
            words.drain(..=i);
        }
    }
    while words.len() > 1 && is_lead_word(words, mixed_text) {
        // With what parts it from the name.
        let parted = usize::from(names_subject(words));
        words.drain(..=parted);
    }
}

fn is_lead_word(words: &[Word], mixed_text: bool) -> bool {
    let (first, next) = (&words[0], &words[1]);
    let left = words[1..].iter().filter(|w| !is_suffix(&w.bare)).count();
    // `Eine Laborantin`, `Der Virologe Peter Brown`.
    let article = matches!(first.bare.as_str(), "der" | "das");
    // `Von Markus Balser`: by him.
    let by = first.bare == "von" && left > 1 && score::is_rather_given(next.pair());
    if article || by || names_subject(words) || (first.is(list::STOP) && !first.is_particle()) {
        return true;
    }
    if first.is_lasting_title() && !matches!(first.bare.as_str(), "count" | "st") {
        let rest_is_name = !next.is_particle() && words[1..].iter().all(|w| !w.bare.eq("of"));
        let regnal = words[1..].iter().any(|w| is_numeral(&w.bare));
        return left > 1
            && !regnal
            && rest_is_name
            && !words[words.len() - 1].is_thing()
            && !first.is_given_name();
    }
    if first.bare == "a" && (first.written == "A." || (first.written == "A" && next.is_initial())) {
        return false;
    }
    if first.is_leading() {
        // `Singer Adele` is a role and a given name, `Singer Sargent` a surname and another.
        let role = first.is_surname() && !first.is_given_name() && next.is_given_name();
        return !first.is_name_word() || left > 1 || role;
    }
    if score::leads(first.pair(), next.pair()) && left > 0 {
        return true;
    }
    // `la actriz Penélope Cruz`, `Pt. Ravi Shankar`.
    let article = mixed_text && first.is_small() && next.is_small() && !next.is_particle();
    let role = mixed_text && first.is_small() && first.is(list::ROLE) && !first.is_particle();
    if left > 1 && (article || role || first.is_abbreviated_title()) {
        return true;
    }
    let small = mixed_text && first.is_small() && !first.is_particle();
    let thing = first.is_only_thing() && next.is_given_name() && left > 1;
    left > 1 && (thing || (small && next.is_given_name()))
}

/// Whether a name follows what it is the subject of: `Schlacht von Tom Buk-Swienty`, `Mugshot of
/// Lindsay Lohan`; not `Joan of Arc`, nor `Ponce de Leon`.
fn names_subject(words: &[Word]) -> bool {
    let [thing, of, given, _, ..] = words else {
        return false;
    };
    matches!(
        of.bare.as_str(),
        "of" | "von" | "de" | "di" | "av" | "do" | "da"
    ) && of.is_small()
        && !thing.is_name_word()
        && !thing.is_lasting_title()
        && score::is_no_given_name(thing.pair())
        && given.is_given_name()
}

/// Cuts what follows the name: from the first word that is none.
fn cut_trailing(words: &mut Vec<Word>, mixed_text: bool) -> Result<(), Rejection> {
    let mut named = 0;
    for i in 0..words.len() {
        if ends_name(words, i, named, mixed_text) {
            if names_institution(&words[i..]) {
                return Err(Rejection::NotAName);
            }
            words.truncate(i);
            break;
        }
        named += usize::from(!words[i].are_initials() && !words[i].is_particle());
    }
    let idle = |w: &Word| w.is_particle() && w.is_small() || w.is_credential() && w.bare.len() > 1;
    while words.len() > 1 && words.last().is_some_and(idle) {
        words.pop();
    }
    cut_code(words);
    if words.is_empty() {
        Err(Rejection::NotAName)
    } else {
        Ok(())
    }
}

/// Whether what follows a name makes it an institution's or a building's (`John Wayne Airport`,
/// `Kennedy Space Center`; not `Street Style`).
fn names_institution(follows: &[Word]) -> bool {
    let place = |i: usize| follows.get(i).is_some_and(Word::is_institution);
    (place(0) && !(follows[0].bare == "street" && follows.len() > 1)) || place(1)
}

fn ends_name(words: &[Word], i: usize, named: usize, mixed_text: bool) -> bool {
    let word = &words[i];
    if i == 0 || is_suffix(&word.bare) {
        return false;
    }
    if matches!(word.bare.as_str(), "of" | "the") {
        // Joan of Arc, Alexander the Great; but a title loses its place (Prince William of Wales).
        return named != 1 || i + 1 == words.len() || words[0].is_lasting_title();
    }
    if word.is_particle() {
        return i + 1 == words.len() && word.is_small();
    }
    let code = word.is_code() && !word.is_name_word() && words[..i].iter().all(Word::is_mixed);
    if named >= 2 && (code || (word.is_credential() && !word.is_small())) {
        return true;
    }
    if mixed_text && word.is_small() && (named >= 2 || word.is_leading() || word.is_thing()) {
        return true;
    }
    if named >= 2 && (word.is(list::MONTH) || word.is_only_thing()) {
        return true;
    }
    if named >= 2 && word.is_thing() {
        let middle = word.is_name_word() && words[..i].iter().all(Word::is_given_name) && i == 2;
        return !middle;
    }
    named >= 2
        && ((!word.is_name_word() && (word.is_leading() || word.is_common()))
            || score::trails(words[i - 1].pair(), word.pair()))
}

/// Cuts a last word of two or three capitals that is no suffix, after a name in name case
/// (`Tommy Hilfiger TH`).
fn cut_code(words: &mut Vec<Word>) {
    while words.len() > 2
        && words.last().is_some_and(Word::is_code)
        && words[..2].iter().all(Word::is_mixed)
    {
        words.pop();
    }
}

/// `Emma Watson Emma Watson` → `Emma Watson`.
fn cut_repetition(words: &mut Vec<Word>) {
    let half = words.len() / 2;
    let bare = |side: &[Word]| side.iter().map(|w| w.bare.clone()).collect::<Vec<_>>();
    if half > 1 && words.len().is_multiple_of(2) && bare(&words[..half]) == bare(&words[half..]) {
        words.truncate(half);
    }
}

/// `Kate Moss Jamie Hince`: two given names, each with a surname that is no given name after it.
fn are_two_people(words: &[Word]) -> bool {
    if words.len() < 4 {
        return false;
    }
    let plain: Vec<_> = words.iter().filter(|w| !is_suffix(&w.bare)).collect();
    let [one, surname, other, .., last] = plain.as_slice() else {
        return false;
    };
    let given = |w: &Word| w.is_given_name() && !w.are_initials();
    let family = |w: &Word| !w.is_given_name() && !w.are_initials() && !w.is_particle();
    given(one)
        && family(surname)
        && given(other)
        && (!other.is_surname() || score::is_rather_given(other.pair()))
        && family(last)
}

/// The bare words, parted by spaces.
fn joined(words: &[Word]) -> String {
    let mut whole = String::with_capacity(48);
    for (i, word) in words.iter().enumerate() {
        whole.push_str(if i > 0 { " " } else { "" });
        whole.push_str(&word.bare);
    }
    whole
}

/// Whether the words cannot be a name, whatever they are elsewhere.
fn are_impossible(words: &[Word]) -> bool {
    let first = &words[0];
    words.len() > MOST_WORDS
        || LEXICON.is_no_name(&joined(words))
        || (words.len() > 1 && first.is(list::PLACE_START) && !first.is_given_name())
        || (words.len() == 1 && (first.is_leading() || first.is_lasting_title()))
        || (first.is_lasting_title()
            && words.get(1).is_some_and(Word::is_particle)
            && !first.is_given_name())
        || words.iter().all(Word::are_initials)
        || words.iter().any(|w| {
            w.bare
                .chars()
                .any(|c| !(c.is_alphanumeric() || is_mark(c) || matches!(c, '\'' | '-' | '.')))
        })
}

/// Whether words that are no names stand where a name has its first words.
fn are_things(words: &[Word]) -> bool {
    let (first, second) = (&words[0], words.get(1));
    let thing_first = first.is_thing() && !first.is_given_name();
    (first.is_only_thing() && !first.are_initials())
        || second.is_some_and(|w| w.is_only_thing() && !w.is_particle())
        || is_everyday(words)
        || (thing_first && second.is_none_or(Word::is_thing))
}

/// Whether common words stand where a name has none of the known given names to open it.
fn is_everyday(words: &[Word]) -> bool {
    let [first, rest @ ..] = words else {
        return false;
    };
    if first.is_given_name() || first.are_initials() || first.is_lasting_title() {
        return false;
    }
    let common = |w: &Word| w.is_common() && !w.are_initials() && !w.is_particle();
    let name = |w: &Word| w.is_surname() || (w.is_given_name() && !w.is_thing());
    let next_is_name = rest.first().is_some_and(name);
    (common(first) && !next_is_name) || rest.first().is_some_and(common)
}

/// Name words: all but particles, suffixes and initials after the first word. An initial before a
/// surname counts.
fn name_words(words: &[Word]) -> usize {
    let mut count = 0;
    for (i, word) in words.iter().enumerate() {
        let opens = i == 0 && words.len() > 1;
        let regnal = i > 0 && is_numeral(&word.bare)
            || (i == 1 && matches!(word.written.as_str(), "X" | "V" | "I"));
        let counted = match word {
            w if w.are_initials() && !regnal => opens,
            w if i > 0 && matches!(w.bare.as_str(), "jr" | "jnr" | "sr" | "snr" | "junior") => {
                false
            }
            w if w.is_particle() => i == 0 && w.is_given_name() && w.bare.len() == 2,
            _ => true,
        };
        count += usize::from(counted);
    }
    count
}
