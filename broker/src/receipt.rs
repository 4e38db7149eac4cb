//! A receipt: a node's signed word on its work, checked against what was delivered. It is evidence, never money.

use ed25519_dalek::{Signature, VerifyingKey};
use primitives::node_protocol::{SignedReceipt, output_sha256};

use crate::lease::EndedLease;

/// Where a receipt differs from what was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Not signed by the node's registered key.
    #[error("signature")]
    Signature,
    /// It speaks of another lease.
    #[error("lease")]
    Lease,
    /// Another number of output tokens.
    #[error("output_tokens")]
    OutputTokens,
    /// Other output tokens.
    #[error("output_sha256")]
    OutputSha256,
    /// Another prompt length.
    #[error("prompt_tokens")]
    PromptTokens,
}

/// A lease's end and what its receipt is worth.
#[derive(Debug)]
pub(crate) struct CheckedEnd {
    pub lease: EndedLease,
    pub mismatch: Option<Mismatch>,
}

/// Checks a receipt against the lease it speaks of and the tokens that were delivered under it.
pub fn verify(signed: &SignedReceipt, public_key: &[u8; 32], lease: &EndedLease) -> Result<(), Mismatch> {
    let SignedReceipt { receipt, signature } = signed;
    if !is_signed(&receipt.signed_bytes(), signature, public_key) {
        return Err(Mismatch::Signature);
    }
    if (receipt.job_id, receipt.epoch, receipt.node_id) != (lease.job_id, lease.epoch, lease.node_id) {
        return Err(Mismatch::Lease);
    }
    if receipt.prompt_tokens != lease.prompt_tokens {
        return Err(Mismatch::PromptTokens);
    }
    if receipt.output_tokens as usize != lease.delivered.len() {
        return Err(Mismatch::OutputTokens);
    }
    if receipt.output_sha256 != output_sha256(&lease.delivered) {
        return Err(Mismatch::OutputSha256);
    }
    Ok(())
}

fn is_signed(message: &[u8], signature: &str, public_key: &[u8; 32]) -> bool {
    let signature = hex::decode(signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
    let key = VerifyingKey::from_bytes(public_key).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use ed25519_dalek::{Signer, SigningKey};
    use primitives::id::{JobId, NodeId};
    use primitives::node_protocol::Receipt;
    use uuid::Uuid;

    use super::*;
    use crate::lease::LeaseOutcome;

    const DELIVERED: [u32; 3] = [10, 11, 12];

    fn check(key: &SigningKey, change: impl FnOnce(&mut Receipt)) -> Result<(), Mismatch> {
        let (job_id, node_id) = (JobId(Uuid::from_u128(1)), NodeId(Uuid::from_u128(2)));
        let mut receipt = Receipt {
            job_id,
            epoch: 1,
            node_id,
            prompt_tokens: 4,
            output_tokens: 3,
            output_sha256: output_sha256(&DELIVERED),
            first_token_ms: 1,
            total_ms: 2,
        };
        change(&mut receipt);
        let signature = hex::encode(key.sign(&receipt.signed_bytes()).to_bytes());
        let lease = EndedLease {
            job_id,
            epoch: 1,
            node_id,
            ended_at: DateTime::UNIX_EPOCH,
            outcome: LeaseOutcome::Done,
            prompt_tokens: 4,
            delivered: DELIVERED.to_vec(),
            receipt: None,
        };
        let registered = SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
        verify(&SignedReceipt { receipt, signature }, &registered, &lease)
    }

    #[test]
    fn an_honest_receipt_matches() {
        assert_eq!(check(&SigningKey::from_bytes(&[7; 32]), |_| {}), Ok(()));
    }

    #[test]
    fn another_key_is_found_out() {
        assert_eq!(check(&SigningKey::from_bytes(&[8; 32]), |_| {}), Err(Mismatch::Signature));
    }

    #[test]
    fn a_signed_lie_is_found_out() {
        let key = SigningKey::from_bytes(&[7; 32]);
        assert_eq!(check(&key, |receipt| receipt.output_tokens = 4), Err(Mismatch::OutputTokens));
        assert_eq!(check(&key, |receipt| receipt.prompt_tokens = 5), Err(Mismatch::PromptTokens));
        assert_eq!(check(&key, |receipt| receipt.output_sha256 = output_sha256(&[1])), Err(Mismatch::OutputSha256));
        assert_eq!(check(&key, |receipt| receipt.epoch = 2), Err(Mismatch::Lease));
    }
}
