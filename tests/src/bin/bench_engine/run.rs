//! The order of things: sides take turns within a round, and change their order from round to round.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ::tests::bench::figure::{middle, short};
use ::tests::bench::processor::{self, Machine, own_and_children};
use tests::folder::Folder;

use crate::figures::Figures;
use crate::llama_server::LlamaServer;
use crate::models::{self, Aligned, Models};
use crate::node::{Node, Size};
use crate::plan::{COMPARED, DECLARED, Plan};
use crate::scene::{self, Writer, milliseconds};
use crate::side::{Server, Side};

/// Where programs are.
#[derive(Debug)]
pub struct Programs {
    pub node: PathBuf,
    pub llama_server: Option<PathBuf>,
}

/// All that came of a run.
#[derive(Debug)]
pub struct Measured {
    pub plan: Plan,
    pub figures: Figures,
    pub size_ratio: f64,
    pub aligned: Option<Aligned>,
    /// Of every round's first tokens at the declared load. *Units*: milliseconds.
    pub first_tokens: Vec<f64>,
    /// The declared load. *Units*: requests a second.
    pub declared: f64,
    pub threads: usize,
    /// The share of the processors that others took.
    pub others_share: f64,
    pub seconds: f64,
}

/// Servers of one size.
type Servers = Vec<(Side, Server)>;

/// Measures everything.
pub async fn measure(plan: Plan, programs: &Programs, folder: &Folder) -> anyhow::Result<Measured> {
    let (began, machine) = (Instant::now(), Machine::now(own_and_children()));
    let threads = processor::count();
    let models = Models::make(&plan, &programs.node, folder).await?;
    let size = Size { slots: plan.slots, context: plan.context, threads };
    let mut wide = start(programs, &models.quantised, size, folder).await?;
    let mut narrow = start(programs, &models.quantised, Size { slots: plan.sessions_slots, ..size }, folder).await?;
    let unbatched = Node::start(&programs.node, &models.original, Size { slots: 1, ..size }, folder).await?;
    let mut unbatched = vec![(Side::Unbatched, Server::Node(unbatched))];
    let mut run = Run { plan, figures: Figures::default(), first_tokens: Vec::new(), declared: 0.0, began };
    run.warm_up(wide.iter().chain(&narrow).chain(&unbatched)).await?;
    for round in 0..run.plan.rounds {
        run.round(round, &wide, &narrow, &unbatched).await?;
        for sides in [&mut wide, &mut narrow] {
            sides.reverse();
        }
    }
    drop((wide, narrow, std::mem::take(&mut unbatched)));
    let aligned = if run.plan.aligns { Some(models::align(&programs.node, folder).await?) } else { None };
    let Run { plan, figures, first_tokens, declared, .. } = run;
    Ok(Measured {
        plan,
        figures,
        size_ratio: models.size_ratio,
        aligned,
        first_tokens,
        declared,
        threads,
        others_share: Machine::now(own_and_children()).others_share_since(machine),
        seconds: began.elapsed().as_secs_f64(),
    })
}

async fn start(programs: &Programs, model: &Path, size: Size, folder: &Folder) -> anyhow::Result<Servers> {
    let mut servers = vec![(Side::Ours, Server::Node(Node::start(&programs.node, model, size, folder).await?))];
    if let Some(program) = &programs.llama_server {
        let server = LlamaServer::start(program, model, size, folder).await?;
        servers.push((Side::LlamaServer, Server::LlamaServer(server)));
    }
    Ok(servers)
}

struct Run {
    plan: Plan,
    figures: Figures,
    first_tokens: Vec<f64>,
    declared: f64,
    began: Instant,
}

impl Run {
    /// The first batch of a process touches memory that later ones find there.
    async fn warm_up(&self, servers: impl Iterator<Item = &(Side, Server)>) -> anyhow::Result<()> {
        for (_, server) in servers {
            scene::plain(server, &mut Writer::new(&self.plan, usize::MAX / 2_000, 0), 2, 1).await?;
        }
        Ok(())
    }

