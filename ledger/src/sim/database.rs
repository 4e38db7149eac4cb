//! The imagined database: what `ledger.post_block` refuses, what a crash loses, what a writer can load.

use std::collections::HashMap;

use uuid::Uuid;

use crate::account::{Account, AccountId, AccountKey, AccountState, Priority, Terms};
use crate::block::{Block, BlockRef};
use crate::books::Books;
use crate::chart::Code;
use crate::core::{Core, Knowledge, Known, Needs, Tip};
use crate::hold::{HoldPart, OpenHold};
use crate::period::{Month, MonthEdge, PeriodState};
use crate::recipe::GroupKey;
use crate::row::{AccountRow, TransferRow};

/// Why a block is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its writer is of an older epoch.
    Deposed,
    /// A constraint of the tables.
    Broken(&'static str),
}

/// A group as the tables have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub body: i64,
    pub height: i64,
    pub hash: [u8; 32],
}

/// Tables in memory. Blocks beyond `durable` are seen by everyone and lost by a crash.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub epoch: i64,
    blocks: Vec<Block>,
    durable: usize,
    tables: Tables,
}

/// What the rows of all blocks make.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub accounts: HashMap<i64, (AccountRow, AccountState)>,
    pub groups: HashMap<GroupKey, Group>,
    /// Open holds: the pending row, by its number, with its group's head.
    pub holds: HashMap<i64, (TransferRow, TransferRow, i64)>,
    pub periods: HashMap<i16, PeriodState>,
}

impl Database {
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The group of a key, among what a crash would not lose.
    pub fn durable_group(&self, key: &GroupKey) -> Option<Group> {
        let group = self.tables.groups.get(key).copied();
        group.filter(|group| self.durable as i64 >= group.height)
    }

    pub fn head(&self) -> BlockRef {
        self.tip().block
    }

    fn tip(&self) -> Tip {
        let Some(Block { row, .. }) = self.blocks.last() else { return Tip::genesis(0) };
        Tip {
            block: BlockRef { height: row.height, hash: row.hash.clone().try_into().unwrap_or_default() },
            at: row.at,
            next_seq: row.first_seq + i64::from(row.transfers_count),
            accounts_total: row.accounts_total,
            leaves_total: row.leaves_total,
            open_from_seq: row.open_from_seq,
            month: MonthEdge::default(),
        }
    }

    /// Takes a block, or changes nothing.
    pub fn post(&mut self, block: &Block) -> Result<(), Refusal> {
        if block.row.epoch != self.epoch {
            return Err(Refusal::Deposed);
        }
        let tip = self.tip();
        let follows = block.row.height == tip.block.height + 1
            && block.row.prev_hash == tip.block.hash
            && block.row.first_seq == tip.next_seq
            && block.row.at >= tip.at
            && block.row.hash == block.hash();
        if !follows {
            return Err(Refusal::Broken("it does not follow the last block"));
        }
        let mut after = self.tables.clone();
        after.apply(block)?;
        self.tables = after;
        self.blocks.push(block.clone());
        Ok(())
    }

    pub fn flush(&mut self) {
        self.durable = self.blocks.len();
    }

    /// Loses what was not flushed.
    pub fn crash(&mut self) {
        self.blocks.truncate(self.durable);
        self.tables = Tables::default();
        for block in &self.blocks {
            self.tables.apply(block).expect("it was taken before");
        }
    }

    /// Fences every earlier writer off.
    pub fn raise_epoch(&mut self) -> i64 {
        self.epoch += 1;
        self.epoch
    }

