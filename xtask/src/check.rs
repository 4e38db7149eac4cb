//! `cargo xtask check`: everything that must hold for a commit besides its tests.

use std::process::Command;

use anyhow::bail;

use crate::account::Account;
use crate::directory::Directory;
use crate::packages::{self, Wanted};
use crate::process::{find_program, setting};
use crate::progress::{self, Steps};
use crate::services::Given;
use crate::{console, r#gen, node_modules, schema_changes, workspace};

const HELP: &str = "\
cargo xtask check [--install]

In this order, going on after a failure and failing at the end: format (cargo fmt), lints (cargo clippy, warnings are errors),
the console (npm run check), breaking changes of the GraphQL schema since the last commit (an intended one is named in
web/e2e/breaking-changes.allowed), dependency policy (cargo deny check bans licenses sources), generated files (cargo xtask
gen leaves no difference).

  --install  install cargo-deny when it is absent (it is compiled, which takes minutes)
";

/// Runs the command.
pub fn run(mut arguments: lexopt::Parser) -> anyhow::Result<()> {
    use lexopt::prelude::*;
    let mut install = false;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("install") => install = true,
            Long("help") | Short('h') => {
                progress::print(HELP.trim_end());
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let account = Account::for_services()?;
    let directory = Directory::throw_away("check", account.as_ref())?;
    let mut steps = Steps::new(8 + r#gen::STEPS);
    packages::ensure(&mut steps, Wanted { services: Some(&Given::default()), ..Wanted::default() })?;
    node_modules::ensure(&mut steps, &directory, &[node_modules::CONSOLE])?;

    let mut failures = Vec::new();
    let mut attempt = |steps: &mut Steps, what: &str, command: &mut Command| {
        let mut step = steps.begin(what);
        match step.run(command, &directory.log("check")) {
            Ok(()) => step.finish(""),
            Err(error) => {
                step.finish("FAILED");
                progress::note(&format!("{error:#}"));
                failures.push(what.to_owned());
            }
        }
    };
    attempt(&mut steps, "format", workspace::cargo("fmt").args(["--all", "--check"]));
    let mut clippy = workspace::cargo("clippy");
    attempt(&mut steps, "lints", clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]));
    attempt(&mut steps, "console", node_modules::npm(&console::folder()).args(["run", "check"]));
    match schema_changes::check(&directory)? {
        Some(mut command) => attempt(&mut steps, "breaking changes", &mut command),
        None => steps.begin("breaking changes").finish("no earlier schema"),
    }
    if install && find_program("cargo-deny").is_none() {
        attempt(&mut steps, "installing cargo-deny", &mut install_cargo_deny());
    } else {
        steps.begin("cargo-deny").finish(if find_program("cargo-deny").is_some() { "installed" } else { "absent" });
    }
    let deny = find_program("cargo-deny").is_some();
    if deny {
        let mut command = workspace::cargo("deny");
        attempt(&mut steps, "dependency policy", command.args(["check", "bans", "licenses", "sources"]));
    } else {
        steps
            .begin("dependency policy")
            .finish("NOT CHECKED: cargo-deny is absent; `cargo xtask check --install` installs it");
    }
    if let Err(error) = r#gen::verify(&directory, account.as_ref(), &mut steps) {
        progress::note(&format!("{error:#}"));
        failures.push("generated files".to_owned());
    }
    match failures.as_slice() {
        [] if deny => progress::print("check: all is well"),
        [] => progress::print("check: all is well, but the dependency policy was not checked (cargo-deny is absent)"),
        _ => bail!("check failed: {}", failures.join(", ")),
    }
    Ok(())
}

/// Compiled in a folder of its own: the workspace's build outputs stay as they are.
fn install_cargo_deny() -> Command {
    let mut command = Command::new(setting("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", "cargo-deny", "--locked"]).env_remove("CARGO_TARGET_DIR");
    command
}
