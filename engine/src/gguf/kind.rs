//! How the numbers of a tensor are stored.

/// A kind of storage: blocks of so many weights in so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightKind {
    /// The format's number of it.
    pub id: u32,
    /// Weights of a block; rows are whole blocks.
    pub weights: u64,
    /// The size of a block. *Units*: bytes.
    pub bytes: u64,
}

/// Number, weights of a block, bytes of a block. *Source*: `ggml-common.h`; a test compares with the library.
const KINDS: [(u32, u64, u64); 35] = [
    (0, 1, 4),
    (1, 1, 2),
    (2, 32, 18),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (8, 32, 34),
    (9, 32, 36),
    (10, 256, 84),
    (11, 256, 110),
    (12, 256, 144),
    (13, 256, 176),
    (14, 256, 210),
    (15, 256, 292),
    (16, 256, 66),
    (17, 256, 74),
    (18, 256, 98),
    (19, 256, 50),
    (20, 32, 18),
    (21, 256, 110),
    (22, 256, 82),
    (23, 256, 136),
    (24, 1, 1),
    (25, 1, 2),
    (26, 1, 4),
    (27, 1, 8),
    (28, 1, 8),
    (29, 256, 56),
    (30, 1, 2),
    (34, 256, 54),
    (35, 256, 66),
    (39, 32, 17),
    (40, 64, 36),
    (41, 128, 18),
    (42, 64, 18),
];

impl WeightKind {
    /// All that are read.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().map(|(id, weights, bytes)| Self { id, weights, bytes })
    }

    /// Of the format's number, where it is known.
    pub fn of(id: u32) -> Option<Self> {
        Self::all().find(|kind| kind.id == id)
    }

    /// Whether a matrix can be multiplied as it is stored: other kinds are for indices and intermediate results.
    pub fn multiplies(self) -> bool {
        !matches!(self.id, 9 | 15 | 24..=28)
    }

    /// Whether it is plain 32 bits, as what is added or scaled by must be.
    pub fn is_plain(self) -> bool {
        self.id == 0
    }

    /// What a tensor of this shape takes; none when its rows are no whole blocks, it is empty, or larger than any file.
    /// *Units*: bytes.
    pub fn bytes(self, shape: &[u64]) -> Option<u64> {
        let row = shape.first().copied().unwrap_or(1);
        let count = shape.iter().try_fold(1_u64, |count, &extent| count.checked_mul(extent))?;
        // The library counts in signed numbers.
        let bytes = (count / self.weights).checked_mul(self.bytes).filter(|bytes| i64::try_from(*bytes).is_ok())?;
        (count > 0 && i64::try_from(count).is_ok() && row % self.weights == 0).then_some(bytes)
    }
}
