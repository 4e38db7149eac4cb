-- The last leaf is looked up by its key. Asked for as the greatest of its shard, every leaf was read for every block whenever the plan was
-- made while there were few of them: any index that names the shard seemed as good. So the tenants' index holds tenants' leaves alone, and
-- is of no use to a look-up that names no tenant.
DROP INDEX ledger.leaves_of_tenant;
CREATE INDEX leaves_of_tenant ON ledger.leaves (tenant_id, shard, id) WHERE tenant_id IS NOT NULL;

-- Moves the balances of both accounts of every inserted transfer, and adds them to the totals of their month.
--
-- The settings keep the planner on index lookups: left alone it hashes all of ledger.transfers to find a few holds, which
-- slows every block down as the table grows.
CREATE OR REPLACE FUNCTION ledger.move_balances() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    of_shard smallint;
    newest smallint;
    earliest smallint;
    latest smallint;
    least_leaf integer;
    greatest_leaf integer;
    one_month boolean;
    misfit bigint;
    touched bigint;
    moved bigint;
    closed smallint;
BEGIN
    SELECT min(seq) / 1000000000000000, min(period), max(period), min(leaf_id), max(leaf_id)
    INTO of_shard, earliest, latest, least_leaf, greatest_leaf
    FROM inserted;
    SELECT max(m.period) INTO newest FROM ledger.months m WHERE m.shard = of_shard;
    -- As a rule every group of a block is booked in the month that runs.
    one_month := earliest = newest AND latest = newest;

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
        -- Accounts that were opened one after the other share a page.
        ORDER BY id
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
    ),
    booked AS (
        INSERT INTO ledger.month_totals AS m (shard, period, code_unit, debits, credits)
        SELECT of_shard, newest, id / 100000000000, sum(dr), sum(cr)
        FROM totals
        WHERE one_month AND (dr > 0 OR cr > 0)
        GROUP BY 3
        ON CONFLICT (shard, period, code_unit) DO UPDATE
        SET debits = m.debits + EXCLUDED.debits, credits = m.credits + EXCLUDED.credits
    )
    SELECT (SELECT min(seq) FROM moves WHERE unfit), (SELECT count(*) FROM totals), (SELECT count(*) FROM updated)
    INTO misfit, touched, moved;

    IF misfit IS NOT NULL THEN
        RAISE EXCEPTION 'transfer % does not fit the hold it resolves', misfit USING ERRCODE = 'TG002';
    END IF;
    IF touched <> moved THEN
        RAISE EXCEPTION '% of % accounts do not exist', touched - moved, touched USING ERRCODE = 'TG003';
    END IF;

    -- Leaves are numbered without gaps, so the last one tells whether all are there.
    IF least_leaf < 1
        OR greatest_leaf IS NOT NULL
            AND NOT EXISTS (SELECT FROM ledger.leaves l WHERE l.shard = of_shard AND l.id = greatest_leaf)
    THEN
        RAISE EXCEPTION 'a leaf does not exist' USING ERRCODE = 'TG003';
    END IF;

    IF one_month THEN
        SELECT s.state = 'hard' INTO one_month
        FROM ledger.period_states s
        WHERE s.period = newest
        ORDER BY s.seq DESC
        LIMIT 1;
        IF one_month THEN
            RAISE EXCEPTION 'period % is closed', newest USING ERRCODE = 'TG006';
        END IF;
        RETURN NULL;
    END IF;

    SELECT n.period INTO closed
    FROM (SELECT DISTINCT period FROM inserted WHERE period IS NOT NULL) n
    WHERE (SELECT s.state FROM ledger.period_states s WHERE s.period = n.period ORDER BY s.seq DESC LIMIT 1) = 'hard'
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'period % is closed', closed USING ERRCODE = 'TG006';
    END IF;

    -- Group by group: the head's month is the group's, and it is late once a later month has begun.
    WITH numbered AS MATERIALIZED (
        SELECT
            n.seq, n.period, n.debit_account_id, n.credit_account_id,
            CASE WHEN n.kind IN (1, 3) THEN n.amount ELSE 0 END AS posted,
            count(n.period) OVER (ORDER BY n.seq) AS nth,
            greatest(newest, max(n.period) OVER (ORDER BY n.seq)) AS begun
        FROM inserted n
    ),
    grouped AS (
        SELECT *, first_value(period) OVER (PARTITION BY nth ORDER BY seq) AS month FROM numbered
    ),
    begun AS (
        INSERT INTO ledger.months (shard, period, first_seq)
        SELECT of_shard, period, min(seq) FROM numbered WHERE period IS NOT NULL GROUP BY period
        ON CONFLICT (shard, period) DO NOTHING
    ),
    late AS (
        INSERT INTO ledger.late_groups (period, seq)
        SELECT period, seq FROM numbered WHERE period < begun
    )
    INSERT INTO ledger.month_totals AS m (shard, period, code_unit, debits, credits)
    SELECT of_shard, g.month, l.id / 100000000000, sum(l.dr), sum(l.cr)
    FROM grouped g
    CROSS JOIN LATERAL (VALUES (g.debit_account_id, g.posted, 0), (g.credit_account_id, 0, g.posted)) l (id, dr, cr)
    WHERE g.month IS NOT NULL AND g.posted > 0
    GROUP BY 2, 3
    ON CONFLICT (shard, period, code_unit) DO UPDATE
    SET debits = m.debits + EXCLUDED.debits, credits = m.credits + EXCLUDED.credits;
    RETURN NULL;
END
$$;
