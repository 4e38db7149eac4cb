//! A private PostgreSQL: our own cluster on a Unix socket, nothing else listens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::account::Account;
use crate::directory::Directory;
use crate::process::{self, Service};
use crate::progress::Step;
use crate::workspace;

/// The superuser of the cluster, who owns the schema, and the name of its database.
const NAME: &str = "tokengrid";
/// What the control plane logs in as: `deploy/logins.sql` makes it.
const LOGIN: &str = "tokengrid_control_plane";
/// The cluster listens on no port; the number is part of the socket's name.
const PORT: &str = "5432";

/// A running cluster with an existing database.
#[derive(Debug)]
pub struct Postgres {
    /// The database's URL for its owner, who may do anything.
    pub owner_url: String,
    /// The database's URL for what serves.
    pub url: String,
    /// The database was created by this start.
    pub fresh: bool,
    /// The process.
    pub service: Service,
}

/// How careful the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// What is acknowledged survives a power cut.
    Durable,
    /// As durable, with room for a bench: memory for its tables, and no checkpoint in the middle of a figure.
    Measured,
    /// For tests: fast, and thrown away.
    None,
}

/// The newest folder with PostgreSQL's server programs.
pub fn newest_programs() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// Starts the cluster in `directory`, making it when there is none, and waits until it answers.
///
/// *Errors*: no programs for the cluster's version; a folder that bars the account; whatever PostgreSQL says.
pub fn start(
    directory: &Directory,
    sockets: &Path,
    account: Option<&Account>,
    durability: Durability,
    step: &mut Step,
) -> anyhow::Result<Postgres> {
    let cluster = directory.services(account)?.join("postgres");
    if !cluster.join("PG_VERSION").exists() {
        create_cluster(directory, &cluster, account, durability, step)?;
    }
    let programs = programs_for(&cluster)?;
    end_leftover(&cluster)?;

    let mut command = Command::new(programs.join("postgres"));
    command.arg("-D").arg(&cluster).arg("-k").arg(sockets).args(["-h", "", "-p", PORT]).current_dir("/");
    let settings = match durability {
        Durability::Durable | Durability::Measured => {
            ["max_connections=200", "fsync=on", "synchronous_commit=on", "full_page_writes=on"]
        }
        Durability::None => ["max_connections=500", "fsync=off", "synchronous_commit=off", "full_page_writes=off"],
    };
    let room: &[&str] = match durability {
        Durability::Measured => &["shared_buffers=1GB", "max_wal_size=6GB", "checkpoint_timeout=30min"],
        Durability::Durable | Durability::None => &[],
    };
    for setting in settings.iter().chain(room) {
        command.args(["-c", setting]);
    }
    command.args(["-c", "unix_socket_permissions=0700", "-c", "log_destination=stderr", "-c", "logging_collector=off"]);
    without_libpq_settings(&mut command);
    if let Some(account) = account {
        account.run(&mut command);
    }
    // SIGINT is PostgreSQL's fast shutdown: sessions end, a checkpoint is written.
    let mut service =
        Service::start("PostgreSQL", &mut command, &directory.log("postgres"), libc::SIGINT, libc::SIGINT)?;
    service.wait_until(Duration::from_secs(120), || Ok(says_ready(&cluster)), || step.tick(""))?;

    let fresh = create_database(&programs, sockets)?;
    let owner_url = url(sockets, NAME, NAME);
    run_files(&owner_url, &[workspace::root().join("deploy/logins.sql")])?;
    Ok(Postgres { owner_url, url: url(sockets, NAME, LOGIN), fresh, service })
}

/// The URL of a database behind the socket in `sockets`, for a user.
fn url(sockets: &Path, database: &str, user: &str) -> String {
    let host: String = sockets
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("postgres:///{database}?host={host}&port={PORT}&user={user}")
}

/// Runs SQL files in order on the database at `url`, each in one transaction.
pub fn run_files(url: &str, files: &[PathBuf]) -> anyhow::Result<()> {
    let programs = newest_programs().context("PostgreSQL's programs are gone")?;
    for file in files {
        let mut command = Command::new(programs.join("psql"));
        command.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", url, "-f"]).arg(file);
        without_libpq_settings(&mut command);
        process::output(&mut command).with_context(|| format!("running {}", file.display()))?;
    }
    Ok(())
}

