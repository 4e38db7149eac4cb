//! The Python packages of the tests, in an environment of their own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::directory::Directory;
use crate::process::find_program;
use crate::progress::Steps;
use crate::{exit, workspace};

/// What is to be there, beside the tests that use it: beancount, and the official client, which runs what people copy.
const REQUIREMENTS: [&str; 2] = ["ledger/tests/requirements.txt", "tests/clients/requirements.txt"];
/// The variable that tells the tests which Python to run.
pub const VARIABLE: &str = "TOKENGRID_PYTHON";

/// Makes an environment with exactly those packages in the build's cache folder, unless it is there already, and tells its
/// Python; one step.
///
/// *Errors*: exit code 3 when there is no Python.
pub fn ensure(steps: &mut Steps, directory: &Directory) -> anyhow::Result<PathBuf> {
    let mut step = steps.begin("Python packages");
    let Some(system) = find_program("python3") else {
        return Err(exit::missing("Python 3 is needed on PATH, for what the tests run with it"));
    };
    let requirements = REQUIREMENTS.map(|file| workspace::root().join(file));
    let mut wanted = Vec::new();
    for file in &requirements {
        wanted.extend(fs::read(file)?);
    }
    let hash = workspace::short_hash(&wanted);
    let environment = workspace::target_dir().join("python");
    let python = environment.join("bin/python");
    let stamp = environment.join(".installed-from");
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|from| from == hash) {
        step.finish("nothing is missing");
        return Ok(python);
    }
    step.run(Command::new(system).args(["-m", "venv", "--clear"]).arg(&environment), &directory.log("venv"))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"]);
    for file in &requirements {
        pip.arg("--requirement").arg(file);
    }
    step.run(&mut pip, &directory.log("pip"))?;
    // Written last, so that an interrupted installation is done again.
    fs::write(&stamp, hash)?;
    step.finish(&REQUIREMENTS.join(" "));
    Ok(python)
}
