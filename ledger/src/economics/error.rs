//! Every way in which token economics refuses.

/// Why there is no report; each names the place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The definition compares two periods.
    #[error("a report takes exactly two periods, in order: the input has {0}")]
    NotTwoPeriods(usize),
    /// A name that nothing in the input describes.
    #[error("{place}: the input describes no {what} “{name}”")]
    Unknown {
        /// What it should be, such as `node`.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it stands.
        place: String,
    },
    /// A number outside of what it may be.
    #[error("{place}: {reason}")]
    BadNumber {
        /// Where it stands.
        place: String,
        /// What it should be.
        reason: &'static str,
    },
    /// More of a node is deployed and rented than there is of it.
    #[error("node “{node}” is reserved for more than all of its hours in {period}")]
    Overbooked {
        /// The period.
        period: String,
        /// The node.
        node: String,
    },
    /// Scale × efficiency × value is not what the ledger says: a slice that must not be printed.
    #[error("slice [{slice}] does not reconcile: the product and the buckets are {product}, the ledger says {ledger}")]
    Unreconciled {
        /// The slice's dimensions, the finest one that fails: a leaf where a leaf fails.
        slice: String,
        /// S × E × V plus the other buckets, in money units.
        product: String,
        /// The revenue of the ledger, in money units.
        ledger: i128,
    },
    /// What usage was charged is not what settlements posted: a row is missing, or a posting has another leaf.
    #[error("leaf [{leaf}] does not reconcile: its usage was charged {usage}, the ledger posted {ledger}")]
    Uncharged {
        /// The leaf.
        leaf: String,
        /// The sum of the usage facts' amounts, in money units.
        usage: i128,
        /// What settlements posted, in money units.
        ledger: i128,
    },
    /// Logarithms know no negative revenue.
    #[error("leaf [{leaf}] has a net revenue of {revenue}: it belongs to ADJUSTMENT")]
    NegativeRevenue {
        /// The leaf.
        leaf: String,
        /// The money units.
        revenue: i128,
    },
}
