//! Changes of the GraphQL schema that break its callers.

use std::fs;
use std::process::Command;

use crate::console;
use crate::directory::Directory;
use crate::process;
use crate::workspace;

/// The schema's place in the checkout.
const SCHEMA: &str = "web/schema.graphql";

/// A command that fails, naming each, when the schema breaks what the last commit's promised and nobody allowed it; none
/// when there is no such commit.
pub fn check(directory: &Directory) -> anyhow::Result<Option<Command>> {
    let mut git = Command::new("git");
    git.args(["show", &format!("HEAD:{SCHEMA}")]).current_dir(workspace::root());
    let Ok(committed) = process::output(&mut git) else { return Ok(None) };
    let old = directory.join("schema-committed.graphql");
    fs::write(&old, committed)?;
    let mut node = Command::new("node");
    node.arg("e2e/breaking-changes.mjs").arg(old).arg(workspace::root().join(SCHEMA)).current_dir(console::folder());
    Ok(Some(node))
}
