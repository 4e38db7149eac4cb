//! The running control plane: its parts, its routes, its start and its end.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use anyhow::{Context, bail};
use broker::{Broker, BrokerTask};
use chrono::TimeDelta;
use ledger::{Pace, Replica, ReplicaTask, SHARD, proof};
use primitives::clock::Clock;
use primitives::id::Ids;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::account::Accounts;
use crate::auth::Auth;
use crate::cache_salt::CacheSalts;
use crate::catalogue::Catalogue;
use crate::challenge::Challenges;
use crate::config::{Database, Serve};
use crate::error::Error;
use crate::graphql::Door;
use crate::identity::Identity;
use crate::inference::Inference;
use crate::ledger::HeadKey;
use crate::limit::Limiter;
use crate::mail::Mailer;
use crate::peer::{self, PeerCarrier, PeerKey};
use crate::services::Services;
use crate::supply::Supply;
use crate::worker::Worker;
use crate::{console, graphql, inference, node_gateway, openai, telemetry, worker};

/// A connection whose peer acknowledges nothing for this long is closed, so that a client that never reads holds nothing.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long running jobs may take to end once the program is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// A control plane that serves.
pub struct ControlPlane {
    /// Where the APIs are.
    pub address: SocketAddr,
    /// Where the metrics are.
    pub metrics_address: SocketAddr,
    /// Where other replicas are told to ask this one.
    pub peer_address: String,
    server: Server,
    metrics: Server,
    peers: Server,
    inference: Inference,
    broker: BrokerTask,
    replica: ReplicaTask,
    worker: Worker,
    // Sends mail for as long as this lives.
    mail: JoinSet<()>,
}

/// Connects to the database.
pub async fn connect(database: &Database) -> anyhow::Result<PgPool> {
    let options = PgPoolOptions::new()
        .max_connections(database.database_connections_max)
        .acquire_timeout(Duration::from_secs(10));
    options.connect(database.database_url.expose_secret()).await.context("DATABASE_URL cannot be connected to")
}

/// Says it loudly when a mistake of this program could change the books, which its role should make impossible.
async fn warn_of_a_loose_role(pool: &PgPool) -> anyhow::Result<()> {
    if let Some(role) = ledger::loose_role(&mut *pool.acquire().await?).await? {
        tracing::warn!(
            database.role = role,
            "DATABASE_URL names a role that could change the books; name a login that is a member of tokengrid_service alone, \
             and the owner in TOKENGRID_OWNER_DATABASE_URL for `tokengrid migrate` (docs/ledger.md)"
        );
    }
    Ok(())
}

impl ControlPlane {
    /// Starts everything and binds the ports; what replicas that are gone left is brought to its end first.
    pub async fn start(config: &Serve, clock: Clock, ids: Ids) -> anyhow::Result<Self> {
        let metrics_handle = telemetry::start_metrics()?;
        let pool = connect(&config.database).await?;
        warn_of_a_loose_role(&pool).await?;
        let redis =
            redis::Client::open(config.redis_url.expose_secret()).context("REDIS_URL is not a Redis address")?;
        let redis = redis.get_connection_manager().await.context("REDIS_URL cannot be connected to")?;

        let peer_key = PeerKey::try_new(&config.secret)?;
        let (peer_listener, peer_address) = peer::listen(&config.peer)?;
        let carrier = Arc::new(PeerCarrier::try_new(&peer_key)?);
        let started = Replica::start(pool.clone(), clock.clone(), peer_address.clone(), carrier, Pace::default()).await;
        let (replica, replica_task) = started.context("the ledger cannot be reached")?;
        let peers = peer::serve(peer_listener, peer_key, replica.clone()).context("other replicas cannot be served")?;
        let ledger = replica.writer();
        worker::recover(&pool, &clock, &ledger).await?;
        let first_token_max = TimeDelta::milliseconds(config.first_token_ms_max.into());
        let settings = broker::Settings {
            // A job that names no deadline is as urgent as one that does.
            ageing: first_token_max,
            audits: config.market.audits(&config.secret),
            ..broker::Settings::default()
        };
        let (broker, broker_task) = Broker::start(pool.clone(), clock.clone(), settings);
        let auth = Auth::try_new(pool.clone(), clock.clone(), &config.secret)?;
        let catalogue = Catalogue::new(pool.clone());
        let limiter = Limiter::new(redis, clock.clone(), config.limits, config.knocks_per_hour_max);
        let (mailer, mail) = Mailer::start(&config.mail)?;
        let (credit, days) = (config.signup_credit, config.signup_credit_days);
        let identity = Identity::new(pool.clone(), clock.clone(), ids.clone(), ledger, credit, days);
        let accounts = Accounts {
            pool: pool.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            identity: identity.clone(),
            challenges: Challenges::new(pool.clone(), ids.clone(), config.secret.clone()),
            mailer,
            limiter: limiter.clone(),
        };
        let inference = Inference::new(inference::Parts {
            pool: pool.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            replica: replica.clone(),
            broker: broker.clone(),
            limiter,
            catalogue: catalogue.clone(),
            salts: CacheSalts::new(config.secret.clone()),
            first_token_max,
        });
        let supply = Supply::new(pool.clone(), clock.clone(), ids.clone(), broker.clone(), config.market.rules());
        let worker = Worker::start(pool.clone(), clock.clone(), identity.clone(), supply.clone(), replica.clone());
        let schema = graphql::schema(graphql::Parts {
            pool: pool.clone(),
            clock: clock.clone(),
            identity,
            accounts,
            auth: auth.clone(),
            inference: inference.clone(),
            broker: broker.clone(),
            supply: supply.clone(),
        });
        let sockets = TaskTracker::new();
        let services = Data::new(Services {
            pool,
            clock,
            ids,
            auth: auth.clone(),
            catalogue,
            inference: inference.clone(),
            broker,
            supply,
            replica,
            sockets,
        });
        let head_key = Data::new(HeadKey::try_new(&config.secret)?);
        let client_address_header = config.client_address_header.clone();
        let server = HttpServer::new(move || {
            let door = Door {
                schema: schema.clone(),
                auth: auth.clone(),
                client_address_header: client_address_header.clone(),
            };
            App::new()
                .app_data(services.clone())
                .app_data(head_key.clone())
                .configure(routes)
                .configure(|routes| graphql::configure(routes, door))
                .configure(console::configure)
                .default_service(web::to(|| async { Err::<HttpResponse, _>(Error::NotFound("route")) }))
        });
        // A client that closes its side has left: its job ends.
        let server = server.on_connect(tune_socket).h1_allow_half_closed(false).disable_signals().shutdown_timeout(5);
        let server = server.bind(config.listen);
        let server = server.with_context(|| format!("TOKENGRID_LISTEN: cannot listen on {}", config.listen))?;
        let address = server.addrs().first().copied().unwrap_or(config.listen);
        let metrics = telemetry::serve_metrics(config.metrics_listen, metrics_handle);
        let (metrics, metrics_address) = metrics.context("TOKENGRID_METRICS_LISTEN: cannot listen there")?;
        let (server, broker, replica) = (server.run(), broker_task, replica_task);
        Ok(Self {
            address,
            metrics_address,
            peer_address,
            server,
            metrics,
            peers,
            inference,
            broker,
            replica,
            worker,
            mail,
        })
    }