    /// What a writer that starts, or has lost its memory, loads. What it sees is made durable first.
    pub fn load(&mut self, epoch: i64) -> Core {
        self.flush();
        let platform = self.accounts(|key| key.owner.is_none());
        let mut holds: Vec<&(TransferRow, TransferRow, i64)> = self.tables.holds.values().collect();
        holds.sort_by_key(|(row, ..)| row.seq);
        let mut open: Vec<OpenHold> = Vec::new();
        for (row, head, epoch) in holds {
            let key = |id| self.tables.key(id);
            let part = HoldPart {
                seq: row.seq,
                debit: key(row.debit_account_id),
                credit: key(row.credit_account_id),
                amount: primitives::money::Nanos(row.amount),
            };
            let link = head.link_id.unwrap_or_default();
            match open.last_mut().filter(|hold| hold.link == link) {
                Some(hold) => hold.parts.push(part),
                None => open.push(OpenHold {
                    link,
                    parts: vec![part],
                    expires_at: head.expires_at.expect("a hold expires"),
                    epoch: *epoch,
                }),
            }
        }
        let month = |number| Month::try_from_number(number).expect("a month was stored");
        let periods = self.tables.periods.iter().map(|(&number, &state)| (month(number), state)).collect();
        let heads = self.blocks.iter().flat_map(|block| &block.rows.transfers);
        let heads = heads.filter_map(|row| Some((row.period?, row.seq)));
        let month = heads.fold(MonthEdge::default(), |edge, (month, seq)| edge.after(month, seq));
        Core::new(0, epoch, Tip { month, ..self.tip() }, Books::new(platform, open, periods))
    }

    pub fn knowledge(&self, needs: &Needs) -> Knowledge {
        let accounts = self.accounts(|key| key.owner.is_some_and(|owner| needs.owners.contains(&owner)));
        let groups = self.tables.groups.iter().filter(|(key, _)| needs.links.contains(&key.link));
        let known = |group: &Group| Known { body: group.body, height: group.height, hash: Some(group.hash) };
        Knowledge { accounts, groups: groups.map(|(key, group)| (*key, known(group))).collect() }
    }

    fn accounts(&self, wanted: impl Fn(&AccountKey) -> bool) -> Vec<Account> {
        let mut ids: Vec<i64> = self.tables.accounts.keys().copied().collect();
        ids.sort_unstable();
        let account = |id: i64| {
            let (row, state) = &self.tables.accounts[&id];
            Account {
                id: AccountId(id),
                key: self.tables.key(id),
                terms: Terms { priority: Priority(row.priority), expires_at: row.expires_at },
                state: *state,
                debits_posted: row.debits_posted,
                credits_posted: row.credits_posted,
                debits_pending: row.debits_pending,
                credits_pending: row.credits_pending,
                last_seq: row.last_seq,
                transfers: row.transfers_count,
            }
        };
        ids.into_iter().map(account).filter(|account| wanted(&account.key)).collect()
    }
}

impl Tables {
    fn key(&self, id: i64) -> AccountKey {
        let (row, _) = &self.accounts[&id];
        let code = Code::from_number(row.code).expect("a code of the chart was stored");
        let unit = row.unit.parse().expect("a unit was stored");
        AccountKey { code, owner: row.owner_id, lot: row.lot_id, unit }
    }

    /// Adds a block's rows; when it refuses, what it has become is to be thrown away.
    fn apply(&mut self, block: &Block) -> Result<(), Refusal> {
        let rows = &block.rows;
        for account in &rows.accounts {
            let opened = self.accounts.insert(account.id, (account.clone(), AccountState::Open));
            if opened.is_some() {
                return Err(Refusal::Broken("accounts_pkey"));
            }
        }
        let mut head = None;
        for row in &rows.transfers {
            if let Some((link, recipe)) = row.link_id.zip(row.recipe) {
                head = Some(row.clone());
                self.once(GroupKey { link, recipe }, row, block)?;
            }
            let head = head.clone().ok_or(Refusal::Broken("a block begins with a head"))?;
            self.transfer(row, &head, block.row.epoch)?;
        }
        for state in &rows.states {
            let account = self.accounts.get_mut(&state.account_id).ok_or(Refusal::Broken("no such account"))?;
            account.0.floor = state.floor;
            account.1 = AccountState::from_word(&state.state).ok_or(Refusal::Broken("no such state"))?;
        }
        for row in &rows.periods {
            let state = PeriodState::from_word(&row.state).ok_or(Refusal::Broken("no such state"))?;
            self.periods.insert(row.period, state);
        }
        self.overdrafts()
    }

