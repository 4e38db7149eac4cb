//! Challenges: a code that goes to an address, and comes back from whoever reads its mail.
//!
//! Promises that a code opens one thing once, for fifteen minutes and five attempts, that a copy of the database does not tell
//! it, and that a challenge without a code looks like any other.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use primitives::id::{EmailChallengeId, Ids};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use sqlx::PgPool;

use crate::error::Error;
use crate::repo;

/// How long a code is taken.
const MINUTES: i64 = 15;
/// How many codes may be tried.
const ATTEMPTS_MAX: i16 = 5;

/// A challenge as its reader knows it.
#[derive(Clone, Copy, Debug)]
pub struct Challenge {
    /// Which.
    pub id: EmailChallengeId,
    /// Until when its code is taken.
    pub expires_at: DateTime<Utc>,
}

/// What a code is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The sign-up becomes an account.
    SignUp {
        /// Argon2id in PHC form.
        password_hash: String,
        /// What the tenant is to be called.
        tenant_name: String,
    },
    /// The account gets a new password.
    PasswordReset,
}

/// A challenge as it is kept.
#[derive(Clone, Debug)]
pub struct Row {
    /// The address that its code proves.
    pub email: String,
    /// The code's HMAC, where one was sent.
    pub code_mac: Option<Vec<u8>>,
    /// What it is for.
    pub purpose: Purpose,
    /// Attempts that are left.
    pub attempts_left: i16,
}

/// Makes challenges and checks their codes.
#[derive(Clone)]
pub struct Challenges {
    pool: PgPool,
    ids: Ids,
    secret: SecretString,
}

impl Challenges {
    /// `secret` is the control plane's own.
    pub fn new(pool: PgPool, ids: Ids, secret: SecretString) -> Self {
        Self { pool, ids, secret }
    }

    /// Makes a challenge and its code; with `sent` false no code will ever open it.
    pub async fn open(
        &self,
        email: &str,
        purpose: Purpose,
        sent: bool,
        now: DateTime<Utc>,
    ) -> Result<(Challenge, String), Error> {
        let challenge = Challenge { id: self.ids.next(), expires_at: now + TimeDelta::minutes(MINUTES) };
        let code = format!("{:08}", u64::from_le_bytes(self.ids.bytes()) % 100_000_000);
        let code_mac = sent.then(|| self.mac(challenge.id, &code).finalize().into_bytes().to_vec());
        let row = Row { email: email.to_owned(), code_mac, purpose, attempts_left: ATTEMPTS_MAX };
        repo::challenge_insert(&mut *self.pool.acquire().await?, challenge, &row, now).await?;
        Ok((challenge, code))
    }

    /// Takes an attempt and checks the code; the challenge is still to be marked as used, with what it opens.
    ///
    /// *Errors*: the code is wrong, or no longer taken.
    pub async fn check(&self, id: EmailChallengeId, code: &str, now: DateTime<Utc>) -> Result<Row, Error> {
        // On its own, so that no failure afterwards gives the attempt back.
        let row = repo::challenge_attempt(&mut *self.pool.acquire().await?, id, now).await?;
        let row = row.ok_or(Error::CodeExpired)?;
        let digits: String = code.chars().filter(char::is_ascii_digit).collect();
        let right = row.code_mac.as_ref().is_some_and(|mac| self.mac(id, &digits).verify_slice(mac).is_ok());
        if right { Ok(row) } else { Err(Error::WrongCode) }
    }

    fn mac(&self, id: EmailChallengeId, code: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes())
            .expect("an HMAC takes a key of any length");
        mac.update(b"email challenge\0");
        mac.update(id.0.as_bytes());
        mac.update(code.as_bytes());
        mac
    }
}
