//! What is printed and written of a run: a table for people, figures for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::kind::Fleet;
use crate::outcome::Figures;
use crate::rule;
use crate::scene::{OFF_MAX, TENANTS};

/// What was found of one trace on one fleet.
#[derive(Debug, Serialize)]
pub struct Report {
    pub trace: String,
    pub part: String,
    pub requests: usize,
    pub fleet: &'static str,
    /// Nodes, speeds, prices and tenants are made up; the requests are not.
    pub made_up: &'static str,
    pub seed: u64,
    pub knowledge_off_by: f64,
    pub tenants: usize,
    /// *Units*: requests a second.
    pub bound_rate: f64,
    pub policies: Vec<Found>,
    /// Ours and the quickest, at six tenths of the rate that the better rule of both holds.
    pub at_equal_rate: Vec<Found>,
}

/// What was found of one policy.
#[derive(Debug, Serialize)]
pub struct Found {
    pub policy: &'static str,
    /// None: not even a trickle was kept its promise.
    pub best: Option<Figures>,
}

/// The name under which the production broker runs.
pub const OURS: &str = "ours";
/// The rule that buys speed at any price.
pub const QUICKEST: &str = "min-ttft";

impl Report {
    pub fn new(trace: String, part: String, requests: usize, fleet: Fleet, seed: u64, bound_rate: f64) -> Self {
        Self {
            trace,
            part,
            requests,
            fleet: fleet.name(),
            made_up: "nodes, speeds, prices, tenants",
            seed,
            knowledge_off_by: OFF_MAX,
            tenants: TENANTS,
            bound_rate,
            policies: vec![],
            at_equal_rate: vec![],
        }
    }

    /// The highest rate of a policy; 0 when there is none. *Units*: requests a second.
    pub fn rate(&self, policy: &str) -> Option<f64> {
        let found = self.policies.iter().find(|found| found.policy == policy)?;
        Some(found.best.as_ref().map_or(0.0, |best| best.rate))
    }

    /// Of the rules that are so, the highest rate.
    pub fn best_of(&self, is_so: impl Fn(&rule::Published) -> bool) -> Option<f64> {
        let rules = rule::PUBLISHED.iter().filter(|rule| is_so(rule));
        rules.filter_map(|rule| self.rate(rule.name)).reduce(f64::max)
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "{} ({} part, {} requests) on {}; made up: {}; seed {}; knowledge of speed off by ±{:.0} %\n\n\
             | policy | req/s | TTFT p50 s | p99 s | $ per 1M tokens | cached | refused | gap between tenants | kept, short to long |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            self.trace,
            self.part,
            self.requests,
            self.fleet,
            self.made_up,
            self.seed,
            self.knowledge_off_by * 100.0
        );
        self.policies.iter().for_each(|found| put(&mut out, found));
        put_line(&mut out, &format!("\nNobody can hold more than {:.1} req/s (fluid bound).", self.bound_rate));
        if let Some(ours) = self.rate(OURS) {
            let regret = 100.0 * (1.0 - ours / self.bound_rate);
            put_line(&mut out, &format!("Regret of ours against the bound: {regret:.0} %."));
            let forecasts =
                self.policies.iter().find(|found| found.policy == OURS).and_then(|it| it.best.as_ref()?.forecasts);
            if let Some((coverage, error)) = forecasts {
                let text = format!(
                    "Its forecasts: {:.0} % of first tokens came within what nine in ten should; off by {:.0} % on average.",
                    coverage * 100.0,
                    error * 100.0
                );
                put_line(&mut out, &text);
            }
            for (what, rate) in [
                ("the best rule behind a feasibility filter", self.best_of(|rule| rule.is_filtered)),
                ("the best plain rule", self.best_of(|rule| rule.is_plain)),
            ] {
                match rate {
                    Some(rate) if rate > 0.0 => {
                        put_line(&mut out, &format!("Ours holds {:.2} times {what}.", ours / rate));
                    }
                    Some(_) => put_line(&mut out, &format!("Ours holds {ours:.1} req/s; {what} never holds.")),
                    None => {}
                }
            }
        }
        if !self.at_equal_rate.is_empty() {
            put_line(&mut out, "\nAt one rate, six tenths of what the quickest rule holds:\n");
            self.at_equal_rate.iter().for_each(|found| put(&mut out, found));
        }
        out
    }
}

fn put(out: &mut String, found: &Found) {
    let line = match &found.best {
        None => format!("| {} | never | | | | | | | |", found.policy),
        Some(it) => {
            let [one, two, three, four] = it.kept_by_length.map(|kept| format!("{:.0}", kept * 100.0));
            format!(
                "| {} | {:.1} | {:.2} | {:.2} | {:.4} | {:.0} % | {:.1} % | {:.1} % | {one} {two} {three} {four} % |",
                found.policy,
                it.rate,
                it.first_token_p50_s,
                it.first_token_p99_s,
                it.cost_per_million,
                it.cached * 100.0,
                it.refused * 100.0,
                it.fairness_gap * 100.0,
            )
        }
    };
    put_line(out, &line);
}

fn put_line(out: &mut String, line: &str) {
    writeln!(out, "{line}").expect("a string takes what is written");
}
