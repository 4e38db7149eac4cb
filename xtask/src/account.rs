//! The unprivileged account that PostgreSQL and Redis run under when we are root, and the folders it may enter.

use std::ffi::CString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::process;

/// A user of this system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: &'static str,
    uid: u32,
    gid: u32,
}

impl Account {
    /// `postgres`, else `nobody`, when we are root; nothing when we are somebody already.
    pub fn for_services() -> anyhow::Result<Option<Account>> {
        // SAFETY: reads a number.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        match Account::find("postgres").or_else(|| Account::find("nobody")) {
            Some(account) => Ok(Some(account)),
            None => bail!("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`"),
        }
    }

    fn find(name: &'static str) -> Option<Account> {
        let c_name = CString::new(name).ok()?;
        // SAFETY: the pointer is valid until the next call of the family, and we copy at once, on the only thread.
        unsafe {
            let entry = libc::getpwnam(c_name.as_ptr());
            (!entry.is_null()).then(|| Account { name, uid: (*entry).pw_uid, gid: (*entry).pw_gid })
        }
    }

    /// Makes `command` run as this account.
    pub fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Hands `path` to this account.
    pub fn own(&self, path: &Path) -> anyhow::Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("handing {} to {}", path.display(), self.name))
    }

    /// The first folder on the way to `dir` (or to what exists of it) that this account may not enter.
    ///
    /// Asked of the kernel by going there as that account, so that access lists and mounts count too.
    pub fn barred_by(&self, dir: &Path) -> Option<PathBuf> {
        let existing = dir.ancestors().find_map(|folder| folder.canonicalize().ok())?;
        let mut way: Vec<&Path> = existing.ancestors().collect();
        way.reverse();
        way.into_iter().find(|folder| !self.may_enter(folder)).map(Path::to_owned)
    }

    fn may_enter(&self, folder: &Path) -> bool {
        let mut probe = Command::new("/bin/true");
        probe.current_dir(folder);
        self.run(&mut probe);
        match process::spawn(&mut probe, libc::SIGKILL) {
            Ok(mut child) => child.wait().is_ok(),
            Err(error) => error.kind() != ErrorKind::PermissionDenied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_barring_folder_is_named() {
        let Some(account) = Account::for_services().unwrap() else { return };
        let base = std::env::temp_dir().canonicalize().unwrap().join(format!("xtask-bar-{}", std::process::id()));
        let closed = base.join("closed");
        std::fs::create_dir_all(closed.join("inner")).unwrap();
        std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(account.barred_by(&closed.join("inner/not/yet")), Some(closed));
        assert_eq!(account.barred_by(&base.join("other")), None);
        std::fs::remove_dir_all(base).unwrap();
    }
}