fn create_cluster(
    directory: &Directory,
    cluster: &Path,
    account: Option<&Account>,
    durability: Durability,
    step: &mut Step,
) -> anyhow::Result<()> {
    let programs = newest_programs().context("no PostgreSQL server programs under /usr/lib/postgresql")?;
    // Made beside its place and renamed, so that an interruption never leaves half a cluster in it.
    let new = cluster.with_extension("new");
    for half_made in [&new, cluster] {
        if half_made.exists() {
            fs::remove_dir_all(half_made)?;
        }
    }
    let mut command = Command::new(programs.join("initdb"));
    command.arg("-D").arg(&new).args(["-U", NAME, "-E", "UTF8", "--no-locale", "-A", "trust"]).current_dir("/");
    if durability == Durability::None {
        command.arg("--no-sync");
    }
    without_libpq_settings(&mut command);
    if let Some(account) = account {
        account.run(&mut command);
    }
    step.run(&mut command, &directory.log("initdb"))?;
    fs::rename(&new, cluster)?;
    Ok(())
}

/// The programs that can run this cluster: those of its own version.
fn programs_for(cluster: &Path) -> anyhow::Result<PathBuf> {
    let version = fs::read_to_string(cluster.join("PG_VERSION"))?;
    let version = version.trim();
    let programs = Path::new("/usr/lib/postgresql").join(version).join("bin");
    if !programs.join("postgres").is_file() {
        bail!(
            "the cluster in {} was made by PostgreSQL {version}, which is not installed; install postgresql-{version} or \
             remove the data directory",
            cluster.display()
        );
    }
    Ok(programs)
}

/// Ends a server that survived its parent, and removes a pid file whose process is gone or is somebody else by now.
fn end_leftover(cluster: &Path) -> anyhow::Result<()> {
    let pid_file = cluster.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&pid_file) else { return Ok(()) };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<libc::pid_t>().ok());
    let Some(pid) = pid.filter(|&pid| pid > 1 && serves(pid, cluster)) else {
        return Ok(fs::remove_file(&pid_file)?);
    };
    for (signal, naps) in [(libc::SIGINT, 100), (libc::SIGQUIT, 50), (libc::SIGKILL, 50)] {
        // SAFETY: the process was just seen to be a PostgreSQL server whose folder is this cluster.
        unsafe { libc::kill(pid, signal) };
        for _ in 0..naps {
            if !serves(pid, cluster) {
                let _ = fs::remove_file(&pid_file);
                return Ok(());
            }
            process::pause(Duration::from_millis(100))?;
        }
    }
    bail!("an older PostgreSQL (process {pid}) still uses {} and does not end", cluster.display())
}

/// A PostgreSQL server works in its cluster's folder.
fn serves(pid: libc::pid_t, cluster: &Path) -> bool {
    let at_home = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| Some(cwd) == cluster.canonicalize().ok());
    at_home && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "postgres")
}

/// The server writes its state into the eighth line of its pid file.
fn says_ready(cluster: &Path) -> bool {
    fs::read_to_string(cluster.join("postmaster.pid"))
        .is_ok_and(|text| text.lines().nth(7).is_some_and(|state| state.trim() == "ready"))
}

fn create_database(programs: &Path, sockets: &Path) -> anyhow::Result<bool> {
    let psql = |sql: &str| {
        let mut command = Command::new(programs.join("psql"));
        command.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &url(sockets, "postgres", NAME),
            "-c",
            sql,
        ]);
        without_libpq_settings(&mut command);
        process::output(&mut command)
    };
    if psql("SELECT 1 FROM pg_database WHERE datname = 'tokengrid'")?.trim() == "1" {
        return Ok(false);
    }
    psql("CREATE DATABASE tokengrid")?;
    Ok(true)
}

/// Ambient settings of libpq would send our own tools elsewhere.
fn without_libpq_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("PG")) {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_the_socket_folder_and_survives_odd_paths() {
        assert_eq!(
            url(Path::new("/var/lib/tokengrid/ab/run"), "tokengrid", "me"),
            "postgres:///tokengrid?host=/var/lib/tokengrid/ab/run&port=5432&user=me"
        );
        assert_eq!(url(Path::new("/a b&c"), "x", "me"), "postgres:///x?host=/a%20b%26c&port=5432&user=me");
    }

    #[test]
    fn a_stranger_with_the_same_process_id_is_not_our_server() {
        assert!(!serves(std::process::id() as libc::pid_t, Path::new("/")));
    }
}
