//! The control plane as a child process.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::program::Program;

/// A `tokengrid serve` that serves.
#[derive(Debug)]
pub struct ControlPlane {
    /// The process.
    pub program: Program,
    /// Where its APIs are.
    pub address: SocketAddr,
    /// Where its metrics are.
    pub metrics: SocketAddr,
    /// Where other replicas ask it.
    pub peers: SocketAddr,
}

impl ControlPlane {
    /// Starts it and waits until it serves.
    pub async fn start(env: &[(String, String)], log: PathBuf) -> Self {
        let mut program = Program::start("tokengrid", &["serve".to_owned()], env, log);
        let fields = program.logged("the control plane serves", 1).await;
        let address = |name: &str| {
            let text = fields[name].as_str().expect("the line names the address");
            text.parse().expect("an address and a port")
        };
        Self { address: address("address"), metrics: address("metrics"), peers: address("peers"), program }
    }
}
