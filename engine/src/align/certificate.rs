//! Signs what an alignment found.

use chrono::{DateTime, Utc};
use primitives::certificate::{Body, Cell, Certificate, Grade, POSITIONS_MIN, VALID_FOR};

use super::Alignment;
use crate::node::identity::Identity;

/// Signs what was found of a cell. Fewer positions than a full measurement has certify nothing.
pub fn sign(cell: Cell, alignment: &Alignment, now: DateTime<Utc>, identity: &Identity) -> Certificate {
    let enough = alignment.agreement.positions >= POSITIONS_MIN;
    let body = Body {
        cell,
        claimed: if enough { Grade::of(&alignment.agreement) } else { Grade::None },
        agreement: alignment.agreement.clone(),
        calls: alignment.calls.clone(),
        issued_at: now,
        expires_at: now + VALID_FOR,
    };
    let signature = identity.sign(&body.signed_bytes());
    Certificate { body, public_key: hex::encode(identity.public_key()), signature }
}

#[cfg(test)]
mod tests {
    use primitives::certificate::{Agreement, lower_bound};
    use primitives::clock::Clock;
    use primitives::id::Ids;

    use super::*;

    #[test]
    fn what_a_node_signs_holds_and_too_few_positions_certify_nothing() {
        let dir = std::env::temp_dir().join(format!("tokengrid-certificate-{}", std::process::id()));
        let identity = Identity::open(&dir, &Ids::seeded(Clock::system(), 1)).unwrap();
        let cell = Cell {
            reference_sha256: "a".into(),
            weights_sha256: "b".into(),
            quantisation: "Q8_0".into(),
            engine: "e".into(),
            chip: "c".into(),
            features: vec!["AVX2".into()],
        };
        let alignment = |positions, agreed| {
            let lower_bound = lower_bound(agreed, positions);
            let agreement = Agreement {
                positions,
                agreed,
                lower_bound,
                divergence_mean: 0.0,
                divergence_p99: 0.0,
                divergence_coarse: false,
            };
            Alignment { agreement, calls: None }
        };
        let now = Clock::system().now();
        let few = sign(cell.clone(), &alignment(3_000, 3_000), now, &identity);
        assert_eq!((few.body.claimed, few.body.grade()), (Grade::None, Grade::None));
        let full = sign(cell, &alignment(100_000, 99_950), now, &identity);
        assert_eq!((full.body.claimed, full.body.grade()), (Grade::Exact, Grade::Exact));
        assert!(full.holds(now));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
