//! The node's signed account of a lease's work.

use primitives::node_protocol::{Receipt, SignedReceipt};

use crate::node::identity::Identity;

/// Signs [`Receipt::signed_bytes`] with the node's key.
pub fn sign(receipt: Receipt, identity: &Identity) -> SignedReceipt {
    let signature = identity.sign(&receipt.signed_bytes());
    SignedReceipt { receipt, signature }
}
