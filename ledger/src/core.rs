//! The ledger's core: a pure state machine. Requests go in, decisions and blocks come out; time is an argument.
//!
//! It holds the balances as they will be once all that it decided is durable. The writer feeds it what the database knows
//! ([`Core::needs`], [`Core::learn`]) before it asks for a decision, commits the blocks that it seals, and drops it when it
//! cannot tell what became of one.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use chrono::{DateTime, Utc};
use primitives::id::{JobId, TransferId};
use primitives::money::{Currency, Nanos};
use uuid::Uuid;

use crate::account::{Account, AccountId, AccountKey, Code, Side};
use crate::block::{Block, BlockRef};
use crate::error::Error;
use crate::hold::{HoldPart, OpenHold};
use crate::recipe::job::{JobHold, JobSettlement, Purse, UsageFact};
use crate::recipe::{GroupKey, Request};
use crate::row::{AccountRow, BlockRow, FactRow, GroupRow, TransferRow};
use crate::transfer::{Draft, transfer_id};

/// How many of the latest groups are remembered, so that most repetitions are answered without the database.
const KNOWN_GROUPS_MAX: usize = 100_000;

/// Where a shard's chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub block: BlockRef,
    /// The next group's number.
    pub next_seq: i64,
    /// How many accounts the shard has.
    pub accounts_total: i64,
    /// No hold of an earlier group is open.
    pub open_from_seq: i64,
}

impl Tip {
    pub const GENESIS: Self = Self { block: BlockRef::GENESIS, next_seq: 1, accounts_total: 0, open_from_seq: 1 };
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub body_hash: [u8; 32],
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
    accounts: HashMap<AccountId, Account>,
    ids: HashMap<AccountKey, AccountId>,
    /// Whose accounts are all here.
    owners: HashSet<Uuid>,
    /// Credit lots in spending order.
    lots: HashMap<(Uuid, Currency), Vec<AccountId>>,
    holds: HashMap<JobId, OpenHold>,
    open_seqs: BTreeSet<i64>,
    known: HashMap<GroupKey, Known>,
    known_order: VecDeque<GroupKey>,
    /// The groups of blocks that were sealed and are not yet committed.
    sealed: VecDeque<Vec<GroupKey>>,
    draft: Rows,
}

/// The block being built.
#[derive(Debug, Default)]
struct Rows {
    keys: Vec<GroupKey>,
    accounts: Vec<AccountRow>,
    groups: Vec<GroupRow>,
    transfers: Vec<TransferRow>,
    facts: Vec<FactRow>,
}

impl Core {
    /// The state after the block at `tip`, with the platform's accounts and the open holds; all else is learned.
    pub fn new(shard: i16, epoch: i64, tip: Tip, platform: Vec<Account>, holds: Vec<OpenHold>) -> Self {
        let mut core = Self {
            shard,
            epoch,
            tip,
            accounts: HashMap::new(),
            ids: HashMap::new(),
            owners: HashSet::new(),
            lots: HashMap::new(),
            open_seqs: holds.iter().map(|hold| hold.group_seq).collect(),
            holds: holds.into_iter().map(|hold| (hold.job_id, hold)).collect(),
            known: HashMap::new(),
            known_order: VecDeque::new(),
            sealed: VecDeque::new(),
            draft: Rows::default(),
        };
        for account in platform {
            core.insert(account);
        }
        core
    }

    /// What must be learned before the request is decided; `forgetful` asks for the request's own group too.
    pub fn needs(&self, request: &Request, forgetful: bool) -> Needs {
        let key = request.key();
        let (mut owners, certain) = match request {
            // A job is new as a rule; the database sees when it is not.
            Request::Hold(hold) => (vec![hold.tenant_id.0], !self.holds.contains_key(&hold.job_id)),
            Request::Settle(settlement) => {
                let providers = settlement.shares.iter().map(|share| share.provider_id.0);
                let owners = std::iter::once(settlement.dimensions.tenant_id.0).chain(providers).collect();
                (owners, self.holds.contains_key(&settlement.job_id))
            }
            Request::Void(void) => {
                let hold = self.holds.get(&void.job_id);
                (hold.map(|hold| hold.tenant_id.0).into_iter().collect(), hold.is_some())
            }
            Request::Promo(grant) => (vec![grant.tenant_id.0], false),
            Request::TopUp(top_up) => (vec![top_up.tenant_id.0], false),
        };
        owners.retain(|owner| !self.owners.contains(owner));
        let unsure = !self.known.contains_key(&key) && (forgetful || !certain);
        Needs { owners, links: if unsure { vec![key.link] } else { Vec::new() } }
    }

