//! Rate limits: requests and tokens a minute in Redis, jobs at once on this replica.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use primitives::clock::Clock;
use primitives::id::TenantId;
use redis::Script;
use redis::aio::ConnectionManager;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::error::Error;

/// Both buckets in one step (generic cell rate algorithm): either both are charged or neither.
///
/// Each key holds the instant, in microseconds, at which its bucket is full again; a bucket holds one minute's worth.
/// Answers {0, 0} when the request passes, else {which bucket, microseconds to wait}.
const TAKE: &str = r"
local now = tonumber(ARGV[1])
local minute = 60000000
local full = {}
for i = 1, #KEYS do
  local cost = math.ceil(minute * tonumber(ARGV[2 * i + 1]) / tonumber(ARGV[2 * i]))
  full[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or 0), now) + cost
  if full[i] - now > minute then return {i, full[i] - now - minute} end
end
for i = 1, #KEYS do
  redis.call('SET', KEYS[i], string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000))
end
return {0, 0}
";

/// Decides whether a tenant's next request may pass.
#[derive(Clone)]
pub struct Limiter {
    redis: ConnectionManager,
    script: Arc<Script>,
    clock: Clock,
    limits: Limits,
    running: Cache<TenantId, Arc<Semaphore>>,
}

impl Limiter {
    /// The same limits hold for each tenant.
    pub fn new(redis: ConnectionManager, clock: Clock, limits: Limits) -> Self {
        let running = Cache::builder().max_capacity(100_000).time_to_idle(Duration::from_secs(3600)).build();
        Self { redis, script: Arc::new(Script::new(TAKE)), clock, limits, running }
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
        let mut call = self.script.prepare_invoke();
        call.key(format!("limit:requests:{tenant_id}")).key(format!("limit:tokens:{tenant_id}"));
        call.arg(self.clock.now().timestamp_micros());
        call.arg(requests_per_minute_max).arg(1).arg(tokens_per_minute_max).arg(tokens);
        let answer: redis::RedisResult<(u8, u64)> = call.invoke_async(&mut self.redis.clone()).await;
        let (bucket, wait_us) = answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "rate limits are off while Redis does not answer");
            (0, 0)
        });
        let limit = match bucket {
            0 => return Ok(()),
            1 => format!("{requests_per_minute_max} requests a minute"),
            _ => format!("{tokens_per_minute_max} tokens a minute"),
        };
        Err(Error::RateLimited { limit, retry_after: Duration::from_micros(wait_us) })
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
