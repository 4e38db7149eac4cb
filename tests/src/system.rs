//! A whole system of a test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use broker::join_token;
use chrono::TimeDelta;
use primitives::clock::Clock;
use primitives::id::{Ids, ProviderId};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use crate::books;
use crate::client::Client;
use crate::control_plane::ControlPlane;
use crate::database::{Database, from_environment};
use crate::folder::Folder;
use crate::model;
use crate::node::{Node, NodeSettings, Place};
use crate::outbox::Outbox;
use crate::program::{outcome_of, output_of};
use crate::wait::eventually;

/// A control plane, its nodes, its database, its mail, and what the seed made.
#[derive(Debug)]
pub struct TestSystem {
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The nodes that were asked for, in order.
    pub nodes: Vec<Node>,
    /// The demo that `tokengrid seed` made.
    pub demo: Demo,
    /// Where its mail goes.
    pub outbox: Outbox,
    env: Vec<(String, String)>,
    starts: u32,
    database: Database,
    folder: Folder,
}

/// What `tokengrid seed --json` prints.
#[derive(Clone, Debug, Deserialize)]
pub struct Demo {
    /// The tenant, with credit and a key.
    pub tenant: DemoTenant,
    /// The provider.
    pub provider: Person,
    /// The operator.
    pub operator: Person,
    /// The model's name.
    pub model: String,
    /// A join token of the provider's.
    pub join_token: String,
}

/// The demo tenant's owner.
#[derive(Clone, Debug, Deserialize)]
pub struct DemoTenant {
    /// Address.
    pub email: String,
    /// Password, when the seed made the person.
    pub password: Option<String>,
    /// A key of the tenant's.
    pub api_key: String,
}

/// Somebody who can sign in.
#[derive(Clone, Debug, Deserialize)]
pub struct Person {
    /// Address.
    pub email: String,
    /// Password, when the seed made the person.
    pub password: Option<String>,
}

/// How a test's system differs from the usual one.
#[derive(Clone, Debug)]
pub struct Builder {
    env: Vec<(String, String)>,
    credit: String,
    nodes: Vec<NodeSettings>,
}

impl Builder {
    /// Sets an environment variable of the control plane.
    pub fn setting(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Gives the demo tenant this much, in US dollars.
    pub fn credit(mut self, dollars: &str) -> Self {
        self.credit = dollars.to_owned();
        self
    }

    /// Adds a node.
    pub fn node(mut self, settings: NodeSettings) -> Self {
        self.nodes.push(settings);
        self
    }

    /// Starts everything and waits until it is ready for requests.
    pub async fn start(self) -> TestSystem {
        let (database, folder) = (Database::create().await, Folder::create());
        let outbox = Outbox::start(Clock::system()).await.expect("there are free loopback ports");
        let mut env = environment(&database, &outbox);
        env.extend(self.env);
        migrate(&database).await;
        let model = model::folder().display().to_string();
        let seeded =
            output_of("tokengrid", &["seed", "--json", "--model", &model, "--credit", &self.credit], &env).await;
        let demo: Demo = serde_json::from_str(&seeded).expect("seed prints the demo as JSON");
        let control_plane = ControlPlane::start(&env, folder.join("control-plane-1.log")).await;
        let mut system = TestSystem { control_plane, nodes: vec![], demo, outbox, env, starts: 1, database, folder };
        system.credited().await;
        for settings in &self.nodes {
            system.add_node(settings).await;
        }
        system
    }
}

impl TestSystem {
    /// A control plane without nodes, and a tenant with 25 dollars.
    pub fn builder() -> Builder {
        Builder { env: vec![], credit: "25".to_owned(), nodes: vec![] }
    }

    /// The usual system: one node with the bundled model.
    pub async fn start() -> Self {
        Self::builder().node(NodeSettings::default()).start().await
    }

    /// The demo tenant's programs.
    pub fn client(&self) -> Client {
        self.stranger().with_key(&self.demo.tenant.api_key)
    }

    /// The demo tenant's programs, at another replica.
    pub fn client_of(&self, replica: &ControlPlane) -> Client {
        Client::new(replica.address).with_key(&self.demo.tenant.api_key)
    }

    /// Somebody without a key.
    pub fn stranger(&self) -> Client {
        Client::new(self.control_plane.address)
    }

    /// Starts another node with a join token of its own.
    pub async fn add_node(&mut self, settings: &NodeSettings) {
        self.add_node_by_way_of(self.control_plane.address, settings).await;
    }

