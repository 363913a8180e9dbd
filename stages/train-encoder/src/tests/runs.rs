//! Runs of the step with other settings, from other starts, on bad input.

use super::*;

/// A harness with `changed` lines in place of those of [`SETTINGS`] with the same key.
fn harness(root: &Path, changed: &str) -> StepHarness {
    let key = |line: &str| line.split(" =").next().map(str::to_owned);
    let new: Vec<_> = changed.lines().map(key).collect();
    let kept = SETTINGS.lines().filter(|line| !new.contains(&key(line)));
    let text: Vec<&str> = kept.chain(changed.lines()).collect();
    StepHarness::new(root, &text.join("\n")).expect("a harness")
}

fn run(harness: &StepHarness) -> Result<Record, StageError> {
    harness.run(&train::TrainEncoder, &Partition::Whole, inputs(harness))
}

fn trained_with(changed: &str) -> (Vec<u8>, Record) {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), changed);
    let record = run(&harness).expect(changed);
    (file(&harness, &record, "encoder.safetensors"), record)
}

/// The three files that a reader may compare.
fn results(harness: &StepHarness, record: &Record) -> [Vec<u8>; 3] {
    ["encoder.safetensors", "encoder.json", "loss.csv"].map(|name| file(harness, record, name))
}

#[test]
fn more_steps_go_on_from_a_finished_training() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    // 202 is no point of the curve.
    run(&harness(folders[0].path(), "steps = 202")).expect("trained");
    let longer = harness(folders[0].path(), "steps = 400");
    // A fresh run would take more steps than this allows.
    limited(&longer, inputs(&longer), 300).expect("it goes on");
    let continued = run(&longer).expect("trained");
    let fresh = harness(folders[1].path(), "steps = 400");
    let whole = run(&fresh).expect("trained");
    assert_eq!(results(&longer, &continued), results(&fresh, &whole));
    assert_eq!(continued.metrics, whole.metrics);
    // Fewer steps than there are, or another rate, begin anew.
    let shorter = harness(folders[0].path(), "steps = 100");
    interrupt(&shorter, inputs(&shorter), 99);
    let slower = harness(folders[0].path(), "steps = 410\nlearning_rate = 0.001");
    interrupt(&slower, inputs(&slower), 300);
}

#[test]
fn more_steps_go_on_from_an_interrupted_training() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = harness(folder.path(), "steps = 390");
    interrupt(&first, inputs(&first), 350);
    let longer = harness(folder.path(), "steps = 400");
    limited(&longer, inputs(&longer), 60).expect("it goes on");
}

/// A checkpoint that was copied from a run with other settings or data is not taken; nor is one
/// that was cut off, for which there is the one before.
#[test]
fn foreign_and_torn_checkpoints_are_not_used() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let (other, own) = (
        harness(folders[0].path(), "noise = 0.2"),
        harness(folders[1].path(), ""),
    );
    interrupt(&other, inputs(&other), 70);
    interrupt(&own, inputs(&own), 130);
    let slots = own.store.list("cache/checkpoints").expect("a list");
    let foreign = other.store.list("cache/checkpoints").expect("a list");
    let foreign = other.store.get(&foreign[0]).expect("bytes");
    let whole = trained_with("").0;
    let newest = slots.iter().max_by_key(|path| {
        let bytes = own.store.get(path).expect("bytes");
        let text = String::from_utf8_lossy(&bytes[..2000]).into_owned();
        let steps = text.split("steps\\\":").nth(1).expect("steps");
        let digits: String = steps.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().expect("a number")
    });
    let newest = newest.expect("a checkpoint");
    let bytes = own.store.get(newest).expect("bytes");
    own.store
        .put(newest, bytes.slice(..bytes.len() - 5))
        .expect("torn");
    // 100 steps are in the older one: 300 are left.
    limited(&own, inputs(&own), 305).expect("from the one before");
    for slot in &slots {
        own.store.put(slot, foreign.clone()).expect("foreign");
    }
    let record = run(&own).expect("trained");
    assert_eq!(file(&own, &record, "encoder.safetensors"), whole);
}

#[test]
fn every_choice_learns_and_is_another_run() {
    let (first, record) = trained_with("");
    assert!(record.metrics["validation_explained"] > 0.8);
    assert!(record.metrics["validation_cosine"] > 0.8);
    let mut seen = vec![first];
    for changed in [
        "order = \"epochs\"",
        "optimizer = \"adamw\"\nweight_decay = 0.01",
        "schedule = \"cosine\"\nwarmup = 20\nfloor = 0.1",
        "slices = 4",
        "clip = 0.5",
        "reduction = \"sum\"",
        "precision = \"bf16\"",
        "targets = \"standardized\"",
        "last_bias = \"pytorch\"\nsteps = 800",
        "activation = \"relu\"",
        "activation = \"none\"",
    ] {
        let (weights, record) = trained_with(changed);
        let explained = record.metrics["validation_explained"];
        assert!(explained > 0.5, "{changed}: {explained}");
        assert!(!seen.contains(&weights), "{changed}");
        seen.push(weights);
    }
}

