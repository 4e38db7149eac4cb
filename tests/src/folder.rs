//! A test's own folder: logs, node identities.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::program;

/// Removed at the end of a test that passed; kept for people when it failed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// An empty folder of this process's own.
    pub fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = program::beside_the_test("app-tests").join(format!("{}-{number}", std::process::id()));
        // An earlier process of the same number may have failed and left its folder.
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).expect("cargo's target folder can be written");
        Self { path }
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs are kept in {}", self.path.display());
        } else {
            // Left behind, it costs a few kilobytes of cargo's target folder.
            fs::remove_dir_all(&self.path).ok();
        }
    }
}
