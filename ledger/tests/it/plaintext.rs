//! hledger and beancount read what we write, and come to the same balances to the last unit.
//!
//! `cargo xtask test` installs both: hledger from Debian, beancount from PyPI into the environment that `TOKENGRID_PYTHON` names.
//! Where one is missing, the test fails and says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use ledger::plaintext::{Detail, Export, Format, account_name};
use ledger::{AccountId, Code, Month};
use primitives::money::Currency;
use sqlx::{PgConnection, PgPool};

use crate::House;
use crate::story::{entry, events, live, wait_until};

/// Prints every account's balance, after everything that is wrong with the file.
const BALANCES: &str = r#"
import sys
from beancount import loader
from beancount.core import realization

entries, errors, options = loader.load_file(sys.argv[1])
for error in errors:
    print(error.source, error.message, file=sys.stderr)
for account in realization.iter_children(realization.realize(entries), leaf_only=True):
    for position in account.balance:
        print(account.account, format(position.units.number, 'f'), position.units.currency)
sys.exit(1 if errors else 0)
"#;

/// The whole file.
pub async fn export(conn: &mut PgConnection, format: Format, detail: Detail, month: Option<Month>) -> String {
    let mut export = Export::start(conn, format, detail, month).await.unwrap().unwrap();
    let mut text = String::new();
    while let Some(piece) = export.next(conn).await.unwrap() {
        text.push_str(&piece);
    }
    text
}

static FILES: AtomicU32 = AtomicU32::new(0);

/// A file for another program; gone with the value.
struct Given(PathBuf);