#[test]
fn slices_give_the_same_bits_on_any_number_of_threads() {
    let weights = |threads: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut harness = harness(folder.path(), "slices = 8\nclip = 1.0\nsteps = 60");
        harness.runtime_environment.threads = threads;
        let record = run(&harness).expect("trained");
        file(&harness, &record, "encoder.safetensors")
    };
    let one = weights(1);
    assert!(one == weights(2) && one == weights(5));
}

/// The best weights are those of the curve's lowest point, also where the run was interrupted after
/// it; patience ends the run.
#[test]
fn the_best_weights_are_kept_and_patience_ends() {
    let changed = "learning_rate = 0.3\nkeep = \"best\"\npatience = 6\ncheckpoint_every = 3";
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let whole = harness(folders[0].path(), changed);
    let record = run(&whole).expect("trained");
    assert!(record.metrics["steps"] < 400.0, "{:?}", record.metrics);
    let curve = String::from_utf8(file(&whole, &record, "loss.csv")).expect("text");
    let losses = curve
        .lines()
        .skip(1)
        .filter_map(|line| line.rsplit(',').next());
    let losses: Vec<f64> = losses.map(|loss| loss.parse().expect("a loss")).collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(losses.last().is_some_and(|last| *last > best));
    let summary: serde_json::Value =
        serde_json::from_slice(&file(&whole, &record, "training.json")).expect("JSON");
    let loss = summary["loss"].as_f64().expect("a loss");
    assert!((loss - best).abs() < 1e-6 * best, "{loss} {best}");
    assert_eq!(summary["tokens"].as_array().map(Vec::len), Some(8));
    let stopped = harness(folders[1].path(), changed);
    interrupt(
        &stopped,
        inputs(&stopped),
        record.metrics["steps"] as u64 - 2,
    );
    let resumed = run(&stopped).expect("trained");
    assert_eq!(results(&stopped, &resumed), results(&whole, &record));
}

/// The data's parts with the features of one photo changed.
fn with_features(harness: &StepHarness, vector: Vec<f32>) -> Vec<Part> {
    let (rows, mut features) = people();
    features[7].features = FeatureVector(vector);
    let bucket = Partition::Bucket;
    vec![
        harness.part(&bucket(0), rows).expect("a part"),
        harness.part(&bucket(1), features).expect("a part"),
    ]
}

fn message(error: &StageError) -> String {
    match error {
        StageError::Data(cause) | StageError::Environment(cause) => {
            laioncele_core::error::chain(&**cause)
        }
        other => other.to_string(),
    }
}

#[test]
fn bad_features_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "");
    for bad in [f32::NAN, f32::INFINITY] {
        let parts = with_features(&harness, vec![0.0, bad, 0.0]);
        let ended = harness.run(&train::TrainEncoder, &Partition::Whole, parts);
        let text = message(&ended.expect_err("bad features"));
        assert!(text.contains(&format!("name {}", NameId(1))), "{text}");
        assert!(text.contains("finite") && text.contains("doctor"), "{text}");
    }
}

#[test]
fn a_diverging_training_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "noise = 1e38\nsteps = 100000");
    let text = message(&run(&harness).expect_err("it diverges"));
    assert!(text.contains("diverged at step"), "{text}");
    assert!(text.contains("lower learning_rate"), "{text}");
}

/// One person is no validation people, and enough to train on.
#[test]
fn one_person_is_trained_on_without_validation() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = |harness: &StepHarness| {
        let (rows, features) = people();
        let bucket = Partition::Bucket;
        vec![
            harness
                .part(&bucket(0), rows[..4].to_vec())
                .expect("a part"),
            harness
                .part(&bucket(0), features[..4].to_vec())
                .expect("a part"),
        ]
    };
    let harness_of = |changed: &str| harness(folder.path(), changed);
    let plain = harness_of("steps = 8");
    let record = plain.run(&train::TrainEncoder, &Partition::Whole, one(&plain));
    let record = record.expect("trained");
    assert_eq!(record.metrics["training_people"], 1.0);
    assert!(!record.metrics.contains_key("validation_loss"));
    let best = harness_of("steps = 8\nkeep = \"best\"");
    let ended = best.run(&train::TrainEncoder, &Partition::Whole, one(&best));
    let text = message(&ended.expect_err("no validation people"));
    assert!(text.contains("one person"), "{text}");
}

/// A photo of a training and a validation person is dropped with its reason.
#[test]
fn photos_of_validation_people_are_not_trained_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), "steps = 4");
    let (mut rows, mut features) = people();
    // The first photo of everybody is one picture.
    for k in (0..rows.len()).step_by(4) {
        rows[k].image_id = ImageId(77_777);
        features[k].image_id = ImageId(77_777);
    }
    let bucket = Partition::Bucket;
    let parts = vec![
        harness.part(&bucket(0), rows).expect("a part"),
        harness.part(&bucket(0), features).expect("a part"),
    ];
    let record = harness.run(&train::TrainEncoder, &Partition::Whole, parts);
    let record = record.expect("trained");
    let balance = &record.balances[0];
    assert_eq!((balance.rows_in, balance.rows_out), (160, 124));
    let dropped = harness.rows::<Dropped>(&record).expect("rows");
    assert_eq!(dropped.len(), 36);
    let reason = laioncele_core::DropReason::ValidationPhoto;
    assert!(dropped.iter().all(|row| row.reason == reason));
    assert_eq!(record.metrics["training_photos"], 36.0 * 3.0);
}
