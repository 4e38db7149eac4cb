//! `cargo xtask gen`: rewrites what is generated and checked in, `.sqlx`, `web/schema.graphql` and
//! `web/src/gql`.
//!
//! The query cache comes from a plain `cargo check` of the production targets against a database that was migrated from
//! empty. The query macros write only when they are expanded, so the rooms that use them are made to look changed for the
//! time of that check.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, bail};

use crate::account::Account;
use crate::directory::Directory;
use crate::packages::{self, Wanted};
use crate::postgres::{self, Durability};
use crate::process;
use crate::progress::{self, Steps};
use crate::services::{Given, Services};
use crate::{console, node_modules, up, workspace};

const HELP: &str = "\
cargo xtask gen [--check]

Rewrites .sqlx (the cache of checked queries), web/schema.graphql and web/src/gql (the console's documents, typed). Each is
replaced only when its generation succeeded.

  --check  change nothing; fail when something would change
";

/// Steps that generating takes.
pub const STEPS: usize = 5;

/// What is generated: files by their path in the checkout.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Runs the command.
pub fn run(mut arguments: lexopt::Parser) -> anyhow::Result<()> {
    use lexopt::prelude::*;
    let mut only_check = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("check") => only_check = true,
            Long("help") | Short('h') => {
                progress::print(HELP.trim_end());
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let account = Account::for_services()?;
    let directory = Directory::throw_away("gen", account.as_ref())?;
    let mut steps = Steps::new(3 + STEPS);
    packages::ensure(&mut steps, Wanted { services: Some(&Given::default()), ..Wanted::default() })?;
    node_modules::ensure(&mut steps, &directory, &[node_modules::CONSOLE])?;
    if only_check {
        verify(&directory, account.as_ref(), &mut steps)?;
        return documents(&directory, &mut steps, &["--", "--check"]);
    }
    let queries = queries(&directory, account.as_ref(), &mut steps)?;
    let mut changed = replace(Path::new(".sqlx"), &queries)?;
    let schema = schema(&directory, &mut steps)?;
    changed += replace(Path::new("web"), &schema)?;
    documents(&directory, &mut steps, &[])?;
    progress::print(&format!(
        "{} queries and the schema, {changed} files changed; the console's documents",
        queries.len()
    ));
    Ok(())
}

/// Fails when generating would change something.
pub fn verify(directory: &Directory, account: Option<&Account>, steps: &mut Steps) -> anyhow::Result<()> {
    let mut different = differences(Path::new(".sqlx"), &queries(directory, account, steps)?)?;
    // A stale cache may not even build; what it lacks has been said by then.
    if different.is_empty() {
        different.extend(differences(Path::new("web"), &schema(directory, steps)?)?);
    }
    if different.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = different.iter().take(10).map(|path| format!("  {}", path.display())).collect();
    bail!("{} generated files are stale; run `cargo xtask gen`:\n{}", different.len(), names.join("\n"))
}

/// The query cache, freshly made: services, migration and check.
fn queries(directory: &Directory, account: Option<&Account>, steps: &mut Steps) -> anyhow::Result<Files> {
    let services = Services::start(directory, account, Durability::None, Given::default(), steps)?;
    let mut step = steps.begin("checking queries");
    postgres::run_files(&services.owner_database_url, &migrations()?)?;
    let output = directory.join("sqlx");
    fs::create_dir(&output)?;
    let mut command = workspace::cargo("check");
    command.arg("--workspace").env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", &output);
    command.env("DATABASE_URL", &services.owner_database_url);
    let touched = Touched::rooms_with_queries(directory)?;
    step.run(&mut command, &directory.log("queries"))?;
    drop(touched);
    let files = read_files(&output, Path::new(".sqlx"), |name| name.starts_with("query-"))?;
    step.finish(&format!("{} queries", files.len()));
    Ok(files)
}

/// The GraphQL schema, as the built program prints it: build and print.
fn schema(directory: &Directory, steps: &mut Steps) -> anyhow::Result<Files> {
    up::build(steps, &directory.log("build"), &[])?;
    let step = steps.begin("GraphQL schema");
    let sdl = process::output(Command::new(workspace::program("tokengrid", "dev")).arg("schema"))?;
    if !sdl.contains("type Query") {
        bail!("`tokengrid schema` printed no schema");
    }
    step.finish("");
    Ok(Files::from([(PathBuf::from("web/schema.graphql"), sdl.into_bytes())]))
}

/// The console's documents with the types that the schema gives them; one step.
fn documents(directory: &Directory, steps: &mut Steps, arguments: &[&str]) -> anyhow::Result<()> {
    let mut step = steps.begin("console's documents");
    let mut command = node_modules::npm(&console::folder());
    step.run(command.args(["run", "gen"]).args(arguments), &directory.log("documents"))?;
    step.finish("");
    Ok(())
}

/// Migrations in their order.
fn migrations() -> anyhow::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(workspace::root().join("migrations"))
        .context("migrations/ cannot be read")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    Ok(files)
}

fn read_files(from: &Path, named: &Path, keep: impl Fn(&str) -> bool) -> anyhow::Result<Files> {
    let mut files = Files::new();
    if !from.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(&keep) {
            files.insert(named.join(name), fs::read(entry.path())?);
        }
    }
    Ok(files)
}