    /// Takes in what the database knows of `needs`; what it does not mention does not exist.
    pub fn learn(&mut self, needs: Needs, knowledge: Knowledge) {
        for account in knowledge.accounts {
            if !self.accounts.contains_key(&account.id) {
                self.insert(account);
            }
        }
        self.owners.extend(needs.owners);
        for (key, known) in knowledge.groups {
            self.remember(key, known);
        }
    }

    /// Decides a request: all of its transfers join the block being built, or nothing changes.
    ///
    /// *Errors*: every refusal of the recipes; [`Error::IdReused`] for another body under the same key.
    pub fn decide(&mut self, request: &Request, now: DateTime<Utc>) -> Result<Decision, Error> {
        let (key, body_hash) = (request.key(), request.body_hash());
        if let Some(known) = self.known.get(&key).copied() {
            return self.repeat(request, key, known, body_hash);
        }
        let drafts = match request {
            Request::Hold(hold) => hold.drafts(&self.purses(hold, now))?,
            Request::Settle(settlement) => settlement.drafts(self.open_hold(settlement.job_id)?)?,
            Request::Void(void) => void.drafts(self.open_hold(void.job_id)?),
            Request::Promo(grant) => grant.drafts()?,
            Request::TopUp(top_up) => top_up.drafts()?,
        };
        if let Request::Promo(grant) = request {
            self.open(grant.lot(), grant.expires_at);
        }
        self.apply(&drafts)?;
        let height = self.tip.block.height + 1;
        let parts = self.record(request, key, body_hash, drafts, now);
        self.remember(key, Known { body_hash, height, hash: None });
        Ok(Decision { height, block: None, parts })
    }

    /// True when something waits to be sealed.
    pub fn has_draft(&self) -> bool {
        !self.draft.groups.is_empty()
    }

    /// Ends the block being built and begins the next one; none when nothing was decided.
    pub fn seal(&mut self, at: DateTime<Utc>) -> Option<(BlockRef, Block)> {
        if !self.has_draft() {
            return None;
        }
        let Rows { keys, mut accounts, groups, transfers, facts } = std::mem::take(&mut self.draft);
        accounts.sort_by_key(|account| account.id);
        let count = |rows: usize| i32::try_from(rows).expect("a block is bounded far below two billion rows");
        self.tip.open_from_seq = self.open_seqs.first().copied().unwrap_or(self.tip.next_seq);
        let row = BlockRow {
            shard: self.shard,
            height: self.tip.block.height + 1,
            epoch: self.epoch,
            at,
            first_group_seq: groups[0].seq,
            groups_count: count(groups.len()),
            accounts_count: count(accounts.len()),
            transfers_count: count(transfers.len()),
            facts_count: count(facts.len()),
            accounts_total: self.tip.accounts_total,
            open_from_seq: self.tip.open_from_seq,
            prev_hash: self.tip.block.hash.to_vec(),
            hash: Vec::new(),
        };
        let mut block = Block { row, accounts, groups, transfers, facts };
        let hash = block.hash();
        block.row.hash = hash.to_vec();
        self.tip.block = BlockRef { height: block.row.height, hash };
        self.sealed.push_back(keys);
        Some((self.tip.block, block))
    }

    /// Notes that the oldest sealed block is durable.
    pub fn committed(&mut self, block: BlockRef) {
        for key in self.sealed.pop_front().unwrap_or_default() {
            if let Some(known) = self.known.get_mut(&key) {
                assert_eq!(known.height, block.height, "blocks are committed in the order in which they are sealed");
                known.hash = Some(block.hash);
            }
        }
    }

