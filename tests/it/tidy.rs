//! The house rules that a program can check: who imports whom, where SQL stands, how long a file is, what a file is called.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::database::Database;
use tests::model::workspace;
use tests::program::output_of;

/// Lines of a source file at most.
const LINES_MAX: usize = 800;
/// Folders that hold nothing of ours.
const NOT_OURS: [&str; 7] = ["target", "node_modules", ".venv", "dist", ".git", "gql", "__pycache__"];
/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "types", "manager", "transformers"];

/// Which rooms each room may import.
fn arrows() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    BTreeMap::from([
        ("primitives", BTreeSet::new()),
        ("ledger", BTreeSet::from(["primitives"])),
        ("billing", BTreeSet::from(["ledger", "primitives"])),
        ("broker", BTreeSet::from(["ledger", "primitives"])),
        ("engine", BTreeSet::from(["primitives"])),
        ("api", BTreeSet::from(["billing", "broker", "ledger", "primitives"])),
        ("xtask", BTreeSet::new()),
        ("tests", BTreeSet::from(["api", "billing", "broker", "engine", "ledger", "primitives"])),
    ])
}

#[test]
fn rooms_import_only_whom_they_may() {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace())
        .output();
    let metadata: Value = serde_json::from_slice(&cargo.unwrap().stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let rooms: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let arrows = arrows();
    assert_eq!(rooms, arrows.keys().copied().collect(), "a new room needs its arrows here and in ARCHITECTURE.md");
    for package in packages {
        let room = package["name"].as_str().unwrap();
        let imports =
            package["dependencies"].as_array().unwrap().iter().map(|dependency| dependency["name"].as_str().unwrap());
        let forbidden: Vec<&str> =
            imports.filter(|import| rooms.contains(import) && !arrows[room].contains(import)).collect();
        assert!(forbidden.is_empty(), "{room} must not import {forbidden:?}");
    }
}

#[test]
fn sql_stands_in_repo_files_alone() {
    let marks = ["sqlx::query", "query!(", "query_as!(", "query_scalar!(", "QueryBuilder"];
    breaches("move it to the room's repo", |file| {
        let name = file.shown.as_str();
        let repo = name.contains("/src/repo.rs") || name.contains("/src/repo/");
        if !name.ends_with(".rs")
            || repo
            || name.starts_with("tests/")
            || name.contains("/tests/")
            || name.ends_with("/tests.rs")
        {
            return vec![];
        }
        file.lines_of_production(|line| marks.iter().any(|mark| line.contains(mark)))
    });
}

#[test]
fn sql_never_asks_the_database_for_the_time() {
    let clocks = ["CURRENT_TIMESTAMP", "CURRENT_DATE", "LOCALTIMESTAMP", "clock_timestamp(", "statement_timestamp("];
    breaches("time arrives as a parameter", |file| {
        if !(file.shown.ends_with(".rs") || file.shown.ends_with(".sql")) || file.is_this() {
            return vec![];
        }
        file.lines(|line| clocks.iter().any(|clock| line.contains(clock)) || calls_now(line))
    });
}

/// `now()` as SQL calls it; a method or a path's last part is Rust.
fn calls_now(line: &str) -> bool {
    let before = line.split("now()").collect::<Vec<_>>();
    let calls = before.iter().take(before.len() - 1).map(|before| before.chars().next_back());
    !line.trim_start().starts_with("//")
        && calls.flatten().any(|last| !matches!(last, '.' | ':' | '`' | '_') && !last.is_alphanumeric())
}

#[test]
fn a_source_file_is_not_longer_than_people_read() {
    let kinds = [".rs", ".ts", ".tsx", ".py", ".mjs", ".sql"];
    breaches("split it by noun", |file| {
        let count = file.text.lines().count();
        let long = kinds.iter().any(|kind| file.shown.ends_with(kind)) && count > LINES_MAX;
        if long { vec![format!("{count} lines, {LINES_MAX} at most")] } else { vec![] }
    });
}

#[test]
fn every_file_is_named_for_what_it_holds() {
    breaches("name it for the concept", |file| {
        let code = [".rs", ".ts", ".tsx", ".py", ".mjs"].iter().any(|kind| file.shown.ends_with(kind));
        let path = Path::new(&file.shown).with_extension("");
        let empty = path.iter().filter(|part| code && EMPTY_NAMES.contains(&part.to_str().unwrap()));
        empty.map(|part| format!("“{}” says nothing", part.display())).collect()
    });
    breaches("a module is noun.rs with its children in noun/", |file| {
        if file.shown.ends_with("/mod.rs") { vec!["mod.rs".to_owned()] } else { vec![] }
    });
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let markers = ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "XXX", "TODO", "console.log("];
    breaches("finish it or write an issue", |file| {
        let code = [".rs", ".ts", ".tsx", ".py", ".sql"].iter().any(|kind| file.shown.ends_with(kind));
        if !code || file.is_this() {
            vec![]
        } else {
            file.lines(|line| markers.iter().any(|marker| line.contains(marker)))
        }
    });
}

