//! hledger's journal.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{NaiveDate, SecondsFormat};
use primitives::money::Currency;

use super::decimal;
use crate::view::JournalGroup;

const INFALLIBLE: &str = "a string takes what is written to it";

pub(super) fn header(text: &mut String, months: &str, scales: &BTreeMap<Currency, u32>) {
    write!(text, "; Tokengrid, the ledger of {months}\ndecimal-mark .\n").expect(INFALLIBLE);
    for (unit, &scale) in scales {
        // hledger balances to as many decimals as it is told here, so all of them.
        let point = if scale == 0 { "." } else { "" };
        writeln!(text, "commodity {}{point} {unit}", decimal(10_i128.pow(scale), scale)).expect(INFALLIBLE);
    }
    text.push('\n');
}

pub(super) fn account(text: &mut String, name: &str) {
    writeln!(text, "account {name}").expect(INFALLIBLE);
}

pub(super) fn begin(text: &mut String, date: NaiveDate, title: &str, group: Option<&JournalGroup>) {
    write!(text, "\n{date} {title}").expect(INFALLIBLE);
    if let Some(group) = group {
        let event_at = group.event_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(text, "  ; seq:{}, block:{}, link:{}, event:{event_at}", group.seq, group.block.height, group.link)
            .expect(INFALLIBLE);
        if let Some(reverses_seq) = group.reverses_seq {
            write!(text, ", reverses:{reverses_seq}").expect(INFALLIBLE);
        }
        if let Some(reference) = &group.reference {
            write!(text, ", reference:{}", plain(reference)).expect(INFALLIBLE);
        }
    }
    text.push('\n');
}

pub(super) fn posting(text: &mut String, name: &str, amount: &str, unit: Currency) {
    writeln!(text, "    {name}  {amount} {unit}").expect(INFALLIBLE);
}

pub(super) fn assertion(text: &mut String, name: &str, amount: &str, unit: Currency) {
    writeln!(text, "    {name}  0 {unit} = {amount} {unit}").expect(INFALLIBLE);
}

/// Without what would end the tag or the line.
fn plain(reference: &str) -> String {
    reference.replace(|character: char| character.is_control() || ",;".contains(character), " ")
}
