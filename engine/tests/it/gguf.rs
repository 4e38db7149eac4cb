//! Files that are broken on purpose: refused with an error, whatever is wrong, and never the end of the process.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use engine::gguf::{Fault, Header, WeightKind};
use engine::{Engine, EngineConfig, Error, Event, Model, quantise};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::bundled::work;
use crate::{bundled, random};

const KINDS: [&str; 3] = ["dense", "experts", "embedding"];

/// A model's bytes and where its header ends: what comes before is what a file says of itself.
struct Subject {
    bytes: Vec<u8>,
    header: usize,
}

impl Subject {
    fn of(kind: &str) -> Self {
        let bytes = std::fs::read(random::model(kind)).unwrap();
        let data: u64 = header(&bytes).unwrap().tensors().iter().map(|tensor| tensor.bytes.next_multiple_of(32)).sum();
        let header = bytes.len() - data as usize;
        Self { bytes, header }
    }

    /// One to three changes of the kinds that hostile or damaged files have.
    fn mutate(&self, generator: &mut impl Rng) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut pick = |below: usize| generator.next_u32() as usize % below.max(1);
        for _ in 0..=pick(3) {
            // Mostly among the numbers: the vocabulary is long, and most of it can be anything.
            let at = match pick(4) {
                0 => pick(self.header),
                1 => pick(64),
                2 => pick(1_500),
                _ => self.header - 1 - pick(2_000),
            };
            let extremes = [0, 1, 2, 255, 65_536, u64::from(u32::MAX), 1 << 31, 1 << 40, i64::MAX as u64, u64::MAX];
            let extreme = extremes[pick(extremes.len())].to_le_bytes();
            match pick(6) {
                0 => bytes[at] ^= 1 << pick(8),
                1 => bytes[at] = pick(256) as u8,
                2 => bytes[at..at + 4].copy_from_slice(&extreme[..4]),
                3 => bytes[at..at + 8].copy_from_slice(&extreme),
                4 => {
                    let (from, length) = (pick(self.header - 64), pick(64));
                    let piece = bytes[from..from + length].to_vec();
                    let to = at.min(self.header - length);
                    bytes[to..to + length].copy_from_slice(&piece);
                }
                _ => bytes.truncate(self.header + 16 + pick(self.bytes.len() - self.header)),
            }
            if bytes.len() < self.bytes.len() {
                break;
            }
        }
        bytes
    }
}

fn header(bytes: &[u8]) -> Result<Header, Fault> {
    Header::parse(bytes, bytes.len() as u64)
}

#[test]
fn what_is_known_of_storage_is_what_the_library_knows() {
    for id in 0..64 {
        // SAFETY: both functions answer for any number below the count, and the count is asked first.
        let library = (id < llama_cpp_sys_2::GGML_TYPE_COUNT).then(|| unsafe {
            (llama_cpp_sys_2::ggml_blck_size(id) as u64, llama_cpp_sys_2::ggml_type_size(id) as u64)
        });
        let ours = WeightKind::of(id).map(|kind| (kind.weights, kind.bytes));
        assert_eq!(ours, library.filter(|(weights, _)| *weights > 0), "kind {id}");
    }
}

#[test]
fn a_header_says_what_the_model_is() {
    for (kind, architecture) in KINDS.into_iter().zip(["llama", "qwen3moe", "bert"]) {
        let header = Header::read(&random::model(kind)).unwrap();
        assert_eq!(header.architecture(), architecture);
        assert_eq!((header.number("block_count"), header.number("embedding_length")), (Some(2), Some(64)));
    }
    assert_eq!(Header::read(&bundled::weights_file()).unwrap().number("block_count"), Some(5));
}

#[test]
fn thousands_of_broken_headers_are_read_without_a_panic_and_most_are_refused() {
    for kind in KINDS {
        let subject = Subject::of(kind);
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let broken = (0..3_000).map(|_| subject.mutate(&mut generator));
        let refused = broken.filter(|bytes| header(bytes).is_err()).count();
        assert!(refused > 1_500, "{kind}: {refused}");
    }
}

#[test]
fn a_header_that_ends_anywhere_is_refused() {
    let subject = Subject::of("dense");
    for end in (0..subject.header).step_by(97) {
        assert!(header(&subject.bytes[..end]).is_err(), "after {end} bytes");
    }
}

