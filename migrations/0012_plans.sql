-- Plans that do not fall with the books' size, fewer bytes, and accounts below zero that can be frozen.

-- Posts one block. Refuses a writer of an older epoch (TG004) and a block that does not follow the last one (TG005).
--
-- The settings keep its cached plans on primary keys: one made while the tables were small would scan them once they are not.
-- What is empty is not inserted: to begin a statement costs as much as ten transfers do.
CREATE OR REPLACE FUNCTION ledger.post_block(
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
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    last ledger.blocks;
BEGIN
    -- The lock on the shard's row makes a take-over wait for this commit, and this commit see a take-over.
    PERFORM FROM ledger.shards s WHERE s.shard = block.shard AND s.epoch = block.epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'shard % has a writer of a later epoch than %', block.shard, block.epoch USING ERRCODE = 'TG004';
    END IF;

    -- In the order of its key and by nothing else: while there are few blocks, every index that begins with the shard seems as good.
    SELECT *
    INTO last
    FROM ledger.blocks b
    WHERE b.shard = block.shard AND b.height < block.height AND b.height >= block.height - 1
    ORDER BY b.height DESC
    LIMIT 1;
    IF block.height > 1
        AND NOT COALESCE(
            last.hash = block.prev_hash
                AND last.at <= block.at
                AND last.first_seq + last.transfers_count = block.first_seq
                AND last.accounts_total + block.accounts_count = block.accounts_total
                AND last.leaves_total + block.leaves_count = block.leaves_total,
            FALSE
        )
    THEN
        RAISE EXCEPTION 'block % of shard % does not follow the last one', block.height, block.shard
            USING ERRCODE = 'TG005';
    END IF;

    INSERT INTO ledger.blocks SELECT block.*;
    IF cardinality(new_leaves) > 0 THEN
        INSERT INTO ledger.leaves SELECT l.* FROM unnest(new_leaves) l;
    END IF;
    IF cardinality(new_accounts) > 0 THEN
        INSERT INTO ledger.accounts (
            id, block_height, code, normal_side, no_overdraft, unit, owner_id, lot_id, priority, expires_at
        )
        SELECT
            a.id, a.block_height, a.code, a.normal_side, a.no_overdraft, a.unit, a.owner_id, a.lot_id, a.priority,
            a.expires_at
        FROM unnest(new_accounts) a;
    END IF;
    INSERT INTO ledger.transfers SELECT t.* FROM unnest(new_transfers) t;
    IF cardinality(new_usage) > 0 THEN
        INSERT INTO ledger.usage_facts SELECT f.* FROM unnest(new_usage) f;
    END IF;
    IF cardinality(new_capacity) > 0 THEN
        INSERT INTO ledger.capacity_facts SELECT f.* FROM unnest(new_capacity) f;
    END IF;
    IF cardinality(new_states) > 0 THEN
        INSERT INTO ledger.account_states SELECT s.* FROM unnest(new_states) s;
    END IF;
    IF cardinality(new_periods) > 0 THEN
        INSERT INTO ledger.period_states SELECT p.* FROM unnest(new_periods) p;
    END IF;
    IF cardinality(new_checkpoints) > 0 THEN
        INSERT INTO ledger.checkpoints SELECT c.* FROM unnest(new_checkpoints) c;
    END IF;
END
$$;

-- Groups by somebody else's name for them. Recipes up to 5 carry a reason of ours there, which is read and not looked up by.
DROP INDEX ledger.transfers_reference;
CREATE INDEX transfers_reference ON ledger.transfers (reference, seq) WHERE reference IS NOT NULL AND recipe > 5;

-- An account that may be overdrawn may be frozen while it is: its floor is what it had, below zero too. One that may not never is
-- below zero, whatever floor it has.
ALTER TABLE ledger.account_states
    DROP CONSTRAINT account_states_check,
    ADD CONSTRAINT account_states_check CHECK ((floor IS NOT NULL) = (state = 'frozen'));
ALTER TABLE ledger.accounts
    DROP CONSTRAINT accounts_no_overdraft,
    ADD CONSTRAINT accounts_no_overdraft CHECK (
        NOT (no_overdraft OR floor IS NOT NULL)
        OR CASE normal_side
            WHEN 'credit' THEN credits_posted - debits_posted - debits_pending
            ELSE debits_posted - credits_posted - credits_pending
        END >= CASE WHEN no_overdraft THEN GREATEST(floor, 0) ELSE floor END
    );
