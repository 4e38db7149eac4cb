//! What `tokengrid ledger` tells of the books: trial balance, statements, plain text; and the closing of months.

use std::fs::File;
use std::io::{BufWriter, Write};

use anyhow::{Context, bail};
use chrono::TimeDelta;
use ledger::plaintext::{Detail, Export, Format, decimal};
use ledger::{AccountId, Closing, Error, PeriodState, Writer};
use primitives::clock::Clock;
use primitives::id::Ids;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};

use super::with_suffix;
use crate::config::{CloseMonth, Plaintext, PlaintextFormat, StatementOf, TrialBalance};

/// Prints all debits and credits by code and unit.
pub async fn trial_balance(conn: &mut PgConnection, config: &TrialBalance) -> anyhow::Result<()> {
    let scales = ledger::scales(conn).await?;
    let rows = match config.as_of {
        Some(month) => ledger::trial_balance_of(conn, month).await?,
        None => ledger::trial_balance(conn).await?,
    };
    let written = |row: &ledger::TrialRow| {
        let scale = scales.get(&row.currency).copied().unwrap_or_default();
        (decimal(row.debits, scale), decimal(row.credits, scale), decimal(row.debits - row.credits, scale))
    };
    if config.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let (debits, credits, _) = written(row);
                json!({"code": row.code.number(), "name": row.code.name(), "unit": row.currency, "debits": debits, "credits": credits})
            })
            .collect();
        println!("{}", json!({"as_of": config.as_of.map(|month| month.to_string()), "rows": rows}));
        return Ok(());
    }
    println!("{:<32} {:<4} {:>28} {:>28} {:>28}", "account", "unit", "debits", "credits", "balance");
    for row in &rows {
        let (debits, credits, balance) = written(row);
        println!("{:<32} {:<4} {debits:>28} {credits:>28} {balance:>28}", row.account, row.currency.as_str());
    }
    Ok(())
}

/// Prints a page of an account's history.
pub async fn statement(conn: &mut PgConnection, config: &StatementOf) -> anyhow::Result<()> {
    let account = AccountId(config.account_id);
    let Some(unit) = account.code().and(account.unit()) else { bail!("{account} is no account's number") };
    let scale = ledger::scales(conn).await?.get(&unit).copied().unwrap_or_default();
    let page = ledger::statement(conn, account, config.before, config.limit).await?;
    if config.json {
        let lines: Vec<_> = page
            .lines
            .iter()
            .map(|line| {
                json!({
                    "seq": line.seq, "event": line.recipe, "kind": line.kind.as_str(), "link": line.link,
                    "reference": line.reference, "side": line.side.as_str(),
                    "counter_account": line.counter_account.to_string(), "counter": line.counter,
                    "amount": decimal(line.amount.0.into(), scale), "change": decimal(line.change, scale),
                    "balance": decimal(line.balance, scale), "held": decimal(line.held, scale),
                    "month": line.month.to_string(), "event_at": line.event_at, "posted_at": line.at,
                    "block": line.block.height,
                })
            })
            .collect();
        println!("{}", json!({"account": account.to_string(), "unit": unit, "lines": lines, "next": page.next}));
        return Ok(());
    }
    for line in &page.lines {
        let (change, balance) = (decimal(line.change, scale), decimal(line.balance, scale));
        let (seq, event_at, recipe, kind) = (line.seq, line.event_at.to_rfc3339(), line.recipe, line.kind.as_str());
        println!("{seq:>12} {event_at} {recipe:<16} {kind:<8} {:<32} {change:>22} {balance:>22} {unit}", line.counter);
    }
    if let Some(next) = page.next {
        println!("more with --before {next}");
    }
    Ok(())
}

/// Closes a month, or tells what is in the way and returns false.
///
/// One writer owns the books at a time, so it takes the shard for the moment of the change; while any `serve` runs, it refuses.
pub async fn close(pool: PgPool, clock: Clock, ids: &Ids, config: &CloseMonth) -> anyhow::Result<bool> {
    let state = if config.soft { PeriodState::Soft } else { PeriodState::Hard };
    let change_id = uuid::Builder::from_random_bytes(ids.bytes()).into_uuid();
    let closing = Closing {
        clearing_age_max: TimeDelta::days(config.clearing_age_days_max.into()),
        hold_age_max: TimeDelta::hours(config.hold_age_hours_max.into()),
        ..Closing::new(change_id, config.month, state, &config.reason)
    };
    let reasons = ledger::closing_reasons(&mut *pool.acquire().await?, &closing, clock.now()).await?;
    for reason in &reasons {
        println!("{}: {reason}", config.month);
    }
    if config.check || !reasons.is_empty() {
        println!("{}: {} in the way of a {} close", config.month, reasons.len(), state.as_str());
        return Ok(reasons.is_empty());
    }
    let (writer, task) = match Writer::start(pool, clock).await {
        Ok(started) => started,
        Err(Error::WriterRunning { .. }) => {
            bail!(
                "a control plane runs and owns the books; stop every `tokengrid serve` for the moment that this takes"
            )
        }
        Err(error) => return Err(error).context("the ledger's writer does not start"),
    };
    let closed = writer.close_period(closing).await;
    task.shutdown().await?;
    let block = closed?;
    println!("{} is {}-closed in block {} {}", config.month, state.as_str(), block.height, block.hash_hex());
    Ok(true)
}

/// Writes a month as plain text to a file that is there once it is whole, and prints its SHA-256.
pub async fn plaintext(conn: &mut PgConnection, config: &Plaintext) -> anyhow::Result<()> {
    let format = match config.format {
        PlaintextFormat::Hledger => Format::Hledger,
        PlaintextFormat::Beancount => Format::Beancount,
    };
    let detail = if config.daily { Detail::Daily } else { Detail::Full };
    let Some(mut export) = Export::start(conn, format, detail, config.month).await? else {
        bail!("nothing was booked{}", config.month.map(|month| format!(" in {month}")).unwrap_or_default());
    };
    let part = with_suffix(&config.out, ".part");
    let unwritten = || format!("{} cannot be written", config.out.display());
    let mut file = BufWriter::new(File::create(&part).with_context(unwritten)?);
    let mut hasher = Sha256::new();
    while let Some(piece) = export.next(conn).await? {
        hasher.update(&piece);
        file.write_all(piece.as_bytes()).with_context(unwritten)?;
    }
    file.into_inner().with_context(unwritten)?.sync_all().with_context(unwritten)?;
    std::fs::rename(&part, &config.out).with_context(unwritten)?;
    println!("{}  {}", hex::encode(hasher.finalize()), config.out.display());
    Ok(())
}
