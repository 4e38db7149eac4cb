//! What the books are made of, for people: the recipes and the chart of accounts. Asks no database.

use std::fmt::Write;

use ledger::Code;
use ledger::recipe::TEMPLATES;
use serde_json::json;

/// Every recipe with what it debits and credits.
pub fn recipes(as_json: bool) -> String {
    if as_json {
        let leg = |leg: &ledger::recipe::Leg| json!({"debit": leg.debit, "credit": leg.credit, "amount": leg.amount});
        let recipe = |template: &&ledger::recipe::Template| {
            let legs: Vec<_> = template.legs.iter().map(leg).collect();
            json!({"number": template.number, "recipe": template.name, "event": template.event, "legs": legs})
        };
        return json!({"recipes": TEMPLATES.iter().map(recipe).collect::<Vec<_>>()}).to_string();
    }
    let mut out = String::new();
    for template in TEMPLATES {
        put(&mut out, format_args!("{:>3} {}: {}\n", template.number, template.name, template.event));
        let rows: Vec<_> = template.legs.iter().map(|leg| [leg.debit, leg.credit, leg.amount]).collect();
        table(&mut out, &["Dr", "Cr", "amount"], &rows);
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

/// Every account of the chart with its rules.
pub fn chart(as_json: bool) -> String {
    if as_json {
        let account = |code: &Code| {
            json!({
                "code": code.number(),
                "name": code.name(),
                "normal_side": code.side().as_str(),
                "no_overdraft": code.no_overdraft(),
                "clearing": code.clearing(),
                "revenue": code.revenue(),
            })
        };
        return json!({"accounts": Code::ALL.iter().map(account).collect::<Vec<_>>()}).to_string();
    }
    let rules = |code: Code| {
        let rules = [
            (code.no_overdraft(), "never below zero"),
            (code.clearing(), "must come to zero"),
            (code.revenue(), "needs a bucket"),
        ];
        rules.into_iter().filter(|(applies, _)| *applies).map(|(_, rule)| rule).collect::<Vec<_>>().join(", ")
    };
    let rows: Vec<_> = Code::ALL.iter().map(|code| (code.to_string(), code.side().as_str(), rules(*code))).collect();
    let rows: Vec<_> = rows.iter().map(|(account, side, rules)| [account.as_str(), *side, rules.as_str()]).collect();
    let mut out = String::new();
    table(&mut out, &["account", "grows by", "rules"], &rows);
    out.truncate(out.trim_end().len());
    out
}

/// Columns as wide as their widest cell; the last one is as wide as it is.
fn table(out: &mut String, head: &[&str; 3], rows: &[[&str; 3]]) {
    let width = |column: usize| rows.iter().chain([head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    for row in [head].into_iter().chain(rows) {
        let line = format!("    {:first$}  {:second$}  {}", row[0], row[1], row[2]);
        put(out, format_args!("{}\n", line.trim_end()));
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all that fits into memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_say_what_they_debit_and_credit() {
        let text = recipes(false);
        let grant = text.split("\n\n").find(|part| part.contains("promo_grant")).unwrap();
        insta::assert_snapshot!(grant, @r"
         21 promo_grant: A tenant is given credit, as a lot of its own.
            Dr                 Cr                  amount
            2019 promo contra  2010 promo credits  the gift
        ");
        let json: serde_json::Value = serde_json::from_str(&recipes(true)).unwrap();
        assert_eq!(json["recipes"].as_array().unwrap().len(), TEMPLATES.len());
        assert_eq!(json["recipes"][0]["recipe"], "period_state");
    }

    #[test]
    fn the_chart_says_which_accounts_are_never_below_zero_and_which_must_come_to_zero() {
        let text = chart(false);
        for line in ["2000 paid credits", "1010 processor clearing", "4000 inference revenue"] {
            assert!(text.contains(line), "{line}");
        }
        let paid = text.lines().find(|line| line.contains("2000 ")).unwrap();
        assert!(paid.ends_with("credit    never below zero"), "{paid}");
        let json: serde_json::Value = serde_json::from_str(&chart(true)).unwrap();
        assert_eq!(json["accounts"].as_array().unwrap().len(), Code::ALL.len());
    }
}
