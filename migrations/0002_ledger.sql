-- The ledger: who holds what, and why. Append-only; balances are moved by the database from the same rows.
--
-- One writer a shard calls ledger.post_block once a block: one call, one transaction, one flush to disk. Row types of these
-- tables are the function's parameters, so the columns' order here is the order of the structs in ledger/src/row.rs.
CREATE SCHEMA ledger;

-- Fencing: the writer that raised the epoch last is the only one whose blocks are taken.
CREATE TABLE ledger.shards (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 9999),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0)
);

INSERT INTO ledger.shards (shard) VALUES (0);

-- An account's id begins with its code of the chart: code * 10^14 + shard * 10^10 + number.
CREATE TABLE ledger.accounts (
    id bigint PRIMARY KEY,
    shard smallint NOT NULL,
    block_height bigint NOT NULL,
    code smallint NOT NULL CHECK (code BETWEEN 1000 AND 9999),
    normal_side text NOT NULL CHECK (normal_side IN ('debit', 'credit')),
    no_overdraft boolean NOT NULL,
    unit text NOT NULL CHECK (unit ~ '^[A-Z]{3}$'),
    owner_id uuid,
    lot_id uuid,
    expires_at timestamptz,
    debits_posted_nanos bigint NOT NULL DEFAULT 0 CHECK (debits_posted_nanos >= 0),
    credits_posted_nanos bigint NOT NULL DEFAULT 0 CHECK (credits_posted_nanos >= 0),
    debits_pending_nanos bigint NOT NULL DEFAULT 0 CHECK (debits_pending_nanos >= 0),
    credits_pending_nanos bigint NOT NULL DEFAULT 0 CHECK (credits_pending_nanos >= 0),
    CONSTRAINT accounts_id CHECK (id / 100000000000000 = code AND id / 10000000000 % 10000 = shard),
    CONSTRAINT accounts_key UNIQUE NULLS NOT DISTINCT (owner_id, lot_id, code, unit, shard),
    -- What is posted less what is held never goes below zero, whatever races, retries or crashes happen.
    CONSTRAINT accounts_no_overdraft CHECK (
        NOT no_overdraft
        OR CASE normal_side
            WHEN 'credit' THEN credits_posted_nanos - debits_posted_nanos - debits_pending_nanos
            ELSE debits_posted_nanos - credits_posted_nanos - credits_pending_nanos
        END >= 0
    )
) WITH (fillfactor = 50);
CREATE INDEX accounts_opened ON ledger.accounts (shard, block_height);

-- Blocks: what one commit made durable, chained by SHA-256 (canonical form: ledger/src/block.rs).
CREATE TABLE ledger.blocks (
    shard smallint NOT NULL,
    height bigint NOT NULL CHECK (height >= 1),
    epoch bigint NOT NULL,
    at timestamptz NOT NULL,
    -- Groups are numbered 1, 2, 3 … in each shard; the block holds [first_group_seq, first_group_seq + groups_count).
    first_group_seq bigint NOT NULL CHECK (first_group_seq >= 1),
    groups_count integer NOT NULL CHECK (groups_count >= 1),
    accounts_count integer NOT NULL CHECK (accounts_count >= 0),
    transfers_count integer NOT NULL CHECK (transfers_count >= 0),
    facts_count integer NOT NULL CHECK (facts_count >= 0),
    -- Accounts of the shard after this block; the next account takes the next number.
    accounts_total bigint NOT NULL CHECK (accounts_total >= 0),
    -- No hold of an earlier group is open after this block, so a writer that starts looks no further back.
    open_from_seq bigint NOT NULL CHECK (open_from_seq >= 1),
    prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (shard, height),
    -- A block has one successor: the chain cannot fork.
    CONSTRAINT blocks_no_fork UNIQUE (shard, prev_hash)
);

