//! Passwords: hashed with Argon2id, checked without telling which part was wrong.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use primitives::id::Ids;
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

/// The fewest characters of a password.
const CHARS_MIN: usize = 10;
/// The most bytes of a password; longer ones only cost time.
const BYTES_MAX: usize = 256;

/// Nobody's hash: checking against it costs what checking a person's does, and never succeeds.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$Y4KzzIgUErd7/K7tAmABwA2eMCXmbCD25+kvB5hRRio";

/// A hash in PHC form; refused when the password is too short or too long.
pub async fn hash(password: SecretString, ids: &Ids) -> Result<String, Error> {
    let text = password.expose_secret();
    if text.chars().count() < CHARS_MIN || text.len() > BYTES_MAX {
        let message = format!("The password must have at least {CHARS_MIN} characters and at most {BYTES_MAX} bytes.");
        return Err(Error::invalid("password", message));
    }
    let salt: [u8; 16] = ids.bytes();
    let hash = off_the_event_loop(move || {
        Argon2::default()
            .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
            .map(|hash| hash.to_string())
    });
    hash.await?.map_err(|error| Error::Internal(anyhow::anyhow!("hashing a password: {error}")))
}

/// True when the password made this hash. Without a hash (no such person) the same time is spent and it is false.
pub async fn matches(password: SecretString, hash: Option<String>) -> Result<bool, Error> {
    off_the_event_loop(move || {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
        let bytes = password.expose_secret().as_bytes();
        let matched =
            PasswordHash::new(&hash).is_ok_and(|hash| Argon2::default().verify_password(bytes, &hash).is_ok());
        known && matched
    })
    .await
}

async fn off_the_event_loop<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use primitives::clock::Clock;

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let ids = Ids::seeded(Clock::system(), 1);
        let hash = hash("correct horse battery".into(), &ids).await.unwrap();
        assert!(matches("correct horse battery".into(), Some(hash.clone())).await.unwrap());
        assert!(!matches("correct horse".into(), Some(hash)).await.unwrap());
        assert!(!matches("correct horse battery".into(), None).await.unwrap());
        assert!(PasswordHash::new(NOBODY).is_ok(), "an unreadable hash would cost no time");
    }

    #[tokio::test]
    async fn a_short_password_is_refused() {
        let ids = Ids::seeded(Clock::system(), 1);
        assert_eq!(hash("short".into(), &ids).await.unwrap_err().code(), "invalid_value");
    }
}
