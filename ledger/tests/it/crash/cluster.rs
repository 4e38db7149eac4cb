//! A PostgreSQL of the test's own that can be killed: every process of it at once, as a power cut of the database's machine.

use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

/// Polls of a start at most, and the pause between them.
const POLLS_MAX: u32 = 3_000;
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// A cluster in a folder of its own, durable: `fsync` is on. Stopped and removed with the value.
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    /// Whom PostgreSQL runs as, since it refuses to run as root.
    account: Option<(u32, u32)>,
    postmaster: Option<Child>,
}

impl Cluster {
    /// Makes the cluster and starts it.
    pub async fn start_new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tokengrid-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        // SAFETY: reads a number.
        let account = if unsafe { libc::geteuid() } == 0 { Some(unprivileged()) } else { None };
        if let Some((uid, gid)) = account {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
        let mut cluster = Self { folder, programs: newest_programs(), account, postmaster: None };
        let mut initdb = cluster.command("initdb");
        initdb.args(["-U", "owner", "-E", "UTF8", "--no-locale", "-A", "trust", "--no-sync", "-D"]).arg(cluster.data());
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        cluster.start().await;
        cluster
    }

    /// Starts the server on what is there, recovery included, and waits until it answers.
    pub async fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.folder).args(["-h", "", "-p", "5432"]);
        for setting in [
            "fsync=on",
            "full_page_writes=on",
            "max_connections=60",
            // One call instead of one for every file: a start after a kill takes a moment.
            "recovery_init_sync_method=syncfs",
            // Nobody but the ledger's own flush brings a commit to the disk soon.
            "wal_writer_delay=10000",
        ] {
            command.args(["-c", setting]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.postmaster = Some(child);
        for _ in 0..POLLS_MAX {
            if let Ok(conn) = PgConnection::connect_with(&self.options("owner")).await {
                conn.close().await.unwrap();
                return;
            }
            let ended = self.postmaster.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "PostgreSQL ended: {ended:?}\n{}", self.log());
            tokio::time::sleep(POLL_PAUSE).await;
        }
        panic!("PostgreSQL does not answer\n{}", self.log());
    }

    /// SIGKILL to every process of the server; none is left on return.
    pub fn kill(&mut self) {
        loop {
            let running = self.processes();
            for pid in &running {
                // SAFETY: sends a signal to a process that works in this cluster's folder; touches no memory of ours.
                unsafe { libc::kill(*pid, libc::SIGKILL) };
            }
            if let Some(mut postmaster) = self.postmaster.take() {
                postmaster.wait().unwrap();
            }
            if running.is_empty() {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Connections of a role.
    pub async fn connect(&self, role: &str) -> PgPool {
        PgPoolOptions::new().max_connections(20).connect_with(self.options(role)).await.unwrap()
    }

    fn options(&self, role: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass().socket(&self.folder).port(5432).username(role).database("postgres")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The server's processes work in its folder.
    fn processes(&self) -> Vec<libc::pid_t> {
        let data = self.data();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data))
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// One of PostgreSQL's programs, which dies with this test.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir("/");
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("PG")))
        {
            command.env_remove(name);
        }
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        // SAFETY: between fork and exec only async-signal-safe calls are made.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGQUIT) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── PostgreSQL ──\n{}", self.log());
        }
        if let Some(mut postmaster) = self.postmaster.take() {
            // An immediate shutdown: it takes its shared memory with it.
            let pid = libc::pid_t::try_from(postmaster.id()).expect("process numbers fit");
            // SAFETY: our child is not reaped yet, so the number is its own.
            unsafe { libc::kill(pid, libc::SIGQUIT) };
            drop(postmaster.wait());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The newest folder with PostgreSQL's server programs.
fn newest_programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL's server is installed").flatten();
    let versions = versions.filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions.max().expect("PostgreSQL's server is installed");
    Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin")
}

/// User and group of `postgres`, else of `nobody`.
fn unprivileged() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
        Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).expect("there is an account for services")
}
