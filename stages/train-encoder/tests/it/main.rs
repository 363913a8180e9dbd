//! The trainer against PyTorch's, by recordings of small networks of odd widths.

#[path = "../../examples/train-fixture/fixture.rs"]
mod fixture;

use std::path::Path;

use fixture::{Comparison, Fixture};

fn recording() -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/train-b");
    Fixture::read(&folder).expect("a recording")
}

fn check(run: &str, comparisons: &[Comparison]) {
    for comparison in comparisons {
        let Comparison {
            what,
            found,
            allowed,
        } = comparison;
        assert!(
            comparison.holds(),
            "{run}: {what}: {found:.1e} > {allowed:.1e}"
        );
    }
}

/// Losses, gradients, weights, learning rates and validation losses of every recorded run; resumed
/// runs too.
#[test]
fn training_equals_pytorchs() {
    let fixture = recording();
    check("all", &[fixture.compare_statistics()]);
    let runs = fixture.runs();
    assert!(runs.len() >= 10, "{runs:?}");
    for run in runs {
        let all = fixture.compare(&run).expect("comparisons");
        assert!(all.len() >= 10, "{run}: {}", all.len());
        check(&run, &all);
    }
}

/// The same bits on any number of threads, in slices and whole, in both precisions.
#[test]
fn threads_change_no_bit() {
    let fixture = recording();
    for run in ["adam-gelu", "adam-gelu-4-workers", "bf16-gelu"] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().expect("a pool");
            let trained = pool.install(|| fixture.train(run, None, &[50]));
            let trained = trained.expect("trained");
            let losses: Vec<u64> = trained.losses.iter().map(|l| l.to_bits()).collect();
            (losses, trained.states)
        };
        let one = on(1);
        assert_eq!(one.1.len(), 1);
        assert!(one == on(2) && one == on(5), "{run}");
    }
}
