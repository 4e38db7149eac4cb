//! Smaller files of the bundled model, and how near they are to it.

use std::path::{Path, PathBuf};

use engine::align::certificate::Grade;
use engine::align::{self, Effort};
use engine::backend::llama::quantise::Precision;
use engine::{Error, Model, quantise};

use crate::bundled::weights_file;

const LITTLE: Effort = Effort { positions: 3_000, tool_requests: 24 };

fn made(precision: Precision) -> PathBuf {
    let to = std::env::temp_dir().join(format!("tokengrid-{}-{}.gguf", precision.as_str(), std::process::id()));
    let mut last = 0.0;
    let quantised = quantise::run(&weights_file(), &to, precision, 2, &mut |share| last = share).unwrap();
    assert_eq!((last, quantised.path.as_path()), (1.0, to.as_path()));
    to
}

fn measure(candidate: &Path) -> align::Alignment {
    let prompts = weights_file().with_file_name("heldout.jsonl");
    align::measure(&weights_file(), candidate, &prompts, LITTLE, 2, &mut |_, _| {}).unwrap()
}

#[test]
fn a_model_is_its_own_equal() {
    let found = measure(&weights_file());
    assert_eq!(found.agreement.agreed, found.agreement.positions);
    assert!(found.agreement.positions >= 3_000 && found.agreement.divergence_mean < 1e-6, "{found:?}");
    let calls = found.calls.unwrap();
    assert_eq!((calls.requests, calls.triggers_agreed, calls.same_answers), (24, 24, 24));
    assert!(calls.calls > 0 && calls.valid == calls.original_valid, "{calls:?}");
}

#[test]
fn eight_bits_are_nearer_than_four() {
    let (eight, four) = (made(Precision::Q8_0), made(Precision::Q4_0));
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    assert!(size(&four) < size(&eight) && size(&eight) * 3 < size(&weights_file()) * 2);
    assert_eq!(Model::load(&eight).unwrap().quantisation, "Q8_0");
    let (near, far) = (measure(&eight).agreement, measure(&four).agreement);
    assert!(near.agreed > far.agreed && near.divergence_mean < far.divergence_mean, "{near:?} {far:?}");
    assert!(Grade::of(&near) > Grade::of(&far) || Grade::of(&far) == Grade::None, "{near:?} {far:?}");
    // What is quantised is not quantised again.
    let again = quantise::run(&eight, &eight.with_extension("again"), Precision::Q4_0, 1, &mut |_| {});
    assert!(matches!(again, Err(Error::Quantise { .. })));
    assert!(!eight.with_extension("again").exists());
    for path in [eight, four] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_cannot_be_measured_or_written_says_why() {
    let nothing = |_: &str, _: f64| {};
    let missing = align::measure(&weights_file(), &weights_file(), Path::new("no.jsonl"), LITTLE, 1, &mut { nothing });
    assert!(matches!(missing, Err(Error::File { .. })));
    let itself = quantise::run(&weights_file(), &weights_file(), Precision::Q8_0, 1, &mut |_| {});
    assert!(matches!(itself, Err(Error::Quantise { .. })));
    let no_model = weights_file().with_file_name("manifest.json");
    let to = std::env::temp_dir().join("tokengrid-no-model.gguf");
    assert!(matches!(quantise::run(&no_model, &to, Precision::Q8_0, 1, &mut |_| {}), Err(Error::Quantise { .. })));
    assert!(!to.exists());
}
