//! App tests: the whole system, met as its users, its nodes and its mishaps meet it.

// This file is compiled for tests only; the attribute says so to clippy, which lets tests unwrap.
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod authorization;
#[cfg(test)]
mod benches;
#[cfg(test)]
mod cached;
#[cfg(test)]
mod choices;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod completions;
#[cfg(test)]
mod console;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod drill;
#[cfg(test)]
mod economics;
#[cfg(test)]
mod embeddings;
#[cfg(test)]
mod first_look;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod graphql;
#[cfg(test)]
mod load;
#[cfg(test)]
mod market;
#[cfg(test)]
mod model;
#[cfg(test)]
mod money;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod openai;
#[cfg(test)]
mod privacy;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod reasoning;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod supervision;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod trust;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod usage;
