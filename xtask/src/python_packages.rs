//! The Python package of the official client, in an environment of its own: what people copy from the console runs with it.

use std::fs;
use std::process::Command;

use crate::directory::Directory;
use crate::node_modules::CLIENTS;
use crate::progress::Steps;
use crate::workspace;

/// Installs exactly what `requirements.txt` says, unless it is installed already; one step.
///
/// Where no package index can be reached this says so and goes on: the tests then only parse what is written in Python.
pub fn ensure(steps: &mut Steps, directory: &Directory) -> anyhow::Result<()> {
    let mut step = steps.begin("python packages");
    let clients = workspace::root().join(CLIENTS);
    let (wanted, environment) = (clients.join("requirements.txt"), clients.join(".venv"));
    let hash = workspace::short_hash(&fs::read(&wanted)?);
    let stamp = environment.join(".installed-from");
    if fs::read_to_string(&stamp).is_ok_and(|from| from == hash) {
        step.finish("nothing is missing");
        return Ok(());
    }
    let log = directory.log("pip");
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    let mut install = Command::new(environment.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--requirement"]);
    install.arg(&wanted);
    for command in [&mut make, &mut install] {
        if let Err(error) = step.run(command, &log) {
            // Half of it would look like all of it.
            let _ = fs::remove_dir_all(&environment);
            step.say(&format!("{error:#}"));
            step.finish("NOT INSTALLED: snippets in Python are parsed and not run");
            return Ok(());
        }
    }
    // Written last, so that an interrupted installation is done again.
    fs::write(stamp, hash)?;
    step.finish(CLIENTS);
    Ok(())
}
