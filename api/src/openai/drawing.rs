//! How an answer's tokens are drawn, when it ends and how it comes: what all routes that generate ask alike.

use broker::job::Class;
use primitives::certificate::Grade;
use primitives::node_protocol::Sampling;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Error;

/// Stop texts at most, and the bytes of each.
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;
/// Answers of one request at most.
const CHOICES_MAX: u8 = 8;
/// Biased tokens at most.
const BIASES_MAX: usize = 300;

/// The fields, as the wire has them.
#[derive(Debug, Deserialize)]
pub struct Drawing {
    logit_bias: Option<Map<String, Value>>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    seed: Option<i64>,
    stop: Option<Stop>,
    n: Option<i64>,
    /// Answer as server-sent events.
    #[serde(default)]
    pub stream: bool,
    stream_options: Option<StreamOptions>,
    service_tier: Option<String>,
    #[expect(dead_code, reason = "accepted and ignored, as OpenAI documents it: a label of the end user")]
    user: Option<String>,
    x_tokengrid: Option<Extension>,
}

/// What we take beside what OpenAI has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    grade: Option<Grade>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Drawing {
    /// *Errors*: options of a stream where there is none.
    pub fn check(&self) -> Result<(), Error> {
        if self.stream_options.is_some() && !self.stream {
            return Err(Error::invalid("stream_options", "`stream_options` needs `stream: true`."));
        }
        Ok(())
    }

    /// True when the stream's last chunk is to tell the usage.
    pub fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    /// The lowest grade that is taken, if one is named.
    pub fn grade(&self) -> Result<Option<Grade>, Error> {
        match self.x_tokengrid.as_ref().and_then(|extension| extension.grade) {
            Some(Grade::None) => Err(Error::invalid("x_tokengrid.grade", "`grade` must be `exact`, `near` or `eco`.")),
            grade => Ok(grade),
        }
    }

    /// Whether somebody waits for the answer: `flex` gives way to those for whom it is so.
    pub fn class(&self) -> Result<Class, Error> {
        match self.service_tier.as_deref() {
            None | Some("auto" | "default") => Ok(Class::Interactive),
            Some("flex") => Ok(Class::Batch),
            Some(_) => Err(Error::invalid("service_tier", "`service_tier` must be `auto`, `default` or `flex`.")),
        }
    }

    /// How many answers are wanted.
    pub fn choices(&self) -> Result<u8, Error> {
        let choices = u8::try_from(self.n.unwrap_or(1)).ok().filter(|n| (1..=CHOICES_MAX).contains(n));
        choices.ok_or_else(|| Error::invalid("n", format!("`n` must be between 1 and {CHOICES_MAX}.")))
    }

    /// Texts that end the output.
    pub fn stops(&self) -> Result<Vec<String>, Error> {
        let stops = match &self.stop {
            None => vec![],
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Many(stops)) => stops.clone(),
        };
        if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX) {
            let message = format!("`stop` takes up to {STOPS_MAX} texts of 1 to {STOP_BYTES_MAX} bytes.");
            return Err(Error::invalid("stop", message));
        }
        Ok(stops)
    }

    /// The caller's seed; absent when it leaves that to us.
    pub fn seed(&self) -> Option<u64> {
        self.seed.map(i64::cast_unsigned)
    }

    /// How tokens are drawn, without the seed, which is 0 here. Without a temperature the likeliest token is taken.
    pub fn sampling(&self) -> Result<Sampling, Error> {
        let within = |param: &str, value: Option<f64>, default: f64, range: std::ops::RangeInclusive<f64>| {
            let value = value.unwrap_or(default);
            let message = || format!("`{param}` must be between {} and {}.", range.start(), range.end());
            if range.contains(&value) { Ok(value as f32) } else { Err(Error::invalid(param, message())) }
        };
        let top_k = u32::try_from(self.top_k.unwrap_or(0));
        Ok(Sampling {
            temperature: within("temperature", self.temperature, 0.0, 0.0..=2.0)?,
            top_p: within("top_p", self.top_p, 1.0, 0.000_001..=1.0)?,
            top_k: top_k.map_err(|_| Error::invalid("top_k", "`top_k` must not be negative."))?,
            seed: 0,
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, 0.0, -2.0..=2.0)?,
            presence_penalty: within("presence_penalty", self.presence_penalty, 0.0, -2.0..=2.0)?,
            logit_bias: self.logit_bias()?,
        })
    }

    fn logit_bias(&self) -> Result<Vec<(u32, f32)>, Error> {
        let Some(biases) = &self.logit_bias else { return Ok(vec![]) };
        let message = || format!("`logit_bias` maps up to {BIASES_MAX} token ids to numbers from -100 to 100.");
        let read = |(id, bias): (&String, &Value)| {
            let bias = bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias))?;
            Some((id.parse().ok()?, bias as f32))
        };
        let biases: Option<Vec<_>> =
            biases.iter().map(read).collect::<Option<_>>().filter(|biases: &Vec<_>| biases.len() <= BIASES_MAX);
        biases.ok_or_else(|| Error::invalid("logit_bias", message()))
    }
}

/// An output limit as a request names it.
pub fn output_tokens(param: &str, tokens: i64) -> Result<u32, Error> {
    let tokens = u32::try_from(tokens).ok().filter(|tokens| (1..=1_000_000).contains(tokens));
    tokens.ok_or_else(|| Error::invalid(param, format!("`{param}` must be between 1 and 1000000.")))
}
