//! No role that a running program holds changes the books, or what guards them.

use sqlx::PgPool;

use super::{Who, refusal, texts, value};
use crate::House;

/// What PostgreSQL says to whoever may not.
const NOT_ALLOWED: &str = "42501";

/// What can be tried on a table; `{t}` is the table and `{c}` one of its columns.
const ON_A_TABLE: [&str; 17] = [
    "INSERT INTO {t} DEFAULT VALUES",
    "INSERT INTO {t} SELECT * FROM {t}",
    "UPDATE {t} SET {c} = {c}",
    "DELETE FROM {t}",
    "MERGE INTO {t} USING (SELECT 1) one ON TRUE WHEN MATCHED THEN DELETE",
    "TRUNCATE {t}",
    "SELECT * FROM {t} FOR UPDATE",
    "LOCK TABLE {t} IN EXCLUSIVE MODE",
    "ALTER TABLE {t} DISABLE TRIGGER ALL",
    "ALTER TABLE {t} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {t} ADD COLUMN extra integer",
    "ALTER TABLE {t} OWNER TO CURRENT_USER",
    "CREATE INDEX ON {t} ({c})",
    "CREATE POLICY mine ON {t} USING (TRUE)",
    "CREATE RULE mine AS ON INSERT TO {t} DO INSTEAD NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "DROP TABLE {t} CASCADE",
];

/// What can be tried without a table.
const ELSEWHERE: [&str; 20] = [
    "SET session_replication_role = 'replica'",
    "SET row_security = off; SELECT count(*) FROM ledger.transfers",
    "CREATE TABLE ledger.mine (id integer)",
    "CREATE TABLE public.mine (id integer)",
    "CREATE TEMPORARY TABLE mine (id integer)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION ledger.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE OR REPLACE VIEW ledger.journal AS SELECT 1 AS one",
    "ALTER FUNCTION ledger.post_block SECURITY INVOKER",
    "DROP FUNCTION ledger.move_balances CASCADE",
    "DROP SCHEMA ledger CASCADE",
    "ALTER SCHEMA ledger OWNER TO CURRENT_USER",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA ledger GRANT ALL ON TABLES TO PUBLIC",
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "ALTER ROLE tokengrid_service SUPERUSER",
    "CREATE ROLE mine",
    "SELECT set_config('session_replication_role', 'replica', FALSE)",
    "COPY (SELECT 1) TO PROGRAM 'true'",
];

