//! Changes of the GraphQL schema that break its callers.

use std::fs;
use std::process::Command;

use crate::console;
use crate::directory::Directory;
use crate::process;
use crate::workspace;

/// The schema's place in the checkout.
const SCHEMA: &str = "web/schema.graphql";

/// A command that fails, naming each, when the schema breaks what the one before it promised and nobody allowed it; none
/// where no other was ever committed.
pub fn check(directory: &Directory) -> anyhow::Result<Option<Command>> {
    let now = fs::read(workspace::root().join(SCHEMA))?;
    // The last commit's, or where nothing has changed since, the one before the last commit that changed it.
    let commits = git(&["log", "-2", "--format=%H", "--", SCHEMA]).unwrap_or_default();
    let before = commits.lines().filter_map(|commit| git(&["show", &format!("{commit}:{SCHEMA}")]));
    let Some(before) = before.into_iter().find(|schema| schema.as_bytes() != now) else { return Ok(None) };
    let old = directory.join("schema-before.graphql");
    fs::write(&old, before)?;
    let mut node = Command::new("node");
    node.arg("e2e/breaking-changes.mjs").arg(old).arg(workspace::root().join(SCHEMA)).current_dir(console::folder());
    Ok(Some(node))
}

fn git(arguments: &[&str]) -> Option<String> {
    process::output(Command::new("git").args(arguments).current_dir(workspace::root())).ok()
}
