//! Rate limits: requests, tokens and knocks at the door in Redis, jobs at once on this replica.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use primitives::clock::Clock;
use primitives::id::TenantId;
use redis::Script;
use redis::aio::ConnectionManager;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::error::Error;

/// All buckets in one step (generic cell rate algorithm): either every one is charged or none.
///
/// Each key holds the instant, in microseconds, at which its bucket is full again. After the instant come, for each bucket,
/// how much it holds, over which time, and what is taken. Answers {0, 0} when the request passes, else {which bucket,
/// microseconds to wait}.
const TAKE: &str = r"
local now = tonumber(ARGV[1])
local full = {}
for i = 1, #KEYS do
  local most, period, taken = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  full[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or 0), now) + math.ceil(period * taken / most)
  if full[i] - now > period then return {i, full[i] - now - period} end
end
for i = 1, #KEYS do
  redis.call('SET', KEYS[i], string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
end
return {0, 0}
";

/// A quarter of an hour.
const QUARTER: Duration = Duration::from_secs(15 * 60);
/// An hour.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// A minute.
const MINUTE: Duration = Duration::from_secs(60);

/// What somebody without a session knocks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Signing in: 10 tries a quarter of an hour for an address.
    SignIn,
    /// Whatever sends mail: 5 an hour for an address.
    Mail,
}

/// Something that fills again with time.
struct Bucket {
    key: String,
    most: u32,
    per: Duration,
    taken: u32,
    /// Its name in a refusal.
    name: String,
}

/// Decides whether a tenant's next request may pass.
#[derive(Clone)]
pub struct Limiter {
    redis: ConnectionManager,
    script: Arc<Script>,
    clock: Clock,
    limits: Limits,
    knocks_per_hour_max: u32,
    running: Cache<TenantId, Arc<Semaphore>>,
}

impl Limiter {
    /// The same limits hold for each tenant.
    pub fn new(redis: ConnectionManager, clock: Clock, limits: Limits, knocks_per_hour_max: u32) -> Self {
        let running = Cache::builder().max_capacity(100_000).time_to_idle(Duration::from_secs(3600)).build();
        Self { redis, script: Arc::new(Script::new(TAKE)), clock, limits, knocks_per_hour_max, running }
    }

    /// Takes one request and its tokens from the tenant's minute.
    ///
    /// *Errors*: the limit that is reached, with when to come back; a request larger than a whole minute's tokens.
    /// Redis being away lets requests pass: the money is guarded by the ledger, not here.
    pub async fn take(&self, tenant_id: TenantId, tokens: u32) -> Result<(), Error> {
        let Limits { requests_per_minute_max, tokens_per_minute_max, .. } = self.limits;
        if tokens > tokens_per_minute_max {
            let message =
                format!("The request needs {tokens} tokens and the limit is {tokens_per_minute_max} a minute.");
            return Err(Error::Invalid { param: Some("max_tokens".into()), message });
        }
        let bucket = |unit: &str, most, taken| Bucket {
            key: format!("limit:{unit}:{tenant_id}"),
            most,
            per: MINUTE,
            taken,
            name: format!("{most} {unit} a minute"),
        };
        let requests = bucket("requests", requests_per_minute_max, 1);
        self.take_from(&[requests, bucket("tokens", tokens_per_minute_max, tokens)]).await
    }

    /// Takes one try at a door, for the address that is tried and for the network address that tries.
    ///
    /// *Errors*: the limit that is reached, with when to come back.
    pub async fn knock(&self, door: Door, peer: IpAddr, email: &str) -> Result<(), Error> {
        let (word, most, per, name) = match door {
            Door::SignIn => ("sign-in", 10, QUARTER, "10 tries in 15 minutes"),
            Door::Mail => ("mail", 5, HOUR, "5 mails an hour"),
        };
        // Redis need not know who has an account here.
        let key = format!("limit:{word}:{}", hex::encode(Sha256::digest(email)));
        let address = Bucket { key, most, per, taken: 1, name: name.to_owned() };
        let most = self.knocks_per_hour_max;
        let name = format!("{most} tries an hour from one network");
        let network = Bucket { key: format!("limit:knock:{peer}"), most, per: HOUR, taken: 1, name };
        self.take_from(&[address, network]).await
    }

    async fn take_from(&self, buckets: &[Bucket]) -> Result<(), Error> {
        let mut call = self.script.prepare_invoke();
        call.arg(self.clock.now().timestamp_micros());
        for bucket in buckets {
            call.key(&bucket.key);
            call.arg(bucket.most).arg(u64::try_from(bucket.per.as_micros()).unwrap_or(u64::MAX)).arg(bucket.taken);
        }
        let answer: redis::RedisResult<(usize, u64)> = call.invoke_async(&mut self.redis.clone()).await;
        let (full, wait_us) = answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "rate limits are off while Redis does not answer");
            (0, 0)
        });
        match full.checked_sub(1).and_then(|index| buckets.get(index)) {
            None => Ok(()),
            Some(bucket) => {
                Err(Error::RateLimited { limit: bucket.name.clone(), retry_after: Duration::from_micros(wait_us) })
            }
        }
    }

    /// A place among the tenant's running jobs, kept until dropped.
    pub fn enter(&self, tenant_id: TenantId) -> Result<OwnedSemaphorePermit, Error> {
        let places = self.limits.jobs_at_once_max;
        let semaphore = self.running.get_with(tenant_id, || Arc::new(Semaphore::new(places as usize)));
        let limit = || format!("{places} jobs at once");
        semaphore
            .try_acquire_owned()
            .map_err(|_| Error::RateLimited { limit: limit(), retry_after: Duration::from_secs(1) })
    }
}
