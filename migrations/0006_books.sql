-- The books, anew: who holds what, and why. Takes the place of 0002's tables, which no release ever wrote.
--
-- Append-only; balances are moved by the database from the same rows. One writer a shard calls ledger.post_block once a block:
-- one call, one transaction. Row types of these tables are the function's parameters, so the order of columns here is the
-- order of the structs in ledger/src/row.rs; it is also chosen so that little is lost to alignment.
DO $$
BEGIN
    IF EXISTS (SELECT FROM ledger.blocks) THEN
        RAISE EXCEPTION 'the books in this database were written before the first release and cannot be carried over'
            USING HINT = 'Start with an empty database; `cargo xtask up --data-dir DIR` makes one in an empty folder.';
    END IF;
END
$$;

DROP SCHEMA ledger CASCADE;
CREATE SCHEMA ledger;

-- Fencing: the writer that raised the epoch last is the only one whose blocks are taken.
CREATE TABLE ledger.shards (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 99),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0)
);

INSERT INTO ledger.shards (shard) VALUES (0);

-- What accounts are kept in: currencies under their ISO 4217 number, and quantities under the numbers that it leaves free.
CREATE TABLE ledger.units (
    number smallint PRIMARY KEY CHECK (number BETWEEN 1 AND 999),
    unit text NOT NULL UNIQUE CHECK (unit ~ '^[A-Z]{3}$'),
    -- One of the unit is 10^scale of what amounts count.
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 9),
    name text NOT NULL
);

INSERT INTO ledger.units (number, unit, scale, name) VALUES
    (1, 'TOK', 0, 'tokens of a pack'),
    (2, 'GPH', 9, 'GPU-hours'),
    (3, 'RTP', 9, 'reserved tokens a minute, for an hour'),
    (156, 'CNY', 9, 'Chinese yuan'),
    (344, 'HKD', 9, 'Hong Kong dollar'),
    (392, 'JPY', 9, 'Japanese yen'),
    (702, 'SGD', 9, 'Singapore dollar'),
    (756, 'CHF', 9, 'Swiss franc'),
    (826, 'GBP', 9, 'pound sterling'),
    (840, 'USD', 9, 'United States dollar'),
    (978, 'EUR', 9, 'euro');

-- The names of the recipes, for those who read the books by SQL; ledger/src/recipe.rs has the same list.
CREATE TABLE ledger.recipes (
    number smallint PRIMARY KEY,
    recipe text NOT NULL UNIQUE
);

INSERT INTO ledger.recipes (number, recipe) VALUES
    (1, 'period_state'),
    (2, 'account_state'),
    (3, 'journal_entry'),
    (4, 'reversal'),
    (5, 'capacity'),
    (10, 'job_hold'),
    (11, 'job_settle'),
    (12, 'job_void'),
    (13, 'job_settle_net'),
    (20, 'top_up'),
    (21, 'promo_grant'),
    (22, 'card_top_up'),
    (23, 'credit_expiry'),
    (24, 'promo_expiry'),
    (25, 'overrun_collection'),
    (26, 'processor_payout'),
    (27, 'processor_payout_arrived'),
    (30, 'credit_refund'),
    (31, 'credit_note'),
    (32, 'refund_paid'),
    (33, 'dispute_opened'),
    (34, 'dispute_lost'),
    (35, 'dispute_won'),
    (40, 'throughput_buy'),
    (41, 'throughput_recognition'),
    (42, 'sla_credit'),
    (50, 'pack_buy'),
    (51, 'pack_draw'),
    (52, 'pack_expiry'),
    (60, 'rental_hold'),
    (61, 'rental_meter'),
    (62, 'rental_end'),
    (63, 'rental_buy'),
    (64, 'rental_recognition'),
    (70, 'licence_invoice'),
    (71, 'licence_recognition'),
    (80, 'postpaid_usage'),
    (81, 'invoice'),
    (82, 'invoice_payment'),
    (83, 'write_off'),
    (84, 'recovery'),
    (90, 'earning_reserve'),
    (91, 'earning_release'),
    (92, 'provider_payout'),
    (93, 'provider_payout_paid'),
    (94, 'clawback'),
    (100, 'conversion'),
    (101, 'exchange_difference');

CREATE TABLE ledger.kinds (
    number smallint PRIMARY KEY,
    kind text NOT NULL UNIQUE
);

