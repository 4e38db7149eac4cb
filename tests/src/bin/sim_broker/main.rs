//! `cargo xtask sim broker`: the production broker and published routers on the same requests, nodes and errors of knowledge.

mod agenda;
mod kind;
mod machine;
mod market;
mod outcome;
mod prefixes;
mod push;
mod rule;
mod scene;
mod search;
mod trace;

use std::path::PathBuf;

use clap::Parser;

use crate::kind::Fleet;
use crate::outcome::Figures;
use crate::scene::Scene;
use crate::trace::{Part, Trace};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim broker", version = None)]
struct Arguments {
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    #[arg(long)]
    fleet: Fleet,
    #[arg(long, default_value = "all")]
    policy: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value = "all")]
    part: Part,
    #[arg(long)]
    rate: Option<f64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let trace = Trace::read(&arguments.trace)?.part(arguments.part);
    let native = trace.rate();
    let run = |name: &str, rate: f64| {
        let scene = Scene::new(&trace.requests, rate / native, arguments.fleet, arguments.seed);
        let run = if name == "ours" {
            market::run(&scene)
        } else {
            let rule = rule::PUBLISHED.iter().find(|rule| rule.name == name).expect("a rule");
            push::run(&scene, rule.make(arguments.seed).as_mut())
        };
        Figures::of(rate, &trace.requests, &run.outcomes, run.cost)
    };
    for name in rule::PUBLISHED.iter().map(|rule| rule.name).chain(["ours"]) {
        if arguments.policy != "all" && !arguments.policy.split(',').any(|policy| policy == name) {
            continue;
        }
        let began = std::time::Instant::now();
        match arguments.rate {
            Some(rate) => println!("{name}: {:?}", run(name, rate)),
            None => {
                let best = search::highest(|rate| run(name, rate), 8.0);
                match best {
                    Some(best) => println!("{name}: {:.1} refused {:.3} p50 {:.3} p99 {:.3} cost {:.3} cached {:.3} gap {:.3} len {:.2?} ({:.1?})", best.rate, best.refused, best.first_token_p50_s, best.first_token_p99_s, best.cost_per_million, best.cached, best.fairness_gap, best.kept_by_length, began.elapsed()),
                    None => println!("{name}: never ({:.1?})", began.elapsed()),
                }
            }
        }
    }
    Ok(())
}
