//! The load that nodes declare: what would wait for longer than any of them promises is refused at the door.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Core;
use crate::Refused;
use crate::cell::{Cell, Queued};
use crate::job::{Class, Job};

impl Core {
    /// Lets a job in that nobody waits for, or that some cell would give its turn within what it declares. A cell that declares
    /// nothing takes whatever comes.
    pub(super) fn admit_declared(&self, now: DateTime<Utc>, job: &Job) -> Result<(), Refused> {
        if job.class != Class::Interactive {
            return Ok(());
        }
        let fits = |cell: &Cell| u64::from(cell.context_tokens) >= job.tokens_needed() && cell.grade >= job.grade;
        let mut cells: Vec<&Cell> = Vec::new();
        for (_, cell) in self.fleet.candidates(&job.model, self.decisions).filter(|(_, cell)| fits(cell)) {
            if !cell.declares() {
                return Ok(());
            }
            cells.push(cell);
        }
        let Some(queued) = self.queued_for_each(&job.model, cells.len()) else { return Ok(()) };
        let record_ms = self.record_ms();
        let past = cells.iter().map(|cell| cell.past_declared_ms(now, record_ms, queued)).collect::<Option<Vec<f64>>>();
        let soonest_ms = past.into_iter().flatten().min_by(f64::total_cmp);
        soonest_ms.map_or(Ok(()), |ms| {
            let retry_after = Duration::from_secs((ms / 1_000.0).ceil().clamp(1.0, 3_600.0) as u64);
            Err(Refused::Overloaded { model: job.model.clone(), retry_after })
        })
    }

    /// What each of so many cells has to do of the queue before a job that comes now.
    fn queued_for_each(&self, model: &str, cells: usize) -> Option<Queued> {
        let queue = self.queues.get(model).filter(|_| cells > 0)?;
        let (jobs, tokens) = queue.interactive();
        let share = self.fleet.shown(model) / cells as f64;
        Some(Queued { jobs: jobs as f64 * share, tokens: tokens as f64 * share, job_ms: queue.job_ms() })
    }
}