-- Linked groups: one business event each, whose transfers stand or fall together.
CREATE TABLE ledger.groups (
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    block_height bigint NOT NULL,
    -- What it is about (a job, a lot, a top-up) and which recipe wrote it: each happens once.
    link_id uuid NOT NULL,
    recipe text NOT NULL,
    -- SHA-256 of the request: the same link and recipe with another body is a conflict.
    body_hash bytea NOT NULL CHECK (length(body_hash) = 32),
    event_at timestamptz NOT NULL,
    -- When the group's holds may be voided by the sweeper.
    expires_at timestamptz,
    -- Somebody else's name for the event, such as a payment's.
    reference text,
    PRIMARY KEY (shard, seq),
    CONSTRAINT groups_once UNIQUE (link_id, recipe)
);

-- Transfers: one balanced debit and credit each.
CREATE TABLE ledger.transfers (
    shard smallint NOT NULL,
    group_seq bigint NOT NULL,
    -- 0, 1, 2 … within the group.
    position smallint NOT NULL CHECK (position >= 0),
    id uuid NOT NULL,
    -- posted: moves money. pending: holds it. capture: moves at most what pending_id holds and releases the rest.
    -- void: releases all that pending_id holds; its amount is that whole hold's.
    kind text NOT NULL CHECK (kind IN ('posted', 'pending', 'capture', 'void')),
    debit_account_id bigint NOT NULL,
    credit_account_id bigint NOT NULL,
    amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
    pending_id uuid,
    bucket text CHECK (
        bucket IN (
            'PRODUCTIVE', 'PASS_THROUGH', 'NON_EFFECTIVE', 'LEASE', 'LEASE_IDLE', 'RESERVED_UNUSED', 'LICENCE',
            'BREAKAGE', 'PRIOR_PERIOD', 'ADJUSTMENT'
        )
    ),
    tenant_id uuid,
    model text,
    node_id uuid,
    provider_id uuid,
    product_line text,
    PRIMARY KEY (shard, group_seq, position),
    CONSTRAINT transfers_id UNIQUE (id),
    CONSTRAINT transfers_two_accounts CHECK (debit_account_id <> credit_account_id),
    CONSTRAINT transfers_pending CHECK ((pending_id IS NOT NULL) = (kind IN ('capture', 'void'))),
    -- Every revenue leg (4000 to 4999) carries its economics bucket and dimensions, or is refused.
    CONSTRAINT transfers_revenue CHECK (
        kind IN ('pending', 'void')
        OR (
            debit_account_id / 100000000000000 NOT BETWEEN 4000 AND 4999
            AND credit_account_id / 100000000000000 NOT BETWEEN 4000 AND 4999
        )
        OR (bucket IS NOT NULL AND tenant_id IS NOT NULL AND product_line IS NOT NULL)
    ),
    CONSTRAINT transfers_productive CHECK (
        bucket <> 'PRODUCTIVE' OR (model IS NOT NULL AND node_id IS NOT NULL AND provider_id IS NOT NULL)
    )
);

-- A hold is resolved at most once.
CREATE UNIQUE INDEX transfers_resolve_once ON ledger.transfers (pending_id) WHERE pending_id IS NOT NULL;

-- Tokens used: as append-only as money, and covered by the same block's hash.
CREATE TABLE ledger.usage_facts (
    shard smallint NOT NULL,
    group_seq bigint NOT NULL,
    job_id uuid NOT NULL,
    segment smallint NOT NULL CHECK (segment >= 0),
    meter text NOT NULL,
    tenant_id uuid NOT NULL,
    model text NOT NULL,
    node_id uuid NOT NULL,
    provider_id uuid NOT NULL,
    quantity bigint NOT NULL CHECK (quantity >= 0),
    price_id uuid NOT NULL,
    amount_nanos bigint NOT NULL CHECK (amount_nanos >= 0),
    event_at timestamptz NOT NULL,
    PRIMARY KEY (job_id, segment, meter)
);

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger.% is append-only', TG_TABLE_NAME USING ERRCODE = 'TG001';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.transfers
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.groups
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.blocks
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.usage_facts
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.accounts
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.shards
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Balances change only from within the insertion of transfers, one trigger deep.
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

-- Moves the balances of both accounts of every inserted transfer, in one statement ordered by account.
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
    bad uuid;
