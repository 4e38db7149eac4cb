//! Tiny models with random weights, of each architecture, made by the script that makes the bench's.

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The file of a kind of model; made when it is not there yet.
pub fn model(kind: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/random_weights.py");
    let version = hex::encode(&Sha256::digest(std::fs::read(&script).unwrap())[..6]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random-{version}"));
    let path = folder.join(format!("{kind}.gguf"));
    if !path.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        // Other test processes may make it at the same time.
        let own = folder.join(format!("{kind}-{}.gguf", std::process::id()));
        let made = Command::new("python3").arg(script).arg(kind).arg(&own).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::rename(own, &path).unwrap();
    }
    path
}
