//! Smaller files of the bundled model, and how near they are to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::align::{self, Effort, Measuring};
use engine::backend::llama::KvType;
use engine::backend::llama::quantise::Precision;
use engine::{Error, Model, quantise};
use primitives::certificate::{Certificate, Grade};
use primitives::clock::Clock;

use crate::bundled::{model, weights_file};

const LITTLE: Measuring =
    Measuring { effort: Effort { positions: 3_000, tool_requests: 24 }, threads: 1, kv: KvType::F16 };

fn made(precision: Precision) -> PathBuf {
    let to = std::env::temp_dir().join(format!("tokengrid-{}-{}.gguf", precision.as_str(), std::process::id()));
    let mut last = 0.0;
    let quantised = quantise::run(&weights_file(), &to, precision, 2, &mut |share| last = share).unwrap();
    assert_eq!((last, quantised.path.as_path()), (1.0, to.as_path()));
    to
}

fn measure(candidate: &Path) -> align::Alignment {
    let prompts = weights_file().with_file_name("heldout.jsonl");
    align::measure(&model(), &Arc::new(Model::load(candidate).unwrap()), &prompts, LITTLE, &mut |_, _| {}).unwrap()
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
fn the_commands_write_a_smaller_model_and_a_certificate_that_holds() {
    let dir = std::env::temp_dir().join(format!("tokengrid-align-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let node = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tokengrid-node"));
        let output = command.args(arguments).current_dir(&dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let original = weights_file().to_string_lossy().into_owned();
    let told = node(&["quantize", "--model", &original, "--to", "q8_0", "--out", "eight.gguf"]);
    assert!(told.starts_with("eight.gguf: ") && told.contains(" % of "), "{told}");
    let measure = ["align", "--reference", &original, "--model", "eight.gguf", "--state-dir", "state", "--quick"];
    let told = node(&[&measure[..], &["--out", "certificate.json"]].concat());
    assert!(
        told.contains("next tokens") && told.contains("grade         none"),
        "a quick look certifies nothing: {told}"
    );
    let certificate: Certificate =
        serde_json::from_str(&std::fs::read_to_string(dir.join("certificate.json")).unwrap()).unwrap();
    assert!(certificate.holds(Clock::system().now()));
    let cell = &certificate.body.cell;
    assert_eq!((cell.quantisation.as_str(), &cell.reference_sha256), ("Q8_0", &model().sha256));
    assert!(!cell.features.is_empty() && !cell.chip.is_empty(), "{cell:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_cannot_be_measured_or_written_says_why() {
    let nothing = |_: &str, _: f64| {};
    let missing = align::measure(&model(), &model(), Path::new("no.jsonl"), LITTLE, &mut { nothing });
    assert!(matches!(missing, Err(Error::File { .. })));
    let itself = quantise::run(&weights_file(), &weights_file(), Precision::Q8_0, 1, &mut |_| {});
    assert!(matches!(itself, Err(Error::Quantise { .. })));
    let no_model = weights_file().with_file_name("manifest.json");
    let to = std::env::temp_dir().join("tokengrid-no-model.gguf");
    assert!(matches!(quantise::run(&no_model, &to, Precision::Q8_0, 1, &mut |_| {}), Err(Error::Header { .. })));
    assert!(!to.exists());
}
