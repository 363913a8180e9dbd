//! Faces of every size are found: the claim of models/face/README.md, on a few people.

#[path = "../../examples/faces/scenes.rs"]
mod scenes;

use laioncele_face::{FaceError, FaceNets, FaceOptions, Search};
use laioncele_mini_world::render::Anatomy;

const PEOPLE: u64 = 5;

#[test]
fn small_faces_and_those_that_fill_the_frame_are_found() -> Result<(), FaceError> {
    let nets = FaceNets::load(&scenes::shipped(), &FaceOptions::default())?;
    let people: Vec<_> = (0..PEOPLE).map(Anatomy::stranger).collect();
    let portraits = scenes::portraits(&nets, &people)?;
    assert_eq!(portraits.len(), people.len());
    let mut once = 0;
    for (k, portrait) in portraits.iter().enumerate() {
        let photo = scenes::in_a_photo(portrait, 40.0, k as u64);
        assert!(scenes::found(&nets, &photo, Search::EverySize)?, "{k}");
        once += usize::from(scenes::found(&nets, &photo, Search::Once)?);
        for percent in [40, 70, 100] {
            let close_up = scenes::close_up(portrait, percent as f32 / 100.0);
            let found = scenes::found(&nets, &close_up, Search::EverySize)?;
            assert!(found, "{k} at {percent} %");
        }
    }
    assert!(once < portraits.len(), "one look finds all small faces");
    Ok(())
}
