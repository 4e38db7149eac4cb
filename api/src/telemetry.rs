//! What operators see: log lines and metrics.

use std::net::SocketAddr;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error; `filter` such as `info,api=debug`.
pub fn start_logging(filter: &str, json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("TOKENGRID_LOG is not a log filter such as info or api=debug")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().init()
    } else {
        builder.init()
    }
    Ok(())
}

/// Starts recording metrics.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().context("metrics can be started once a process")
}

/// Serves `/metrics` for Prometheus; never on the public port.
pub fn serve_metrics(
    listen: SocketAddr,
    handle: PrometheusHandle,
) -> std::io::Result<(actix_web::dev::Server, SocketAddr)> {
    use actix_web::{App, HttpServer, web};
    let server = HttpServer::new(move || {
        let handle = handle.clone();
        App::new().route("/metrics", web::get().to(move || std::future::ready(handle.render())))
    });
    let server = server.workers(1).disable_signals().bind(listen)?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
}
