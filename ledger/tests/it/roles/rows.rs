//! A tenant sees its own rows: by query, and by row-level security when the query is wrong.

use primitives::id::{JobId, TenantId};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, PgPool, Postgres};

use super::{Who, refusal};
use crate::House;

/// What a tenant may read, and what of it is its own; `{}` is the tenant.
const OWN: [(&str, &str); 9] = [
    ("ledger.accounts", "owner_id = {}"),
    (
        "ledger.transfers",
        "EXISTS (SELECT FROM ledger.accounts a WHERE a.owner_id = {} AND a.id IN (debit_account_id, credit_account_id))
            OR EXISTS (SELECT FROM ledger.leaves l WHERE l.id = leaf_id AND l.tenant_id = {})",
    ),
    ("ledger.leaves", "tenant_id = {}"),
    ("ledger.usage_facts", "EXISTS (SELECT FROM ledger.leaves l WHERE l.id = leaf_id AND l.tenant_id = {})"),
    ("ledger.account_states", "EXISTS (SELECT FROM ledger.accounts a WHERE a.owner_id = {} AND a.id = account_id)"),
    ("broker.jobs", "tenant_id = {}"),
    ("broker.leases", "EXISTS (SELECT FROM broker.jobs j WHERE j.job_id = t.job_id AND j.tenant_id = {})"),
    ("api.projects", "tenant_id = {}"),
    ("api.api_keys", "tenant_id = {}"),
];

/// Two tenants with the same lives. The house is the second one's at the end.
async fn two_tenants(owner: &PgPool) -> (House, [(TenantId, JobId); 2]) {
    let mut house = House::open_as_service(owner).await;
    let mut lives = vec![];
    for number in 1..=2 {
        house.top_up(100, &format!("bank-{number}")).await;
        let job = house.job(50);
        house.writer.hold(job.clone()).await.unwrap().durable().await.unwrap();
        house.writer.settle(house.settlement(job.job_id, 36, 20)).await.unwrap();
        house.set_account(house.paid(), ledger::AccountState::Open).await;
        register(owner, number, house.tenant_id, job.job_id).await;
        lives.push((house.tenant_id, job.job_id));
        house.tenant_id = house.ids.next();
    }
    house.tenant_id = lives[1].0;
    (house, lives.try_into().unwrap())
}

/// What the other rooms keep of a tenant and its job.
async fn register(owner: &PgPool, number: u8, tenant_id: TenantId, job_id: JobId) {
    let (tenant, job) = (tenant_id.0, job_id.0);
    let now = "'2026-11-23T12:00:00Z'::timestamptz";
    let script = format!(
        "INSERT INTO api.tenants VALUES ('{tenant}', 'T{number}', {now}, 0, {now});
        INSERT INTO api.users VALUES ('{tenant}', 'p{number}@example.com', '$argon2id$', {now});
        INSERT INTO api.projects VALUES ('{tenant}', '{tenant}', 'first', {now});
        INSERT INTO api.api_keys (id, tenant_id, project_id, name, secret_sha256, hint, created_by, created_at)
        VALUES ('{tenant}', '{tenant}', '{tenant}', 'key', sha256('{tenant}'), 'abcd', '{tenant}', {now});
        INSERT INTO broker.jobs (job_id, tenant_id, project_id, model, class, status, body_sha256, prompt_tokens,
            output_tokens_max, input_price_id, output_price_id, currency, hold_nanos, received_at, replica_id)
        VALUES ('{job}', '{tenant}', '{tenant}', 'spark-1', 'interactive', 'admitted', sha256(''), 1, 1,
            '{job}', '{job}', 'USD', 50, {now}, 1);
        INSERT INTO broker.leases (job_id, epoch, node_id, provider_id, granted_at)
        VALUES ('{job}', 1, '{job}', '{job}', {now})"
    );
    sqlx::raw_sql(AssertSqlSafe(script)).execute(owner).await.unwrap();
}

/// A connection that reads for a tenant, or for one that nobody named.
async fn reader(tenants: &PgPool, tenant: &str) -> PoolConnection<Postgres> {
    let mut conn = tenants.acquire().await.unwrap();
    let set = sqlx::query("SELECT set_config('tokengrid.tenant_id', $1, FALSE)").bind(tenant);
    set.execute(&mut *conn).await.unwrap();
    conn
}

