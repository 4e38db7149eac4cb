//! The folder that one running system owns: its data, its logs, its secrets.
//!
//! ```text
//! DIR/lock           held while a system runs on DIR; who holds it is written inside
//! DIR/seed.json      what the seed printed: passwords and keys, given once (0600)
//! DIR/secret         the control plane's secret (0600)
//! DIR/up.json        how to reach the running system (0600)
//! DIR/logs/          one file a process
//! DIR/node/          the node's identity
//! DIR/services/      postgres/ redis/ run/ (sockets); owned by the account they run under
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::account::Account;
use crate::{progress, workspace};

/// What a Unix socket's address can hold, without its closing zero.
const SOCKET_PATH_BYTES: usize = 107;
/// PostgreSQL's name for its socket, the longest of ours.
const LONGEST_SOCKET: &str = ".s.PGSQL.5432";

/// A folder that nobody else uses while this value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    services: PathBuf,
    logs: PathBuf,
    throw_away: bool,
    _lock: File,
}

impl Directory {
    /// The folder for `up`: as asked, else `target/tokengrid`, else, where `account` may not enter that, a folder of the
    /// system's state directory. When an asked-for folder bars `account`, only the services' part moves there.
    ///
    /// *Errors*: another `up` is using it; it cannot be made.
    pub fn open(asked: Option<PathBuf>, account: Option<&Account>) -> anyhow::Result<Directory> {
        let (path, services) = match asked {
            Some(asked) => {
                let path = std::path::absolute(asked)?;
                make(&path)?;
                let services = asked_services(&path, account)?;
                (path, services)
            }
            None => {
                let path = default_path(account);
                (path.clone(), path.join("services"))
            }
        };
        make(&path)?;
        let logs = path.join("logs");
        Directory::take(path, services, logs, false)
    }

    /// Where `up` puts its things when it is not told.
    pub fn default_for_reading(asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
        match asked {
            Some(asked) => Ok(std::path::absolute(asked)?),
            None => {
                let state = state_folder(&workspace::root());
                let usual = workspace::root().join("target/tokengrid");
                Ok(if state.join("up.json").exists() && !usual.join("up.json").exists() { state } else { usual })
            }
        }
    }

    /// A folder that is removed when dropped; leftovers of killed runs are removed first. Its logs are kept in the checkout's
    /// `target/logs`, until the next run for the same purpose.
    pub fn throw_away(purpose: &str, account: Option<&Account>) -> anyhow::Result<Directory> {
        let bases = [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp"), PathBuf::from("/var/lib")];
        Directory::throw_away_in(&bases, purpose, account)
    }

    /// The same where a disk is; many systems keep `/tmp` in memory, where nothing is durable.
    pub fn throw_away_on_disk(purpose: &str, account: Option<&Account>) -> anyhow::Result<Directory> {
        let bases = [PathBuf::from("/var/tmp"), PathBuf::from("/var/lib"), std::env::temp_dir()];
        Directory::throw_away_in(&bases, purpose, account)
    }

    fn throw_away_in(bases: &[PathBuf], purpose: &str, account: Option<&Account>) -> anyhow::Result<Directory> {
        let base = bases
            .iter()
            .find(|base| base.is_dir() && account.is_none_or(|account| account.barred_by(base).is_none()))
            .with_context(|| format!("none of {bases:?} can be entered by the services' account"))?;
        let prefix = format!("tokengrid-{purpose}-");
        remove_leftovers(base, &prefix);
        let path = base.join(format!("{prefix}{}", std::process::id()));
        DirBuilder::new().mode(0o711).create(&path).with_context(|| format!("creating {}", path.display()))?;
        let services = path.join("services");
        Directory::take(path, services, workspace::root().join("target/logs").join(purpose), true)
    }

    fn take(path: PathBuf, services: PathBuf, logs: PathBuf, throw_away: bool) -> anyhow::Result<Directory> {
        let lock = lock(&path)?;
        fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
        Ok(Directory { path, services, logs, throw_away, _lock: lock })
    }

    /// A path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A log file's path.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// The folder of the services, made and handed to `account`.
    pub fn services(&self, account: Option<&Account>) -> anyhow::Result<PathBuf> {
        make(&self.services)?;
        if let Some(account) = account {
            account.own(&self.services)?;
        }
        Ok(self.services.clone())
    }

    /// The folder of the services' sockets: empty, private to `account`, short enough for a socket's address.
    pub fn sockets(&self, account: Option<&Account>) -> anyhow::Result<PathBuf> {
        let folder = socket_folder(&self.services(account)?.join("run"), &short_socket_folder(&self.services));
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
        DirBuilder::new().mode(0o700).create(&folder).with_context(|| format!("creating {}", folder.display()))?;
        if let Some(account) = account {
            account.own(&folder)?;
        }
        Ok(folder)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.throw_away {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// `bytes` random bytes in hexadecimal.
pub fn random_hex(bytes: usize) -> anyhow::Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Creates a folder that others may pass through but not list; an existing one of ours is opened that far.
fn make(path: &Path) -> anyhow::Result<()> {
    let context = || format!("creating {}", path.display());
    if !path.is_dir() {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(context)?;
        }
        DirBuilder::new().mode(0o711).create(path).with_context(context)?;
    }
    let mode = fs::metadata(path).with_context(context)?.permissions().mode() & 0o7777;
    if mode & 0o111 != 0o111 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o111)).with_context(context)?;
    }
    Ok(())
}

