//! Making a model smaller: `tokengrid-node quantize`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::backend::llama::quantise::{Precision, quantise};
use crate::error::Error;
use crate::gguf::Header;

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(200);

/// A model that was made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// The new file.
    pub path: PathBuf,
    /// Before. *Units*: bytes.
    pub bytes_before: u64,
    /// After. *Units*: bytes.
    pub bytes: u64,
}

/// Writes a GGUF file's weights in fewer bits to another, and tells how far it is (0 to 1, estimated from the bytes written).
///
/// The new file appears whole or not at all. An input of 16 or 32 bits a weight is expected.
///
/// # Errors
/// When a file cannot be used, the two are the same, or the library refuses.
pub fn run(
    from: &Path,
    to: &Path,
    precision: Precision,
    threads: usize,
    told: &mut dyn FnMut(f64),
) -> Result<Quantised, Error> {
    let file = |path: &Path, source| Error::File { path: path.into(), source };
    let bytes_before = fs::metadata(from).map_err(|source| file(from, source))?.len();
    if fs::canonicalize(from).ok() == fs::canonicalize(to).ok() {
        return Err(Error::Quantise { path: from.into(), reason: "it cannot be written over itself".into() });
    }
    Header::read(from)?;
    let unfinished = to.with_extension("gguf.part");
    let expected = (bytes_before as f64 * precision.bits() / 16.0).max(1.0);
    let (ended, end) = channel();
    let made = std::thread::scope(|scope| {
        scope.spawn({
            let unfinished = &unfinished;
            move || drop(ended.send(quantise(from, unfinished, precision, threads)))
        });
        loop {
            match end.recv_timeout(EVERY) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Quantise { path: from.into(), reason: "the library broke off".into() });
                }
                Err(RecvTimeoutError::Timeout) => {
                    let written = fs::metadata(&unfinished).map_or(0, |metadata| metadata.len());
                    told((written as f64 / expected).min(0.99));
                }
            }
        }
    });
    if let Err(error) = made.and_then(|()| fs::rename(&unfinished, to).map_err(|source| file(to, source))) {
        fs::remove_file(&unfinished).ok();
        return Err(error);
    }
    told(1.0);
    let bytes = fs::metadata(to).map_err(|source| file(to, source))?.len();
    Ok(Quantised { path: to.into(), bytes_before, bytes })
}