    fn once(&mut self, key: GroupKey, row: &TransferRow, block: &Block) -> Result<(), Refusal> {
        let hash = block.row.hash.clone().try_into().unwrap_or_default();
        let group = Group { body: row.body.unwrap_or_default(), height: block.row.height, hash };
        if self.groups.insert(key, group).is_some() {
            return Err(Refusal::Broken("transfers_once"));
        }
        let closed = row.period.and_then(|period| self.periods.get(&period)) == Some(&PeriodState::Hard);
        if closed { Err(Refusal::Broken("the period is closed")) } else { Ok(()) }
    }

    fn transfer(&mut self, row: &TransferRow, head: &TransferRow, epoch: i64) -> Result<(), Refusal> {
        let (posted, pending) = match row.kind {
            5 => return Ok(()),
            1 => (row.amount, 0),
            2 => {
                self.holds.insert(row.seq, (row.clone(), head.clone(), epoch));
                (0, row.amount)
            }
            _ => {
                let of = row.pending_seq.ok_or(Refusal::Broken("transfers_pending"))?;
                let (hold, ..) = self.holds.remove(&of).ok_or(Refusal::Broken("transfers_resolve_once"))?;
                let fits = hold.debit_account_id == row.debit_account_id
                    && hold.credit_account_id == row.credit_account_id
                    && row.amount <= hold.amount
                    && (row.kind == 3 || row.amount == hold.amount);
                if !fits {
                    return Err(Refusal::Broken("it does not fit its hold"));
                }
                (if row.kind == 3 { row.amount } else { 0 }, -hold.amount)
            }
        };
        if row.amount <= 0 || row.debit_account_id == row.credit_account_id {
            return Err(Refusal::Broken("transfers_amount"));
        }
        for (id, debit) in [(row.debit_account_id, true), (row.credit_account_id, false)] {
            let (account, _) = self.accounts.get_mut(&id).ok_or(Refusal::Broken("no such account"))?;
            let (total, held) = if debit {
                (&mut account.debits_posted, &mut account.debits_pending)
            } else {
                (&mut account.credits_posted, &mut account.credits_pending)
            };
            *total = total.checked_add(posted).ok_or(Refusal::Broken("out of range"))?;
            *held = held.checked_add(pending).ok_or(Refusal::Broken("out of range"))?;
            account.last_seq = row.seq;
            account.transfers_count += 1;
        }
        Ok(())
    }

    fn overdrafts(&self) -> Result<(), Refusal> {
        let overdrawn = |(row, _): &(AccountRow, AccountState)| {
            let floor = if row.no_overdraft { Some(row.floor.unwrap_or(0).max(0)) } else { row.floor };
            floor.is_some_and(|floor| available(row) < floor)
        };
        if self.accounts.values().any(overdrawn) { Err(Refusal::Broken("accounts_no_overdraft")) } else { Ok(()) }
    }

    /// What a tenant could hold now, as the rows alone say.
    pub fn spendable(&self, owner: Uuid, now: chrono::DateTime<chrono::Utc>) -> i64 {
        let pays = |(row, state): &&(AccountRow, AccountState)| {
            row.owner_id == Some(owner)
                && (row.code == 2000 || row.code == 2010)
                && row.unit == "USD"
                && *state == AccountState::Open
                && row.expires_at.is_none_or(|expires_at| expires_at > now)
        };
        self.accounts.values().filter(pays).map(|(row, _)| available(row).max(0)).sum()
    }

    /// Adds rows that are decided and in no block yet. None while a job's second hold is among them: a hold is new as a rule, so the
    /// core does not look it up, and the tables find out.
    pub fn with(&self, blocks: &[Block]) -> Option<Self> {
        let mut after = self.clone();
        for block in blocks {
            match after.apply(block) {
                Ok(()) => {}
                Err(Refusal::Broken("transfers_once")) => return None,
                Err(refusal) => panic!("the core decided what the tables refuse: {refusal:?}"),
            }
        }
        Some(after)
    }
}

fn available(row: &AccountRow) -> i64 {
    if row.normal_side == "credit" {
        row.credits_posted - row.debits_posted - row.debits_pending
    } else {
        row.debits_posted - row.credits_posted - row.credits_pending
    }
}
