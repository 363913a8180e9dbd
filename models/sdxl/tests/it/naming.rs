//! Names in prompts: found, put in place, or refused.

use laioncele_sdxl::{LoadOptions, Naming, TextEncoders};

use crate::common::fixture;

fn encoders() -> TextEncoders {
    TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders")
}

#[test]
fn substitution_replaces_the_persons_tokens() {
    let texts = encoders();
    let prompt = texts.encode_prompt("a portrait of a person smiling");
    let prompt = prompt.expect("encoded");
    let name = texts.encode_name("Yuki Tanaka").expect("a name");
    let named = texts.named(&prompt, &name, Naming::Substitute);
    let named = named.expect("substituted");
    let rows = |embeds: &[f32], from: usize, to: usize| embeds[from * 72..to * 72].to_vec();
    let before = texts
        .encode_prompt("a portrait of")
        .expect("encoded")
        .token_count;
    let person = texts
        .encode_prompt("a person")
        .expect("encoded")
        .token_count;
    let count = name.token_count().expect("counted").min(8);
    let start = 1 + before;
    assert_eq!(
        rows(&named.embeds, 0, start),
        rows(&prompt.embeds, 0, start)
    );
    assert_eq!(
        rows(&named.embeds, start, start + count),
        name.rows()[..count * 72]
    );
    assert_eq!(
        rows(&named.embeds, start + count, 60),
        rows(&prompt.embeds, start + person, 60 + person - count)
    );
    assert_eq!(
        (named.embeds.len(), &named.pooled),
        (77 * 72, &prompt.pooled)
    );
    let prepended = texts.named(&prompt, &name, Naming::Prepend);
    assert_eq!(
        prepended.expect("prepended"),
        prompt.prepend(&name).expect("prepended")
    );
}

#[test]
fn substitution_needs_a_person_in_the_prompt() {
    let texts = encoders();
    let prompt = texts.encode_prompt("mountains in fog").expect("encoded");
    let name = texts.encode_name("Bo").expect("a name");
    let error = texts.named(&prompt, &name, Naming::Substitute);
    let error = error.expect_err("nobody is there").to_string();
    assert!(error.contains("a person, a man, a woman"), "{error}");
}
