//! Who a node is: an Ed25519 key that never leaves its state folder, and what the control plane calls it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use primitives::id::{Ids, NodeId};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// 32 secret bytes in hexadecimal; readable by its owner alone.
const KEY: &str = "identity.key";
/// Where and as whom the node joined.
const MEMBERSHIP: &str = "node.json";

/// A node's key and, once it joined, its membership.
#[derive(Clone, Debug)]
pub struct Identity {
    dir: PathBuf,
    key: SigningKey,
    membership: Option<Membership>,
}

/// What joining gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The node's identity at the control plane.
    pub node_id: NodeId,
    /// The control plane's address.
    pub control_plane: String,
}

impl Identity {
    /// Reads the state folder, making folder and key if there are none.
    ///
    /// # Errors
    /// When a file cannot be used, is broken, or the key could be read by others.
    pub fn open(dir: &Path, ids: &Ids) -> Result<Self, Error> {
        let failed = |source| Error::File { path: dir.into(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let key = match read(&dir.join(KEY))? {
            Some(text) => read_key(dir, &text)?,
            None => {
                let key = SigningKey::from_bytes(&ids.bytes());
                write(&dir.join(KEY), hex::encode(key.to_bytes()).as_bytes())?;
                key
            }
        };
        let path = dir.join(MEMBERSHIP);
        let membership = match read(&path)? {
            Some(text) => Some(serde_json::from_str(&text).map_err(|source| Error::Json { path, source })?),
            None => None,
        };
        Ok(Self { dir: dir.into(), key, membership })
    }

    /// What joining gave, if the node has joined.
    pub fn membership(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// Keeps what joining gave, durably.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn joined(&mut self, membership: Membership) -> Result<(), Error> {
        let text = serde_json::to_string(&membership).expect("two texts always serialise");
        write(&self.dir.join(MEMBERSHIP), text.as_bytes())?;
        self.membership = Some(membership);
        Ok(())
    }

    /// The error of a node that must have joined.
    pub(super) fn not_joined(&self) -> Error {
        let advice = "run `tokengrid-node join` first, or give a join token";
        Error::Identity { dir: self.dir.clone(), what: "no membership", advice }
    }

    /// The public key's bytes.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// An Ed25519 signature, in hexadecimal.
    pub fn sign(&self, message: &[u8]) -> String {
        hex::encode(self.key.sign(message).to_bytes())
    }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path: path.into(), source }),
    }
}

fn read_key(dir: &Path, text: &str) -> Result<SigningKey, Error> {
    let path = dir.join(KEY);
    let mode = fs::metadata(&path).map_err(|source| Error::File { path, source })?.permissions().mode();
    let broken = |what, advice| Error::Identity { dir: dir.into(), what, advice };
    if mode & 0o077 != 0 {
        return Err(broken("identity.key can be read by others", "make it private: chmod 600"));
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes)
        .map_err(|_| broken("identity.key is no key", "restore it, or join again with an empty folder"))?;
    Ok(SigningKey::from_bytes(&bytes))
}

/// Writes a private file so that after a crash it is there whole or not at all.
fn write(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.into(), source };
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(failed)?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&unfinished, path).map_err(failed)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Verifier, VerifyingKey};
    use primitives::clock::Clock;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tokengrid-identity-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn an_identity_is_the_same_when_read_again() {
        let dir = folder("again");
        let ids = Ids::seeded(Clock::system(), 1);
        let mut first = Identity::open(&dir, &ids).unwrap();
        assert_eq!(first.membership(), None);
        let membership = Membership { node_id: ids.next(), control_plane: "http://127.0.0.1:8080".into() };
        first.joined(membership.clone()).unwrap();
        let second = Identity::open(&dir, &ids).unwrap();
        assert_eq!(second.public_key(), first.public_key());
        assert_eq!(second.membership(), Some(&membership));
        assert_eq!(fs::metadata(dir.join(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_signature_verifies_with_the_public_key() {
        let dir = folder("sign");
        let identity = Identity::open(&dir, &Ids::seeded(Clock::system(), 2)).unwrap();
        let signature = Signature::from_slice(&hex::decode(identity.sign(b"work")).unwrap()).unwrap();
        let key = VerifyingKey::from_bytes(&identity.public_key()).unwrap();
        assert!(key.verify(b"work", &signature).is_ok());
        assert!(key.verify(b"other", &signature).is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_broken_or_public_key_file_is_refused() {
        let dir = folder("broken");
        let ids = Ids::seeded(Clock::system(), 3);
        Identity::open(&dir, &ids).unwrap();
        fs::set_permissions(dir.join(KEY), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Identity::open(&dir, &ids), Err(Error::Identity { .. })));
        write(&dir.join(KEY), b"12").unwrap();
        assert!(matches!(Identity::open(&dir, &ids), Err(Error::Identity { .. })));
        fs::remove_dir_all(dir).unwrap();
    }
}
