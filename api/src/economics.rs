//! The command `tokengrid economics`: the report of a file of inputs, and the report of the ledger.

use std::path::Path;

use anyhow::{Context, bail};
use ledger::economics::{Inputs, Report};

use crate::config::Economics;

/// The report as JSON: on one line, or on many to be read.
///
/// *Errors*: a file that is no inputs, inputs that do not fit together, and a slice that does not reconcile, by its leaf.
pub fn report(config: &Economics) -> anyhow::Result<String> {
    let Some(path) = &config.input else {
        bail!(
            "the ledger holds revenue and tokens but no capacity facts yet, and scale is never imputed: \
             give the inputs of two periods with --input FILE"
        );
    };
    let report = Report::of(&read(path)?)?;
    let print = if config.json { serde_json::to_string } else { serde_json::to_string_pretty };
    Ok(print(&report)?)
}

fn read(path: &Path) -> anyhow::Result<Inputs> {
    let file = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&file).with_context(|| format!("{} is not a file of economics inputs", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../ledger/tests/economics/golden.json")).unwrap()
    }

    fn print(name: &str, inputs: &Value, json: bool) -> anyhow::Result<String> {
        let path = std::env::temp_dir().join(format!("tokengrid-economics-{}-{name}.json", std::process::id()));
        std::fs::write(&path, inputs.to_string()).unwrap();
        let printed = report(&Economics { input: Some(path.clone()), json });
        std::fs::remove_file(path).unwrap();
        printed
    }

    #[test]
    fn a_file_of_inputs_is_printed_as_what_is_expected_of_it() {
        let golden = golden();
        for json in [false, true] {
            let printed = print("golden", &golden["inputs"], json).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), golden["expected"]);
            assert_eq!(printed.lines().count() == 1, json);
        }
    }

    #[test]
    fn a_file_that_is_no_inputs_is_refused() {
        let refusal = print("other", &serde_json::json!({ "periods": {} }), true).unwrap_err().to_string();
        assert!(refusal.ends_with("is not a file of economics inputs"), "{refusal}");
    }

    #[test]
    fn without_a_file_there_is_no_report_while_the_ledger_holds_no_capacity() {
        let refusal = report(&Economics { input: None, json: true }).unwrap_err().to_string();
        assert!(refusal.contains("no capacity facts"), "{refusal}");
    }
}
