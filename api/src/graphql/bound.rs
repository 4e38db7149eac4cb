//! Bounds an operation before anything else looks at it.
//!
//! The library counts depth and complexity by visiting each fragment where it is spread, so that a few fragments which
//! spread one another twice keep it busy for hours. Here each fragment is counted once.

use std::collections::HashMap;

use async_graphql::Request;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};

use crate::error::Error;

/// Selections of an operation, each fragment's where it is spread; as many fields as complexity allows.
const SELECTIONS_MAX: usize = super::COMPLEXITY_MAX;
/// Sets within sets, fragments included.
const NESTING_MAX: usize = 32;

/// The request, parsed and of a size that is safe to check. One that does not parse is left to the library's words.
pub fn bounded(mut request: Request) -> Result<Request, Error> {
    if let Ok(document) = request.parsed_query() {
        let mut counter = Counter { document, fragments: HashMap::new() };
        for (_, operation) in document.operations.iter() {
            counter.set(&operation.node.selection_set.node, 0)?;
        }
    }
    Ok(request)
}

/// True when a request can follow something; its fields are not those of a query.
pub fn is_subscription(request: &mut Request) -> bool {
    let subscribes = |document: &ExecutableDocument| {
        document.operations.iter().any(|(_, operation)| operation.node.ty == OperationType::Subscription)
    };
    request.parsed_query().is_ok_and(subscribes)
}

/// Counts selections; what a fragment holds is remembered.
struct Counter<'d> {
    document: &'d ExecutableDocument,
    fragments: HashMap<&'d str, usize>,
}

impl<'d> Counter<'d> {
    fn set(&mut self, set: &'d SelectionSet, nesting: usize) -> Result<usize, Error> {
        let mut count = 0;
        for selection in &set.items {
            if nesting > NESTING_MAX {
                return Err(Error::invalid("query", format!("The query nests deeper than {NESTING_MAX} levels.")));
            }
            count += 1 + match &selection.node {
                Selection::Field(field) => self.set(&field.node.selection_set.node, nesting + 1)?,
                Selection::InlineFragment(inline) => self.set(&inline.node.selection_set.node, nesting + 1)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node, nesting + 1)?,
            };
            if count > SELECTIONS_MAX {
                return Err(Error::invalid("query", format!("The query selects more than {SELECTIONS_MAX} fields.")));
            }
        }
        Ok(count)
    }

    fn fragment(&mut self, name: &'d str, nesting: usize) -> Result<usize, Error> {
        if let Some(count) = self.fragments.get(name) {
            return Ok(*count);
        }
        // One that is not there is for the library to refuse.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(0) };
        let count = self.set(&fragment.node.selection_set.node, nesting)?;
        self.fragments.insert(name, count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: String) -> String {
        bounded(Request::new(query)).unwrap_err().to_string()
    }

    /// Fragments of which each spreads the next one twice.
    fn doubling(levels: usize) -> String {
        let fragment = |n: usize| format!("fragment f{n} on Query {{ ...f{m} ...f{m} }} ", m = n + 1);
        let fragments: String = (0..levels).map(fragment).collect();
        format!("{{ ...f0 }} {fragments} fragment f{levels} on Query {{ me {{ id }} }}")
    }

    #[test]
    fn fragments_that_multiply_are_refused_at_once() {
        assert!(bounded(Request::new(doubling(8))).is_ok());
        assert!(refused(doubling(29)).contains("more than 2000 fields"));
    }

    #[test]
    fn fragments_that_spread_themselves_or_nest_without_end_are_refused() {
        assert!(refused("{ ...f } fragment f on Query { ...f }".to_owned()).contains("nests deeper"));
        let chain: String = (0..9_000).map(|n| format!("fragment f{n} on Q{{...f{}}}", n + 1)).collect();
        assert!(refused(format!("{{ ...f0 }} {chain}")).contains("nests deeper"));
    }

    #[test]
    fn a_request_that_does_not_parse_is_left_to_the_library() {
        assert!(bounded(Request::new("{ me {")).is_ok());
    }

    #[test]
    fn a_subscription_is_told_from_a_query() {
        assert!(is_subscription(&mut Request::new("subscription { jobTokens(jobId: \"j\") { __typename } }")));
        assert!(!is_subscription(&mut Request::new("{ me { id } }")));
    }
}
