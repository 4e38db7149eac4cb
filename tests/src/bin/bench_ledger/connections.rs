//! Connections for callers that each need one: as many as are of use, and a queue for who comes later.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{Connection, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Open connections to one database; their prepared statements stay.
#[derive(Clone, Debug)]
pub struct Connections {
    free: Arc<Mutex<Vec<PgConnection>>>,
    seats: Arc<Semaphore>,
}

/// A connection that is ours until it is dropped.
#[derive(Debug)]
pub struct Seat {
    conn: Option<PgConnection>,
    free: Arc<Mutex<Vec<PgConnection>>>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Opens `count` of them.
    pub async fn open(url: &str, count: usize) -> anyhow::Result<Self> {
        let mut free = Vec::with_capacity(count);
        for _ in 0..count {
            free.push(PgConnection::connect(url).await?);
        }
        Ok(Self { free: Arc::new(Mutex::new(free)), seats: Arc::new(Semaphore::new(count)) })
    }

    /// Waits for one, in the order of asking.
    pub async fn seat(&self) -> Seat {
        let permit = self.seats.clone().acquire_owned().await.expect("the semaphore is never closed");
        let conn = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Seat { conn, free: self.free.clone(), _permit: permit }
    }
}

impl Seat {
    /// The connection.
    pub fn conn(&mut self) -> &mut PgConnection {
        self.conn.as_mut().expect("there are as many connections as permits")
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Before the permit, which is dropped after this.
        self.free.lock().unwrap_or_else(PoisonError::into_inner).extend(self.conn.take());
    }
}
