//! The ledger's core: a pure state machine. Requests go in, decisions and blocks come out; time is an argument.
//!
//! It holds the books as they will be once all that it decided is durable. The writer feeds it what the database knows
//! ([`Core::needs`], [`Core::learn`]) before it asks for a decision, commits the blocks that it seals, and drops it when it
//! cannot tell what became of one.

mod draft;
mod memory;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::draft::DraftBlock;
use self::memory::Memory;
use crate::account::{Account, AccountId, AccountKey, AccountState, Terms};
use crate::block::{Block, BlockRef};
use crate::books::{Books, Slot};
use crate::chart::Side;
use crate::error::Error;
use crate::hold::{HoldPart, OpenHold};
use crate::leaf::Leaf;
use crate::period::{Month, MonthEdge, PeriodState};
use crate::recipe::{Entry, GroupKey, OnHold, Request};
use crate::row::{AccountRow, CheckpointRow, LeafRow, StateRow, TransferRow};
use crate::transfer::{Draft, Kind, Movement, SEQS_PER_SHARD};

/// After how many transfers over an account its balance is kept for those who ask about the past; it is kept as well after the
/// first one of each month, so that the end of a month is one step away.
pub(crate) const CHECKPOINT_EVERY: i64 = 256;

/// Where a shard's chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub block: BlockRef,
    /// When the last block was made; the next one is not made before.
    pub at: DateTime<Utc>,
    /// The next transfer's number.
    pub next_seq: i64,
    /// How many accounts the shard has.
    pub accounts_total: i64,
    /// How many leaves it has.
    pub leaves_total: i32,
    /// No hold of an earlier number is open.
    pub open_from_seq: i64,
    /// Where the latest month began.
    pub month: MonthEdge,
}

impl Tip {
    /// Before the first block of a shard.
    pub fn genesis(shard: i16) -> Self {
        let first = i64::from(shard) * SEQS_PER_SHARD + 1;
        Self {
            block: BlockRef::GENESIS,
            at: DateTime::UNIX_EPOCH,
            next_seq: first,
            accounts_total: 0,
            leaves_total: 0,
            open_from_seq: first,
            month: MonthEdge::default(),
        }
    }
}

/// What the core must learn before it can decide a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Tenants and providers whose accounts it does not know.
    pub owners: Vec<Uuid>,
    /// Links whose groups it may have forgotten.
    pub links: Vec<Uuid>,
}

/// What the database knows of some needs.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub accounts: Vec<Account>,
    pub groups: Vec<(GroupKey, Known)>,
}

/// A group that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub body: i64,
    pub height: i64,
    /// Its block's hash, once that is committed.
    pub hash: Option<[u8; 32]>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Decision {
    /// The block that keeps it, committed or not.
    pub height: i64,
    /// That block, once it is committed: the request is a repetition.
    pub block: Option<BlockRef>,
    /// What a hold took from each lot.
    pub parts: Vec<HoldPart>,
}

/// The state machine of one shard.
#[derive(Debug)]
pub(crate) struct Core {
    shard: i16,
    epoch: i64,
    /// The last block that was sealed, and the counts up to now.
    tip: Tip,
    books: Books,
    memory: Memory,
    draft: DraftBlock,
}

impl Core {
    /// The state after the block at `tip`.
    pub fn new(shard: i16, epoch: i64, tip: Tip, books: Books) -> Self {
        Self { shard, epoch, tip, books, memory: Memory::default(), draft: DraftBlock::default() }
    }

    /// What must be learned before the request is decided; `forgetful` asks for the request's own group too.
    pub fn needs(&self, request: &Request, forgetful: bool) -> Needs {
        let (recipe, key) = (request.recipe(), request.key());
        let mut owners = recipe.owners();
        let certain = match recipe.on_hold() {
            // A hold is new as a rule; the database sees when it is not.
            OnHold::Places(link) => self.books.open_hold(link).is_err(),
            OnHold::Resolves(link) | OnHold::MayResolve(link) | OnHold::Renews { of: link, .. } => {
                let hold = self.books.open_hold(link);
                owners.extend(hold.iter().filter_map(|hold| hold.owner()));
                hold.is_ok()
            }
            OnHold::None | OnHold::MayPlace(_) => false,
        };
        owners.retain(|&owner| !self.books.knows(owner));
        let unsure = !self.memory.knows(&key) && (forgetful || !certain);
        Needs { owners, links: if unsure { vec![key.link] } else { Vec::new() } }
    }

