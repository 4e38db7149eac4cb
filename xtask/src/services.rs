//! The services that every command needs around the programs: PostgreSQL and Redis, ours or those that the environment names.

use crate::account::Account;
use crate::directory::Directory;
use crate::postgres::{self, Durability, Postgres};
use crate::process::{Service, setting};
use crate::progress::Steps;
use crate::redis::{self, Redis};

/// Services that run already.
#[derive(Debug, Default)]
pub struct Given {
    /// A database's URL for what serves.
    pub database_url: Option<String>,
    /// The same database's URL for its owner; the same role's when absent.
    pub owner_database_url: Option<String>,
    /// A Redis's URL.
    pub redis_url: Option<String>,
}

impl Given {
    /// What `DATABASE_URL`, `TOKENGRID_OWNER_DATABASE_URL` and `REDIS_URL` name. Only for commands that are meant to use somebody's data.
    pub fn by_environment() -> Given {
        Given {
            database_url: setting("DATABASE_URL"),
            owner_database_url: setting("TOKENGRID_OWNER_DATABASE_URL"),
            redis_url: setting("REDIS_URL"),
        }
    }
}

/// PostgreSQL and Redis, reachable; those that are ours stop when this is dropped, Redis first.
#[derive(Debug)]
pub struct Services {
    /// The database's URL for what serves.
    pub database_url: String,
    /// The database's URL for its owner: for migrations, and for nothing that serves.
    pub owner_database_url: String,
    /// The Redis's URL.
    pub redis_url: String,
    /// The database was created by this start.
    pub fresh: bool,
    redis: Option<Service>,
    postgres: Option<Service>,
}

impl Services {
    /// Starts what is not given; two steps.
    pub fn start(
        directory: &Directory,
        account: Option<&Account>,
        durability: Durability,
        given: Given,
        steps: &mut Steps,
    ) -> anyhow::Result<Services> {
        let sockets = directory.sockets(account)?;
        let database_url = given.database_url.unwrap_or_default();
        let mut services = Services {
            owner_database_url: given.owner_database_url.unwrap_or_else(|| database_url.clone()),
            database_url,
            redis_url: given.redis_url.unwrap_or_default(),
            fresh: false,
            redis: None,
            postgres: None,
        };
        let mut step = steps.begin("PostgreSQL");
        if services.database_url.is_empty() {
            let Postgres { owner_url, url, fresh, service } =
                postgres::start(directory, &sockets, account, durability, &mut step)?;
            step.finish(if fresh { "new database" } else { "" });
            (services.owner_database_url, services.database_url) = (owner_url, url);
            (services.fresh, services.postgres) = (fresh, Some(service));
        } else {
            step.finish("the one of DATABASE_URL");
        }
        let mut step = steps.begin("Redis");
        if services.redis_url.is_empty() {
            let Redis { url, service } = redis::start(directory, &sockets, account, &mut step)?;
            step.finish("");
            (services.redis_url, services.redis) = (url, Some(service));
        } else {
            step.finish("the one of REDIS_URL");
        }
        Ok(services)
    }

    /// The environment variables that tell a program that serves where they are.
    pub fn environment(&self) -> [(&'static str, &str); 2] {
        [("DATABASE_URL", &self.database_url), ("REDIS_URL", &self.redis_url)]
    }

    /// Process ids of PostgreSQL and Redis, where they are ours.
    pub fn pids(&self) -> (Option<u32>, Option<u32>) {
        (self.postgres.as_ref().map(Service::pid), self.redis.as_ref().map(Service::pid))
    }

    /// Fails when one of ours has ended by itself.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        self.postgres.iter_mut().chain(self.redis.iter_mut()).try_for_each(Service::check_alive)
    }

    /// Stops ours: Redis, then PostgreSQL.
    pub fn stop(&mut self) {
        self.redis.take();
        self.postgres.take();
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop();
    }
}