-- posted: moves an amount. pending: holds it. capture: moves at most what the hold at pending_seq holds, and releases the rest.
-- void: releases all of it; its amount is that whole hold's. note: moves nothing and heads a group of facts alone.
INSERT INTO ledger.kinds (number, kind) VALUES (1, 'posted'), (2, 'pending'), (3, 'capture'), (4, 'void'), (5, 'note');

-- An account's id tells its code of the chart, its unit and its shard:
-- code * 10^14 + unit number * 10^11 + shard * 10^9 + number.
CREATE TABLE ledger.accounts (
    id bigint PRIMARY KEY,
    block_height bigint NOT NULL,
    code smallint NOT NULL CHECK (code BETWEEN 1000 AND 9999),
    normal_side text NOT NULL CHECK (normal_side IN ('debit', 'credit')),
    no_overdraft boolean NOT NULL,
    unit text NOT NULL REFERENCES ledger.units (unit),
    owner_id uuid,
    lot_id uuid,
    -- Lots are spent in the order of priority, then of expiry.
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 100),
    expires_at timestamptz,
    -- From here on not as it was opened, but as transfers and states have made it.
    debits_posted bigint NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_posted bigint NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    debits_pending bigint NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
    credits_pending bigint NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
    -- The last transfer over the account, and how many there were.
    last_seq bigint NOT NULL DEFAULT 0,
    transfers_count bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'frozen', 'closed')),
    -- Where a state says so, what is available may not fall below this.
    floor bigint,
    CONSTRAINT accounts_id CHECK (id / 100000000000000 = code),
    -- What is posted less what is held never goes below zero, whatever races, retries or crashes happen.
    CONSTRAINT accounts_no_overdraft CHECK (
        NOT (no_overdraft OR floor IS NOT NULL)
        OR CASE normal_side
            WHEN 'credit' THEN credits_posted - debits_posted - debits_pending
            ELSE debits_posted - credits_posted - credits_pending
        END >= COALESCE(floor, 0)
    ),
    CONSTRAINT accounts_closed_empty CHECK (
        state <> 'closed' OR (debits_posted = credits_posted AND debits_pending = 0 AND credits_pending = 0)
    )
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX accounts_key ON ledger.accounts (owner_id, lot_id, code, unit, (id / 1000000000 % 100)) NULLS NOT DISTINCT;
CREATE INDEX accounts_opened ON ledger.accounts (block_height);

-- Blocks: what one commit made durable, chained by SHA-256 (canonical form: ledger/src/block.rs).
CREATE TABLE ledger.blocks (
    shard smallint NOT NULL,
    height bigint NOT NULL CHECK (height >= 1),
    epoch bigint NOT NULL,
    at timestamptz NOT NULL,
    -- Transfers are numbered without gaps in each shard, from shard * 10^15 + 1 on; the block holds
    -- [first_seq, first_seq + transfers_count).
    first_seq bigint NOT NULL,
    transfers_count integer NOT NULL CHECK (transfers_count >= 1),
    accounts_count integer NOT NULL CHECK (accounts_count >= 0),
    leaves_count integer NOT NULL CHECK (leaves_count >= 0),
    usage_count integer NOT NULL CHECK (usage_count >= 0),
    capacity_count integer NOT NULL CHECK (capacity_count >= 0),
    states_count integer NOT NULL CHECK (states_count >= 0),
    periods_count integer NOT NULL CHECK (periods_count >= 0),
    -- Accounts and leaves of the shard after this block; the next ones take the next numbers.
    accounts_total bigint NOT NULL CHECK (accounts_total >= 0),
    leaves_total integer NOT NULL CHECK (leaves_total >= 0),
    -- No hold of an earlier number is open after this block, so a writer that starts looks no further back.
    open_from_seq bigint NOT NULL,
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (shard, height),
    CONSTRAINT blocks_first_seq UNIQUE (first_seq),
    -- A block has one successor: the chain cannot fork.
    CONSTRAINT blocks_no_fork UNIQUE (shard, prev_hash),
    CONSTRAINT blocks_shard CHECK (first_seq / 1000000000000000 = shard)
);

CREATE INDEX blocks_at ON ledger.blocks (at);