    /// Serves until `stop` resolves; then takes no more requests, lets running jobs end and settles them.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { server, metrics, peers, inference, broker, mut replica, worker, mail: _mail, .. } = self;
        let (serving, metrics_serving, peers_serving) = (server.handle(), metrics.handle(), peers.handle());
        let mut running = std::pin::pin!(async { tokio::try_join!(server, metrics, peers) });
        tokio::select! {
            ended = &mut running => {
                ended.context("the server stopped by itself")?;
            }
            () = replica.wait() => bail!("the watch over the other replicas ended by itself"),
            () = stop => {}
        }
        let ending = async {
            serving.pause().await;
            if tokio::time::timeout(DRAIN_TIMEOUT, inference.settle_all()).await.is_err() {
                tracing::warn!("jobs that outlast the drain are voided once this replica is gone");
            }
            // Closes the nodes' sockets, which would hold the server up.
            broker.stop().await;
            tokio::join!(serving.stop(true), metrics_serving.stop(false));
            worker.stop().await;
            // Last: other replicas ask this one's writer until it has handed the shard over.
            replica.shutdown().await;
            peers_serving.stop(true).await;
        };
        // The servers answer their handles only while they are polled.
        tokio::join!(ending, async { running.await.ok() });
        Ok(())
    }
}

/// The routes of the APIs and the node gateway.
fn routes(routes: &mut web::ServiceConfig) {
    routes
        .route("/healthz", web::get().to(|| async { HttpResponse::Ok().json(json!({"status": "alive"})) }))
        .route("/readyz", web::get().to(ready))
        .route("/ledger/head", web::get().to(ledger_head))
        .route("/nodes", web::get().to(node_gateway::open))
        .route("/v1/models", web::get().to(openai::models::list))
        .route("/v1/models/{id}", web::get().to(openai::models::get))
        .route("/v1/chat/completions", web::post().to(openai::chat::create))
        .route("/v1/completions", web::post().to(openai::completions::create))
        .route("/v1/embeddings", web::post().to(openai::embeddings::create));
}

/// Ready means that the database answers, and the ledger's writer, here or at another replica; the other parts were up before the
/// port was.
async fn ready(services: Data<Services>) -> Result<HttpResponse, Error> {
    services.pool.acquire().await?;
    services.replica.ready().await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// Where the ledger's chain ends, signed: for everyone, who can keep it and hold us to it.
async fn ledger_head(services: Data<Services>, key: Data<HeadKey>) -> Result<HttpResponse, Error> {
    let head = proof::head(&mut *services.pool.acquire().await?, SHARD).await?;
    Ok(HttpResponse::Ok().json(key.sign(&head.ok_or(Error::NotFound("block"))?)))
}

/// No waiting for full packets, and no end of waiting for a peer that is gone.
fn tune_socket(connection: &dyn Any, _: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<TcpStream>() {
        let tuned = stream.set_nodelay(true);
        let tuned = tuned.and_then(|()| socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT)));
        if let Err(error) = tuned {
            tracing::debug!(%error, "a socket keeps its default timing");
        }
    }
}
