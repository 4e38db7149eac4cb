-- A ledger as most teams write it: accounts with a balance, two entries a transfer, row locks taken in the order of ids, one
-- call for each business event. Amounts are dollars. Correct, and as fast as this shape allows: pages have room for updates
-- in place, only the indexes that a statement of account needs, no foreign key without use.
CREATE TABLE accounts (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    may_overdraw boolean NOT NULL,
    balance numeric(20, 9) NOT NULL DEFAULT 0,
    held numeric(20, 9) NOT NULL DEFAULT 0 CHECK (held >= 0),
    CHECK (may_overdraw OR balance - held >= 0)
) WITH (fillfactor = 50);

CREATE TABLE transfers (
    id uuid PRIMARY KEY,
    amount numeric(20, 9) NOT NULL CHECK (amount > 0),
    created_at timestamptz NOT NULL
);

CREATE TABLE entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer_id uuid NOT NULL REFERENCES transfers (id),
    account_id bigint NOT NULL REFERENCES accounts (id),
    amount numeric(20, 9) NOT NULL CHECK (amount <> 0)
);
CREATE INDEX entries_account ON entries (account_id, id);

CREATE TABLE holds (
    id uuid PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts (id),
    amount numeric(20, 9) NOT NULL CHECK (amount > 0),
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'settled')),
    created_at timestamptz NOT NULL
) WITH (fillfactor = 80);

-- Writes down one transfer between accounts that are locked.
CREATE FUNCTION move(transfer uuid, payer bigint, payee bigint, sum numeric, moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts SET balance = balance - sum WHERE id = payer;
    UPDATE accounts SET balance = balance + sum WHERE id = payee;
    INSERT INTO transfers (id, amount, created_at) VALUES (transfer, sum, moment);
    INSERT INTO entries (transfer_id, account_id, amount) VALUES (transfer, payer, -sum), (transfer, payee, sum);
END
$$;

CREATE FUNCTION transfer(transfer uuid, payer bigint, payee bigint, sum numeric, moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM accounts WHERE id IN (payer, payee) ORDER BY id FOR UPDATE;
    PERFORM FROM accounts WHERE id = payer AND (may_overdraw OR balance - held >= sum);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'account % has too little', payer;
    END IF;
    PERFORM move(transfer, payer, payee, sum, moment);
END
$$;

CREATE FUNCTION hold(hold uuid, payer bigint, sum numeric, moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE accounts SET held = held + sum WHERE id = payer AND (may_overdraw OR balance - held >= sum);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'account % has too little', payer;
    END IF;
    INSERT INTO holds (id, account_id, amount, created_at) VALUES (hold, payer, sum, moment);
END
$$;

-- Takes what the job cost, frees the rest, credits the provider: two transfers.
CREATE FUNCTION settle(
    hold uuid, charge uuid, charged numeric, revenue bigint, share uuid, shared numeric, cost bigint, provider bigint,
    moment timestamptz
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    placed holds;
BEGIN
    SELECT * INTO placed FROM holds WHERE id = hold AND status = 'open' FOR UPDATE;
    IF NOT FOUND OR charged > placed.amount THEN
        RAISE EXCEPTION 'hold % does not cover the charge', hold;
    END IF;
    PERFORM FROM accounts WHERE id IN (placed.account_id, revenue, cost, provider) ORDER BY id FOR UPDATE;
    UPDATE holds SET status = 'settled' WHERE id = hold;
    UPDATE accounts SET held = held - placed.amount WHERE id = placed.account_id;
    PERFORM move(charge, placed.account_id, revenue, charged, moment);
    PERFORM move(share, cost, provider, shared, moment);
END
$$;