#[test]
fn a_broken_file_that_is_taken_all_the_same_loads_or_is_refused_and_ends_nothing() {
    let folder = folder("mutated");
    for kind in KINDS {
        let subject = Subject::of(kind);
        let mut generator = ChaCha8Rng::seed_from_u64(2);
        for number in 0..1_200 {
            let bytes = subject.mutate(&mut generator);
            if header(&bytes).is_err() {
                continue;
            }
            let path = folder.join(format!("{kind}.gguf"));
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(mut trace) = File::create(folder.join("now")) {
                trace.write_all(format!("{kind} {number}").as_bytes()).unwrap();
            }
            let Ok(model) = Model::load(&path) else { continue };
            try_out(model);
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Starts an engine and asks it for a token; either may fail.
fn try_out(model: Model) {
    let model = Arc::new(model);
    let mut config = EngineConfig::for_model(&model, 1);
    (config.slots, config.context_tokens, config.step_tokens_max) = (1, 64, 16);
    let Ok(engine) = Engine::start(model, config) else { return };
    let Ok(mut request) = engine.submit(work(vec![70, 71, 72], 2)) else { return };
    while let Some(Event::Tokens(_)) = request.blocking_next() {}
}

#[test]
fn faults_are_told_by_what_is_wrong() {
    let subject = Subject::of("dense");
    let with = |needle: &[u8], skip: usize, new: &[u8]| {
        let mut bytes = subject.bytes.clone();
        let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap() + needle.len() + skip;
        bytes[at..at + new.len()].copy_from_slice(new);
        header(&bytes).unwrap_err()
    };
    assert_eq!(header(b"GGU"), Err(Fault::Truncated));
    assert_eq!(header(b"GGML"), Err(Fault::NotGguf));
    assert_eq!(header(b"ELF.....................").unwrap_err(), Fault::NotGguf);
    assert!(matches!(with(b"GGUF", 4, &u64::MAX.to_le_bytes()), Fault::TooMuch { what: "the number of tensors", .. }));
    // A pair is its key, the number of its type, and its value.
    let heads = |heads: u32| with(b"llama.attention.head_count", 4, &heads.to_le_bytes());
    assert!(matches!(heads(0), Fault::Senseless { key, .. } if key == "llama.attention.head_count"));
    assert!(matches!(heads(5), Fault::Senseless { key, .. } if key == "llama.attention.head_count"));
    assert!(matches!(with(b"llama.attention.head_count", 0, &[8, 0, 0, 0]), Fault::TooMuch { .. } | Fault::Truncated));
    assert!(matches!(with(b"llama.rope.freq_base", 4, &f32::NAN.to_le_bytes()), Fault::Senseless { .. }));
    assert!(matches!(with(b"eos_token_id", 4, &400_u32.to_le_bytes()), Fault::Senseless { .. }));
    // A tensor is its name, the number of its extents, the extents, the number of its kind, and its place.
    assert!(matches!(with(b"output_norm.weight", 0, &9_u32.to_le_bytes()), Fault::TooMuch { .. }));
    assert!(matches!(with(b"output_norm.weight", 4, &u64::MAX.to_le_bytes()), Fault::Malformed { .. }));
    assert!(matches!(with(b"output_norm.weight", 12, &99_u32.to_le_bytes()), Fault::Malformed { .. }));
    // In eight bits that only intermediate results are stored in; and a norm that is not in plain 32.
    assert!(matches!(with(b"blk.0.attn_q.weight", 20, &9_u32.to_le_bytes()), Fault::Senseless { .. }));
    assert!(matches!(with(b"output_norm.weight", 12, &1_u32.to_le_bytes()), Fault::Senseless { .. }));
    let outside = Fault::Outside { tensor: "output_norm.weight".into() };
    assert_eq!(with(b"output_norm.weight", 16, &(1_u64 << 40).to_le_bytes()), outside);
    assert_eq!(with(b"output_norm.weight", 16, &(u64::MAX - 31).to_le_bytes()), outside);
}

#[test]
fn a_vocabulary_has_no_text_twice_and_no_byte_without_its_name() {
    let mut subject = Subject::of("embedding");
    let replace = |bytes: &mut Vec<u8>, old: &[u8], new: &[u8]| {
        let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
        bytes[at..at + new.len()].copy_from_slice(new);
    };
    let mut twice = subject.bytes.clone();
    replace(&mut twice, b"[CLS]", b"[SEP]");
    assert_eq!(header(&twice), Err(Fault::Twice { name: "a token of the vocabulary".into() }));
    replace(&mut subject.bytes, b"[CLS]", b"[SEP\0");
    assert!(header(&subject.bytes).is_ok(), "up to the zero byte it is another text");
    let kinds = b"token_type\x09\0\0\0\x05\0\0\0\x90\x01\0\0\0\0\0\0";
    replace(&mut subject.bytes, kinds, &[kinds.as_slice(), &[6]].concat());
    assert!(matches!(header(&subject.bytes), Err(Fault::Senseless { key, .. }) if key == "tokenizer.ggml.token_type"));
}

#[test]
fn what_ends_the_library_all_the_same_ends_only_a_trial_and_is_told() {
    let folder = folder("trial");
    let path = folder.join("turned.gguf");
    let mut bytes = std::fs::read(random::model("experts")).unwrap();
    let key = b"qwen3moe.rope.dimension_count";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    // Half of a head is turned: some networks do that, and this one's code asserts that it does not.
    bytes[at] = 8;
    std::fs::write(&path, bytes).unwrap();
    let run = |model: &std::path::Path| {
        let mut node = std::process::Command::new(env!("CARGO_BIN_EXE_tokengrid-node"));
        node.env_clear().args(["run", "--control-plane", "http://127.0.0.1:1", "--threads", "1", "--state-dir"]);
        let output = node.arg(folder.join("state")).arg("--model").arg(model).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the library ends the process over it (signal 6)"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn nothing_is_loaded_nor_quantised_from_a_broken_file() {
    let folder = folder("broken");
    let path = folder.join("broken.gguf");
    let mut file = File::create(&path).unwrap();
    let mut head = vec![0; 20_000];
    File::open(random::model("dense")).unwrap().read_exact(&mut head).unwrap();
    file.write_all(&head).unwrap();
    file.rewind().unwrap();
    assert!(matches!(Model::load(&path), Err(Error::Header { fault: Fault::Outside { .. }, .. })));
    let made = quantise::run(
        &path,
        &folder.join("out.gguf"),
        engine::backend::llama::quantise::Precision::Q8_0,
        1,
        &mut |_| (),
    );
    assert!(matches!(made, Err(Error::Header { .. })));
    std::fs::remove_dir_all(folder).unwrap();
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tokengrid-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
