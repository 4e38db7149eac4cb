//! What a node says of the machine it runs on.

use std::fs;
use std::sync::Arc;

use primitives::node_protocol::{NodeDescriptor, ServedModel, Tier};

use crate::backend::llama;
use crate::engine::Engine;

/// Describes this machine and the models it serves; `name` defaults to the host's.
pub fn describe(name: Option<String>, tier: Tier, threads: usize, engines: &[Arc<Engine>]) -> NodeDescriptor {
    NodeDescriptor {
        name: name.or_else(host_name).unwrap_or_else(|| "node".into()),
        tier,
        chip: chip().unwrap_or_else(|| std::env::consts::ARCH.into()),
        threads: threads as u32,
        memory_bytes: memory_bytes().unwrap_or(0),
        engine: llama::version(),
        version: env!("CARGO_PKG_VERSION").into(),
        models: engines.iter().map(|engine| served(engine)).collect(),
    }
}

fn served(engine: &Engine) -> ServedModel {
    let (model, config) = (engine.model(), engine.config());
    ServedModel {
        model: model.id.clone(),
        weights_sha256: model.sha256.clone(),
        quantisation: model.quantisation.clone(),
        context_tokens: config.context_tokens as u32,
        slots: config.slots as u32,
    }
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
