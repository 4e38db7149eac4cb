//! Traces: when requests came, how long they were, and which prefixes they shared.
//!
//! *Source*: AzurePublicDataset (`TIMESTAMP,ContextTokens,GeneratedTokens`) and kvcache-ai/Mooncake (a JSON object a line, with
//! `hash_ids` that name 512-token blocks of the prompt together with all before them).

use std::path::Path;

use anyhow::{Context, ensure};
use chrono::NaiveDateTime;
use serde::Deserialize;

/// Tokens of a trace's block.
pub const BLOCK_TOKENS: u32 = 512;

/// One request of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// *Units*: seconds after the trace's first request.
    pub at_s: f64,
    /// *Units*: tokens, at least one.
    pub input: u32,
    /// *Units*: tokens, at least one.
    pub output: u32,
    /// The prompt's blocks; none where the trace does not tell.
    pub blocks: Vec<u64>,
    /// The first token is in time until then after the request. *Units*: seconds.
    pub first_token_max_s: f64,
}

/// The requests of a trace in order.
#[derive(Clone, Debug)]
pub struct Trace {
    pub requests: Vec<Request>,
}

/// Which of a trace's requests are used: rules are tuned on the first half and judged on the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    All,
    First,
    Second,
}

impl Trace {
    /// Reads a file of either format.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no trace", path.display()))
    }

    /// *Errors*: a line that is not of the format that the first line tells; no requests.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let is_azure = text.starts_with("TIMESTAMP");
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let lines = lines.skip(usize::from(is_azure)).enumerate();
        let requests: anyhow::Result<Vec<Request>> = lines
            .map(|(index, line)| {
                let request = if is_azure { azure(line) } else { mooncake(line) };
                request.with_context(|| format!("request {}", index + 1))
            })
            .collect();
        let mut requests = requests?;
        ensure!(!requests.is_empty(), "there are no requests");
        requests.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
        Ok(Self { requests }.beginning_at_zero())
    }

    /// The named part.
    pub fn part(mut self, part: Part) -> Self {
        let half = self.requests.len() / 2;
        match part {
            Part::All => {}
            Part::First => self.requests.truncate(half),
            Part::Second => drop(self.requests.drain(..half)),
        }
        self.beginning_at_zero()
    }

    /// How often requests came. *Units*: requests a second.
    pub fn rate(&self) -> f64 {
        let span = self.requests.last().map_or(0.0, |last| last.at_s);
        self.requests.len() as f64 / span.max(1e-6)
    }

    fn beginning_at_zero(mut self) -> Self {
        let first = self.requests.first().map_or(0.0, |first| first.at_s);
        self.requests.iter_mut().for_each(|request| request.at_s -= first);
        self
    }
}

fn azure(line: &str) -> anyhow::Result<Request> {
    let mut fields = line.trim().split(',');
    let mut field = || fields.next().context("three fields are needed");
    let at = NaiveDateTime::parse_from_str(field()?, "%Y-%m-%d %H:%M:%S%.f")?;
    let at_s = at.and_utc().timestamp_micros() as f64 / 1e6;
    let (input, output): (u32, u32) = (field()?.parse()?, field()?.parse()?);
    Ok(Request { at_s, input: input.max(1), output: output.max(1), blocks: vec![], first_token_max_s: 0.5 })
}

fn mooncake(line: &str) -> anyhow::Result<Request> {
    #[derive(Deserialize)]
    struct Row {
        timestamp: f64,
        input_length: u32,
        output_length: u32,
        hash_ids: Vec<u64>,
    }
    let row: Row = serde_json::from_str(line)?;
    let input = row.input_length.max(1);
    Ok(Request {
        at_s: row.timestamp / 1e3,
        input,
        output: row.output_length.max(1),
        blocks: row.hash_ids,
        first_token_max_s: 0.5 + f64::from(input) / 8_000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_begin_at_zero() {
        let azure =
            "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,374,44\n2023-11-16 18:15:50.0,396,0\n";
        let azure = Trace::parse(azure).unwrap();
        let seen: Vec<_> =
            azure.requests.iter().map(|it| (it.at_s, it.input, it.output, it.first_token_max_s)).collect();
        assert_eq!(seen, [(0.0, 374, 44, 0.5), (3.5, 396, 1, 0.5)]);
        let line = |at: u32| {
            format!("{{\"timestamp\": {at}, \"input_length\": 800, \"output_length\": 5, \"hash_ids\": [0, 7]}}\n")
        };
        let mooncake = Trace::parse(&(line(3_000) + &line(4_500))).unwrap();
        assert_eq!((mooncake.requests[1].at_s, &mooncake.requests[1].blocks[..]), (1.5, &[0, 7][..]));
        assert!((mooncake.requests[0].first_token_max_s - 0.6).abs() < 1e-9);
        assert_eq!(mooncake.part(Part::Second).requests.len(), 1);
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_line() {
        for text in ["", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,many,1\n", "{}"] {
            assert!(Trace::parse(text).is_err(), "{text}");
        }
    }
}