fn default_path(account: Option<&Account>) -> PathBuf {
    let usual = workspace::root().join("target/tokengrid");
    match account.and_then(|account| account.barred_by(&usual).map(|folder| (account, folder))) {
        None => usual,
        Some((account, folder)) => {
            let state = state_folder(&workspace::root());
            progress::note(&format!(
                "{} may not be entered by user {}, so the data goes to {}",
                folder.display(),
                account.name,
                state.display()
            ));
            state
        }
    }
}

/// The services' folder of an asked-for DIR. DIR remembers a folder elsewhere, so one left by a DIR that was deleted since
/// is not taken for its data.
fn asked_services(path: &Path, account: Option<&Account>) -> anyhow::Result<PathBuf> {
    let inside = path.join("services");
    let Some((account, folder)) = account.and_then(|account| Some((account, account.barred_by(path)?))) else {
        return Ok(inside);
    };
    let elsewhere = state_folder(path);
    progress::note(&format!(
        "{} may not be entered by user {}, so PostgreSQL's and Redis's files go to {}",
        folder.display(),
        account.name,
        elsewhere.display()
    ));
    let memory = path.join("services-are-at");
    if !memory.exists() {
        if elsewhere.exists() {
            fs::remove_dir_all(&elsewhere).with_context(|| format!("removing {}", elsewhere.display()))?;
        }
        fs::write(&memory, elsewhere.display().to_string())?;
    }
    Ok(elsewhere)
}

/// A folder of the system's state directory, one for each `owner` path.
fn state_folder(owner: &Path) -> PathBuf {
    let hash = workspace::short_hash(owner.as_os_str().as_encoded_bytes());
    Path::new("/var/lib/tokengrid").join(hash)
}

fn socket_folder(inside: &Path, short: &Path) -> PathBuf {
    let longest = inside.as_os_str().len() + 1 + LONGEST_SOCKET.len();
    if longest <= SOCKET_PATH_BYTES { inside.to_owned() } else { short.to_owned() }
}

fn short_socket_folder(services: &Path) -> PathBuf {
    // SAFETY: reads a number.
    let uid = unsafe { libc::geteuid() };
    let hash = workspace::short_hash(services.as_os_str().as_encoded_bytes());
    Path::new(if uid == 0 { "/run" } else { "/tmp" }).join(format!("tokengrid-{uid}-{hash}"))
}

/// Takes the folder's lock, which dies with this process.
fn lock(path: &Path) -> anyhow::Result<File> {
    let file = path.join("lock");
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .with_context(|| format!("opening {}", file.display()))?;
    // SAFETY: a valid descriptor. std opens files close-on-exec, so no child keeps the lock.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        let mut holder = String::new();
        lock.read_to_string(&mut holder)?;
        bail!("{} is in use by process {}; stop that, or choose another --data-dir", path.display(), holder.trim());
    }
    lock.set_len(0)?;
    lock.write_all(std::process::id().to_string().as_bytes())?;
    Ok(lock)
}

/// Removes throw-away folders whose lock nobody holds.
fn remove_leftovers(base: &Path, prefix: &str) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if ours && entry.path().join("lock").exists() && lock(&entry.path()).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_moves_the_sockets_to_the_short_folder() {
        let short = Path::new("/run/x");
        let fits = PathBuf::from(format!("/{}", "a".repeat(SOCKET_PATH_BYTES - LONGEST_SOCKET.len() - 2)));
        assert_eq!(socket_folder(&fits, short), fits);
        let too_long = PathBuf::from(format!("{}a", fits.display()));
        assert_eq!(socket_folder(&too_long, short), short);
    }

    #[test]
    fn a_folder_has_one_user_at_a_time_and_a_thrown_away_one_leaves_nothing() {
        let first = Directory::throw_away("selftest", None).unwrap();
        let refusal = lock(&first.path).unwrap_err().to_string();
        assert!(refusal.contains(&std::process::id().to_string()), "{refusal}");
        let path = first.path.clone();
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn secrets_are_private() {
        let directory = Directory::throw_away("selftest-secret", None).unwrap();
        let file = directory.join("seed.json");
        write_secret(&file, "{}").unwrap();
        write_secret(&file, "{\"again\":1}").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap(), "{\"again\":1}");
    }
}