    /// Starts another node with a join token of its own, which reaches the control plane at this address.
    pub async fn add_node_by_way_of(&mut self, address: SocketAddr, settings: &NodeSettings) {
        let token = self.join_token(TimeDelta::hours(1)).await;
        let state_dir = self.folder.join(format!("node-{}", self.nodes.len() + 1));
        self.start_node_at(format!("http://{address}"), settings, state_dir, Some(token)).await;
    }

    /// A person who signed in.
    pub async fn signed_in(&self, email: &str, password: &str) -> Client {
        const SIGN_IN: &str =
            "mutation($input: SessionCreateInput!) { sessionCreate(input: $input) { refusal { code } } }";
        let body = json!({"query": SIGN_IN, "variables": {"input": {"email": email, "password": password}}});
        let answer = self.stranger().post_raw("/graphql", body.to_string()).await.ok();
        let token = answer.session().unwrap_or_else(|| panic!("{email} was not signed in: {}", answer.body));
        self.stranger().with_key(token)
    }

    /// Joins a machine by `tokengrid-node join` with this token, and then lets it run.
    pub async fn join_and_run(&mut self, token: &str, settings: &NodeSettings) {
        let state_dir = self.folder.join(format!("node-{}", self.nodes.len() + 1));
        let (address, kept) = (format!("http://{}", self.control_plane.address), state_dir.display().to_string());
        let args = ["join", "--control-plane", &address, "--token", token, "--state-dir", &kept, "--json"];
        output_of("tokengrid-node", &args, &path_only()).await;
        self.start_node(settings, state_dir, None).await;
    }

    /// Starts another replica of the control plane on the same database, with a node of its own.
    pub async fn add_replica(&mut self, settings: &NodeSettings) -> ControlPlane {
        self.starts += 1;
        let log = self.folder.join(format!("control-plane-{}.log", self.starts));
        let replica = ControlPlane::start(&self.env, log).await;
        let token = self.join_token(TimeDelta::hours(1)).await;
        let state_dir = self.folder.join(format!("node-{}", self.nodes.len() + 1));
        self.start_node_at(format!("http://{}", replica.address), settings, state_dir, Some(token)).await;
        replica
    }

    /// Starts a node on a machine that has joined before.
    pub async fn add_joined_node(&mut self, state_dir: PathBuf) {
        self.start_node(&NodeSettings::default(), state_dir, None).await;
    }

    async fn start_node(&mut self, settings: &NodeSettings, state_dir: PathBuf, join_token: Option<String>) {
        self.start_node_at(self.url(), settings, state_dir, join_token).await;
    }

    async fn start_node_at(
        &mut self,
        control_plane: String,
        settings: &NodeSettings,
        state_dir: PathBuf,
        join_token: Option<String>,
    ) {
        let name = format!("node-{}", self.nodes.len() + 1);
        let log = self.folder.join(format!("{name}.log"));
        let place = Place { name: &name, control_plane, join_token, state_dir, log };
        self.nodes.push(Node::start(place, settings, &path_only()).await);
    }

    /// The control plane's address, as people and nodes write it.
    pub fn url(&self) -> String {
        format!("http://{}", self.control_plane.address)
    }

    /// The address of somebody whom only this test knows: limits of addresses outlive a test in Redis.
    pub fn email(&self, name: &str) -> String {
        format!("{name}@{}.example.com", self.database.name().replace('_', "-"))
    }

    /// A path in the test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new join token of the demo provider's; one that is valid for less than no time has expired.
    pub async fn join_token(&self, valid_for: TimeDelta) -> String {
        let mut connection = self.database().await;
        let clock = Clock::system();
        let provider_id: ProviderId = sqlx::query_scalar("SELECT id FROM broker.providers ORDER BY id LIMIT 1")
            .fetch_one(&mut connection)
            .await
            .expect("the seed made a provider");
        // Made two days ago, so that it can have expired since.
        let (made, lasts) = (clock.now() - TimeDelta::days(2), TimeDelta::days(2) + valid_for);
        let created = join_token::create(&mut connection, &Ids::random(clock), provider_id, lasts, made).await;
        created.expect("a join token can be made").1.expose_secret().to_owned()
    }

    /// Ends the control plane as a power cut would.
    pub async fn kill_control_plane(&mut self) {
        self.control_plane.program.kill().await;
    }

    /// Lets the control plane log in as the database's owner from its next start on.
    pub fn serve_as_owner(&mut self) {
        self.env.push(("DATABASE_URL".to_owned(), self.database.url()));
    }