    async fn round(
        &mut self,
        round: usize,
        wide: &Servers,
        narrow: &Servers,
        unbatched: &Servers,
    ) -> anyhow::Result<()> {
        let plan = self.plan.clone();
        for (callers, each) in plan.plain.clone() {
            for (side, server) in wide {
                let before = spent(server).await?;
                let rate = scene::plain(server, &mut Writer::new(&plan, round, callers as u64), callers, each).await?;
                self.add(round, format!("plain, {callers} at once, tokens/s"), *side, rate);
                if let (Some(before), Some(after)) = (before, spent(server).await?) {
                    let share = 1.0 - (after.1 - before.1) / (after.0 - before.0);
                    self.add(round, format!("plain, {callers} at once, share outside decode"), *side, share);
                }
            }
        }
        for requests in plan.bursts.clone() {
            for (side, server) in wide {
                let mut writer = Writer::new(&plan, round, 100 + requests as u64);
                let (total, first) = scene::burst(server, &mut writer, requests).await?;
                self.add(round, format!("burst of {requests}, ms"), *side, total);
                self.add(round, format!("burst of {requests}, first token ms"), *side, first);
            }
        }
        for (side, server) in narrow {
            let took = scene::sessions(server, &mut Writer::new(&plan, round, 200)).await?;
            self.add(round, "sessions, ms", *side, took);
        }
        for (side, server) in wide {
            let gap = scene::gap(server, &mut Writer::new(&plan, round, 300)).await?;
            self.add(round, "longest gap, ms", *side, gap);
        }
        let ours = wide.iter().filter(|(side, _)| *side == Side::Ours);
        self.beside_the_unbatched(round, ours.chain(unbatched).collect()).await
    }

    /// What needs the same amount from ours and from the one that is not batched.
    async fn beside_the_unbatched(&mut self, round: usize, mut servers: Vec<&(Side, Server)>) -> anyhow::Result<()> {
        let plan = self.plan.clone();
        if round % 2 == 1 {
            servers.reverse();
        }
        let (callers, output) = (plan.callers, f64::from(plan.output));
        let saturated = format!("saturated by {callers}, tokens/s");
        for (side, server) in &servers {
            let rate = scene::plain(server, &mut Writer::new(&plan, round, 400), callers, 1).await?;
            self.add(round, saturated.clone(), *side, rate);
        }
        let most = self.figures.median(&saturated, Side::Unbatched).unwrap_or_default() / output;
        for (side, server) in &servers {
            let mut writer = Writer::new(&plan, round, 500);
            let answers = scene::arriving(server, &mut writer, plan.arrivals, COMPARED * most).await?;
            let lasting = answers.iter().skip(answers.len() / 4);
            let latencies = lasting.map(|answer| milliseconds(answer.latency())).collect();
            self.add(round, "median latency, ms", *side, middle(latencies).unwrap_or_default());
        }
        if let Some((_, server)) = servers.iter().find(|(side, _)| *side == Side::Ours) {
            // Declared once, from the first round.
            if self.declared == 0.0 {
                self.declared = DECLARED * self.figures.median(&saturated, Side::Ours).unwrap_or_default() / output;
            }
            let mut writer = Writer::new(&plan, round, 600);
            let answers = scene::arriving(server, &mut writer, plan.declared_arrivals, self.declared).await?;
            self.first_tokens.extend(answers.iter().map(|answer| milliseconds(answer.first_token())));
        }
        Ok(())
    }

    fn add(&mut self, round: usize, name: impl Into<String>, side: Side, figure: f64) {
        let name = name.into();
        let at = self.began.elapsed().as_secs();
        eprintln!("{at:>5} s  round {}: {}, {name}: {}", round + 1, side.name(), short(figure));
        self.figures.add(name, side, figure);
    }
}

/// What the serving loop of a node took so far, and of that the library's decode.
async fn spent(server: &Server) -> anyhow::Result<Option<(f64, f64)>> {
    match server {
        Server::Node(node) => node.spent().await.map(Some),
        Server::LlamaServer(_) => Ok(None),
    }
}