#[test]
fn every_refusal_is_said_in_chinese() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap();
    let (errors, words) = (read("api/src/error.rs"), read("web/src/words/zh.ts"));
    let words = words.split("byCode: {").nth(1).and_then(|rest| rest.split('}').next()).expect("zh.ts has `byCode`");
    let arms = errors.split("pub fn code(").nth(1).and_then(|rest| rest.split("pub fn status(").next());
    let codes: Vec<&str> = arms.expect("error.rs has its codes").split("=> \"").skip(1).collect();
    let codes: Vec<&str> = codes.iter().filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.len() >= 18 && codes.contains(&"wrong_password"), "{codes:?}");
    for code in codes {
        assert!(words.contains(&format!(" {code}: \"")), "web/src/words/zh.ts has no words for {code}");
    }
}

#[test]
fn the_example_environment_names_every_variable_that_the_programs_read() {
    let mut read = BTreeSet::new();
    for config in ["api/src/config.rs", "engine/src/config.rs"] {
        let text = fs::read_to_string(workspace().join(config)).unwrap();
        read.extend(text.split("env = \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(read.contains("DATABASE_URL") && read.contains("TOKENGRID_NODE_MODEL"), "{read:?}");
    let example = fs::read_to_string(workspace().join(".env.example")).unwrap();
    let named = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .map(|(name, _)| name.to_owned());
    let named: BTreeSet<String> =
        named.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')).collect();
    // A library's own variable may be read or named without being ours.
    let ours = |name: &String| name.starts_with("TOKENGRID_") || name.ends_with("_URL");
    let (named, read): (BTreeSet<_>, BTreeSet<_>) =
        (named.into_iter().filter(ours).collect(), read.into_iter().filter(ours).collect());
    assert_eq!(named, read, "left: .env.example, right: what the programs read");
}

#[test]
fn every_test_that_the_auditors_page_names_is_there() {
    let mut sources = vec![];
    collect(workspace(), &mut sources);
    let code: String =
        sources.iter().filter(|file| file.shown.ends_with(".rs")).map(|file| file.text.as_str()).collect();
    let page = fs::read_to_string(workspace().join("docs/ledger.md")).unwrap();
    let names = page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`').skip(1).step_by(2));
    // A sentence has more words than a role.
    let tests: Vec<&str> = names.filter(|name| name.matches('_').count() > 3 && !name.contains(['/', ' '])).collect();
    assert!(tests.len() > 30, "{tests:?}");
    let missing: Vec<&str> = tests.into_iter().filter(|test| !code.contains(&format!("fn {test}("))).collect();
    assert!(missing.is_empty(), "docs/ledger.md names tests that are not there: {missing:?}");
}

#[tokio::test]
async fn the_schema_in_the_repository_is_the_one_that_is_served() {
    let checked_in =
        fs::read_to_string(workspace().join("web/schema.graphql")).expect("web/schema.graphql is checked in");
    let served = output_of("tokengrid", &["schema"], &[]).await;
    assert!(served == checked_in, "web/schema.graphql is out of date: run `cargo xtask gen`");
}

#[tokio::test]
async fn every_table_of_a_tenants_things_is_found_by_tenant() {
    let database = Database::create().await;
    output_of("tokengrid", &["migrate"], &[("DATABASE_URL".to_owned(), database.url())]).await;
    // The ledger's tenant columns are dimensions of reports; its accounts are found by their owner.
    let unindexed: Vec<String> = sqlx::query_scalar(
        "SELECT tables.oid::regclass::text
         FROM pg_class AS tables
         JOIN pg_attribute AS columns ON columns.attrelid = tables.oid AND columns.attname = 'tenant_id'
         WHERE tables.relkind = 'r'
           AND tables.relnamespace::regnamespace::text NOT IN ('ledger', 'pg_catalog', 'information_schema')
           AND NOT EXISTS (
               SELECT FROM pg_index WHERE indrelid = tables.oid AND indkey[0] = columns.attnum
           )",
    )
    .fetch_all(&mut database.connect().await)
    .await
    .unwrap();
    assert!(unindexed.is_empty(), "no index of {unindexed:?} begins with tenant_id");
}

/// A file of ours.
struct File {
    shown: String,
    text: String,
}

impl File {
    /// This file names what it forbids.
    fn is_this(&self) -> bool {
        self.shown == "tests/it/tidy.rs"
    }

    /// The lines that are so.
    fn lines(&self, is_so: impl Fn(&str) -> bool) -> Vec<String> {
        let numbered = self.text.lines().enumerate().filter(|(_, line)| is_so(line));
        numbered.map(|(index, line)| format!("line {}: {}", index + 1, line.trim())).collect()
    }

    /// The lines before the file's own tests that are so.
    fn lines_of_production(&self, is_so: impl Fn(&str) -> bool) -> Vec<String> {
        let production = self.text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        File { shown: self.shown.clone(), text: production }.lines(is_so)
    }
}

/// Panics with every breach of a rule in any file, and what to do.
fn breaches(remedy: &str, find: impl Fn(&File) -> Vec<String>) {
    let mut files = vec![];
    collect(workspace(), &mut files);
    assert!(files.len() > 100, "only {} files were found", files.len());
    let found: Vec<String> =
        files.iter().flat_map(|file| find(file).into_iter().map(|what| format!("{}: {what}", file.shown))).collect();
    assert!(found.is_empty(), "{remedy}:\n{}", found.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !NOT_OURS.contains(&name.as_ref()) {
                collect(&path, files);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            // What is not UTF-8 is not source.
            let shown = path.strip_prefix(workspace()).unwrap().display().to_string();
            files.push(File { shown, text });
        }
    }
}
