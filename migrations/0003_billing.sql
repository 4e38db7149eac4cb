-- What the tenant pays. Owned by the room `billing`.
CREATE SCHEMA billing;

-- The price book: rows are never changed; a new price is a new row with a later `valid_from`.
CREATE TABLE billing.prices (
    id uuid PRIMARY KEY,
    model text NOT NULL CHECK (length(model) BETWEEN 1 AND 200),
    meter text NOT NULL CHECK (meter IN ('input', 'output')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- Atto-units (10^-18) of the currency for one unit of the meter.
    atto_per_unit numeric(28, 0) NOT NULL CHECK (atto_per_unit BETWEEN 0 AND 1000000000000000000),
    valid_from timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    -- A price never reaches back over jobs that ran.
    CHECK (valid_from >= created_at),
    UNIQUE (model, currency, meter, valid_from)
);

CREATE FUNCTION billing.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'billing.% is append-only: publish a new price instead', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER prices_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.prices
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change();