#[sqlx::test(migrations = "../migrations")]
async fn no_role_but_the_owner_changes_the_books_or_what_guards_them(owner: PgPool) {
    let house = House::open_as_service(&owner).await;
    house.top_up(100, "bank-1").await;
    let tables = texts(
        &owner,
        "SELECT c.oid::regclass::text FROM pg_class c
        WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1",
    )
    .await;
    assert!(tables.len() >= 13, "{tables:?}");
    let mut attempts = vec![];
    for table in &tables {
        let first =
            format!("SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum = 1");
        let column: String = value(&owner, &first).await;
        attempts.extend(ON_A_TABLE.map(|attempt| attempt.replace("{t}", table).replace("{c}", &column)));
    }
    let name: String = value(&owner, "SELECT quote_ident(CURRENT_USER)").await;
    attempts.extend(ELSEWHERE.map(|attempt| attempt.replace("{owner}", &name)));

    for who in Who::ALL {
        let pool = who.connect(&owner).await;
        for attempt in &attempts {
            let (code, message) = refusal(&pool, attempt).await;
            assert_eq!(code, NOT_ALLOWED, "{who:?}: {attempt}: {message}");
        }
        pool.close().await;
    }
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn the_functions_that_post_are_called_by_the_service_alone_and_the_inner_ones_by_nobody(owner: PgPool) {
    let callable = async |who: Who| {
        let pool = who.connect(&owner).await;
        texts(
            &pool,
            "SELECT p.proname::text FROM pg_proc p
            WHERE p.pronamespace::regnamespace::text IN ('ledger', 'api', 'billing', 'broker')
                AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(p.pronamespace, 'USAGE')
                AND (p.prosecdef OR p.provolatile = 'v')
            ORDER BY 1",
        )
        .await
    };
    assert_eq!(
        callable(Who::Service).await,
        ["beat", "bury", "group_end", "join_replica", "post_block", "raise_epoch"]
    );
    assert_eq!(callable(Who::Tenant).await, ["group_end"]);
    assert_eq!(callable(Who::Stranger).await, [""; 0]);

    let service = Who::Service.connect(&owner).await;
    for inner in ["move_balances", "refuse_change", "refuse_direct_change", "set_states"] {
        let (code, message) = refusal(&service, &format!("SELECT ledger.{inner}()")).await;
        assert_eq!(code, NOT_ALLOWED, "{inner}: {message}");
    }
    let tenant = Who::Tenant.connect(&owner).await;
    assert_eq!(refusal(&tenant, "SELECT ledger.raise_epoch(0::smallint, NULL)").await.0, NOT_ALLOWED);

    // What runs with the owner's rights is the owner's, and finds nothing under a name of somebody else's.
    let loose = "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
        WHERE s.nspname IN ('ledger', 'api', 'billing', 'broker') AND (p.prosecdef OR s.nspname = 'ledger')
            AND (p.proowner <> s.nspowner
                OR NOT COALESCE(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'])";
    assert_eq!(texts(&owner, loose).await, [""; 0]);
}

#[sqlx::test(migrations = "../migrations")]
async fn every_privilege_is_one_that_is_listed(owner: PgPool) {
    let held = async |who: Who, rooms: &str| {
        let pool = who.connect(&owner).await;
        let query = format!(
            "SELECT c.oid::regclass || ':' || string_agg(' ' || lower(p.name), '' ORDER BY p.place)
            FROM pg_class c
            JOIN pg_namespace s ON s.oid = c.relnamespace
            CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
                WITH ORDINALITY p (name, place)
            WHERE s.nspname IN ({rooms})
                AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
                AND has_schema_privilege(s.oid, 'USAGE')
                AND CASE
                    WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE, UPDATE')
                    WHEN p.name IN ('DELETE', 'TRUNCATE', 'TRIGGER') THEN has_table_privilege(c.oid, p.name)
                    ELSE has_any_column_privilege(c.oid, p.name)
                END
            GROUP BY c.oid
            ORDER BY 1"
        );
        texts(&pool, &query).await
    };
    let service = [
        "api.api_keys: select insert update",
        "api.email_challenges: select insert update delete",
        "api.projects: select insert",
        "api.roles: select insert",
        "api.sessions: select insert update",
        "api.tenants: select insert update",
        "api.users: select insert update",
        "billing.prices: select insert",
        "broker.asks: select insert",
        "broker.audits: select insert update",
        "broker.cell_events: select insert",
        "broker.cells: select insert update",
        "broker.certificates: select insert",
        "broker.convictions: select insert update",
        "broker.holdbacks: select insert update",
        "broker.jobs: select insert update",
        "broker.join_tokens: select insert update",
        "broker.leases: select insert update",
        "broker.models: select insert update",
        "broker.node_cells: select insert update",
        "broker.node_events: select insert",
        "broker.nodes: select insert update",
        "broker.presences: select insert update delete",
        "broker.provider_days: select insert update",
        "broker.provider_days_read: select insert update",
        "broker.providers: select insert",
        "broker.receipts: select insert",
    ];
    assert_eq!(held(Who::Service, "'api', 'billing', 'broker'").await, service);
    let of_the_books = held(Who::Service, "'ledger'").await;
    assert!(of_the_books.len() >= 14 && of_the_books.iter().all(|held| held.ends_with(": select")), "{of_the_books:?}");
    let tenant = [
        "api.api_keys: select",
        "api.projects: select",
        "billing.prices: select",
        "broker.jobs: select",
        "broker.leases: select",
        "ledger.account_states: select",
        "ledger.accounts: select",
        "ledger.blocks: select",
        "ledger.checkpoints: select",
        "ledger.kinds: select",
        "ledger.leaves: select",
        "ledger.recipes: select",
        "ledger.transfers: select",
        "ledger.units: select",
        "ledger.usage_facts: select",
    ];
    assert_eq!(held(Who::Tenant, "'api', 'billing', 'broker', 'ledger'").await, tenant);
    assert_eq!(held(Who::Stranger, "'api', 'billing', 'broker', 'ledger'").await, [""; 0]);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_writer_and_the_verifier_need_no_more_than_the_service(owner: PgPool) {
    let house = House::open_as_service(&owner).await;
    house.top_up(100, "bank-1").await;
    let job = house.job(50);
    house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
    house.writer.settle(house.settlement(job.job_id, 36, 20)).await.unwrap();
    let epoch = house.count("SELECT epoch FROM ledger.shards").await;
    let house = house.reopen().await;
    assert_eq!(house.count("SELECT epoch FROM ledger.shards").await, epoch + 1);
    house.top_up(1, "bank-2").await;
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_role_that_could_change_the_books_is_named(owner: PgPool) {
    let name: String = value(&owner, "SELECT CURRENT_USER::text").await;
    assert_eq!(ledger::loose_role(&mut owner.acquire().await.unwrap()).await.unwrap(), Some(name));
    for who in Who::ALL {
        let pool = who.connect(&owner).await;
        assert_eq!(ledger::loose_role(&mut pool.acquire().await.unwrap()).await.unwrap(), None, "{who:?}");
    }
    // One privilege is enough. The grant is this database's own.
    let grant = "GRANT UPDATE (amount) ON ledger.transfers TO tokengrid_test_service";
    sqlx::raw_sql(grant).execute(&owner).await.unwrap();
    let pool = Who::Service.connect(&owner).await;
    let named = ledger::loose_role(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(named.as_deref(), Some("tokengrid_test_service"));
}