-- Leaves: the dimensions of revenue, cost and usage, written once and referred to by number. A leaf compresses; it identifies
-- nothing: a writer that starts anew writes those it meets anew.
CREATE TABLE ledger.leaves (
    shard smallint NOT NULL,
    id integer NOT NULL CHECK (id >= 1),
    bucket text NOT NULL CHECK (
        bucket IN (
            'PRODUCTIVE', 'PASS_THROUGH', 'NON_EFFECTIVE', 'LEASE', 'LEASE_IDLE', 'RESERVED_UNUSED', 'LICENCE',
            'BREAKAGE', 'PRIOR_PERIOD', 'ADJUSTMENT'
        )
    ),
    tenant_id uuid,
    model text,
    node_id uuid,
    provider_id uuid,
    product_line text NOT NULL,
    -- Of usage alone: what was metered, at which price, and why it is not effective where it is not.
    meter text,
    waste text CHECK (
        waste IN (
            'slo_miss', 'aborted', 'retry_dup', 'hedge_loser', 'spec_rejected', 'preempt_recompute', 'uncertified',
            'probe', 'refunded'
        )
    ),
    price_id uuid,
    -- Of refunds of an earlier period alone: which. As year * 100 + month, of the century.
    of_period smallint,
    PRIMARY KEY (shard, id),
    CONSTRAINT leaves_productive CHECK (
        bucket NOT IN ('PRODUCTIVE', 'NON_EFFECTIVE')
        OR (model IS NOT NULL AND node_id IS NOT NULL AND provider_id IS NOT NULL)
    ),
    CONSTRAINT leaves_prior_period CHECK ((bucket = 'PRIOR_PERIOD') = (of_period IS NOT NULL))
);

-- Transfers: one balanced debit and credit each. The first one of a linked group heads it: it alone says which event it is
-- (link_id, recipe), and the group goes on up to the next head. A group stands or falls as a whole.
CREATE TABLE ledger.transfers (
    seq bigint PRIMARY KEY,
    debit_account_id bigint NOT NULL,
    credit_account_id bigint NOT NULL,
    amount bigint NOT NULL,
    -- The transfer before this one over the same account, 0 when there is none: an account's history is walked backwards.
    debit_prev_seq bigint NOT NULL,
    credit_prev_seq bigint NOT NULL,
    leaf_id integer,
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 5),
    recipe smallint,
    -- The month that the group is booked in, as year * 100 + month of the century (2611 is November 2026).
    period smallint CHECK (period / 100 BETWEEN 0 AND 99 AND period % 100 BETWEEN 1 AND 12),
    pending_seq bigint,
    -- When it happened, where that is not when its block was made.
    event_at timestamptz,
    -- When the group's holds may be voided by the sweeper.
    expires_at timestamptz,
    -- The head of the group that this group takes back.
    reverses_seq bigint,
    -- What the event is about: a job, a lot, an invoice, a payment.
    link_id uuid,
    -- The first eight bytes of SHA-256 of the request: the same event with another body is a conflict.
    body bigint,
    -- Somebody else's name for the event, such as a payment's.
    reference text,
    CONSTRAINT transfers_amount CHECK (
        (kind <> 5 AND amount > 0 AND debit_account_id <> credit_account_id)
        OR (kind = 5 AND amount = 0 AND debit_account_id = 0 AND credit_account_id = 0 AND link_id IS NOT NULL)
    ),
    -- Both accounts are of one unit and of the transfer's shard.
    CONSTRAINT transfers_one_unit CHECK (
        debit_account_id / 1000000000 % 100000 = credit_account_id / 1000000000 % 100000
        AND (kind = 5 OR debit_account_id / 1000000000 % 100 = seq / 1000000000000000)
    ),
    CONSTRAINT transfers_pending CHECK ((pending_seq IS NOT NULL) = (kind IN (3, 4))),
    CONSTRAINT transfers_head CHECK (
        (link_id IS NULL) = (recipe IS NULL) AND (link_id IS NULL) = (body IS NULL) AND (link_id IS NULL) = (period IS NULL)
        AND (link_id IS NOT NULL OR (event_at IS NULL AND expires_at IS NULL AND reverses_seq IS NULL AND reference IS NULL))
    ),
    -- Every revenue leg (4000 to 4999) has its leaf, and so its bucket and dimensions, or is refused.
    CONSTRAINT transfers_revenue CHECK (
        kind IN (2, 4, 5)
        OR leaf_id IS NOT NULL
        OR (
            debit_account_id / 100000000000000 NOT BETWEEN 4000 AND 4999
            AND credit_account_id / 100000000000000 NOT BETWEEN 4000 AND 4999
        )
    )
);

