-- Who may do what, refused by the database itself. docs/decisions/0011 says why; docs/ledger.md what an auditor makes of it.
--
-- The owner is whoever runs the migrations: it owns every schema. What serves is a login that is a member of tokengrid_service
-- and of nothing else. What a tenant reads is read as tokengrid_tenant, which sees one tenant's rows.

-- Roles belong to the whole cluster: another database's migrations may make them at the same instant.
DO $$
DECLARE
    missing text;
BEGIN
    FOREACH missing IN ARRAY ARRAY['tokengrid_service', 'tokengrid_tenant'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = missing) THEN
            BEGIN
                -- A member may become tokengrid_tenant, and has none of its policies before it does.
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', missing);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;
            END;
        END IF;
    END LOOP;

    IF EXISTS (
        SELECT FROM pg_roles
        WHERE rolname IN ('tokengrid_service', 'tokengrid_tenant')
            AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication OR rolcanlogin OR rolinherit)
    ) THEN
        RAISE EXCEPTION 'tokengrid_service and tokengrid_tenant must be without attributes'
            USING HINT = 'ALTER ROLE … NOLOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION';
    END IF;

    IF NOT pg_has_role('tokengrid_service', 'tokengrid_tenant', 'MEMBER') THEN
        BEGIN
            GRANT tokengrid_tenant TO tokengrid_service;
        EXCEPTION
            -- "tuple concurrently updated" is an internal error to PostgreSQL.
            WHEN unique_violation OR internal_error THEN
                NULL;
        END;
    END IF;

    -- An owner that serves as well (one role for everything) reads as a tenant too; one that may not grant it does not serve.
    IF NOT pg_has_role(CURRENT_USER, 'tokengrid_tenant', 'MEMBER') THEN
        BEGIN
            GRANT tokengrid_tenant TO CURRENT_USER;
        EXCEPTION
            WHEN insufficient_privilege OR unique_violation OR internal_error THEN
                NULL;
        END;
    END IF;
END
$$;

-- Nobody has anything by being somebody.
DO $$
DECLARE
    room text;
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    FOREACH room IN ARRAY ARRAY['api', 'billing', 'broker', 'ledger'] LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', room);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM PUBLIC', room);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', room);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO tokengrid_service, tokengrid_tenant', room);
    END LOOP;
END
$$;

-- The books: the service reads everything, and writes by ledger.post_block and ledger.raise_epoch alone. Tables that later
-- migrations of the same owner add can be read too; functions that they add must be taken from PUBLIC there.
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO tokengrid_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA ledger GRANT SELECT ON TABLES TO tokengrid_service;

-- Fences every earlier writer of a shard off, and tells the new epoch; none where there is no such shard. An epoch only rises.
CREATE FUNCTION ledger.raise_epoch(of_shard smallint) RETURNS bigint
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ledger.shards SET epoch = epoch + 1 WHERE shard = of_shard RETURNING epoch
$$;

-- Where the group that a transfer heads is over: the next head's number. For readers who do not see the next head.
CREATE FUNCTION ledger.group_end(head_seq bigint) RETURNS bigint
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT COALESCE(
        (SELECT t.seq FROM ledger.transfers t WHERE t.seq > head_seq AND t.link_id IS NOT NULL ORDER BY t.seq LIMIT 1),
        9223372036854775807
    )
$$;

REVOKE ALL ON FUNCTION ledger.raise_epoch, ledger.group_end FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    ledger.post_block, ledger.raise_epoch, ledger.group_end,
    ledger.totals_at, ledger.group_lines, ledger.moved_late, ledger.oldest_unexplained
TO tokengrid_service;
-- Of those that read with the reader's rights, this one stays within one account, which is a tenant's as a whole.
GRANT EXECUTE ON FUNCTION ledger.group_end, ledger.totals_at TO tokengrid_tenant;

-- What runs with the owner's rights, in a trigger too, finds nothing under another name.
DO $$
DECLARE
    inner_one regprocedure;
BEGIN
    FOR inner_one IN SELECT oid FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp', inner_one);
    END LOOP;