/// How many rows a query finds, and what they are.
async fn seen(conn: &mut sqlx::PgConnection, table: &str, condition: &str) -> (i64, String) {
    // A key's secret is not there to be read, and so no whole row is.
    let row = if table == "api.api_keys" { "t.id" } else { "t" };
    let query = format!(
        "SELECT count(*), COALESCE(string_agg({row}::text, ' ' ORDER BY {row}::text), '') FROM {table} AS t WHERE {condition}"
    );
    sqlx::query_as(AssertSqlSafe(query)).fetch_one(conn).await.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_query_without_a_condition_shows_a_tenant_its_own_rows_alone(owner: PgPool) {
    let (house, lives) = two_tenants(&owner).await;
    let tenants = Who::Tenant.connect(&owner).await;
    let mut all = owner.acquire().await.unwrap();
    for (tenant_id, _) in lives {
        let mut conn = reader(&tenants, &tenant_id.0.to_string()).await;
        for (table, own) in OWN {
            let own = own.replace("{}", &format!("'{}'", tenant_id.0));
            let wanted = seen(&mut all, table, &own).await;
            assert!(wanted.0 > 0 && wanted.0 < seen(&mut all, table, "TRUE").await.0, "{table}: {wanted:?}");
            assert_eq!(seen(&mut conn, table, "TRUE").await, wanted, "{table}");
        }
    }
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_reader_that_names_no_tenant_sees_nothing(owner: PgPool) {
    let (house, _) = two_tenants(&owner).await;
    let tenants = Who::Tenant.connect(&owner).await;
    let stranger = house.ids.next::<TenantId>().0.to_string();
    let mut unnamed = tenants.acquire().await.unwrap();
    for (table, _) in OWN {
        assert_eq!(seen(&mut unnamed, table, "TRUE").await.0, 0, "{table}");
    }
    drop(unnamed);
    for name in ["", &stranger] {
        let mut conn = reader(&tenants, name).await;
        for (table, _) in OWN {
            assert_eq!(seen(&mut conn, table, "TRUE").await.0, 0, "{table}");
        }
    }
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenant_reads_its_job_whole_and_nothing_of_anyone_elses(owner: PgPool) {
    let (house, [(first, first_job), (_, second_job)]) = two_tenants(&owner).await;
    let tenants = Who::Tenant.connect(&owner).await;
    let mut conn = reader(&tenants, &first.0.to_string()).await;
    let everything = ledger::link_transfers(&mut house.pool.acquire().await.unwrap(), first_job.0).await.unwrap();
    let own = ledger::link_transfers(&mut conn, first_job.0).await.unwrap();
    assert_eq!(own.len(), 3);
    assert_eq!(format!("{own:?}"), format!("{everything:?}"));
    assert_eq!(ledger::usage_facts(&mut conn, first_job).await.unwrap().len(), 2);

    assert_eq!(ledger::link_transfers(&mut conn, second_job.0).await.unwrap().len(), 0);
    assert_eq!(ledger::usage_facts(&mut conn, second_job).await.unwrap().len(), 0);
    let balance =
        ledger::balance(&mut conn, house.tenant_id, primitives::money::Currency::USD, house.clock.now()).await;
    assert_eq!(balance.unwrap().lots.len(), 0);

    for hidden in ["ledger.journal", "ledger.shards", "ledger.capacity_facts", "api.users", "broker.nodes"] {
        assert_eq!(refusal(&tenants, &format!("SELECT * FROM {hidden}")).await.0, "42501", "{hidden}");
    }
    assert_eq!(refusal(&tenants, "SELECT secret_sha256 FROM api.api_keys").await.0, "42501");
    house.close().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn row_level_security_leaves_a_tenant_its_indexes(owner: PgPool) {
    let (house, [(tenant_id, job_id), _]) = two_tenants(&owner).await;
    let tenants = Who::Tenant.connect(&owner).await;
    let mut conn = reader(&tenants, &tenant_id.0.to_string()).await;
    sqlx::raw_sql("SET enable_seqscan = off").execute(&mut *conn).await.unwrap();
    let job = format!("link_id = '{}'", job_id.0);
    for (table, condition, index) in [
        ("ledger.transfers", job.as_str(), "transfers_once"),
        ("ledger.transfers", "seq >= 3 AND seq < 9", "transfers_pkey"),
        ("ledger.usage_facts", "seq = 3", "usage_facts_pkey"),
        ("ledger.accounts", "TRUE", "accounts_key"),
        ("broker.jobs", "TRUE", "jobs_of_tenant"),
    ] {
        let query = format!("EXPLAIN SELECT * FROM {table} WHERE {condition}");
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut *conn).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{table} {condition}\n{plan}");
    }
    house.close().await;
}
