//! This checkout and how cargo builds it.
//!
//! Always the whole workspace and one profile: another set of packages has other features, and that recompiles the heaviest
//! dependencies. Build outputs live in a cache folder outside the checkout, so that a fresh clone builds warm.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cpu::Kernels;
use crate::process::setting;

/// The folder of the checkout.
pub fn root() -> PathBuf {
    // `cargo run` names the package's folder at run time; the compiled-in one serves a binary that is started by hand.
    let package = setting("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned());
    let package = PathBuf::from(package);
    package.parent().map_or(package.clone(), Path::to_owned)
}

/// Where build outputs go: `CARGO_TARGET_DIR`, else a cache folder named after the CPU's kernels.
pub fn target_dir() -> PathBuf {
    if let Some(dir) = setting("CARGO_TARGET_DIR") {
        return root().join(dir);
    }
    let cache = setting("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| setting("HOME").map(|home| Path::new(&home).join(".cache")));
    match cache {
        Some(cache) => cache.join("tokengrid").join(format!("target-{}", Kernels::of_this_cpu().name)),
        None => root().join("target"),
    }
}

/// A cargo command for this workspace, with the queries checked against the checked-in cache.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(setting("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` told us about ourselves must not reach the build of others: some build scripts watch it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO" {
            command.env_remove(name);
        }
    }
    command.arg(subcommand).current_dir(root());
    command.env("CARGO_TARGET_DIR", target_dir());
    command.env("SQLX_OFFLINE", "true").env_remove("DATABASE_URL").env_remove("SQLX_OFFLINE_DIR");
    let fixed = [("GGML_CCACHE", "OFF"), ("LLAMA_LIB_PROFILE", "Release")];
    for (name, value) in Kernels::of_this_cpu().switches.into_iter().chain(fixed) {
        if setting(name).is_none() {
            command.env(name, value);
        }
    }
    command
}

/// A built program of the workspace.
pub fn program(name: &str, profile: &str) -> PathBuf {
    target_dir().join(if profile == "dev" { "debug" } else { profile }).join(name)
}

/// A small stable hash for names of folders (64-bit FNV-1a, hexadecimal).
pub fn short_hash(text: &[u8]) -> String {
    let hash = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(short_hash(b""), "cbf29ce484222325");
        assert_eq!(short_hash(b"a"), "af63dc4c8601ec8c");
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.toml").is_file());
        assert!(root().join("xtask").is_dir());
    }
}