END
$$;

-- The other rooms: no schema, no trigger, no truncation, and rows go only where rows are meant to go.
GRANT SELECT, INSERT ON
    api.projects, api.roles, billing.prices, broker.asks, broker.providers, broker.receipts
TO tokengrid_service;
GRANT SELECT, INSERT, UPDATE ON
    api.api_keys, api.sessions, api.tenants, api.users,
    broker.jobs, broker.join_tokens, broker.leases, broker.models, broker.nodes
TO tokengrid_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON api.email_challenges TO tokengrid_service;

-- What a tenant reads. Dimensions, blocks and prices are the same for everybody; a key's secret is nobody's to read, hashed or not.
GRANT SELECT ON
    ledger.accounts, ledger.transfers, ledger.usage_facts, ledger.leaves, ledger.checkpoints, ledger.account_states,
    ledger.blocks, ledger.kinds, ledger.recipes, ledger.units,
    billing.prices, broker.jobs, broker.leases, api.projects
TO tokengrid_tenant;
GRANT SELECT (id, tenant_id, project_id, name, hint, created_by, created_at, expires_at, revoked_at, last_used_at)
ON api.api_keys TO tokengrid_tenant;

-- A tenant's leaves, for the conditions below.
CREATE INDEX leaves_of_tenant ON ledger.leaves (tenant_id, shard, id);

-- Rows. The service sees all of them. The tenant that asks stands in the setting tokengrid.tenant_id of the transaction; after
-- one that set it, PostgreSQL leaves an empty text. Each condition is computed once a statement, not once a row.
DO $$
DECLARE
    asking constant text := '(SELECT NULLIF(current_setting(''tokengrid.tenant_id'', TRUE), '''')::uuid)';
    own_accounts constant text := '(SELECT a.id FROM ledger.accounts a WHERE a.owner_id = ' || asking || ')';
    of_its_leaf constant text := 'EXISTS (SELECT FROM ledger.leaves l
        WHERE l.shard = seq / 1000000000000000 AND l.id = leaf_id AND l.tenant_id = %s)';
    policy record;
BEGIN
    FOR policy IN
        SELECT *
        FROM (VALUES
            ('ledger.accounts'::regclass, 'owner_id = ' || asking),
            ('ledger.checkpoints', 'account_id IN ' || own_accounts),
            ('ledger.account_states', 'account_id IN ' || own_accounts),
            ('ledger.leaves', 'tenant_id = ' || asking),
            -- Whose a fact is, its leaf tells.
            ('ledger.usage_facts', format(of_its_leaf, asking)),
            -- Over an account of the tenant's, or made of its revenue, such as a provider's share; a note moves nothing and is
            -- the tenant's whose facts it heads.
            ('ledger.transfers',
                'debit_account_id IN ' || own_accounts || ' OR credit_account_id IN ' || own_accounts
                || ' OR ' || format(of_its_leaf, asking)
                || ' OR (kind = 5 AND EXISTS (SELECT FROM ledger.usage_facts f WHERE f.seq = transfers.seq))'),
            ('broker.jobs', 'tenant_id = ' || asking),
            ('broker.leases',
                'EXISTS (SELECT FROM broker.jobs j WHERE j.job_id = leases.job_id AND j.tenant_id = ' || asking || ')'),
            ('api.projects', 'tenant_id = ' || asking),
            ('api.api_keys', 'tenant_id = ' || asking)
        ) AS listed (of_table, shown)
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', policy.of_table);
        EXECUTE format(
            'CREATE POLICY service ON %s FOR ALL TO tokengrid_service USING (TRUE) WITH CHECK (TRUE)', policy.of_table
        );
        EXECUTE format('CREATE POLICY own ON %s FOR SELECT TO tokengrid_tenant USING (%s)', policy.of_table, policy.shown);
    END LOOP;
END
$$;

-- Seen with the reader's rights. No tenant reads it: the head of a row may be hidden from a tenant, and another would seem to
-- head it.
ALTER VIEW ledger.journal SET (security_invoker = TRUE);