/// What is checked in under `folder` of the kind of `files`.
fn checked_in(folder: &Path) -> anyhow::Result<Files> {
    let keep = |name: &str| name.starts_with("query-") || name == "schema.graphql";
    read_files(&workspace::root().join(folder), folder, keep)
}

fn differences(folder: &Path, files: &Files) -> anyhow::Result<Vec<PathBuf>> {
    let there = checked_in(folder)?;
    let mut different: Vec<PathBuf> =
        files.iter().filter(|(path, bytes)| there.get(*path) != Some(bytes)).map(|(path, _)| path.clone()).collect();
    different.extend(there.keys().filter(|path| !files.contains_key(*path)).cloned());
    Ok(different)
}

/// Makes the checked-in files equal to `files`; gives how many changed.
fn replace(folder: &Path, files: &Files) -> anyhow::Result<usize> {
    let different = differences(folder, files)?;
    fs::create_dir_all(workspace::root().join(folder))?;
    for path in &different {
        let target = workspace::root().join(path);
        match files.get(path) {
            Some(bytes) => {
                let new = target.with_extension("new");
                fs::write(&new, bytes)?;
                fs::rename(&new, &target)?;
            }
            None => fs::remove_file(&target)?,
        }
    }
    Ok(different.len())
}

/// Rooms whose main files look changed while this lives; afterwards they have their own times again, unless somebody has
/// really changed them since.
struct Touched {
    now: SystemTime,
    files: Vec<(PathBuf, SystemTime)>,
}

impl Touched {
    fn rooms_with_queries(directory: &Directory) -> anyhow::Result<Touched> {
        // The file system's own clock, the one that cargo compares with.
        let marker = directory.join("now");
        fs::write(&marker, "")?;
        let now = fs::metadata(&marker)?.modified()?;
        let mut touched = Touched { now, files: Vec::new() };
        for entry in fs::read_dir(workspace::root())? {
            let room = entry?.path();
            let manifest = fs::read_to_string(room.join("Cargo.toml")).unwrap_or_default();
            if !manifest.contains("sqlx") {
                continue;
            }
            for file in ["src/lib.rs", "src/main.rs"] {
                let file = room.join(file);
                if let Ok(metadata) = fs::metadata(&file) {
                    let before = metadata.modified()?;
                    set_time(&file, now)?;
                    touched.files.push((file, before));
                }
            }
        }
        Ok(touched)
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        for (file, before) in &self.files {
            if fs::metadata(file).and_then(|metadata| metadata.modified()).is_ok_and(|time| time == self.now) {
                let _ = set_time(file, *before);
            }
        }
    }
}

fn set_time(file: &Path, time: SystemTime) -> anyhow::Result<()> {
    let open = File::options().append(true).open(file)?;
    open.set_modified(time).with_context(|| format!("touching {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_in_the_order_of_their_numbers() {
        let files = migrations().unwrap();
        assert!(files.is_sorted());
    }

    #[test]
    fn a_touched_file_gets_its_time_back() {
        let directory = Directory::throw_away("selftest-touch", None).unwrap();
        let file = directory.join("lib.rs");
        fs::write(&file, "").unwrap();
        let now = fs::metadata(&file).unwrap().modified().unwrap();
        let before = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        drop(Touched { now, files: vec![(file.clone(), before)] });
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        drop(Touched { now, files: vec![(file.clone(), now)] });
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before, "it was changed since");
    }
}
