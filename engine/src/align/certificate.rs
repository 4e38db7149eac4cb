//! What an alignment proves, signed by who measured it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::calls::Calls;
use super::compare::Agreement;
use super::{Alignment, Effort};
use crate::node::identity::Identity;

/// How long a certificate is good for.
pub const VALID_FOR: Duration = Duration::from_hours(30 * 24);

/// What is signed before the body, so that the signature can be taken for nothing else.
const CONTEXT: &[u8] = b"tokengrid alignment v1\n";

/// How near a cell is to the original; what a tenant asks for and is never given less of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Not near enough to be served.
    None,
    /// At least 95 %.
    Eco,
    /// At least 99 %.
    Near,
    /// At least 99.9 %.
    Exact,
}

impl Grade {
    /// The grade of an agreement: by the lower bound of the share, and by the mean divergence.
    pub fn of(agreement: &Agreement) -> Self {
        let reaches =
            |share: f64, divergence: f64| agreement.lower_bound >= share && agreement.divergence_mean <= divergence;
        match () {
            () if reaches(0.999, 0.01) => Self::Exact,
            () if reaches(0.99, 0.03) => Self::Near,
            () if reaches(0.95, 0.10) => Self::Eco,
            () => Self::None,
        }
    }

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Eco => "eco",
            Self::Near => "near",
            Self::Exact => "exact",
        }
    }
}

/// The cell that was measured; any change of it ends the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// SHA-256 of the original's weights, in hexadecimal.
    pub reference_sha256: String,
    /// SHA-256 of the candidate's weights, in hexadecimal.
    pub weights_sha256: String,
    /// How the candidate's weights are stored.
    pub quantisation: String,
    /// The engine and its version.
    pub engine: String,
    /// The chip, as the vendor names it.
    pub chip: String,
    /// What of the chip the engine uses, such as `AVX512_VNNI`.
    pub features: Vec<String>,
}

/// What is certified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// Of which cell.
    pub cell: Cell,
    /// The grade it earned; `none` of too few positions.
    pub grade: Grade,
    /// The next tokens.
    pub agreement: Agreement,
    /// The calls of tools, where there were requests with some.
    pub calls: Option<Calls>,
    /// When it was measured.
    pub issued_at: DateTime<Utc>,
    /// Until when it holds.
    pub expires_at: DateTime<Utc>,
}

/// A body and who answers for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// What is certified.
    pub body: Body,
    /// The measuring node's Ed25519 key, in hexadecimal.
    pub public_key: String,
    /// Ed25519 over a context line and the body as compact JSON, in hexadecimal.
    pub signature: String,
}

impl Certificate {
    /// Signs what was found of a cell. Fewer positions than a [full](Effort::FULL) measurement has certify nothing.
    pub fn sign(cell: Cell, alignment: &Alignment, now: DateTime<Utc>, identity: &Identity) -> Self {
        let enough = alignment.agreement.positions >= Effort::FULL.positions as u64;
        let body = Body {
            cell,
            grade: if enough { Grade::of(&alignment.agreement) } else { Grade::None },
            agreement: alignment.agreement.clone(),
            calls: alignment.calls.clone(),
            issued_at: now,
            expires_at: now + VALID_FOR,
        };
        let signature = identity.sign(&signed_bytes(&body));
        Self { body, public_key: hex::encode(identity.public_key()), signature }
    }

    /// Whether the named key signed this body, and `now` is within its time.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        let signed = || {
            let key: [u8; 32] = hex::decode(&self.public_key).ok()?.try_into().ok()?;
            let signature = Signature::from_slice(&hex::decode(&self.signature).ok()?).ok()?;
            VerifyingKey::from_bytes(&key).ok()?.verify(&signed_bytes(&self.body), &signature).ok()
        };
        (self.body.issued_at..self.body.expires_at).contains(&now) && signed().is_some()
    }
}

fn signed_bytes(body: &Body) -> Vec<u8> {
    let json = serde_json::to_vec(body).expect("a body of numbers and texts serialises");
    [CONTEXT, &json].concat()
}

#[cfg(test)]
mod tests {
    use primitives::clock::Clock;
    use primitives::id::Ids;

    use super::*;

    fn agreement(positions: u64, agreed: u64, divergence_mean: f64) -> Agreement {
        let bound = super::super::statistics::lower_bound(agreed, positions);
        let lower_bound = (bound * 1e9).round() / 1e9;
        Agreement { positions, agreed, lower_bound, divergence_mean, divergence_p99: 0.1, divergence_coarse: false }
    }

    #[test]
    fn a_grade_takes_both_the_bound_and_the_divergence() {
        assert_eq!(Grade::of(&agreement(100_000, 99_950, 0.001)), Grade::Exact);
        assert_eq!(Grade::of(&agreement(100_000, 99_905, 0.001)), Grade::Near, "the bound is below what was seen");
        assert_eq!(Grade::of(&agreement(100_000, 99_950, 0.02)), Grade::Near);
        assert_eq!(Grade::of(&agreement(100_000, 96_000, 0.05)), Grade::Eco);
        assert_eq!(Grade::of(&agreement(100_000, 94_000, 0.001)), Grade::None);
        assert!(Grade::Exact > Grade::Near && Grade::Eco > Grade::None);
    }

    #[test]
    fn a_certificate_reads_back_holds_for_its_time_and_no_longer_once_it_is_changed() {
        let dir = std::env::temp_dir().join(format!("tokengrid-certificate-{}", std::process::id()));
        let identity = Identity::open(&dir, &Ids::seeded(Clock::system(), 1)).unwrap();
        let cell = Cell {
            reference_sha256: "a".into(),
            weights_sha256: "b".into(),
            quantisation: "Q8_0".into(),
            engine: "e".into(),
            chip: "c".into(),
            features: vec!["AVX2".into()],
        };
        let now = Clock::system().now();
        let few = Alignment { agreement: agreement(3_000, 3_000, 0.0), calls: None };
        assert_eq!(Certificate::sign(cell.clone(), &few, now, &identity).body.grade, Grade::None);
        let full = Alignment { agreement: agreement(100_000, 99_950, 0.001_234_568), calls: None };
        let signed = Certificate::sign(cell, &full, now, &identity);
        let read: Certificate = serde_json::from_str(&serde_json::to_string_pretty(&signed).unwrap()).unwrap();
        assert_eq!((read.body.grade, &read), (Grade::Exact, &signed));
        assert!(read.holds(now) && !read.holds(now + VALID_FOR) && !read.holds(now - Duration::from_secs(1)));
        let mut better = read.clone();
        better.body.agreement.agreed += 1;
        assert!(!better.holds(now));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