    /// Takes in what the database knows of `needs`; what it does not mention does not exist.
    pub fn learn(&mut self, needs: Needs, knowledge: Knowledge) {
        let mut accounts = knowledge.accounts;
        for owner in needs.owners {
            let (theirs, others) = accounts.into_iter().partition(|account| account.key.owner == Some(owner));
            accounts = others;
            self.books.learn(owner, theirs);
        }
        for (key, known) in knowledge.groups {
            self.memory.keep(key, known);
        }
    }

    /// Decides a request: all of its transfers join the block being built, or nothing changes.
    ///
    /// *Errors*: every refusal of the recipes; [`Error::IdReused`] for another body under the same key.
    pub fn decide(&mut self, request: &Request, now: DateTime<Utc>) -> Result<Decision, Error> {
        let (key, body) = (request.key(), request.body());
        if let Some(known) = self.memory.get(&key) {
            return self.repeat(request, key, known, body);
        }
        let now = now.max(self.tip.at);
        let entry = request.recipe().entry(&self.books, now)?;
        let month = self.month(request, &entry, now)?;
        let edge = self.tip.month.after(month.number(), self.tip.next_seq);
        let moved = self.apply(&entry, edge)?;
        self.tip.month = edge;
        let height = self.tip.block.height + 1;
        let parts = self.record(request, Head { key, body, month }, entry, &moved);
        self.memory.keep(key, Known { body, height, hash: None });
        Ok(Decision { height, block: None, parts })
    }

    /// The books, for those who look them through.
    #[cfg(test)]
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// True when something waits to be sealed.
    pub fn has_draft(&self) -> bool {
        !self.draft.keys.is_empty()
    }

    /// Ends the block being built and begins the next one; none when nothing was decided.
    pub fn seal(&mut self, at: DateTime<Utc>) -> Option<(BlockRef, Block)> {
        if !self.has_draft() {
            return None;
        }
        let draft = std::mem::take(&mut self.draft);
        self.tip.at = at.max(self.tip.at);
        self.tip.open_from_seq = self.books.open_from().unwrap_or(self.tip.next_seq);
        let (block, keys) = draft.seal(self.shard, self.epoch, &self.tip);
        self.tip.block = BlockRef { height: block.row.height, hash: block.hash() };
        self.memory.sealed(keys);
        Some((self.tip.block, block))
    }

    /// The block being built as it would be sealed now; for those who hold decisions against a model.
    pub fn drafted(&self, at: DateTime<Utc>) -> Option<Block> {
        let tip = Tip { at: at.max(self.tip.at), ..self.tip };
        self.has_draft().then(|| self.draft.clone().seal(self.shard, self.epoch, &tip).0)
    }

    /// Notes that the oldest sealed block is durable.
    pub fn committed(&mut self, block: BlockRef) {
        self.memory.committed(block);
    }

    fn repeat(&self, request: &Request, key: GroupKey, known: Known, body: i64) -> Result<Decision, Error> {
        if known.body != body {
            return Err(Error::IdReused { link: key.link, recipe: key.recipe_name() });
        }
        let parts = match request.recipe().on_hold() {
            OnHold::Places(link) => self.books.open_hold(link)?.parts.clone(),
            _ => Vec::new(),
        };
        let block = known.hash.map(|hash| BlockRef { height: known.height, hash });
        Ok(Decision { height: known.height, block, parts })
    }

    /// The month that an entry is booked in: its own wish, else the month in which it happened, else this one.
    ///
    /// *Errors*: [`Error::PeriodClosed`] when that is closed.
    fn month(&self, request: &Request, entry: &Entry, now: DateTime<Utc>) -> Result<Month, Error> {
        let this = Month::of(now);
        if let Some(wish) = entry.month {
            return match self.books.period(wish) {
                PeriodState::Hard => Err(Error::PeriodClosed { month: wish }),
                _ if wish > this => Err(Error::PeriodClosed { month: wish }),
                PeriodState::Open | PeriodState::Soft => Ok(wish),
            };
        }
        let happened = request.recipe().event_at().map_or(this, Month::of).min(this);
        let open = [happened, this].into_iter().find(|&month| self.books.period(month) == PeriodState::Open);
        open.ok_or(Error::PeriodClosed { month: this })
    }

