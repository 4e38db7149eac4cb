//! What an alignment proves, signed by who measured it: nodes make certificates, the control plane lets cells in by them.

mod statistics;

use std::time::Duration;

use chrono::{DateTime, Utc};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use serde::{Deserialize, Serialize};

pub use statistics::lower_bound;

/// How long a certificate is good for.
pub const VALID_FOR: Duration = Duration::from_hours(30 * 24);

/// Fewer positions certify nothing.
pub const POSITIONS_MIN: u64 = 100_000;

/// What is signed before the body, so that the signature can be taken for nothing else.
const CONTEXT: &[u8] = b"tokengrid alignment v1\n";

/// How near a cell is to the original; what a tenant asks for and is never given less of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Those that can be asked for and served, the lowest first.
    pub const SERVED: [Self; 3] = [Self::Eco, Self::Near, Self::Exact];

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

/// What a comparison of next tokens found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Next tokens compared.
    pub positions: u64,
    /// Those whose likeliest token is the same.
    pub agreed: u64,
    /// The least that the share of agreement is, with 95 % confidence.
    pub lower_bound: f64,
    /// Kullback and Leibler's divergence from the original, the mean. *Units*: nats.
    pub divergence_mean: f64,
    /// The same, for all but one position in a hundred.
    pub divergence_p99: f64,
    /// Whether the divergence is that over some likely tokens and all others together, which is never more than the whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub divergence_coarse: bool,
}

/// What a comparison of calls found. Nothing holds the answers in form here: it is the models that are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// Requests that both answered.
    pub requests: u64,
    /// Those at which both called a tool, or neither did.
    pub triggers_agreed: u64,
    /// Calls of the original.
    pub original_calls: u64,
    /// Those with a described tool's name and arguments of its schema.
    pub original_valid: u64,
    /// Calls of the candidate.
    pub calls: u64,
    /// Those with a described tool's name and arguments of its schema.
    pub valid: u64,
    /// Requests that both answered with the same tokens.
    pub same_answers: u64,
    /// Prompt tokens that both counted; they read the same ones.
    pub prompt_tokens: u64,
}

/// What is certified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// Of which cell.
    pub cell: Cell,
    /// The grade it earned; `none` of too few positions. The signer's word: [`Body::grade`] is what it is worth.
    #[serde(rename = "grade")]
    pub claimed: Grade,
    /// The next tokens.
    pub agreement: Agreement,
    /// The calls of tools, where there were requests with some.
    pub calls: Option<Calls>,
    /// When it was measured.
    pub issued_at: DateTime<Utc>,
    /// Until when it holds.
    pub expires_at: DateTime<Utc>,
}

impl Body {
    /// What is signed: a context line and the body as compact JSON.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("a body of numbers and texts serialises");
        [CONTEXT, &json].concat()
    }

    /// The grade that the counts earn, whatever the signer claims. `None` where they contradict themselves or are too few.
    pub fn grade(&self) -> Grade {
        let Agreement { positions, agreed, divergence_mean, .. } = self.agreement;
        if positions < POSITIONS_MIN || agreed > positions || !(0.0..).contains(&divergence_mean) {
            return Grade::None;
        }
        Grade::of(&Agreement { lower_bound: lower_bound(agreed, positions), ..self.agreement.clone() })
    }
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
    /// Whether the named key signed this body, and `now` is within its time, which is not longer than certificates last.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        let Body { issued_at, expires_at, .. } = self.body;
        let lasts = (expires_at - issued_at).to_std().is_ok_and(|lasts| lasts <= VALID_FOR);
        lasts && (issued_at..expires_at).contains(&now) && self.signed()
    }

    /// The key's bytes, if it is one.
    pub fn key(&self) -> Option<[u8; 32]> {
        hex::decode(&self.public_key).ok()?.try_into().ok()
    }

    /// Whether the named key signed this body.
    pub fn signed(&self) -> bool {
        let verified = || {
            let signature = Signature::from_slice(&hex::decode(&self.signature).ok()?).ok()?;
            VerifyingKey::from_bytes(&self.key()?).ok()?.verify(&self.body.signed_bytes(), &signature).ok()
        };
        verified().is_some()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn agreement(positions: u64, agreed: u64, divergence_mean: f64) -> Agreement {
        let bound = lower_bound(agreed, positions);
        let lower_bound = (bound * 1e9).round() / 1e9;
        Agreement { positions, agreed, lower_bound, divergence_mean, divergence_p99: 0.1, divergence_coarse: false }
    }

    fn body(agreement: Agreement, claimed: Grade) -> Body {
        let cell = Cell {
            reference_sha256: "a".into(),
            weights_sha256: "b".into(),
            quantisation: "Q8_0".into(),
            engine: "e".into(),
            chip: "c".into(),
            features: vec!["AVX2".into()],
        };
        let issued_at = DateTime::UNIX_EPOCH;
        Body { cell, claimed, agreement, calls: None, issued_at, expires_at: issued_at + VALID_FOR }
    }

    fn signed(body: Body) -> Certificate {
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = hex::encode(key.sign(&body.signed_bytes()).to_bytes());
        Certificate { body, public_key: hex::encode(key.verifying_key().to_bytes()), signature }
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
    fn a_claim_is_not_believed_and_neither_is_its_bound() {
        let mut lie = body(agreement(100_000, 96_000, 0.05), Grade::Exact);
        lie.agreement.lower_bound = 0.999_9;
        assert_eq!(lie.grade(), Grade::Eco);
        assert_eq!(body(agreement(99_999, 99_999, 0.0), Grade::Exact).grade(), Grade::None);
        for (agreed, divergence_mean) in [(100_001, 0.0), (100_000, -1.0), (100_000, f64::NAN)] {
            let nonsense = Agreement { agreed, divergence_mean, ..agreement(100_000, 100_000, 0.0) };
            assert_eq!(body(nonsense, Grade::Exact).grade(), Grade::None);
        }
    }

    #[test]
    fn a_certificate_reads_back_holds_for_its_time_and_no_longer_once_it_is_changed() {
        let certificate = signed(body(agreement(100_000, 99_950, 0.001_234_568), Grade::Exact));
        let read: Certificate = serde_json::from_str(&serde_json::to_string_pretty(&certificate).unwrap()).unwrap();
        assert_eq!(read, certificate);
        let now = DateTime::UNIX_EPOCH;
        assert!(read.holds(now) && !read.holds(now + VALID_FOR) && !read.holds(now - Duration::from_secs(1)));
        let mut better = read.clone();
        better.body.agreement.agreed += 1;
        assert!(!better.holds(now));
        let mut eternal = read.body;
        eternal.expires_at += Duration::from_secs(1);
        assert!(!signed(eternal).holds(now), "nobody certifies for longer than certificates last");
    }

    #[test]
    fn the_bytes_that_are_signed_stay_the_same() {
        let json = br#"tokengrid alignment v1
{"cell":{"reference_sha256":"a","weights_sha256":"b","quantisation":"Q8_0","engine":"e","chip":"c","features":["AVX2"]},"grade":"exact","agreement":{"positions":100000,"agreed":100000,"lower_bound":0.999970043,"divergence_mean":0.0,"divergence_p99":0.1},"calls":null,"issued_at":"1970-01-01T00:00:00Z","expires_at":"1970-01-31T00:00:00Z"}"#;
        let signed = body(agreement(100_000, 100_000, 0.0), Grade::Exact).signed_bytes();
        assert_eq!(String::from_utf8_lossy(&signed), String::from_utf8_lossy(json));
    }
}
