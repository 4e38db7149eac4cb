//! A few seeds of the simulator on PostgreSQL; `cargo xtask sim ledger --postgres N` runs many.

use sqlx::PgPool;

#[sqlx::test(migrations = "../migrations")]
async fn dying_connections_and_writers_lose_and_double_nothing(pool: PgPool) {
    let outcome = ledger::sim::postgres::run(&pool, 1, 250).await.unwrap();
    assert!(outcome.kept > 50 && outcome.refused > 10 && outcome.faults > 0 && outcome.takeovers > 0, "{outcome:?}");
}

#[sqlx::test(migrations = "../migrations")]
async fn another_seed_loses_and_doubles_nothing_either(pool: PgPool) {
    ledger::sim::postgres::run(&pool, 2, 250).await.unwrap();
}
