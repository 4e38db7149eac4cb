//! What a node says of the machine it runs on.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use primitives::node_protocol::{NodeDescriptor, Tier};

use crate::backend::llama;
use crate::node::serving::Serving;

/// Describes this machine and the models it serves; `name` defaults to the host's.
pub fn describe(name: Option<String>, tier: Tier, threads: usize, engines: &[Arc<Serving>]) -> NodeDescriptor {
    NodeDescriptor {
        name: name.or_else(host_name).unwrap_or_else(|| "node".into()),
        tier,
        chip: chip().unwrap_or_else(|| std::env::consts::ARCH.into()),
        threads: threads as u32,
        memory_bytes: memory_bytes().unwrap_or(0),
        engine: names(engines),
        version: env!("CARGO_PKG_VERSION").into(),
        models: engines.iter().map(|engine| engine.served()).collect(),
    }
}

/// The engines by name and version, each once; our own where there is none yet.
fn names(engines: &[Arc<Serving>]) -> String {
    let names: BTreeSet<String> = engines.iter().map(|engine| engine.engine()).collect();
    if names.is_empty() { llama::version() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
}

fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_string()).filter(|name| !name.is_empty())
}

/// The chip, as the vendor names it.
pub fn chip() -> Option<String> {
    value_of(&fs::read_to_string("/proc/cpuinfo").ok()?, "model name")
}

fn memory_bytes() -> Option<u64> {
    let total = value_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")?;
    let kibibytes: u64 = total.strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The value of the first `name : value` line.
fn value_of(text: &str, name: &str) -> Option<String> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_name() {
        let text = "processor\t: 0\nmodel name\t: Fast (R) 1\nmodel name\t: Fast (R) 2\n";
        assert_eq!(value_of(text, "model name").as_deref(), Some("Fast (R) 1"));
        assert_eq!(value_of(text, "flags"), None);
    }
}
