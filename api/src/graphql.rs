//! The console's API, for programs too: GraphQL at `/graphql`, by POST and over WebSocket.
//!
//! Each noun has its file with its types, queries and mutations; this one only puts them together. Nothing here decides:
//! resolvers find the caller, call the use case and shape the answer. What every resolver can count on:
//!
//! - A field that can fail or is guarded is nullable, since a failed non-null field would be missing rather than null.
//! - An error carries `extensions {code, status, param, retryAfterMs}` with the words of [`crate::error`].
//! - A mutation that refuses says so in its payload's `refusal`; only a missing right or a fault of ours is an error.

mod account;
mod ask;
mod billing;
mod bound;
mod cell;
mod conviction;
mod earnings;
mod http;
mod identity;
mod job;
mod node;
mod output;
mod paging;
mod provider;
mod provider_node;
mod receipt;
mod refusal;
mod scalar;
mod socket;
mod submission;
mod usage;

use ::broker::Broker;
use async_graphql::{Context, MergedObject, MergedSubscription, SDLExportOptions, SchemaBuilder};
use primitives::clock::Clock;
use primitives::id::TenantId;
use sqlx::{PgPool, Postgres, Transaction};

pub use self::http::{Door, configure};
use self::output::Outputs;
use crate::account::Accounts;
use crate::auth::{Auth, Caller};
use crate::error::Error;
use crate::identity::Identity;
use crate::inference::Inference;
use crate::repo;
use crate::supply::Supply;

/// How deep a query may nest: the introspection query of common tools needs 15, our own screens half of that.
const DEPTH_MAX: usize = 15;
/// How much a query may cost: one for each field, a list's fields once for each entry of its page.
const COMPLEXITY_MAX: usize = 2_000;
/// Directives on one field.
const DIRECTIVES_MAX: usize = 4;

/// What the resolvers work with.
pub struct Parts {
    /// The database.
    pub pool: PgPool,
    /// Time.
    pub clock: Clock,
    /// People, tenants and keys.
    pub identity: Identity,
    /// Signing up and in.
    pub accounts: Accounts,
    /// Credentials to callers.
    pub auth: Auth,
    /// The use case.
    pub inference: Inference,
    /// Nodes and queues.
    pub broker: Broker,
    /// Providers and their nodes.
    pub supply: Supply,
}

/// What can be asked.
#[derive(Default, MergedObject)]
pub struct Query(
    identity::IdentityQuery,
    billing::BillingQuery,
    job::JobQuery,
    usage::UsageQuery,
    receipt::ReceiptQuery,
    node::NodeQuery,
    provider::ProviderQuery,
    provider_node::ProviderNodeQuery,
    ask::AskQuery,
    cell::CellQuery,
    earnings::EarningsQuery,
    conviction::ConvictionQuery,
);

/// What can be changed. A payload's `refusal` says why nothing was.
#[derive(Default, MergedObject)]
pub struct Mutation(
    account::AccountMutation,
    identity::IdentityMutation,
    submission::JobMutation,
    provider::ProviderMutation,
    provider_node::ProviderNodeMutation,
    ask::AskMutation,
    cell::CellMutation,
    conviction::ConvictionMutation,
);

/// What can be followed while it happens.
#[derive(Default, MergedSubscription)]
pub struct Subscription(output::JobSubscription);

/// The whole API; clones share it.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// The API over running parts.
pub fn schema(parts: Parts) -> Schema {
    builder().data(parts).data(Outputs::default()).finish()
}

/// The API's description in GraphQL's own language, as checked in at `web/schema.graphql`.
pub fn sdl() -> String {
    let style = SDLExportOptions::new().prefer_single_line_descriptions().use_space_ident();
    builder().finish().sdl_with_options(style)
}

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::default(), Mutation::default(), Subscription::default())
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX)
        .limit_directives(DIRECTIVES_MAX)
}

/// Who is asking. *Errors*: nobody in particular.
fn caller<'a>(ctx: &Context<'a>) -> Result<&'a Caller, Error> {
    ctx.data_opt().ok_or(Error::Unauthenticated)
}

/// The running parts.
fn parts<'a>(ctx: &Context<'a>) -> &'a Parts {
    ctx.data_unchecked()
}

