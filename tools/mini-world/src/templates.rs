//! Templates of captions. `{}` stands for a name.
//!
//! The plain templates were chosen by measuring: spaCy's small model finds the whole name in nearly
//! all of their captions. The wild ones are written as on the web, and it finds fewer names in
//! them.

/// Captions in which extract-names finds a plainly written name nearly always.
pub(crate) const PLAIN: [&str; 40] = [
    "Actor {} at the premiere",
    "Director {} at a press conference in Berlin",
    "Ms. {} told reporters she was happy",
    "Actor and director {} at the awards show",
    "Director {} (right) with the crew",
    "Director {} and the cast of the new series",
    "Portrait of director {} in London",
    "A photo of actor {} at home",
    "Professor {} in the library",
    "Film director {} wins the prize",
    "Actor {}, pictured in 2012, at a book launch",
    "Actor {} (centre) at a dinner",
    "Director {} attends the Venice Film Festival",
    "Director {} on set in 2014",
    "Former actor {} returns to the stage",
    "Photo of Mr. {} at the opening night",
    "Mr. {} at a book launch in Paris",
    "Dr. {} receives an award",
    "Judge {} leaves the court",
    "Actor {} won the prize for best actor.",
    "Actor {} leaves a restaurant in New York",
    "Director {} poses during a portrait session",
    "Mr. {} at a gala",
    "Actor {} on the red carpet",
    "Ms. {} arrives at the charity gala",
    "Mrs. {} at a garden party",
    "Actor {} with his wife",
    "Actor {} arrives at the premiere of the new film",
    "Star actor {} joined the cast last year",
    "Photo: director {} speaks to reporters",
    "Happy birthday to actor {}!",
    "Actor {} signs autographs outside the theatre",
    "Actor {} poses with fans in Toronto",
    "Professor {} speaks at a conference in Madrid",
    "Actor {}: biography, age and career",
    "Director {} talks about the new movie",
    "Mr. {} said on Tuesday",
    "Actor {} (left) meets fans",
    "Professor {} gave a lecture at the university",
    "Actor {} attends the gala in London",
];

/// Captions as on the web.
pub(crate) const WILD: [&str; 14] = [
    "{}",
    "{} at the premiere",
    "{} on the red carpet",
    "portrait of {}, actor",
    "{} smiles for photographers",
    "{} and friends at dinner",
    "Who is {}? Biography, age and career",
    "{} net worth and biography",
    "{} headshot",
    "{} - official portrait",
    "Stock photo of {} wearing a black suit",
    "Close up of {} smiling",
    "{} | Photos",
    "🎬 {} ❤️ #premiere #redcarpet",
];

/// Captions with a name in the possessive.
pub(crate) const POSSESSIVE: [&str; 6] = [
    "Actor {}'s smile at the premiere",
    "Director {}'s new film",
    "Dr. {}'s speech at the university",
    "Actor {}'s mother at the gala",
    "Mr. {}'s house in Paris",
    "Fans love actor {}’s new look",
];

/// Captions with two names.
pub(crate) const TWO_NAMES: [&str; 4] = [
    "Actor {} and director {} at the premiere",
    "Director {} with actor {}",
    "Mr. {} and Dr. {} arrive at the gala",
    "Actors {} and {} backstage",
];

/// Captions with a name in other languages.
pub(crate) const FOREIGN: [&str; 8] = [
    "{} auf dem roten Teppich",
    "Schauspieler {} bei der Premiere in Berlin",
    "L'acteur {} au festival de Venise",
    "El actor {} en la alfombra roja",
    "L'attore {} alla prima del film",
    "Актёр {} на премьере фильма",
    "俳優の{}が東京で映画祭に登場",
    "الممثل {} في العرض الأول",
];

/// Captions without a name.
pub(crate) const NOBODY: [&str; 24] = [
    "Sunset over the harbour",
    "Red leather handbag with gold buckle",
    "How to bake sourdough bread at home",
    "Modern kitchen with white cabinets",
    "A bowl of tomato soup with basil",
    "Mountain lake in the morning mist",
    "Vintage wooden chair",
    "2014 blue hatchback, front view",
    "Two cats sleeping on a sofa",
    "Free printable calendar",
    "Waterproof hiking boots, brown",
    "Black and white photo of an old bridge",
    "Garden path between lavender beds",
    "Chocolate cake recipe",
    "Snow on pine trees",
    "Man riding a bicycle on a country road",
    "Woman reading on a park bench",
    "Sonnenuntergang am See",
    "Une tasse de café sur la table",
    "Casa de campo con jardín",
    "海辺の夕焼け",
    "Кошка на подоконнике",
    "قارب في البحر",
    "IMG_20140512_183045.jpg",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use laioncele_ner::{Label, Ner};

    use super::*;
    use crate::people::People;

    /// Names that are written into each template.
    const NAMES: usize = 100;
    /// How many of them must be found.
    const FOUND: usize = 97;

    #[test]
    fn the_whole_name_is_found_in_nearly_all_captions_of_each_plain_template() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini");
        let ner = Ner::load(&shipped.join("ner/en_core_web_sm")).unwrap();
        let people = People::load(&shipped.join("people")).unwrap();
        let names = people.known.iter().map(|person| &person.name).take(NAMES);
        for template in PLAIN {
            let found = names.clone().filter(|name| is_found(&ner, template, name));
            let found = found.count();
            assert!(found >= FOUND, "{template}: {found} of {NAMES}");
        }
    }

    /// Whether the recognizer finds exactly the name in the template's caption.
    fn is_found(ner: &Ner, template: &str, name: &str) -> bool {
        let caption = template.replacen("{}", name, 1);
        let entities = &ner.entities(&[&caption])[0];
        let mut persons = entities.iter().filter(|e| e.label == Label::Person);
        persons.any(|person| &caption[person.start..person.end] == name)
    }
}
