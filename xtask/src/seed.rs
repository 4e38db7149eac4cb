//! `cargo xtask seed`: fills a running system; and the first seeding, which `up` keeps.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::directory::{self, Directory};
use crate::process::{self, setting};
use crate::progress::Steps;
use crate::services::Services;
use crate::{exit, progress, up, workspace};

const HELP: &str = "\
cargo xtask seed [--big] [--json] [--data-dir DIR]

Fills the database of a running `cargo xtask up` (or of DATABASE_URL) with a demo: a model, prices, a tenant with credit and
a key, a provider with a join token, an operator. May be repeated: what exists stays, a new key is made.

  --big           a busy fleet and history, too
  --json          print one JSON object
  --data-dir DIR  the running system's data directory (target/tokengrid)
";

/// Runs the command.
pub fn run(mut arguments: lexopt::Parser) -> anyhow::Result<()> {
    use lexopt::prelude::*;
    let (mut flags, mut data_dir) = (Vec::new(), None);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("big") => flags.push("--big"),
            Long("json") => flags.push("--json"),
            Long("data-dir") => data_dir = Some(PathBuf::from(arguments.value()?)),
            Long("help") | Short('h') => {
                progress::print(HELP.trim_end());
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let database_url = match setting("DATABASE_URL").filter(|_| data_dir.is_none()) {
        Some(url) => url,
        None => running_database(&Directory::default_for_reading(data_dir)?)?,
    };
    if !workspace::program("tokengrid", "dev").exists() {
        let log = std::env::temp_dir().join("tokengrid-seed-build.log");
        up::build(&mut Steps::new(1), &log, &[])?;
    }
    let mut command = program();
    let told = process::output(command.args(flags).env("DATABASE_URL", database_url))?;
    progress::print(told.trim_end());
    Ok(())
}

fn running_database(directory: &Path) -> anyhow::Result<String> {
    let file = directory.join("up.json");
    let text = std::fs::read_to_string(&file).map_err(|_| {
        exit::misused(format!("{} is not there: start `cargo xtask up` first, or set DATABASE_URL", file.display()))
    })?;
    let running: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
    Ok(running["database_url"].as_str().context("up.json names no database_url")?.to_owned())
}

/// What the seed told, for a directory: kept in `seed.json`, asked again when the database is new or the model has changed.
///
/// Passwords are told only once, so an older answer fills what a repeated seeding leaves out.
pub fn once(directory: &Directory, services: &Services) -> anyhow::Result<Value> {
    let file = directory.join("seed.json");
    let manifest = std::fs::read(workspace::root().join(up::MODEL).join("manifest.json")).unwrap_or_default();
    let manifest = workspace::short_hash(&manifest);
    let kept: Option<Value> = std::fs::read_to_string(&file).ok().and_then(|text| serde_json::from_str(&text).ok());
    let kept = kept.filter(|_| !services.fresh);
    if let Some(kept) = kept.as_ref().filter(|kept| kept["manifest_hash"] == manifest.as_str()) {
        return Ok(kept.clone());
    }
    if kept.is_none() {
        // The identity of a node that another database knew.
        let _ = std::fs::remove_dir_all(directory.join("node"));
    }
    let told = process::output(program().arg("--json").envs(services.environment()))?;
    let mut told: Value = serde_json::from_str(&told).with_context(|| format!("the seed told no JSON: {told}"))?;
    if let Some(kept) = kept {
        fill(&mut told, &kept);
    }
    told["manifest_hash"] = manifest.into();
    directory::write_secret(&file, &format!("{told:#}\n"))?;
    Ok(told)
}

fn program() -> Command {
    let mut command = Command::new(workspace::program("tokengrid", "dev"));
    command.arg("seed").env("RUST_BACKTRACE", "0").current_dir(workspace::root());
    command
}

/// Takes from `older` what `newer` leaves open.
fn fill(newer: &mut Value, older: &Value) {
    match newer {
        Value::Null => *newer = older.clone(),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| fill(value, &older[name])),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_password_told_once_is_not_forgotten_by_a_second_seeding() {
        let older = json!({"tenant": {"password": "first", "api_key": "old"}, "model": "a"});
        let mut newer = json!({"tenant": {"password": null, "api_key": "new"}, "model": "b"});
        fill(&mut newer, &older);
        assert_eq!(newer, json!({"tenant": {"password": "first", "api_key": "new"}, "model": "b"}));
    }
}
