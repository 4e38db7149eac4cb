//! A provider: who supplies nodes.

use chrono::{DateTime, Utc};
use primitives::id::ProviderId;
use sqlx::PgConnection;

use crate::{Error, Result, repo};

/// Who supplies nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Which provider.
    pub id: ProviderId,
    /// What people call it.
    pub name: String,
    /// When it signed up.
    pub created_at: DateTime<Utc>,
}

/// Registers a provider.
pub async fn insert(conn: &mut PgConnection, provider: &Provider) -> Result<()> {
    repo::provider_insert(conn, provider).await
}

/// The provider, if there is one.
pub async fn find(conn: &mut PgConnection, id: ProviderId) -> Result<Option<Provider>> {
    repo::provider_find(conn, id).await
}

/// The provider. *Errors*: [`Error::ProviderUnknown`].
pub async fn get(conn: &mut PgConnection, id: ProviderId) -> Result<Provider> {
    find(conn, id).await?.ok_or(Error::ProviderUnknown(id))
}
