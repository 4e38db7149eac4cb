//! System packages: what the build and the services need, found or installed by apt, and said.

use std::path::Path;
use std::process::Command;

use crate::process::{find_program, setting};
use crate::progress::Steps;
use crate::services::Given;
use crate::{exit, postgres, redis};

/// One thing that has to be on the machine, and the package that brings it.
struct Need {
    what: &'static str,
    package: &'static str,
    present: fn() -> bool,
}

const BUILD: [Need; 6] = [
    Need { what: "cmake, for the engine's C++ library", package: "cmake", present: || find_program("cmake").is_some() },
    Need { what: "clang, for its bindings", package: "clang", present: || find_program("clang").is_some() },
    Need { what: "libclang, for its bindings", package: "libclang-dev", present: has_libclang },
    Need { what: "a C++ compiler", package: "g++", present: || find_program("c++").or(find_program("g++")).is_some() },
    Need { what: "OpenMP, for its threads", package: "libgomp1", present: || has_library("libgomp.so.1") },
    Need { what: "pkg-config", package: "pkg-config", present: || find_program("pkg-config").is_some() },
];
const POSTGRES: Need = Need {
    what: "PostgreSQL (its own cluster is left off)",
    package: "postgresql",
    present: || postgres::newest_programs().is_some(),
};
const REDIS: Need = Need {
    what: "Redis (its own service is left off)",
    package: "redis-server",
    present: || redis::program().is_some(),
};

const TESTS: [Need; 5] = [
    Need { what: "curl, which the documents use", package: "curl", present: || find_program("curl").is_some() },
    Need {
        what: "hledger, which adds the ledger's exports up",
        package: "hledger",
        present: || find_program("hledger").is_some(),
    },
    Need {
        what: "Python's venv, for beancount, which does so too, and for the official client",
        package: "python3-venv",
        present: has_venv,
    },
    Need {
        what: "Chromium, for the console's journey",
        package: "chromium",
        present: || Path::new("/usr/bin/chromium").exists(),
    },
    Need {
        what: "a Chinese font, for its pictures",
        package: "fonts-wqy-zenhei",
        present: || Path::new("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc").exists(),
    },
];

/// What a command wants besides what a build needs.
#[derive(Debug, Default)]
pub struct Wanted<'a> {
    /// PostgreSQL and Redis, less those that run already.
    pub services: Option<&'a Given>,
    /// PostgreSQL alone.
    pub postgres: bool,
    /// What the tests run: a browser, its fonts, and what the documents tell people to use.
    pub tests: bool,
}

/// Makes sure that what a build needs, and what is wanted besides, is installed; one step.
///
/// *Errors*: exit code 3 with the command to run, when something is missing and we may not install it.
pub fn ensure(steps: &mut Steps, wanted: Wanted) -> anyhow::Result<()> {
    let mut step = steps.begin("packages");
    let mut needs: Vec<Need> = Vec::from(BUILD);
    if wanted.postgres || wanted.services.is_some_and(|given| given.database_url.is_none()) {
        needs.push(POSTGRES);
    }
    if wanted.services.is_some_and(|given| given.redis_url.is_none()) {
        needs.push(REDIS);
    }
    if wanted.tests {
        needs.extend(TESTS);
    }
    needs.retain(|need| !(need.present)());
    if needs.is_empty() {
        step.finish("nothing is missing");
        return Ok(());
    }
    let packages: Vec<&str> = needs.iter().map(|need| need.package).collect();
    for need in &needs {
        step.say(&format!("installing {}: {}", need.package, need.what));
    }
    let mut command = as_root(&packages)?;
    command.arg(install_script(&packages));
    let log = std::env::temp_dir().join(format!("tokengrid-apt-{}.log", std::process::id()));
    step.run(&mut command, &log)?;
    let _ = std::fs::remove_file(log);
    if let Some(need) = needs.iter().find(|need| !(need.present)()) {
        return Err(exit::missing(format!("{} is still missing after installing {}", need.what, need.package)));
    }
    step.finish(&format!("installed {}", packages.join(" ")));
    Ok(())
}

/// A shell that may install packages, waiting for its script.
fn as_root(packages: &[&str]) -> anyhow::Result<Command> {
    let by_hand = format!("apt-get update && apt-get install -y {}", packages.join(" "));
    if find_program("apt-get").is_none() {
        return Err(exit::missing(format!(
            "missing: {}; this system has no apt-get to install it",
            packages.join(" ")
        )));
    }
    // SAFETY: reads a number.
    if unsafe { libc::geteuid() } == 0 {
        let mut shell = Command::new("sh");
        shell.arg("-c");
        return Ok(shell);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]);
    if find_program("sudo").is_some() && crate::process::output(&mut sudo).is_ok() {
        let mut shell = Command::new("sudo");
        shell.args(["-n", "sh", "-c"]);
        return Ok(shell);
    }
    Err(exit::missing(format!("packages are missing and only root may install them; run:\n  sudo sh -c '{by_hand}'")))
}

/// Installs without starting anything: a policy file forbids new services to start, PostgreSQL's own cluster is not made, and
/// a Redis that was not there before is not started at boot either. What is written for that is removed again; what an
/// interrupted run left is recognised by its text.
fn install_script(packages: &[&str]) -> String {
    let disable = if packages.contains(&REDIS.package) {
        "if [ -d /run/systemd/system ]; then systemctl disable redis-server || true; fi\n"
    } else {
        ""
    };
    format!(
        "set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/tokengrid-xtask.conf
trap 'rm -f \"$cluster\"; if grep -qs tokengrid-xtask \"$policy\"; then rm -f \"$policy\"; fi' EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e \"$policy\" ]; then printf '#!/bin/sh\\n# tokengrid-xtask: nothing starts while it installs\\nexit 101\\n' > \"$policy\"; chmod 755 \"$policy\"; fi
mkdir -p \"${{cluster%/*}}\"
echo 'create_main_cluster = false' > \"$cluster\"
dpkg --configure -a --force-confold
apt-get -o DPkg::Lock::Timeout=600 update
apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold install -y --no-install-recommends {}
{disable}",
        packages.join(" ")
    )
}

/// True where Python can make an environment with pip in it; Debian takes that part out of Python.
fn has_venv() -> bool {
    let Some(python) = find_program("python3") else { return false };
    crate::process::output(Command::new(python).args(["-c", "import ensurepip, venv"])).is_ok()
}

fn has_libclang() -> bool {
    if setting("LIBCLANG_PATH").is_some() {
        return true;
    }
    let holds = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .any(|name| name.starts_with("libclang") && name.contains(".so"))
    };
    let llvm = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    llvm.into_iter().any(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name.starts_with("llvm-") && holds(&folder.join("lib"))) || (name.ends_with("-linux-gnu") && holds(&folder))
    })
}

fn has_library(name: &str) -> bool {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders.into_iter().any(|folder| folder.join(name).exists()) || Path::new("/usr/lib").join(name).exists()
}

/// Node.js and npm, which we do not install: distributions carry versions that are too old.
///
/// *Errors*: exit code 3, saying what is needed.
pub fn require_node() -> anyhow::Result<()> {
    match (find_program("node"), find_program("npm")) {
        (Some(_), Some(_)) => Ok(()),
        _ => Err(exit::missing(
            "Node.js 20 or newer and npm are needed on PATH, for the console and the official clients' tests",
        )),
    }
}
