//! Pages of a list, as Relay's connections have them: forward only, by key.

use std::str::FromStr;

use async_graphql::OutputType;
use async_graphql::connection::{Connection, Edge};

use crate::error::Error;

/// Entries of a page that names no number.
const FIRST_DEFAULT: u32 = 20;
/// The most entries of one page.
const FIRST_MAX: u32 = 100;

/// Which part of a list is wanted.
#[derive(Debug)]
pub struct Page<K> {
    /// Only entries beyond this one.
    pub after: Option<K>,
    /// How many.
    pub first: u32,
}

impl<K: FromStr> Page<K> {
    /// Reads a connection's arguments. *Errors*: too many or no entries asked for; a cursor of another list.
    pub fn try_new(first: Option<i32>, after: Option<&str>) -> Result<Self, Error> {
        let first = u32::try_from(first.map_or(i64::from(FIRST_DEFAULT), i64::from)).ok();
        let first = first.filter(|first| (1..=FIRST_MAX).contains(first));
        let first =
            first.ok_or_else(|| Error::invalid("first", format!("`first` must be between 1 and {FIRST_MAX}.")))?;
        let after = after.map(K::from_str).transpose();
        let after = after.map_err(|_| Error::invalid("after", "`after` must be an `endCursor` of this list."))?;
        Ok(Self { after, first })
    }
}

impl<K> Page<K> {
    /// One more than wanted, to see whether more follow.
    pub fn limit(&self) -> u32 {
        self.first + 1
    }

    /// The page of up to [`Page::limit`] rows that begin with the page's first.
    pub fn connection<N: OutputType>(&self, rows: Vec<N>, cursor: impl Fn(&N) -> String) -> Connection<String, N> {
        let first = self.first as usize;
        let mut connection = Connection::new(self.after.is_some(), rows.len() > first);
        connection.edges.extend(rows.into_iter().take(first).map(|row| Edge::new(cursor(&row), row)));
        connection
    }
}

/// What a list costs: asking, and each field once for each entry.
pub fn cost(first: Option<i32>, entry: usize) -> usize {
    let first = first.and_then(|first| u32::try_from(first).ok()).unwrap_or(FIRST_DEFAULT).min(FIRST_MAX);
    10 + first as usize * entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded() {
        assert_eq!(Page::<u8>::try_new(None, None).unwrap().limit(), 21);
        for first in [-1, 0, 101, i32::MAX] {
            assert_eq!(Page::<u8>::try_new(Some(first), None).unwrap_err().param(), Some("first"), "{first}");
        }
        assert_eq!(Page::<u8>::try_new(Some(1), Some("x")).unwrap_err().param(), Some("after"));
    }

    #[test]
    fn a_row_more_than_wanted_says_that_more_follow() {
        let page = Page { after: Some(1), first: 2 };
        let connection = page.connection(vec![2, 3, 4], i32::to_string);
        assert!(connection.has_next_page && connection.has_previous_page);
        assert_eq!(connection.edges.iter().map(|edge| edge.cursor.as_str()).collect::<Vec<_>>(), ["2", "3"]);
        assert!(!page.connection(vec![2, 3], i32::to_string).has_next_page);
    }
}