    fn repeat(&self, request: &Request, key: GroupKey, known: Known, body: [u8; 32]) -> Result<Decision, Error> {
        if known.body_hash != body {
            return Err(Error::IdReused { link: key.link, recipe: key.recipe });
        }
        let parts = match request {
            Request::Hold(hold) => self.open_hold(hold.job_id)?.parts.clone(),
            _ => Vec::new(),
        };
        let block = known.hash.map(|hash| BlockRef { height: known.height, hash });
        Ok(Decision { height: known.height, block, parts })
    }

    fn open_hold(&self, job_id: JobId) -> Result<&OpenHold, Error> {
        self.holds.get(&job_id).ok_or(Error::NoOpenHold { job_id })
    }

    /// The tenant's lots that have something and have not lapsed, in spending order.
    fn purses(&self, hold: &JobHold, now: DateTime<Utc>) -> Vec<Purse> {
        let lots = self.lots.get(&(hold.tenant_id.0, hold.currency)).map(Vec::as_slice).unwrap_or_default();
        let open = lots.iter().map(|id| &self.accounts[id]).filter(|lot| !lot.lapsed(now));
        open.map(|lot| {
            let available =
                i64::try_from(lot.available()).expect("available is at most what was posted, and never below zero");
            Purse { lot: lot.key, available: Nanos(available) }
        })
        .collect()
    }