-- Each event happens once.
CREATE UNIQUE INDEX transfers_once ON ledger.transfers (link_id, recipe) WHERE link_id IS NOT NULL;
-- A hold is resolved at most once.
CREATE UNIQUE INDEX transfers_resolve_once ON ledger.transfers (pending_seq) WHERE pending_seq IS NOT NULL;
-- A group is taken back at most once.
CREATE UNIQUE INDEX transfers_reverse_once ON ledger.transfers (reverses_seq) WHERE reverses_seq IS NOT NULL;

-- Tokens used: as append-only as money, and covered by the same block's hash. `seq` is the group's head.
CREATE TABLE ledger.usage_facts (
    seq bigint NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    amount bigint NOT NULL CHECK (amount >= 0),
    leaf_id integer NOT NULL,
    -- How long the deployment worked for it.
    compute_ms integer NOT NULL CHECK (compute_ms >= 0),
    -- 0, 1, 2 … within the group.
    line smallint NOT NULL CHECK (line >= 0),
    -- The lease's epoch: 1 for the first node, then one more each time another went on.
    segment smallint NOT NULL CHECK (segment >= 0),
    PRIMARY KEY (seq, line)
);

-- Capacity deployed: a share of a node, ready for a model or rented out, for a time. `seq` is the group's head.
CREATE TABLE ledger.capacity_facts (
    seq bigint NOT NULL,
    leaf_id integer NOT NULL,
    line smallint NOT NULL CHECK (line >= 0),
    share_ppm integer NOT NULL CHECK (share_ppm BETWEEN 1 AND 1000000),
    -- The whole node's nominal capacity, in thousandths of the reference unit.
    rcu_milli integer NOT NULL CHECK (rcu_milli >= 1),
    from_at timestamptz NOT NULL,
    to_at timestamptz NOT NULL,
    PRIMARY KEY (seq, line),
    CONSTRAINT capacity_facts_forward CHECK (to_at > from_at)
);

CREATE INDEX capacity_facts_from ON ledger.capacity_facts (from_at);

-- Accounts frozen, opened again, closed. `seq` is the group's head.
CREATE TABLE ledger.account_states (
    seq bigint NOT NULL,
    account_id bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'frozen', 'closed')),
    floor bigint CHECK ((floor IS NOT NULL) = (state = 'frozen') AND floor >= 0),
    PRIMARY KEY (seq, account_id)
);

-- Months closed. `seq` is the group's head. A month without a row is open; the latest row tells.
CREATE TABLE ledger.period_states (
    seq bigint NOT NULL,
    period smallint NOT NULL CHECK (period / 100 BETWEEN 0 AND 99 AND period % 100 BETWEEN 1 AND 12),
    state text NOT NULL CHECK (state IN ('open', 'soft', 'hard')),
    PRIMARY KEY (period, seq)
);

-- Balances on the way: what an account had after a transfer over it, every few hundred transfers. Derived, so that a balance
-- of the past is found without walking far; the verifier recomputes them.
CREATE TABLE ledger.checkpoints (
    account_id bigint NOT NULL,
    seq bigint NOT NULL,
    debits_posted bigint NOT NULL,
    credits_posted bigint NOT NULL,
    debits_pending bigint NOT NULL,
    credits_pending bigint NOT NULL,
    PRIMARY KEY (account_id, seq)
);

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger.% is append-only', TG_TABLE_NAME USING ERRCODE = 'TG001';
END
$$;

DO $$
DECLARE
    append_only text;
BEGIN
    FOREACH append_only IN ARRAY ARRAY[
        'transfers', 'blocks', 'leaves', 'usage_facts', 'capacity_facts', 'account_states', 'period_states', 'checkpoints',
        'units', 'recipes', 'kinds'
    ] LOOP
        EXECUTE format(
            'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.%I
             FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()',
            append_only
        );
    END LOOP;
END
$$;

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.accounts
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.shards
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Balances and states change only from within the insertion of transfers and states, one trigger deep.
CREATE FUNCTION ledger.refuse_direct_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'balances of ledger.accounts are moved by transfers alone' USING ERRCODE = 'TG001';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER moved_by_transfers BEFORE UPDATE ON ledger.accounts
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_direct_change();

-- Moves the balances of both accounts of every inserted transfer, in one statement.
--
-- The settings keep the planner on index lookups: left alone it hashes all of ledger.transfers to find a few holds, which
-- slows every block down as the table grows.
CREATE FUNCTION ledger.move_balances() RETURNS trigger
LANGUAGE plpgsql
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    misfit bigint;
    touched bigint;
    moved bigint;
    closed smallint;