    /// Starts the control plane again, on the same database and address, after it ended.
    pub async fn restart_control_plane(&mut self) {
        self.starts += 1;
        let SocketAddr::V4(address) = self.control_plane.address else { panic!("tests listen on 127.0.0.1") };
        let mut env = self.env.clone();
        env.push(("TOKENGRID_LISTEN".to_owned(), address.to_string()));
        let log = self.folder.join(format!("control-plane-{}.log", self.starts));
        self.control_plane = ControlPlane::start(&env, log).await;
    }

    /// A connection to the system's database, to look at rows.
    pub async fn database(&self) -> PgConnection {
        self.database.connect().await
    }

    /// Connections to the system's database, for a writer of the test's own while no control plane runs.
    pub async fn pool(&self) -> PgPool {
        PgPool::connect(&self.database.url()).await.expect("the test's database can be connected to")
    }

    /// Seeds again.
    pub async fn seed(&self, credit: &str) -> Demo {
        seed(&self.env, credit).await
    }

    /// Puts another model into the catalogue and starts a node that serves it.
    pub async fn add_model(&mut self, folder: PathBuf) {
        self.seed_model(&folder).await;
        self.add_node(&NodeSettings::default().model(folder)).await;
    }

    /// Takes another model into the catalogue.
    pub async fn seed_model(&self, folder: &Path) {
        let (done, told) =
            self.tokengrid(&["seed", "--json", "--model", &folder.display().to_string(), "--credit", "0"]).await;
        assert!(done, "the model was not seeded: {told}");
    }

    /// Migrates again, as the owner.
    pub async fn migrate(&self) {
        migrate(&self.database).await;
    }

    /// The control plane's environment variables.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.env.clone()
    }

    /// Runs `tokengrid` on the system's database to its end: whether it went well, and all that it printed.
    pub async fn tokengrid(&self, args: &[&str]) -> (bool, String) {
        let (status, printed, complaint) = outcome_of("tokengrid", args, &self.env).await;
        (status.success(), printed + &complaint)
    }

    /// Waits until no job runs, then proves that the books are right; a test of the running system ends with it.
    pub async fn end(self) {
        self.settled().await;
        self.balanced().await;
    }

    /// Waits until every job has ended.
    pub async fn settled(&self) {
        let mut connection = self.database().await;
        books::settled(&mut connection).await;
    }

    /// Proves that the books are right: the ledger's chain is whole, and jobs, usage and money say the same.
    pub async fn balanced(&self) {
        let (whole, verdict) = self.tokengrid(&["ledger", "verify"]).await;
        assert!(whole, "the ledger does not verify: {verdict}");
        books::check(&mut self.database().await).await;
    }

    /// Waits until the credit that the seed promised is in the ledger.
    async fn credited(&self) {
        let mut connection = self.database().await;
        let waiting = "SELECT count(*) FROM api.tenants WHERE credited_at IS NULL";
        let credited = async || (books::number(&mut connection, waiting).await == 0).then_some(());
        eventually("the demo tenant got its credit", credited).await;
    }
}

async fn migrate(database: &Database) {
    let owner = ("TOKENGRID_OWNER_DATABASE_URL".to_owned(), database.url());
    output_of("tokengrid", &["migrate"], &[owner]).await;
}

async fn seed(env: &[(String, String)], credit: &str) -> Demo {
    let model = model::folder().display().to_string();
    let seeded = output_of("tokengrid", &["seed", "--json", "--model", &model, "--credit", credit], env).await;
    serde_json::from_str(&seeded).expect("seed prints the demo as JSON")
}

fn environment(database: &Database, outbox: &Outbox) -> Vec<(String, String)> {
    let mut env = path_only();
    let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
    set("DATABASE_URL", database.service_url());
    set("REDIS_URL", from_environment("REDIS_URL"));
    set("TOKENGRID_LISTEN", "127.0.0.1:0".to_owned());
    set("TOKENGRID_METRICS_LISTEN", "127.0.0.1:0".to_owned());
    set("TOKENGRID_SECRET", "5e".repeat(32));
    // All tests knock from one address, and share a Redis.
    set("TOKENGRID_KNOCKS_PER_HOUR_MAX", "1000000".to_owned());
    set("TOKENGRID_SMTP_URL", outbox.smtp_url());
    set("TOKENGRID_MAIL_FROM", "Tokengrid <no-reply@localhost>".to_owned());
    set("TOKENGRID_LOG_JSON", "true".to_owned());
    env
}

fn path_only() -> Vec<(String, String)> {
    vec![("PATH".to_owned(), from_environment("PATH"))]
}