    /// Moves the balances of all drafts, or of none. Every draft takes the next number.
    fn apply(&mut self, entry: &Entry, edge: MonthEdge) -> Result<Vec<Moved>, Error> {
        let mut before: Vec<(Slot, Account)> = Vec::with_capacity(entry.drafts.len() * 2);
        let mut checkpoints = Vec::new();
        let moved = self.move_all(entry, edge, &mut before, &mut checkpoints);
        match &moved {
            Ok(_) => self.draft.checkpoints.append(&mut checkpoints),
            Err(_) => {
                for (slot, account) in before.into_iter().rev() {
                    *self.books.at_mut(slot) = account;
                }
            }
        }
        moved
    }

    fn move_all(
        &mut self,
        entry: &Entry,
        edge: MonthEdge,
        before: &mut Vec<(Slot, Account)>,
        checkpoints: &mut Vec<CheckpointRow>,
    ) -> Result<Vec<Moved>, Error> {
        let mut moved = Vec::with_capacity(entry.drafts.len());
        for (seq, draft) in (self.tip.next_seq..).zip(&entry.drafts) {
            if draft.debit.unit != draft.credit.unit {
                return Err(Error::TwoUnits { debit: draft.debit.unit, credit: draft.credit.unit });
            }
            if draft.debit == draft.credit {
                return Err(Error::OneAccount { code: draft.debit.code });
            }
            let (posted, pending) = draft.movement.deltas(draft.amount);
            let mut sides = [(AccountId(0), 0); 2];
            for (over, key, side) in [(0, draft.debit, Side::Debit), (1, draft.credit, Side::Credit)] {
                let slot = self.open(key, &entry.terms)?;
                let account = self.books.at_mut(slot);
                before.push((slot, *account));
                sides[over] = (account.id, account.last_seq);
                account.add(seq, side, posted, pending)?;
                if account.transfers % CHECKPOINT_EVERY == 0 || edge.crossed(sides[over].1) {
                    checkpoints.push(CheckpointRow::of(account));
                }
            }
            moved.push(Moved { debit: sides[0], credit: sides[1] });
        }
        for (place, (slot, was)) in before.iter().enumerate().filter(|(_, (_, was))| was.state == AccountState::Frozen)
        {
            // Only the first of each tells what was before the group.
            if before[..place].iter().all(|(other, _)| other != slot) {
                self.books.at(*slot).check_frozen(was)?;
            }
        }
        for (key, state) in &entry.states {
            let slot = self.books.find(key).ok_or(Error::UnknownAccount { code: key.code, owner: key.owner })?;
            before.push((slot, *self.books.at(slot)));
            self.books.at_mut(slot).state = *state;
        }
        Ok(moved)
    }

    /// Writes the group's rows and follows its holds.
    fn record(
        &mut self,
        request: &Request,
        Head { key, body, month }: Head,
        entry: Entry,
        moved: &[Moved],
    ) -> Vec<HoldPart> {
        let head = self.tip.next_seq;
        let first = self.draft.rows.transfers.len();
        let pending = (head..).zip(&entry.drafts).filter(|(_, draft)| draft.movement == Movement::Pending);
        let parts: Vec<HoldPart> = pending.map(|(seq, draft)| part(seq, draft)).collect();
        for (draft, moved) in entry.drafts.iter().zip(moved) {
            let row = self.transfer(draft, moved);
            self.draft.rows.transfers.push(row);
        }
        if entry.drafts.is_empty() {
            self.draft.rows.transfers.push(note(head));
            self.tip.next_seq += 1;
        }
        let row = &mut self.draft.rows.transfers[first];
        row.recipe = Some(key.recipe);
        row.period = Some(month.number());
        row.link_id = Some(key.link);
        row.body = Some(body);
        row.event_at = request.recipe().event_at();
        row.expires_at = entry.expires_at;
        row.reverses_seq = entry.reverses;
        row.reference = entry.reference;
        self.draft.keys.push(key);
        for fact in entry.usage {
            let leaf_id = self.leaf(&fact.leaf);
            self.draft.use_tokens(head, leaf_id, &fact);
        }
        for fact in entry.capacity {
            let leaf_id = self.leaf(&fact.leaf);
            self.draft.deploy(head, leaf_id, &fact);
        }
        for (key, _) in entry.states {
            let account = self.books.account(&key).expect("its state was just set");
            let row = StateRow::of(head, account);
            self.draft.rows.states.push(row);
        }
        for (month, state) in entry.period_states {
            self.books.set_period(month, state);
            self.draft.close(head, month, state);
        }
        match request.recipe().on_hold() {
            OnHold::None => Vec::new(),
            OnHold::Places(link) | OnHold::MayPlace(link) => self.place(link, parts, entry.expires_at),
            OnHold::Resolves(link) => {
                self.books.close_hold(link);
                Vec::new()
            }
            OnHold::MayResolve(link) => {
                if self.books.open_hold(link).is_ok() {
                    self.books.close_hold(link);
                }
                Vec::new()
            }
            OnHold::Renews { of, by } => {
                self.books.close_hold(of);
                self.place(by, parts, entry.expires_at)
            }
        }
    }