BEGIN
    WITH moves AS MATERIALIZED (
        SELECT
            n.seq,
            n.debit_account_id,
            n.credit_account_id,
            CASE WHEN n.kind IN (1, 3) THEN n.amount ELSE 0 END AS posted,
            CASE n.kind WHEN 1 THEN 0 WHEN 2 THEN n.amount ELSE -p.amount END AS pending,
            n.pending_seq IS NOT NULL
                AND (
                    p.kind IS DISTINCT FROM 2::smallint
                    OR p.debit_account_id <> n.debit_account_id
                    OR p.credit_account_id <> n.credit_account_id
                    OR n.amount > p.amount
                    OR (n.kind = 4 AND n.amount <> p.amount)
                ) AS unfit
        FROM inserted n
        -- OFFSET keeps it a look-up by key for each row, whatever the planner believes of the table's size.
        LEFT JOIN LATERAL (SELECT * FROM ledger.transfers h WHERE h.seq = n.pending_seq OFFSET 0) p ON TRUE
        WHERE n.kind <> 5
    ),
    legs AS (
        SELECT seq, debit_account_id AS id, posted AS dr, 0::bigint AS cr, pending AS dr_held, 0::bigint AS cr_held
        FROM moves
        UNION ALL
        SELECT seq, credit_account_id, 0, posted, 0, pending
        FROM moves
    ),
    totals AS MATERIALIZED (
        SELECT
            id,
            sum(dr)::bigint AS dr,
            sum(cr)::bigint AS cr,
            sum(dr_held)::bigint AS dr_held,
            sum(cr_held)::bigint AS cr_held,
            max(seq) AS last_seq,
            count(*) AS transfers
        FROM legs
        GROUP BY id
    ),
    updated AS (
        UPDATE ledger.accounts a
        SET debits_posted = a.debits_posted + t.dr,
            credits_posted = a.credits_posted + t.cr,
            debits_pending = a.debits_pending + t.dr_held,
            credits_pending = a.credits_pending + t.cr_held,
            last_seq = t.last_seq,
            transfers_count = a.transfers_count + t.transfers
        FROM totals t
        WHERE a.id = t.id
        RETURNING 1
    )
    SELECT (SELECT min(seq) FROM moves WHERE unfit), (SELECT count(*) FROM totals), (SELECT count(*) FROM updated)
    INTO misfit, touched, moved;

    IF misfit IS NOT NULL THEN
        RAISE EXCEPTION 'transfer % does not fit the hold it resolves', misfit USING ERRCODE = 'TG002';
    END IF;
    IF touched <> moved THEN
        RAISE EXCEPTION '% of % accounts do not exist', touched - moved, touched USING ERRCODE = 'TG003';
    END IF;

    -- Leaves are numbered without gaps, so the last one tells whether all are there; to look each up would be a join whose plan
    -- is made while the table is empty and kept when it is not.
    PERFORM
    FROM (
        SELECT (seq / 1000000000000000)::smallint AS shard, min(leaf_id) AS least, max(leaf_id) AS greatest
        FROM inserted
        WHERE leaf_id IS NOT NULL
        GROUP BY 1
    ) n
    WHERE n.least < 1
        OR n.greatest > COALESCE((SELECT max(l.id) FROM ledger.leaves l WHERE l.shard = n.shard), 0);
    IF FOUND THEN
        RAISE EXCEPTION 'a leaf does not exist' USING ERRCODE = 'TG003';
    END IF;

    SELECT n.period INTO closed
    FROM (SELECT DISTINCT period FROM inserted WHERE period IS NOT NULL) n
    WHERE (SELECT s.state FROM ledger.period_states s WHERE s.period = n.period ORDER BY s.seq DESC LIMIT 1) = 'hard'
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'period % is closed', closed USING ERRCODE = 'TG006';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER move_balances AFTER INSERT ON ledger.transfers
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION ledger.move_balances();

-- Sets accounts to the states that were inserted.
CREATE FUNCTION ledger.set_states() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.accounts a
    SET state = n.state, floor = n.floor
    FROM (SELECT DISTINCT ON (account_id) * FROM inserted ORDER BY account_id, seq DESC) n
    WHERE a.id = n.account_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER set_states AFTER INSERT ON ledger.account_states
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION ledger.set_states();

