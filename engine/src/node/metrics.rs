//! Two pages on the loopback interface: metrics for Prometheus, and whether the node is ready.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::node::readiness::Readiness;

/// The longest request read. *Units*: bytes.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// How long one visit may take.
const VISIT_MAX: Duration = Duration::from_secs(2);

/// Collects this process's metrics and shows them.
pub struct Endpoint {
    listener: TcpListener,
    recorder: PrometheusHandle,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The port is taken.
    #[error("cannot listen on the metrics port")]
    Listen(#[from] std::io::Error),
    /// Another recorder is installed.
    #[error("cannot collect metrics")]
    Record(#[from] BuildError),
}

impl Endpoint {
    /// Starts collecting, and listens on 127.0.0.1.
    ///
    /// # Errors
    /// When the port is taken or metrics are collected already.
    pub async fn open(port: u16) -> Result<Self, EndpointError> {
        let recorder = PrometheusBuilder::new().install_recorder()?;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        Ok(Self { listener, recorder })
    }

    /// Answers one visitor at a time, for ever.
    pub async fn serve(self, readiness: &Readiness) {
        loop {
            match self.listener.accept().await {
                // A visitor that is slow or broken has its own loss.
                Ok((visitor, _)) => drop(timeout(VISIT_MAX, self.answer(visitor, readiness)).await),
                Err(error) => {
                    tracing::warn!(error = %error, "the metrics port refuses visitors");
                    sleep(VISIT_MAX).await;
                }
            }
        }
    }

    async fn answer(&self, mut visitor: TcpStream, readiness: &Readiness) -> std::io::Result<()> {
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
            if visitor.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let (status, page) =
            match request.strip_prefix(b"GET ").and_then(|rest| rest.split(|&byte| byte == b' ').next()) {
                Some(b"/metrics") => {
                    tell_memory();
                    ("200 OK", self.recorder.render())
                }
                Some(b"/readyz") => match readiness.check() {
                    Ok(()) => ("200 OK", "ready\n".into()),
                    Err(missing) => ("503 Service Unavailable", missing.join("\n") + "\n"),
                },
                _ => ("404 Not Found", "only /metrics and /readyz are here\n".into()),
            };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            page.len()
        );
        visitor.write_all(head.as_bytes()).await?;
        visitor.write_all(page.as_bytes()).await?;
        visitor.shutdown().await
    }
}

/// The memory that this process holds, by the name that Prometheus' own libraries give it.
fn tell_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    if let Some(kibibytes) = resident {
        let kibibytes: u32 = kibibytes;
        metrics::gauge!("process_resident_memory_bytes").set(f64::from(kibibytes) * 1024.0);
    }
}