    /// Follows a hold; one without parts is none.
    fn place(&mut self, link: Uuid, parts: Vec<HoldPart>, expires_at: Option<DateTime<Utc>>) -> Vec<HoldPart> {
        if !parts.is_empty() {
            let expires_at = expires_at.expect("a hold says when it expires");
            self.books.place(OpenHold { link, parts: parts.clone(), expires_at, epoch: self.epoch });
        }
        parts
    }

    fn transfer(&mut self, draft: &Draft, moved: &Moved) -> TransferRow {
        let seq = self.tip.next_seq;
        self.tip.next_seq += 1;
        TransferRow {
            debit_account_id: moved.debit.0.0,
            credit_account_id: moved.credit.0.0,
            amount: draft.amount.0,
            debit_prev_seq: moved.debit.1,
            credit_prev_seq: moved.credit.1,
            leaf_id: draft.leaf.as_ref().map(|leaf| self.leaf(leaf)),
            kind: draft.movement.kind().number(),
            pending_seq: draft.movement.resolves(),
            ..note(seq)
        }
    }

    /// The number of a leaf, written with the block being built when this writer has not met it.
    fn leaf(&mut self, leaf: &Leaf) -> i32 {
        if let Some(id) = self.memory.leaf(leaf) {
            return id;
        }
        self.tip.leaves_total += 1;
        let id = self.tip.leaves_total;
        self.draft.rows.leaves.push(LeafRow::new(self.shard, id, leaf));
        self.memory.keep_leaf(leaf, id);
        id
    }

    /// The account of that key, opened with the block being built when there is none.
    fn open(&mut self, key: AccountKey, terms: &[(AccountKey, Terms)]) -> Result<Slot, Error> {
        if let Some(slot) = self.books.find(&key) {
            return Ok(slot);
        }
        let id = AccountId::try_new(key, self.shard, self.tip.accounts_total + 1)?;
        self.tip.accounts_total += 1;
        let terms = terms.iter().find(|(other, _)| *other == key).map_or(Terms::of(key.code), |(_, terms)| *terms);
        let account = Account::open(id, key, terms);
        self.draft.rows.accounts.push(AccountRow::opened(&account, self.tip.block.height + 1));
        Ok(self.books.insert(account))
    }
}

/// What a group's first transfer says of the group.
struct Head {
    key: GroupKey,
    body: i64,
    month: Month,
}

/// The accounts of a transfer, each with the transfer before.
#[derive(Debug)]
struct Moved {
    debit: (AccountId, i64),
    credit: (AccountId, i64),
}

fn part(seq: i64, draft: &Draft) -> HoldPart {
    HoldPart { seq, debit: draft.debit, credit: draft.credit, amount: draft.amount }
}

/// A transfer that moves nothing, to be filled in.
fn note(seq: i64) -> TransferRow {
    TransferRow {
        seq,
        debit_account_id: 0,
        credit_account_id: 0,
        amount: 0,
        debit_prev_seq: 0,
        credit_prev_seq: 0,
        leaf_id: None,
        kind: Kind::Note.number(),
        recipe: None,
        period: None,
        pending_seq: None,
        event_at: None,
        expires_at: None,
        reverses_seq: None,
        link_id: None,
        body: None,
        reference: None,
    }
}

#[cfg(test)]
mod tests;
