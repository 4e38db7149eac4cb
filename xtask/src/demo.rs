//! The demo that `up` ends with: one streamed answer, what it cost, and the transfers it made.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::progress;

const QUESTION: &str = "What is 12 + 30?";

/// Runs the demo; `shown` prints it for people on stdout, else nothing is printed.
///
/// *Shape*: `{"job_id","text","usage","price","transfers","timings_ms"}`.
pub fn run(control_plane: &ControlPlane, model: &str, shown: bool) -> anyhow::Result<Value> {
    if shown {
        progress::print(&format!("\nmodel      {model}\nquestion   {QUESTION}"));
        show("answer     ");
    }
    let streamed = control_plane.stream(model, QUESTION, |piece| {
        if shown {
            show(piece);
        }
    })?;
    if shown {
        show("\n");
    }
    let receipt = control_plane.receipt(&streamed.job_id).context("the answer came, but its receipt did not")?;
    let demo = json!({
        "job_id": streamed.job_id, "text": streamed.text, "usage": streamed.usage,
        "price": receipt["total"], "transfers": receipt["transfers"],
        "timings_ms": {"first_token": milliseconds(streamed.first_token), "total": milliseconds(streamed.total)},
    });
    if shown {
        describe(&demo, &receipt);
    }
    Ok(demo)
}

fn describe(demo: &Value, receipt: &Value) {
    let usage = &demo["usage"];
    let timings = &demo["timings_ms"];
    progress::print(&format!(
        "tokens     {} in, {} out; the first after {} ms, all after {} ms",
        usage["prompt_tokens"], usage["completion_tokens"], timings["first_token"], timings["total"]
    ));
    for line in rows(&receipt["lines"]) {
        progress::print(&format!(
            "           {} × {} at {} {} per million = {}",
            text(&line["quantity"]),
            text(&line["meter"]),
            text(&line["unitPrice"]["perMillion"]),
            text(&line["unitPrice"]["currency"]),
            money(&line["amount"])
        ));
    }
    let released = &receipt["holdReleased"];
    let released =
        if released.is_object() { format!("; {} of the hold released", money(released)) } else { String::new() };
    progress::print(&format!("price      {}{released}", money(&demo["price"])));
    for transfer in rows(&demo["transfers"]) {
        let [kind, debit, credit] = ["kind", "debit", "credit"].map(|field| text(&transfer[field]));
        progress::print(&format!(
            "transfer   {:<8} {}  {debit} → {credit}",
            kind.to_lowercase(),
            money(&transfer["amount"])
        ));
    }
    let block = &receipt["block"];
    progress::print(&format!("block      {} {}", text(&block["height"]), text(&block["hash"])));
    progress::print(&format!("job        {}", text(&demo["job_id"])));
}

fn show(piece: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(piece.as_bytes());
    let _ = stdout.flush();
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn money(value: &Value) -> String {
    format!("{} {}", text(&value["amount"]), text(&value["currency"]))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_they_came() {
        assert_eq!(money(&json!({"amount": "0.000001200", "currency": "USD"})), "0.000001200 USD");
        assert_eq!(text(&json!(7)), "7");
    }
}
