//! What stands for a tenant in the caches of nodes.

use hmac::{Hmac, KeyInit, Mac};
use primitives::id::TenantId;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Keeps one use of the secret apart from the others.
const LABEL: &[u8] = b"tokengrid cache salt v1\0";

/// Makes salts: the same for all jobs of a tenant on every replica, and nothing that tells the tenant or can be guessed.
#[derive(Clone)]
pub struct CacheSalts(SecretString);

impl CacheSalts {
    /// Under the secret that `serve` takes.
    pub fn new(secret: SecretString) -> Self {
        Self(secret)
    }

    /// A tenant's salt, in hexadecimal.
    pub fn of(&self, tenant_id: TenantId) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret().as_bytes())
            .expect("an HMAC takes a key of any length");
        mac.update(LABEL);
        mac.update(tenant_id.0.as_bytes());
        hex::encode(&mac.finalize().into_bytes()[..16])
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_salt_is_a_tenants_and_a_secrets() {
        let salt = |secret: &str, n| CacheSalts::new(secret.into()).of(TenantId(Uuid::from_u128(n)));
        assert_eq!(salt("s", 1), salt("s", 1));
        assert_ne!(salt("s", 1), salt("s", 2));
        assert_ne!(salt("s", 1), salt("t", 1));
    }
}