    /// Moves the balances of all drafts, or of none.
    fn apply(&mut self, drafts: &[Draft]) -> Result<(), Error> {
        let mut before = Vec::with_capacity(drafts.len() * 2);
        for draft in drafts {
            let (posted, pending) = draft.movement.deltas(draft.amount);
            for (key, side) in [(draft.debit, Side::Debit), (draft.credit, Side::Credit)] {
                let id = self.open(key, None);
                let account = self.accounts.get_mut(&id).expect("an open account is in memory");
                before.push(*account);
                if let Err(error) = account.add(side, posted, pending) {
                    for account in before.into_iter().rev() {
                        self.accounts.insert(account.id, account);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Writes the group's rows and follows its holds.
    fn record(
        &mut self,
        request: &Request,
        key: GroupKey,
        body_hash: [u8; 32],
        drafts: Vec<Draft>,
        now: DateTime<Utc>,
    ) -> Vec<HoldPart> {
        let (shard, seq) = (self.shard, self.tip.next_seq);
        self.tip.next_seq += 1;
        self.draft.keys.push(key);
        self.draft.groups.push(GroupRow {
            shard,
            seq,
            block_height: self.tip.block.height + 1,
            link_id: key.link,
            recipe: key.recipe.to_owned(),
            body_hash: body_hash.to_vec(),
            event_at: request.event_at(now),
            expires_at: if let Request::Hold(hold) = request { Some(hold.expires_at) } else { None },
            reference: if let Request::TopUp(top_up) = request { Some(top_up.reference.clone()) } else { None },
        });
        let lots: Vec<AccountKey> = drafts.iter().map(|draft| draft.debit).collect();
        let first = self.draft.transfers.len();
        for (position, draft) in (0..).zip(drafts) {
            let row = self.transfer(key, seq, position, draft);
            self.draft.transfers.push(row);
        }
        match request {
            Request::Hold(hold) => {
                let parts: Vec<HoldPart> = self.draft.transfers[first..].iter().map(part).collect();
                self.open_seqs.insert(seq);
                self.holds.insert(hold.job_id, open_hold(hold, seq, self.epoch, &parts, lots));
                parts
            }
            Request::Settle(settlement) => {
                self.draft.facts.extend(facts(settlement, shard, seq));
                self.close(settlement.job_id)
            }
            Request::Void(void) => self.close(void.job_id),
            Request::Promo(_) | Request::TopUp(_) => Vec::new(),
        }
    }

    fn close(&mut self, job_id: JobId) -> Vec<HoldPart> {
        let hold = self.holds.remove(&job_id).expect("what was just resolved was open");
        self.open_seqs.remove(&hold.group_seq);
        hold.parts
    }

    fn transfer(&self, key: GroupKey, group_seq: i64, position: i16, draft: Draft) -> TransferRow {
        let id = transfer_id(key.link, key.recipe, position).0;
        let mut row = TransferRow {
            shard: self.shard,
            group_seq,
            position,
            id,
            kind: draft.movement.kind().as_str().to_owned(),
            debit_account_id: self.ids[&draft.debit].0,
            credit_account_id: self.ids[&draft.credit].0,
            amount_nanos: draft.amount.0,
            pending_id: draft.movement.resolves().map(|of| of.0),
            bucket: draft.bucket.map(|bucket| bucket.as_str().to_owned()),
            tenant_id: None,
            model: None,
            node_id: None,
            provider_id: None,
            product_line: None,
        };
        if let Some(leaf) = draft.leaf {
            row.tenant_id = Some(leaf.tenant_id.0);
            row.model = Some(leaf.model);
            row.node_id = Some(leaf.node_id.0);
            row.provider_id = Some(leaf.provider_id.0);
            row.product_line = Some(leaf.product_line);
        }
        row
    }

    /// The account of that key, opened with the block being built when there is none.
    fn open(&mut self, key: AccountKey, expires_at: Option<DateTime<Utc>>) -> AccountId {
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        assert!(key.owner.is_none_or(|owner| self.owners.contains(&owner)), "an owner's accounts are learned first");
        self.tip.accounts_total += 1;
        let account = Account::open(AccountId::new(key.code, self.shard, self.tip.accounts_total), key, expires_at);
        self.draft.accounts.push(AccountRow::opened(&account, self.shard, self.tip.block.height + 1));
        self.insert(account);
        account.id
    }

    fn insert(&mut self, account: Account) {
        let Account { id, key, .. } = account;
        self.accounts.insert(id, account);
        self.ids.insert(key, id);
        if let (Some(owner), Code::PaidCredits | Code::PromoCredits) = (key.owner, key.code) {
            let accounts = &self.accounts;
            let lots = self.lots.entry((owner, key.unit)).or_default();
            lots.push(id);
            lots.sort_by_key(|id| accounts[id].spending_order());
        }
    }

    fn remember(&mut self, key: GroupKey, known: Known) {
        if self.known.insert(key, known).is_none() {
            self.known_order.push_back(key);
        }
        if self.known_order.len() > KNOWN_GROUPS_MAX
            && let Some(oldest) = self.known_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn part(row: &TransferRow) -> HoldPart {
    HoldPart {
        transfer_id: TransferId(row.id),
        account: AccountId(row.debit_account_id),
        amount: Nanos(row.amount_nanos),
    }
}

fn open_hold(hold: &JobHold, group_seq: i64, epoch: i64, parts: &[HoldPart], lots: Vec<AccountKey>) -> OpenHold {
    OpenHold {
        job_id: hold.job_id,
        tenant_id: hold.tenant_id,
        currency: hold.currency,
        parts: parts.to_vec(),
        expires_at: hold.expires_at,
        epoch,
        group_seq,
        lots,
    }
}

/// The settlement's usage in canonical order: by segment, then by meter.
fn facts(settlement: &JobSettlement, shard: i16, group_seq: i64) -> Vec<FactRow> {
    let dimensions = &settlement.dimensions;
    let mut usage: Vec<_> = settlement.usage.iter().collect();
    usage.sort_by_key(|fact| (fact.segment, &fact.meter));
    let row = |fact: &UsageFact| FactRow {
        shard,
        group_seq,
        job_id: settlement.job_id.0,
        segment: fact.segment,
        meter: fact.meter.clone(),
        tenant_id: dimensions.tenant_id.0,
        model: dimensions.model.clone(),
        node_id: fact.node_id.0,
        provider_id: fact.provider_id.0,
        quantity: fact.quantity,
        price_id: fact.price_id.0,
        amount_nanos: fact.amount.0,
        event_at: settlement.event_at,
    };
    usage.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests;
