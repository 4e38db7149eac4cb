-- Reading the books: what an account had after any transfer, what a month's groups are, whose payment a group was.

-- The groups of a month in their order. Heads alone, so about 28 bytes a group.
CREATE INDEX transfers_period ON ledger.transfers (period, seq) WHERE period IS NOT NULL;
-- Groups by somebody else's name for them. Jobs carry none, so it grows with payments and not with traffic.
CREATE INDEX transfers_reference ON ledger.transfers (reference, seq) WHERE reference IS NOT NULL;

-- What an account had once the transfer `at_seq` and all before it were posted, and which was the last one over it by then (0
-- for none). One row for an account that exists, none for another. Walks back no further than from one checkpoint to the next.
--
-- The settings keep its cached plans on primary keys: one made while the tables were small would scan them once they are not.
-- ROWS matters: for a thousand expected rows the queries around it would be compiled (jit), which takes seconds.
CREATE FUNCTION ledger.totals_at(
    account bigint,
    at_seq bigint,
    OUT last_seq bigint,
    OUT debits_posted bigint,
    OUT credits_posted bigint,
    OUT debits_pending bigint,
    OUT credits_pending bigint
) RETURNS SETOF record
LANGUAGE plpgsql
STABLE
ROWS 1
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    leg record;
BEGIN
    SELECT c.seq, c.debits_posted, c.credits_posted, c.debits_pending, c.credits_pending
    INTO last_seq, debits_posted, credits_posted, debits_pending, credits_pending
    FROM ledger.checkpoints c
    WHERE c.account_id = account AND c.seq >= at_seq
    ORDER BY c.seq
    LIMIT 1;
    IF NOT FOUND THEN
        SELECT a.last_seq, a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending
        INTO last_seq, debits_posted, credits_posted, debits_pending, credits_pending
        FROM ledger.accounts a
        WHERE a.id = account;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    WHILE last_seq > at_seq LOOP
        SELECT
            t.debit_account_id = account AS debited,
            CASE WHEN t.debit_account_id = account THEN t.debit_prev_seq ELSE t.credit_prev_seq END AS prev_seq,
            CASE WHEN t.kind IN (1, 3) THEN t.amount ELSE 0 END AS posted,
            CASE t.kind
                WHEN 1 THEN 0
                WHEN 2 THEN t.amount
                -- Whatever it takes of the hold, all of the hold ends.
                ELSE -(SELECT p.amount FROM ledger.transfers p WHERE p.seq = t.pending_seq)
            END AS pending
        INTO STRICT leg
        FROM ledger.transfers t
        WHERE t.seq = last_seq;
        IF leg.debited THEN
            debits_posted := debits_posted - leg.posted;
            debits_pending := debits_pending - leg.pending;
        ELSE
            credits_posted := credits_posted - leg.posted;
            credits_pending := credits_pending - leg.pending;
        END IF;
        last_seq := leg.prev_seq;
    END LOOP;
    RETURN NEXT;
END
$$;

-- All transfers of some groups, each with its group's first one, in their order. A group goes on up to the next head.
--
-- A function, because the planner takes such a range for a large part of the table, and compiles the query (jit) for seconds.
CREATE FUNCTION ledger.group_lines(heads bigint[]) RETURNS TABLE (
    head bigint,
    seq bigint,
    kind smallint,
    debit_account_id bigint,
    credit_account_id bigint,
    amount bigint,
    leaf_id integer
)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    first bigint;
BEGIN
    FOREACH first IN ARRAY heads LOOP
        RETURN QUERY
        SELECT first, t.seq, t.kind, t.debit_account_id, t.credit_account_id, t.amount, t.leaf_id
        FROM ledger.transfers t
        WHERE t.seq >= first
            AND t.seq < COALESCE(
                (
                    SELECT n.seq
                    FROM ledger.transfers n
                    WHERE n.seq > first AND n.link_id IS NOT NULL
                    ORDER BY n.seq
                    LIMIT 1
                ),
                9223372036854775807
            )
        ORDER BY t.seq;
    END LOOP;
END
$$;

-- What groups from transfer `edge` on moved that are booked in some months, by pair of accounts.
CREATE FUNCTION ledger.moved_late(months smallint[], edge bigint) RETURNS TABLE (
    debit_account_id bigint,
    credit_account_id bigint,
    amount numeric
)
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    heads bigint[];
    month smallint;
BEGIN
    FOREACH month IN ARRAY months LOOP
        heads := heads || ARRAY(
            SELECT t.seq FROM ledger.transfers t WHERE t.period = month AND t.seq >= edge ORDER BY t.period, t.seq
        );
    END LOOP;
    RETURN QUERY
    SELECT l.debit_account_id, l.credit_account_id, sum(l.amount)
    FROM ledger.group_lines(COALESCE(heads, '{}')) l
    WHERE l.kind IN (1, 3)
    GROUP BY 1, 2;
END
$$;

-- The oldest transfer over an account that the other side does not explain, first in, first out; NULL for an account at zero.
--
-- What was posted on one side explains what was posted on the other, the oldest first. So with a debit balance this is the
-- transfer that took the debits above all credits there are, and with a credit balance the other way round. Totals only
-- grow, so the first checkpoint above that mark, or else the present, is where it walks back from, at most to the one before.
CREATE FUNCTION ledger.oldest_unexplained(account bigint) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    on_debit boolean;
    explained bigint;
    at_seq bigint;
    total bigint;
    leg record;
BEGIN
    SELECT
        a.debits_posted > a.credits_posted,
        least(a.debits_posted, a.credits_posted),
        a.last_seq,
        greatest(a.debits_posted, a.credits_posted)
    INTO on_debit, explained, at_seq, total
    FROM ledger.accounts a
    WHERE a.id = account AND a.debits_posted <> a.credits_posted;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT c.seq, CASE WHEN on_debit THEN c.debits_posted ELSE c.credits_posted END AS total
    INTO leg
    FROM ledger.checkpoints c
    WHERE c.account_id = account AND CASE WHEN on_debit THEN c.debits_posted ELSE c.credits_posted END > explained
    ORDER BY c.seq
    LIMIT 1;
    IF FOUND THEN
        at_seq := leg.seq;
        total := leg.total;
    END IF;
    LOOP
        SELECT
            CASE WHEN t.debit_account_id = account THEN t.debit_prev_seq ELSE t.credit_prev_seq END AS prev_seq,
            CASE WHEN t.kind IN (1, 3) AND (t.debit_account_id = account) = on_debit THEN t.amount ELSE 0 END AS moved
        INTO STRICT leg
        FROM ledger.transfers t
        WHERE t.seq = at_seq;
        total := total - leg.moved;
        IF total <= explained THEN
            RETURN at_seq;
        END IF;
        at_seq := leg.prev_seq;
    END LOOP;
END
$$;

-- A month that is closed for good stays so, whoever writes.
CREATE FUNCTION ledger.refuse_reopening() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    closed smallint;
BEGIN
    SELECT n.period INTO closed
    FROM inserted n
    WHERE EXISTS (
        SELECT FROM ledger.period_states s WHERE s.period = n.period AND s.seq < n.seq AND s.state = 'hard'
    )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'period % is closed', closed USING ERRCODE = 'TG006';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER refuse_reopening AFTER INSERT ON ledger.period_states
REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_reopening();