impl Given {
    fn new(name: &str, text: &str) -> Self {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tokengrid-{}-{number}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a program prints, or why it does not agree.
fn ask(command: &mut Command, missing: &str) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| panic!("{missing}: {error}"));
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn python() -> Command {
    let missing = "TOKENGRID_PYTHON must name a Python that has beancount 3; `cargo xtask test` makes one";
    Command::new(std::env::var_os("TOKENGRID_PYTHON").expect(missing))
}

/// Balances by account as hledger adds them up, in its own words.
fn hledger(text: &str) -> Result<BTreeMap<String, String>, String> {
    let file = Given::new("books.journal", text);
    let missing = "hledger must be installed (Debian's package hledger); `cargo xtask test` does it";
    let run = |arguments: &[&str]| ask(Command::new("hledger").arg("-f").arg(&file.0).args(arguments), missing);
    run(&["check", "accounts", "commodities"])?;
    let csv = run(&["balance", "--flat", "--empty", "--no-total", "-O", "csv"])?;
    let rows = csv.lines().skip(1).map(|row| {
        let (account, amount) = row.trim_matches('"').split_once("\",\"").unwrap();
        (account.to_owned(), amount.to_owned())
    });
    Ok(rows.filter(|(_, amount)| amount != "0").collect())
}

/// Balances by account as beancount adds them up.
fn beancount(text: &str) -> Result<BTreeMap<String, String>, String> {
    let file = Given::new("books.beancount", text);
    let told = ask(python().args(["-c", BALANCES]).arg(&file.0), "Python with beancount must be there")?;
    let rows = told.lines().map(|row| {
        let (account, amount) = row.split_once(' ').unwrap();
        (account.to_owned(), amount.to_owned())
    });
    Ok(rows.collect())
}

/// Balances by account as our trial balance has them, written as the others write them.
async fn ours(conn: &mut PgConnection, month: Option<Month>) -> BTreeMap<String, String> {
    let scales = ledger::scales(conn).await.unwrap();
    let (mut after, mut balances) = (AccountId(0), BTreeMap::new());
    loop {
        let page = ledger::account_totals(conn, month, after, 100).await.unwrap();
        let Some(last) = page.last() else { return balances };
        after = last.account;
        for row in page.iter().filter(|row| row.debits_posted != row.credits_posted) {
            let (unit, amount) = (row.key.unit, row.debits_posted - row.credits_posted);
            let scale = scales[&unit];
            let number = rust_decimal::Decimal::from_i128_with_scale(amount.into(), scale);
            balances.insert(account_name(row.account).unwrap(), format!("{number} {unit}"));
        }
    }
}

/// Two months of everything, several units, entries after the month's end, gifts, jobs, reversals and holds that are open.
async fn lived_in(pool: PgPool) -> House {
    let house = House::open(pool).await;
    house.top_up(9_000_000_000_000_000, "a start; \"quoted\", with \\ and \n in it").await;
    live(&house, &events(31, 150)).await;
    wait_until(&house, "2026-12-05T00:00:00Z");
    live(&house, &events(32, 150)).await;
    entry(&house, Currency::USD, (Code::BadDebt, Code::Bank), 1, Some("2026-11")).await.unwrap();
    // The largest amount that one transfer can have.
    entry(&house, "CHF".parse().unwrap(), (Code::Bank, Code::TaxPayable), i64::MAX, None).await.unwrap();
    house.clock.advance(TimeDelta::hours(1));
    house
}

#[sqlx::test(migrations = "../migrations")]
async fn hledger_and_beancount_agree_with_the_trial_balance_to_the_last_unit(pool: PgPool) {
    let house = lived_in(pool).await;
    let mut conn = house.pool.acquire().await.unwrap();
    for month in [Some("2026-11"), Some("2026-12"), None] {
        let month: Option<Month> = month.map(|month| month.parse().unwrap());
        let wanted = ours(&mut conn, month).await;
        assert!(wanted.len() > 20 && wanted.values().any(|amount| amount.ends_with("TOK")));
        for detail in [Detail::Full, Detail::Daily] {
            let text = export(&mut conn, Format::Hledger, detail, month).await;
            assert_eq!(hledger(&text).unwrap(), wanted, "hledger, {month:?} {detail:?}");
            let text = export(&mut conn, Format::Beancount, detail, month).await;
            assert_eq!(beancount(&text).unwrap(), wanted, "beancount, {month:?} {detail:?}");
        }
    }
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn hledger_and_beancount_find_one_unit_too_much_in_an_entry_or_in_a_balance(pool: PgPool) {
    let house = House::open(pool).await;
    house.top_up(4_200_000_007, "bank-1").await;
    let tokens = ledger::unit::tokens();
    entry(&house, tokens, (Code::PackIssued, Code::PackBurned), 5, None).await.unwrap();
    let mut conn = house.pool.acquire().await.unwrap();
    for (format, check) in [
        (Format::Hledger, hledger as fn(&str) -> Result<BTreeMap<String, String>, String>),
        (Format::Beancount, beancount),
    ] {
        let text = export(&mut conn, format, Detail::Full, None).await;
        check(&text).unwrap();
        for (right, wrong) in [("4.200000007 USD", "4.200000008 USD"), (" 5 TOK", " 6 TOK")] {
            let first = text.find(right).unwrap();
            let last = text.rfind(&right[..right.len() - 4]).unwrap();
            for at in [first, last] {
                let mut forged = text.clone();
                forged.replace_range(at..at + right.len() - 4, &wrong[..wrong.len() - 4]);
                check(&forged).unwrap_err();
            }
        }
    }
    drop(conn);
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_month_without_bookings_has_no_file(pool: PgPool) {
    let house = House::open(pool).await;
    let mut conn = house.pool.acquire().await.unwrap();
    let none = |started: Result<Option<Export>, ledger::Error>| assert!(started.unwrap().is_none());
    none(Export::start(&mut conn, Format::Hledger, Detail::Full, None).await);
    house.top_up(1, "bank-1").await;
    none(Export::start(&mut conn, Format::Hledger, Detail::Full, Some("2026-10".parse().unwrap())).await);
    none(Export::start(&mut conn, Format::Hledger, Detail::Full, Some("2026-12".parse().unwrap())).await);
    drop(conn);
    house.close().await;
}