-- Posts one block. Refuses a writer of an older epoch (TG004) and a block that does not follow the last one (TG005).
CREATE FUNCTION ledger.post_block(
    block ledger.blocks,
    new_accounts ledger.accounts[],
    new_leaves ledger.leaves[],
    new_transfers ledger.transfers[],
    new_usage ledger.usage_facts[],
    new_capacity ledger.capacity_facts[],
    new_states ledger.account_states[],
    new_periods ledger.period_states[],
    new_checkpoints ledger.checkpoints[]
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The lock on the shard's row makes a take-over wait for this commit, and this commit see a take-over.
    PERFORM FROM ledger.shards s WHERE s.shard = block.shard AND s.epoch = block.epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'shard % has a writer of a later epoch than %', block.shard, block.epoch USING ERRCODE = 'TG004';
    END IF;

    PERFORM
    FROM ledger.blocks b
    WHERE b.shard = block.shard
        AND b.height = block.height - 1
        AND b.hash = block.prev_hash
        AND b.at <= block.at
        AND b.first_seq + b.transfers_count = block.first_seq
        AND b.accounts_total + block.accounts_count = block.accounts_total
        AND b.leaves_total + block.leaves_count = block.leaves_total;
    IF NOT FOUND AND block.height > 1 THEN
        RAISE EXCEPTION 'block % of shard % does not follow the last one', block.height, block.shard
            USING ERRCODE = 'TG005';
    END IF;

    INSERT INTO ledger.blocks SELECT block.*;
    INSERT INTO ledger.leaves SELECT l.* FROM unnest(new_leaves) l;
    INSERT INTO ledger.accounts (
        id, block_height, code, normal_side, no_overdraft, unit, owner_id, lot_id, priority, expires_at
    )
    SELECT
        a.id, a.block_height, a.code, a.normal_side, a.no_overdraft, a.unit, a.owner_id, a.lot_id, a.priority, a.expires_at
    FROM unnest(new_accounts) a;
    INSERT INTO ledger.transfers SELECT t.* FROM unnest(new_transfers) t;
    INSERT INTO ledger.usage_facts SELECT f.* FROM unnest(new_usage) f;
    IF block.capacity_count > 0 THEN
        INSERT INTO ledger.capacity_facts SELECT f.* FROM unnest(new_capacity) f;
    END IF;
    IF block.states_count > 0 THEN
        INSERT INTO ledger.account_states SELECT s.* FROM unnest(new_states) s;
    END IF;
    IF block.periods_count > 0 THEN
        INSERT INTO ledger.period_states SELECT p.* FROM unnest(new_periods) p;
    END IF;
    INSERT INTO ledger.checkpoints SELECT c.* FROM unnest(new_checkpoints) c;
END
$$;

-- The journal as people read it: every transfer with its event, its words and its dimensions.
CREATE VIEW ledger.journal AS
SELECT
    t.seq,
    h.seq AS group_seq,
    h.link_id,
    r.recipe,
    k.kind,
    t.debit_account_id,
    t.credit_account_id,
    t.debit_account_id / 100000000000000 AS debit_code,
    t.credit_account_id / 100000000000000 AS credit_code,
    t.amount,
    u.unit,
    u.scale,
    t.pending_seq,
    h.reverses_seq,
    h.reference,
    h.period,
    COALESCE(h.event_at, b.at) AS event_at,
    h.expires_at,
    b.shard,
    b.height,
    b.hash,
    b.epoch,
    b.at,
    l.bucket,
    l.tenant_id,
    l.model,
    l.node_id,
    l.provider_id,
    l.product_line,
    l.of_period
FROM ledger.transfers t
CROSS JOIN LATERAL (
    SELECT g.* FROM ledger.transfers g WHERE g.seq <= t.seq AND g.link_id IS NOT NULL ORDER BY g.seq DESC LIMIT 1
) h
CROSS JOIN LATERAL (
    SELECT c.* FROM ledger.blocks c WHERE c.first_seq <= t.seq ORDER BY c.first_seq DESC LIMIT 1
) b
JOIN ledger.recipes r ON r.number = h.recipe
JOIN ledger.kinds k ON k.number = t.kind
LEFT JOIN ledger.units u ON u.number = t.debit_account_id / 100000000000 % 1000
LEFT JOIN ledger.leaves l ON l.shard = b.shard AND l.id = t.leaf_id;
