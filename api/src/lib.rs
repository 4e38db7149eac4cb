//! Who is asking, and for what?
//!
//! The room where requests come in and nodes are met. [`auth`] turns a credential into a caller, [`openai`] and
//! [`graphql`] turn the wire into a request, [`inference`] carries it through billing, ledger and broker, and
//! [`node_gateway`] speaks with the machines. HTTP and GraphQL types stop at those three doors.

pub mod account;
pub mod auth;
pub mod cache_salt;
pub mod catalogue;
pub mod challenge;
pub mod config;
pub mod console;
pub mod economics;
pub mod error;
pub mod graphql;
pub mod identity;
pub mod inference;
pub mod ledger;
pub mod limit;
pub mod mail;
pub mod node_gateway;
pub mod openai;
mod password;
pub mod peer;
mod repo;
pub mod seed;
pub mod server;
pub mod services;
pub mod supply;
pub mod telemetry;
pub mod worker;

use primitives::money::Currency;

/// The currency in which the platform sells.
pub const CURRENCY: Currency = Currency::USD;

/// The line of business in the token economics.
const PRODUCT_LINE: &str = "online";
