//! Certificates of alignment, as `tokengrid-node align` makes them.

use ed25519_dalek::{Signer, SigningKey};
use primitives::certificate::{Agreement, Body, Cell, Certificate, Grade, VALID_FOR, lower_bound};
use primitives::clock::Clock;

/// A certificate by this key: so many of 100,000 next tokens agree; the claim may be another.
pub fn certificate(key: &SigningKey, cell: Cell, agreed: u64, claimed: Grade) -> Certificate {
    let now = Clock::system().now();
    let agreement = Agreement {
        positions: 100_000,
        agreed,
        // Nine decimals, as certificates have them: they read back to the same bytes.
        lower_bound: (lower_bound(agreed, 100_000) * 1e9).round() / 1e9,
        divergence_mean: 0.000_5,
        divergence_p99: 0.01,
        divergence_coarse: false,
    };
    let body = Body { cell, claimed, agreement, calls: None, issued_at: now, expires_at: now + VALID_FOR };
    let signature = hex::encode(key.sign(&body.signed_bytes()).to_bytes());
    Certificate { body, public_key: hex::encode(key.verifying_key().to_bytes()), signature }
}