BEGIN
    SELECT n.id INTO bad
    FROM inserted n
    LEFT JOIN ledger.transfers p ON p.id = n.pending_id
    WHERE n.pending_id IS NOT NULL
        AND (
            p.kind IS DISTINCT FROM 'pending'
            OR p.debit_account_id <> n.debit_account_id
            OR p.credit_account_id <> n.credit_account_id
            OR n.amount_nanos > p.amount_nanos
            OR (n.kind = 'void' AND n.amount_nanos <> p.amount_nanos)
        )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transfer % does not fit the hold it resolves', bad USING ERRCODE = 'TG002';
    END IF;

    SELECT min(n.id::text)::uuid INTO bad
    FROM (SELECT DISTINCT ON (debit_account_id, credit_account_id) * FROM inserted) n
    LEFT JOIN ledger.accounts d ON d.id = n.debit_account_id AND d.shard = n.shard
    LEFT JOIN ledger.accounts c ON c.id = n.credit_account_id AND c.shard = n.shard
    WHERE d.unit IS NULL OR c.unit IS NULL OR d.unit <> c.unit;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'transfer % is not between two accounts of one unit and shard', bad USING ERRCODE = 'TG003';
    END IF;

    WITH moves AS (
        SELECT
            n.debit_account_id,
            n.credit_account_id,
            CASE WHEN n.kind IN ('posted', 'capture') THEN n.amount_nanos ELSE 0 END AS posted,
            CASE n.kind WHEN 'posted' THEN 0 WHEN 'pending' THEN n.amount_nanos ELSE -p.amount_nanos END AS pending
        FROM inserted n
        LEFT JOIN ledger.transfers p ON p.id = n.pending_id
    ),
    legs AS (
        SELECT debit_account_id AS id, posted AS dr, 0::bigint AS cr, pending AS dr_pending, 0::bigint AS cr_pending
        FROM moves
        UNION ALL
        SELECT credit_account_id, 0, posted, 0, pending
        FROM moves
    ),
    totals AS (
        SELECT
            id,
            sum(dr)::bigint AS dr,
            sum(cr)::bigint AS cr,
            sum(dr_pending)::bigint AS dr_pending,
            sum(cr_pending)::bigint AS cr_pending
        FROM legs
        GROUP BY id
        ORDER BY id
    )
    UPDATE ledger.accounts a
    SET debits_posted_nanos = a.debits_posted_nanos + t.dr,
        credits_posted_nanos = a.credits_posted_nanos + t.cr,
        debits_pending_nanos = a.debits_pending_nanos + t.dr_pending,
        credits_pending_nanos = a.credits_pending_nanos + t.cr_pending
    FROM totals t
    WHERE a.id = t.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER move_balances AFTER INSERT ON ledger.transfers
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION ledger.move_balances();

-- Posts one block. Refuses a writer of an older epoch (TG004) and a block that does not follow the last one (TG005).
CREATE FUNCTION ledger.post_block(
    block ledger.blocks,
    new_accounts ledger.accounts[],
    new_groups ledger.groups[],
    new_transfers ledger.transfers[],
    new_facts ledger.usage_facts[]
) RETURNS void
LANGUAGE plpgsql
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
        AND b.first_group_seq + b.groups_count = block.first_group_seq
        AND b.accounts_total + block.accounts_count = block.accounts_total;
    IF NOT FOUND AND block.height > 1 THEN
        RAISE EXCEPTION 'block % of shard % does not follow the last one', block.height, block.shard
            USING ERRCODE = 'TG005';
    END IF;

    INSERT INTO ledger.blocks SELECT block.*;

    INSERT INTO ledger.accounts (
        id, shard, block_height, code, normal_side, no_overdraft, unit, owner_id, lot_id, expires_at
    )
    SELECT
        a.id, a.shard, a.block_height, a.code, a.normal_side, a.no_overdraft, a.unit, a.owner_id, a.lot_id, a.expires_at
    FROM unnest(new_accounts) a;

    INSERT INTO ledger.groups SELECT g.* FROM unnest(new_groups) g;
    INSERT INTO ledger.transfers SELECT t.* FROM unnest(new_transfers) t;
    INSERT INTO ledger.usage_facts SELECT f.* FROM unnest(new_facts) f;
END
$$;
