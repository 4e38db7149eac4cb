//! beancount's file.

use std::fmt::Write;

use chrono::{NaiveDate, SecondsFormat};
use primitives::money::Currency;

use crate::view::JournalGroup;

const INFALLIBLE: &str = "a string takes what is written to it";

pub(super) fn header(text: &mut String, months: &str) {
    // By default beancount forgives half of the last digit that an entry shows; nothing is forgiven here.
    write!(
        text,
        "option \"title\" \"Tokengrid, the ledger of {months}\"\noption \"inferred_tolerance_default\" \"*:0\"\n\
         option \"tolerance_multiplier\" \"0\"\n\n"
    )
    .expect(INFALLIBLE);
}

pub(super) fn account(text: &mut String, date: NaiveDate, name: &str, unit: Currency) {
    writeln!(text, "{date} open {name} {unit}").expect(INFALLIBLE);
}

pub(super) fn begin(text: &mut String, date: NaiveDate, title: &str, group: Option<&JournalGroup>) {
    writeln!(text, "\n{date} * \"{title}\"").expect(INFALLIBLE);
    if let Some(group) = group {
        let event_at = group.event_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        write!(
            text,
            "  seq: {}\n  block: {}\n  link: \"{}\"\n  event: \"{event_at}\"\n",
            group.seq, group.block.height, group.link
        )
        .expect(INFALLIBLE);
        if let Some(reverses_seq) = group.reverses_seq {
            writeln!(text, "  reverses: {reverses_seq}").expect(INFALLIBLE);
        }
        if let Some(reference) = &group.reference {
            writeln!(text, "  reference: \"{}\"", plain(reference)).expect(INFALLIBLE);
        }
    }
}

pub(super) fn posting(text: &mut String, name: &str, amount: &str, unit: Currency) {
    writeln!(text, "  {name}  {amount} {unit}").expect(INFALLIBLE);
}

/// A balance is what there is when its day begins.
pub(super) fn assertion(text: &mut String, date: NaiveDate, name: &str, amount: &str, unit: Currency) {
    writeln!(text, "{date} balance {name}  {amount} ~ 0 {unit}").expect(INFALLIBLE);
}

/// Without what would end the text or mean something in it.
fn plain(reference: &str) -> String {
    reference.replace(|character: char| character.is_control() || "\"\\".contains(character), " ")
}
