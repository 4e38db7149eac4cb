//! Goals of a bench, and whether they hold.

use serde_json::{Value, json};

use super::figure::short;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// The more, the better.
    AtLeast,
    /// The less, the better.
    AtMost,
}

/// What must hold, what is hoped for, and what was measured.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The figure's name.
    pub what: String,
    /// Which way is better.
    pub sense: Sense,
    /// What must be reached.
    pub must: f64,
    /// What is hoped for.
    pub stretch: Option<f64>,
    /// What was reached.
    pub measured: Option<f64>,
    /// Why it was not measured, or what to know about the figure.
    pub remark: String,
}

/// How a goal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Even what is hoped for.
    Stretch,
    /// What must be.
    Holds,
    /// Not what must be.
    Fails,
    /// There is no figure.
    Unmeasured,
}

impl Verdict {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stretch => "holds, the stretch too",
            Self::Holds => "holds",
            Self::Fails => "does not hold",
            Self::Unmeasured => "not measured",
        }
    }
}

impl Goal {
    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let Some(measured) = self.measured else { return Verdict::Unmeasured };
        let meets = |bound: f64| match self.sense {
            Sense::AtLeast => measured >= bound,
            Sense::AtMost => measured <= bound,
        };
        match (meets(self.must), self.stretch.is_some_and(meets)) {
            (true, true) => Verdict::Stretch,
            (true, false) => Verdict::Holds,
            (false, _) => Verdict::Fails,
        }
    }
}

/// The verdicts as a Markdown table.
pub fn markdown(goals: &[Goal]) -> String {
    let mut out = String::from("| goal | must | stretch | measured | verdict | |\n|---|---:|---:|---:|---|---|\n");
    for goal in goals {
        let sign = if goal.sense == Sense::AtLeast { "≥" } else { "≤" };
        let stretch = goal.stretch.map_or("–".to_owned(), |stretch| format!("{sign} {}", short(stretch)));
        let measured = goal.measured.map_or("–".to_owned(), short);
        let Goal { what, remark, .. } = goal;
        let (must, verdict) = (short(goal.must), goal.verdict().as_str());
        out += &format!("| {what} | {sign} {must} | {stretch} | {measured} | {verdict} | {remark} |\n");
    }
    out
}

/// The verdicts for programs.
pub fn json(goals: &[Goal]) -> Vec<Value> {
    let each = goals.iter().map(|goal| {
        json!({
            "goal": goal.what, "sense": if goal.sense == Sense::AtLeast { "at_least" } else { "at_most" },
            "must": goal.must, "stretch": goal.stretch, "measured": goal.measured,
            "verdict": goal.verdict().as_str(), "remark": goal.remark,
        })
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_holds_at_its_very_bound_and_says_what_it_lacks() {
        let goal = |sense, measured| Goal {
            what: String::new(),
            sense,
            must: 12.0,
            stretch: Some(if sense == Sense::AtLeast { 25.0 } else { 6.0 }),
            measured,
            remark: String::new(),
        };
        assert_eq!(goal(Sense::AtLeast, Some(12.0)).verdict(), Verdict::Holds);
        assert_eq!(goal(Sense::AtLeast, Some(25.0)).verdict(), Verdict::Stretch);
        assert_eq!(goal(Sense::AtLeast, Some(11.9)).verdict(), Verdict::Fails);
        assert_eq!(goal(Sense::AtMost, Some(12.1)).verdict(), Verdict::Fails);
        assert_eq!(goal(Sense::AtMost, Some(6.0)).verdict(), Verdict::Stretch);
        assert_eq!(goal(Sense::AtMost, None).verdict(), Verdict::Unmeasured);
    }
}
