//! The signed head: who keeps one can tell later that the books under it are still the same.

use chrono::SecondsFormat;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use ledger::proof::Head;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;

/// What tells this key from everything else that is made of the control plane's secret.
const LABEL: &[u8] = b"tokengrid ledger head ed25519 v1";

/// The Ed25519 key that signs heads: HMAC-SHA-256 of a fixed label under the control plane's secret, so the same on every
/// replica and after every start. Another secret is another key.
#[derive(Clone)]
pub struct HeadKey(SigningKey);

/// A head as it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedHead {
    shard: i16,
    height: i64,
    hash: String,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl HeadKey {
    /// `secret` is 32 bytes in hexadecimal, as `serve` takes it.
    pub fn try_new(secret: &SecretString) -> anyhow::Result<Self> {
        let bytes = hex::decode(secret.expose_secret().trim()).ok().filter(|bytes| bytes.len() >= 32);
        let bytes =
            bytes.ok_or_else(|| anyhow::anyhow!("TOKENGRID_SECRET must be at least 32 bytes in hexadecimal"))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&bytes).expect("an HMAC takes a key of any length");
        mac.update(LABEL);
        Ok(Self(SigningKey::from_bytes(&mac.finalize().into_bytes().into())))
    }

    /// Signs a head.
    pub fn sign(&self, head: &Head) -> SignedHead {
        let signature = self.0.sign(&head.message());
        SignedHead {
            public_key: Some(hex::encode(self.0.verifying_key().as_bytes())),
            signature: Some(hex::encode(signature.to_bytes())),
            ..SignedHead::unsigned(head)
        }
    }
}

impl SignedHead {
    /// A head that nobody vouches for.
    pub fn unsigned(head: &Head) -> Self {
        Self {
            shard: head.shard,
            height: head.block.height,
            hash: head.block.hash_hex(),
            at: head.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            public_key: None,
            signature: None,
        }
    }

    /// True when somebody vouches for it.
    pub fn signed(&self) -> bool {
        self.signature.is_some()
    }
}

#[cfg(test)]
mod tests {
    use ledger::BlockRef;

    use super::*;

    fn head() -> Head {
        let at = "2026-11-24T00:00:00.5Z".parse().unwrap();
        Head { shard: 0, block: BlockRef { height: 3, hash: [7; 32] }, at }
    }

    #[test]
    fn one_secret_always_gives_one_key_and_one_signature() {
        let signed = HeadKey::try_new(&"5e".repeat(32).into()).unwrap().sign(&head());
        insta::assert_json_snapshot!(signed, @r#"
        {
          "shard": 0,
          "height": 3,
          "hash": "0707070707070707070707070707070707070707070707070707070707070707",
          "at": "2026-11-24T00:00:00.500000Z",
          "public_key": "eb62f79cbfb8163fc4a06a2f1c929c5d272cb986a85225acc50cf967995e20b1",
          "signature": "7d77a14eb996cbea6879e991b22df68e44c09b5a161362d70e2f15022d1510fb4923f048fc94af204eeb25d02d27248108b9d2708aa97c78449240149ca87502"
        }
        "#);
        let spelled_otherwise = HeadKey::try_new(&format!(" {}\n", "5E".repeat(32)).into()).unwrap();
        assert_eq!(spelled_otherwise.sign(&head()), signed);
        assert_ne!(HeadKey::try_new(&"5f".repeat(32).into()).unwrap().sign(&head()).public_key, signed.public_key);
    }

    #[test]
    fn a_secret_that_serve_would_refuse_signs_nothing() {
        for secret in ["short", "", &"zz".repeat(32)] {
            let refusal = HeadKey::try_new(&secret.into()).err().unwrap().to_string();
            assert!(refusal.starts_with("TOKENGRID_SECRET must"), "{refusal}");
        }
    }
}
