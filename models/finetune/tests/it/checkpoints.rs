//! Interrupted trainings go on as if they had not been.

use laioncele_finetune::checkpoint::{self, Checkpoint};
use laioncele_finetune::{Error, Trainer};

use crate::recorded::{Recording, WHOLE};

fn weights(trainer: &Trainer) -> Vec<Vec<f32>> {
    let parameters = trainer.network().parameters().iter();
    parameters.map(|p| p.values().expect("values")).collect()
}

fn steps(trainer: &mut Trainer, recording: &Recording, range: std::ops::Range<usize>) {
    for i in range {
        trainer
            .step(&recording.rows(i), recording.size())
            .expect("a step");
    }
}

#[test]
fn a_resumed_training_has_the_same_bits() {
    let recording = Recording::open();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("training.safetensors");
    for run in ["lora", "unet"] {
        let mut whole = recording.trainer(run, WHOLE);
        steps(&mut whole, &recording, 0..4);
        let mut first = recording.trainer(run, WHOLE);
        steps(&mut first, &recording, 0..2);
        checkpoint::write(&path, &first, "a key", "some notes").expect("written");
        let mut second = recording.trainer(run, WHOLE);
        let read = Checkpoint::read(&path, &second).expect("read");
        assert_eq!(
            (read.steps(), read.key(), read.notes()),
            (2, "a key", "some notes")
        );
        read.restore(&mut second).expect("restored");
        steps(&mut second, &recording, 2..4);
        assert!(weights(&whole) == weights(&second), "{run}");
    }
}

#[test]
fn a_checkpoint_of_another_network_is_refused() {
    let recording = Recording::open();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("training.safetensors");
    checkpoint::write(&path, &recording.trainer("lora", WHOLE), "", "").expect("written");
    let error = Checkpoint::read(&path, &recording.trainer("unet", WHOLE)).expect_err("another");
    assert!(matches!(error, Error::File { .. }), "{error}");
    assert!(
        error.to_string().contains("training.safetensors"),
        "{error}"
    );
}

/// A step that leaves the finite numbers changes nothing, and says where it was.
#[test]
fn a_step_that_is_not_finite_leaves_the_weights() {
    let recording = Recording::open();
    let mut trainer = recording.trainer("lora", WHOLE);
    steps(&mut trainer, &recording, 0..1);
    let before = weights(&trainer);
    let mut rows = recording.rows(1);
    rows[1].noise[3] = f32::INFINITY;
    let error = trainer
        .step(&rows, recording.size())
        .expect_err("not finite");
    assert!(matches!(error, Error::NotFinite { step: 2, .. }), "{error}");
    assert!(error.to_string().contains("step 2"), "{error}");
    assert!(weights(&trainer) == before);
    assert_eq!(trainer.optimizer().steps(), 1);
}
