//! Taking a group back.

use uuid::Uuid;

use super::Writer;
use crate::block::BlockRef;
use crate::error::Error;
use crate::recipe::reversal::{REVERSAL, Reversal};
use crate::recipe::{name_of, number_of};
use crate::repo;

/// A group that was posted, by one of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRef<'a> {
    /// By its first transfer.
    Head(i64),
    /// By what it is about and the business event, such as `job_settle`.
    Event(Uuid, &'a str),
}

impl Writer {
    /// Moves back what a group moved, once, in the month that is open; durable on return. A repetition gets the first answer.
    ///
    /// Holds are not touched, and what was used stays used: the facts of the group remain. A reversal is not reversed in its
    /// turn: whether a group is in force is told by one look at whether it was reversed, and what was taken back by mistake is
    /// booked again as a journal entry that says so.
    ///
    /// *Errors*: [`Error::NothingToReverse`] for a group that does not exist, moved nothing (a note, a hold, a void), or is a reversal;
    /// [`Error::IdReused`] when it was reversed for another reason; [`Error::Overdraft`] when what it gave is spent.
    pub async fn reverse(&self, group: GroupRef<'_>, reason: &str) -> Result<BlockRef, Error> {
        let reversal = {
            let mut conn = self.pool.acquire().await?;
            let head = match group {
                GroupRef::Head(seq) => Some(seq),
                GroupRef::Event(link, recipe) => match number_of(recipe) {
                    Some(recipe) => repo::journal::head_of(&mut conn, link, recipe).await?,
                    None => None,
                },
            };
            let head = head.ok_or(Error::NothingToReverse { seq: 0 })?;
            let refused = Error::NothingToReverse { seq: head };
            let Some(group) = repo::journal::group(&mut conn, head).await? else { return Err(refused) };
            if Some(group.recipe) == name_of(REVERSAL.number) {
                return Err(refused);
            }
            let lines = repo::reversal::lines(&mut conn, &group).await?;
            Reversal { of: head, month: group.month, lines, reason: reason.to_owned() }
        };
        self.post(reversal).await
    }
}