/// What a tenant can see: what is read from it is the tenant's own, whatever is asked.
async fn view(ctx: &Context<'_>, tenant_id: TenantId) -> Result<Transaction<'static, Postgres>, Error> {
    Ok(repo::tenant_view(&parts(ctx).pool, tenant_id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal_of(query: &str) -> String {
        let response = refusal::named(builder().finish().execute(query).await);
        serde_json::to_string(&response.errors).unwrap()
    }

    #[test]
    fn the_description_needs_no_running_parts_and_stays_the_same() {
        let sdl = sdl();
        assert_eq!(sdl, super::sdl());
        for field in ["apiKeyCreate(", "jobTokens(", "receipt(", "balance:", "type Money {", "scalar BigInt"] {
            assert!(sdl.contains(field), "{field}");
        }
    }

    /// The fields of a type, each on one line with its arguments.
    fn fields(sdl: &str, name: &str) -> Vec<String> {
        let body = sdl.split(&format!("\ntype {name} {{\n")).nth(1).and_then(|rest| rest.split("\n}").next());
        let lines = body.unwrap_or_else(|| panic!("there is no type {name}")).lines().map(str::trim);
        let mut fields: Vec<String> = vec![];
        for line in lines.filter(|line| !line.starts_with('"')) {
            match fields.last_mut() {
                Some(open) if open.matches('(').count() > open.matches(')').count() => {
                    open.push(' ');
                    open.push_str(line);
                }
                _ => fields.push(line.to_owned()),
            }
        }
        fields
    }

    #[test]
    fn every_list_that_can_be_asked_for_is_a_connection() {
        let sdl = sdl();
        for field in fields(&sdl, "Query") {
            let given = field.rsplit(": ").next().unwrap();
            assert!(!given.starts_with('['), "{field} is a list that nobody can page");
            if given.ends_with("Connection") {
                let parts = fields(&sdl, given).join(" ");
                assert!(parts.contains("pageInfo: PageInfo!") && parts.contains("edges: ["), "{given}: {parts}");
                assert!(field.contains("first: Int") && field.contains("after: String"), "{field} cannot be paged");
            }
        }
    }

    #[test]
    fn every_change_takes_one_input_and_tells_in_its_payload_why_it_was_refused() {
        let sdl = sdl();
        for field in fields(&sdl, "Mutation") {
            let (head, payload) = field.rsplit_once(": ").unwrap();
            let (name, arguments) = head.split_once('(').unwrap_or((head, ""));
            let noun = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
            assert_eq!(payload, format!("{noun}Payload"));
            assert!(arguments.is_empty() || arguments == format!("input: {noun}Input!)"), "{field}");
            assert!(
                fields(&sdl, payload).contains(&"refusal: Refusal".to_owned()),
                "{payload} has no place for a refusal"
            );
        }
    }

    #[tokio::test]
    async fn a_query_that_nests_too_deep_is_refused() {
        let deep = format!(
            "{{ __schema {{ types {{ fields {{ type {} name {} }} }} }} }}",
            "{ ofType ".repeat(12),
            "}".repeat(12)
        );
        let errors = refusal_of(&deep).await;
        assert!(errors.contains("nested too deep") && errors.contains("invalid_value"), "{errors}");
    }

    #[tokio::test]
    async fn a_list_costs_its_fields_times_its_page() {
        let fields: String = (0..20).map(|n| format!("m{n}: model ")).collect();
        let page = |first| format!("{{ jobs(first: {first}) {{ nodes {{ {fields} }} }} }}");
        let errors = refusal_of(&page(100)).await;
        assert!(errors.contains("too complex"), "{errors}");
        let errors = refusal_of(&page(50)).await;
        assert!(errors.contains("missing_credential"), "{errors}");
    }

    #[tokio::test]
    async fn a_stranger_gets_nothing_but_the_word_that_nobody_signed_in() {
        let response = builder().finish().execute("{ me { id } }").await;
        assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"data":{"me":null}}"#);
        for query in [
            "{ apiKeys { nodes { id } } }",
            "{ balance { available { amount } } }",
            "{ models { nodes { id } } }",
            "{ nodes { nodes { id } } }",
            "{ jobs { nodes { id } } }",
            "{ job(id: \"job_1\") { id } }",
            "{ receipt(jobId: \"job_1\") { jobId } }",
            "mutation { sessionEnd { refusal { code } } }",
            "mutation { apiKeyCreate(input: {name: \"n\"}) { secret } }",
            "mutation { apiKeyRevoke(input: {id: \"key_1\"}) { id } }",
            "mutation { jobSubmit(input: {model: \"m\", messages: []}) { job { id } } }",
        ] {
            let errors = refusal_of(query).await;
            assert!(
                errors.contains(r#""code":"missing_credential""#) && errors.contains(r#""status":401"#),
                "{query}: {errors}"
            );
        }
    }

    #[tokio::test]
    async fn the_introspection_query_of_common_tools_passes() {
        let reference = format!("type {{ kind name {} }}", "ofType { kind name ".repeat(9) + &"}".repeat(9));
        let query = format!(
            "{{ __schema {{ types {{ name description fields(includeDeprecated: true) {{ name args {{ name {reference} }} {reference} }} }} }} }}"
        );
        let response = builder().finish().execute(query.as_str()).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
    }
}
