//! The serving part of `tokengrid-node run`: the engines, the node around them, and their end.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use engine::node::identity::Identity;
use engine::node::metrics::Endpoint;
use engine::node::readiness::Readiness;
use engine::node::serving::Serving;
use engine::node::{Node, machine, watchdog};
use engine::upstream::Key;
use engine::{Upstream, UpstreamConfig};
use primitives::certificate::Certificate;
use primitives::id::Ids;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::RunArgs;
use crate::supervisor::BROKEN;
use crate::{first_look, models, threads};

/// Serves until SIGTERM or SIGINT, then drains.
pub async fn run(args: RunArgs, ids: &Ids) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = match args.metrics_port {
        Some(port) => Some(Endpoint::open(port).await?),
        None => None,
    };
    metrics::gauge!("tokengrid_node_restarts").set(args.restarts.unwrap_or(0));
    let (drain, draining) = watch::channel(None);
    let readiness = Readiness::default();
    let serving = serve(&args, ids, draining, &readiness);
    let stopping = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(seconds_max = args.drain_seconds, "draining");
        readiness.draining();
        drain.send_replace(Some(Instant::now() + Duration::from_secs(args.drain_seconds)));
        std::future::pending::<()>().await;
    };
    let measuring = async {
        match metrics {
            Some(endpoint) => endpoint.serve(&readiness).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = serving => ended,
        () = stopping => Ok(()),
        () = measuring => Ok(()),
    };
    match ended {
        Err(error) if matches!(error.downcast_ref(), Some(engine::Error::EngineStopped { .. })) => {
            tracing::error!(error = %error, "an engine died");
            Ok(ExitCode::from(BROKEN))
        }
        ended => ended.map(|()| ExitCode::SUCCESS),
    }
}

async fn serve(
    args: &RunArgs,
    ids: &Ids,
    mut draining: watch::Receiver<Option<Instant>>,
    readiness: &Readiness,
) -> anyhow::Result<()> {
    let identity = Identity::open(&args.about.state_dir, ids)?;
    let joined = identity.membership().map(|membership| membership.control_plane.clone());
    let Some(control_plane) = args.control_plane.clone().or(joined) else {
        bail!("which control plane? give --control-plane, or run `tokengrid-node join` first");
    };
    let mut certificates = args.certificate.iter().map(|path| certificate(path)).collect::<anyhow::Result<Vec<_>>>()?;
    certificates.extend(first_look::certificates(args, &certificates).await);
    let upstreams = upstreams(args, ids)?;
    let (paths, sized) = (args.model.clone(), args.engine.clone());
    // Whoever asks for the readiness meanwhile is answered.
    let starting = tokio::task::spawn_blocking(move || models::serve(&paths, &sized));
    let mut engines: Vec<Arc<Serving>> = starting.await??.into_iter().map(Arc::new).collect();
    for upstream in upstreams {
        if let Err(reason) = upstream.condition() {
            tracing::info!(model = upstream.model_id(), reason, "waiting for an upstream");
        }
        tokio::select! {
            () = upstream.ready() => {}
            _ = draining.wait_for(Option::is_some) => return Ok(()),
        }
        engines.push(Arc::new(Serving::Upstream(upstream)));
    }
    let about = &args.about;
    let mut descriptor = machine::describe(about.name.clone(), about.tier, threads(args.engine.threads), &engines);
    if !args.reference.is_empty() {
        for (served, engine) in descriptor.models.iter_mut().zip(&engines) {
            let engine = engine.clone();
            served.speed = tokio::task::spawn_blocking(move || first_look::speed(&engine)).await?;
        }
    }
    // An empty variable of a compose file is no token.
    let join_token = args.join_token.clone().filter(|token| !token.is_empty());
    let watched = engines.clone();
    let readiness = readiness.clone();
    let node = Node { identity, control_plane, join_token, descriptor, certificates, engines, readiness };
    tokio::select! {
        ended = node.run(ids, draining) => Ok(ended?),
        model = watchdog::stuck(&watched, Duration::from_millis(args.step_ms_max)) => {
            tracing::error!(model, step_ms_max = args.step_ms_max, "a step of the engine does not end, the process does");
            // The library's own end would wait for that step.
            // SAFETY: nothing of this process is used again.
            unsafe { libc::_exit(i32::from(BROKEN)) }
        }
    }
}

fn certificate(path: &Path) -> anyhow::Result<Certificate> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no certificate of alignment", path.display()))
}

fn upstreams(args: &RunArgs, ids: &Ids) -> anyhow::Result<Vec<Upstream>> {
    let key = match &args.upstream_key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(Key(text.trim().to_owned()))
        }
        None => None,
    };
    if key.is_some() && args.upstream.iter().any(|upstream| upstream.url != args.upstream[0].url) {
        bail!("a key is for one address: run a node for each engine that asks for one");
    }
    let started = args.upstream.iter().map(|upstream| {
        let config = UpstreamConfig {
            name: upstream.name.clone(),
            key: key.clone(),
            slots: args.engine.slots,
            context_tokens: args.engine.context,
            ..UpstreamConfig::new(upstream.model.clone(), &upstream.url)
        };
        Ok(Upstream::start(config, ids)?)
    });
    started.collect()
}
