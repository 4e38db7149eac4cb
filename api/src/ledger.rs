//! The command `tokengrid ledger`: recomputes the books, writes a proof of them for others to check, and prints what they are made of.

mod books;
mod browse;
mod head;

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ledger::SHARD;
use ledger::proof;
use primitives::clock::Clock;
use primitives::id::Ids;
use serde::Serialize;
use serde_json::json;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

pub use head::{HeadKey, SignedHead};

use crate::config::{Database, LedgerArgs, LedgerCommand, Proof};
use crate::server;

/// The form of a proof; [`ledger::proof`] describes it.
const FORMAT: &str = "tokengrid ledger proof v2";
/// How wide the bar is.
const BAR: usize = 40;

/// The first line of a proof.
#[derive(Serialize)]
struct Header {
    format: &'static str,
    shard: i16,
    from_height: i64,
    to_height: i64,
    prev_hash: String,
    head: SignedHead,
}

/// Runs the command; false when something is wrong with the books.
pub async fn run(args: &LedgerArgs, clock: Clock, ids: &Ids) -> anyhow::Result<bool> {
    match &args.command {
        LedgerCommand::Recipes(config) => println!("{}", browse::recipes(config.json)),
        LedgerCommand::Chart(config) => println!("{}", browse::chart(config.json)),
        LedgerCommand::Verify(database) => return verify(&mut *connect(database).await?).await,
        LedgerCommand::Proof(config) => prove(&mut *connect(&config.database).await?, config).await?,
        LedgerCommand::TrialBalance(config) => {
            books::trial_balance(&mut *connect(&config.database).await?, config).await?;
        }
        LedgerCommand::Statement(config) => books::statement(&mut *connect(&config.database).await?, config).await?,
        LedgerCommand::Close(config) => {
            let pool = server::connect(&config.database).await?;
            return books::close(pool, clock, ids, config).await;
        }
        LedgerCommand::Plaintext(config) => books::plaintext(&mut *connect(&config.database).await?, config).await?,
    }
    Ok(true)
}

async fn connect(database: &Database) -> anyhow::Result<PoolConnection<Postgres>> {
    Ok(server::connect(database).await?.acquire().await?)
}

async fn verify(conn: &mut PgConnection) -> anyhow::Result<bool> {
    let mut bar = Bar::default();
    let found = proof::verify(conn, |done, all| bar.show(done, all)).await?;
    bar.clear();
    println!("{} blocks, {} transfers, {} usage facts recomputed", found.blocks, found.transfers, found.facts);
    for (shard, head) in &found.heads {
        println!("shard {shard}: head {} {}", head.height, head.hash_hex());
    }
    for bad in &found.bad_blocks {
        println!("shard {}: BAD BLOCK {}: {}", bad.shard, bad.height, bad.reason);
    }
    for account in &found.wrong_balances {
        println!("BAD BALANCE: account {account:?} is not the sum of its transfers");
    }
    for month in &found.wrong_months {
        println!("BAD MONTH: {month} is not the sum of what is booked in it");
    }
    if found.passed() {
        println!("everything is as it was written");
    }
    Ok(found.passed())
}

/// Writes a proof to a file that is there once it is whole. Blocks never change, so no transaction is held meanwhile.
async fn prove(conn: &mut PgConnection, config: &Proof) -> anyhow::Result<()> {
    let key = config.secret.as_ref().map(HeadKey::try_new).transpose()?;
    let head = match config.to_height {
        Some(height) => proof::head_at(conn, SHARD, height).await?,
        None => proof::head(conn, SHARD).await?,
    };
    let Some(head) = head else {
        bail!("the ledger has no block{}", config.to_height.map(|height| format!(" {height}")).unwrap_or_default());
    };
    let (from, to) = (config.from_height, head.block.height);
    if from > to {
        bail!("--from-height {from} is above the last block of the proof, {to}");
    }
    let head = key.map_or_else(|| SignedHead::unsigned(&head), |key| key.sign(&head));
    if !head.signed() {
        eprintln!("the proof is not signed: TOKENGRID_SECRET is not set");
    }
    let part = with_suffix(&config.out, ".part");
    let file = File::create(&part).with_context(|| format!("{} cannot be written", part.display()))?;
    write(conn, BufWriter::new(file), (from, to), &head).await?;
    std::fs::rename(&part, &config.out).with_context(|| format!("{} cannot be written", config.out.display()))?;
    if config.json {
        let summary = json!({"file": config.out, "from_height": from, "to_height": to, "head": head});
        println!("{summary}");
    } else {
        println!("{}: blocks {from} to {to}; check it with docs/verify.py", config.out.display());
    }
    Ok(())
}

async fn write(
    conn: &mut PgConnection,
    mut file: BufWriter<File>,
    (from, to): (i64, i64),
    head: &SignedHead,
) -> anyhow::Result<()> {
    let mut bar = Bar::default();
    let mut above = from - 1;
    while above < to {
        let page = proof::blocks(conn, SHARD, above).await?;
        for block in page.iter().take_while(|block| block.height() <= to) {
            if above == from - 1 {
                let (prev_hash, head) = (block.prev_hash_hex(), head.clone());
                let header = Header { format: FORMAT, shard: SHARD, from_height: from, to_height: to, prev_hash, head };
                line(&mut file, &header)?;
            }
            line(&mut file, block)?;
            above = block.height();
        }
        bar.show(above - from + 1, to - from + 1);
    }
    bar.clear();
    file.into_inner().context("the proof cannot be written")?.sync_all().context("the proof cannot be written")
}

fn line(file: &mut BufWriter<File>, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *file, value).context("the proof cannot be written")?;
    file.write_all(b"\n").context("the proof cannot be written")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A progress bar on standard error, where somebody looks on.
#[derive(Default)]
struct Bar {
    shown: Option<i64>,
}

impl Bar {
    /// Draws the bar again when another percent is done.
    fn show(&mut self, done: i64, all: i64) {
        let percent = done * 100 / all.max(1);
        if self.shown != Some(percent) && stderr().is_terminal() {
            let full = usize::try_from(percent).map_or(0, |percent| (percent * BAR / 100).min(BAR));
            let (full, empty) = ("#".repeat(full), "-".repeat(BAR - full));
            eprint!("\r[{full}{empty}] {percent:3} %, block {done} of {all}");
            self.shown = Some(percent);
        }
    }

    /// Takes the bar away.
    fn clear(&self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use ledger::BlockRef;
    use ledger::proof::Head;

    use super::*;

    #[test]
    fn an_unsigned_header_says_where_the_chain_begins_and_ends() {
        let at = "2026-11-24T00:00:00Z".parse().unwrap();
        let head = SignedHead::unsigned(&Head { shard: 0, block: BlockRef { height: 9, hash: [7; 32] }, at });
        let header =
            Header { format: FORMAT, shard: 0, from_height: 4, to_height: 9, prev_hash: "00".repeat(32), head };
        insta::assert_json_snapshot!(header, @r#"
        {
          "format": "tokengrid ledger proof v2",
          "shard": 0,
          "from_height": 4,
          "to_height": 9,
          "prev_hash": "0000000000000000000000000000000000000000000000000000000000000000",
          "head": {
            "shard": 0,
            "height": 9,
            "hash": "0707070707070707070707070707070707070707070707070707070707070707",
            "at": "2026-11-24T00:00:00.000000Z"
          }
        }
        "#);
    }

    #[test]
    fn the_part_of_a_file_stands_beside_it() {
        assert_eq!(with_suffix(Path::new("a/book.jsonl"), ".part"), Path::new("a/book.jsonl.part"));
    }
}
