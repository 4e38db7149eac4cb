//! Who may do what: every field of GraphQL and every route, found by listing them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tests::client::Client;
use tests::model::workspace;
use tests::system::TestSystem;

/// Who may use a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Anybody: it opens a session, or tells a caller who they are.
    Anybody,
    /// A person or a program, of whichever side.
    Caller,
    /// Any person who signed in.
    Person,
    /// A tenant's person or program.
    Tenant,
    /// A tenant's person; no program.
    TenantPerson,
    /// A provider's owner.
    Provider,
    /// Who looks after the platform.
    Operator,
    /// A provider's owner for what is theirs, or an operator.
    Steward,
}

/// Every field of a query, a mutation and a subscription. A new one is refused by the test below until it stands here.
const FIELDS: [(&str, Who); 44] = [
    ("apiKeyCreate", Who::TenantPerson),
    ("apiKeyRevoke", Who::TenantPerson),
    ("apiKeys", Who::Tenant),
    ("appealCreate", Who::Provider),
    ("appealDecide", Who::Operator),
    ("askPublish", Who::Provider),
    ("asks", Who::Steward),
    ("balance", Who::Tenant),
    ("cellResume", Who::Operator),
    ("cellSuspend", Who::Operator),
    ("cells", Who::Steward),
    ("certificateAdd", Who::Operator),
    ("convictions", Who::Steward),
    ("job", Who::Tenant),
    ("jobCancel", Who::Tenant),
    ("jobSubmit", Who::Tenant),
    ("jobTokens", Who::Tenant),
    ("jobs", Who::Tenant),
    ("joinTokenCreate", Who::Provider),
    ("joinTokenRevoke", Who::Provider),
    ("joinTokens", Who::Provider),
    ("me", Who::Anybody),
    ("models", Who::Caller),
    ("nodeDrain", Who::Steward),
    ("nodeHistory", Who::Steward),
    ("nodeRename", Who::Steward),
    ("nodeResume", Who::Operator),
    ("nodeRetire", Who::Provider),
    ("nodeSuspend", Who::Operator),
    ("nodes", Who::Caller),
    ("passwordReset", Who::Anybody),
    ("passwordResetRequest", Who::Anybody),
    ("provider", Who::Provider),
    ("providerBalance", Who::Provider),
    ("providerNodes", Who::Provider),
    ("providerStatement", Who::Provider),
    ("providerTransfers", Who::Provider),
    ("receipt", Who::Tenant),
    ("sessionCreate", Who::Anybody),
    ("usage", Who::Tenant),
    ("userSignUp", Who::Anybody),
    ("userVerify", Who::Anybody),
    // Late, since it makes a provider's owner of whoever tries it.
    ("providerCreate", Who::Person),
    // The last, since it ends the session that it is tried with.
    ("sessionEnd", Who::Person),
];

/// What tells that somebody may not.
const BARS: [&str; 3] = ["missing_credential", "invalid_api_key", "forbidden"];

#[tokio::test]
async fn every_field_is_open_to_those_it_is_for_and_to_nobody_else() {
    let system = TestSystem::builder().start().await;
    let stranger = system.stranger();
    let schema = stranger.graphql(INTROSPECTION, json!({})).await["data"]["__schema"].clone();
    let fields = fields_of(&schema);
    let mut names: Vec<&str> = fields.iter().map(|(_, field)| field["name"].as_str().unwrap()).collect();
    let mut listed: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed, "say in FIELDS who may use each field");

    let demo = &system.demo;
    let password = |password: &Option<String>| password.clone().expect("the seed made the person");
    let (owner, provider, operator) = (&demo.tenant, &demo.provider, &demo.operator);
    let callers = [
        ("nobody", stranger, &[Who::Anybody][..]),
        ("a program", system.client(), &[Who::Anybody, Who::Caller, Who::Tenant]),
        (
            "the tenant's owner",
            system.signed_in(&owner.email, &password(&owner.password)).await,
            &[Who::Anybody, Who::Caller, Who::Person, Who::Tenant, Who::TenantPerson],
        ),
        (
            "a provider",
            system.signed_in(&provider.email, &password(&provider.password)).await,
            &[Who::Anybody, Who::Caller, Who::Person, Who::Provider, Who::Steward],
        ),
        (
            "an operator",
            system.signed_in(&operator.email, &password(&operator.password)).await,
            &[Who::Anybody, Who::Caller, Who::Person, Who::Operator, Who::Steward],
        ),
    ];
    for (who, caller, may) in callers {
        for (name, open_to) in FIELDS {
            let (operation, field) = fields.iter().find(|(_, field)| field["name"] == name).unwrap();
            let query = format!("{operation} {{ {} }}", usage_of(&schema, field));
            let code = code_of(&caller, operation, &query).await;
            let expected = match (may.contains(&open_to), who) {
                (true, _) => None,
                (false, "nobody") => Some("missing_credential"),
                (false, _) => Some("forbidden"),
            };
            let barred = code.as_deref().filter(|code| BARS.contains(code));
            assert_eq!(barred, expected, "{who}, {query}");
        }
    }
    let wrong = system.stranger().with_key("tgk_0000");
    assert_eq!(code_of(&wrong, "query", "{ me { id } }").await.as_deref(), Some("invalid_api_key"));
    let followed =
        wrong.subscribe("subscription { jobTokens(jobId: \"job_1\") { __typename } }", json!({})).await.next().await;
    assert!(followed.is_some_and(|answer| answer["errors"].is_array()), "the socket is closed with a word");
    system.end().await;
}

/// The code of the first error that an operation meets.
async fn code_of(caller: &Client, operation: &str, query: &str) -> Option<String> {
    let answer = match operation {
        "subscription" => caller.subscribe(query, json!({})).await.next().await.unwrap(),
        _ => caller.graphql(query, json!({})).await,
    };
    answer["errors"][0]["extensions"]["code"].as_str().map(str::to_owned)
}

/// Each field of the schema's roots, with the operation that it belongs to.
fn fields_of(schema: &Value) -> Vec<(&'static str, Value)> {
    let roots = [("queryType", "query"), ("mutationType", "mutation"), ("subscriptionType", "subscription")];
    let fields = roots.into_iter().flat_map(|(root, operation)| {
        let fields = type_of(schema, schema[root]["name"].as_str().unwrap())["fields"].as_array().unwrap();
        fields.iter().map(move |field| (operation, field.clone()))
    });
    fields.collect()
}

/// Who is let through a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// Anybody. What `/graphql` does for them is the table of fields above.
    Open,
    /// Who sends a key, or a session's token, as `Authorization`.
    Credential,
    /// A machine: after the upgrade it proves itself, or is sent away (`tests/it/nodes.rs`).
    Node,
    /// Not here: on the metrics' own port, which is this machine's alone.
    Elsewhere,
    /// Not here: on the port of the other replicas, who have a token.
    Peer,
}

/// Every route there is. A new one is refused by the test below until it stands here.
const ROUTES: [(&str, &str, Gate); 15] = [
    ("GET", "/graphql", Gate::Open),
    ("GET", "/healthz", Gate::Open),
    ("GET", "/ledger/head", Gate::Open),
    ("GET", "/metrics", Gate::Elsewhere),
    ("GET", "/nodes", Gate::Node),
    ("GET", "/readyz", Gate::Open),
    ("GET", "/v1/models", Gate::Credential),
    ("GET", "/v1/models/{id}", Gate::Credential),
    ("GET", "/{path:.*}", Gate::Open),
    ("HEAD", "/{path:.*}", Gate::Open),
    ("POST", "/graphql", Gate::Open),
    ("POST", "/ledger", Gate::Peer),
    ("POST", "/v1/chat/completions", Gate::Credential),
    ("POST", "/v1/completions", Gate::Credential),
    ("POST", "/v1/embeddings", Gate::Credential),
];

#[tokio::test]
async fn every_route_is_open_to_those_it_is_for_and_to_nobody_else() {
    let mut found = vec![];
    routes_below(&workspace().join("api/src"), &mut found);
    found.sort();
    let listed: Vec<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(found, listed, "say in ROUTES who may use each route");

    let system = TestSystem::builder().start().await;
    let (stranger, wrong) = (system.stranger(), system.stranger().with_key("tgk_0000"));
    for (method, path, gate) in ROUTES {
        let path = path.replace("{id}", "spark-1").replace("{path:.*}", "usage");
        let nobody = stranger.knock(method, &path).await;
        match gate {
            Gate::Credential => {
                assert_eq!((nobody.status, nobody.code()), (401, "missing_credential"), "{method} {path}");
                let mistaken = wrong.knock(method, &path).await;
                assert_eq!((mistaken.status, mistaken.code()), (401, "invalid_api_key"), "{method} {path}");
                let key = system.client().knock(method, &path).await;
                assert!(![401, 403].contains(&key.status), "{method} {path}: {} {}", key.status, key.body);
            }
            Gate::Open => assert!(![401, 403].contains(&nobody.status), "{method} {path}: {}", nobody.status),
            Gate::Node => assert_eq!(nobody.status, 400, "{method} {path} takes an upgrade"),
            Gate::Elsewhere => assert_eq!(nobody.status, 404, "{method} {path}"),
            Gate::Peer => {
                assert_eq!(nobody.status, 405, "{method} {path}");
                let door = Client::new(system.control_plane.peers);
                for stranger in [door.clone(), door.with_key("5e"), door.with_key(&system.demo.tenant.api_key)] {
                    assert_eq!(stranger.knock(method, &path).await.status, 401, "{method} {path}");
                }
            }
        }
    }
    system.end().await;
}

/// The methods and paths that the sources of a folder register.
fn routes_below(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes_below(&path, found);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let production = source.split("#[cfg(test)]").next().unwrap_or_default();
        for other in ["web::scope(", "web::method(", "#[get(", "#[post(", "#[route("] {
            assert!(!production.contains(other), "{}: routes made by {other} are not found here", path.display());
        }
        found.extend(routes_in(production));
    }
}

/// Each path with the methods that follow it.
fn routes_in(source: &str) -> Vec<(String, String)> {
    let (mut path, mut routes) = ("", vec![]);
    for (start, _) in source.char_indices() {
        let rest = &source[start..];
        if let Some(text) = rest.strip_prefix(".route(\"").or_else(|| rest.strip_prefix("web::resource(\"")) {
            path = text.split('"').next().unwrap_or_default();
        }
        let method = rest.strip_prefix("web::").and_then(|rest| rest.split_once("()")).map(|(method, _)| method);
        if let Some(method @ ("get" | "post" | "put" | "patch" | "delete" | "head" | "trace")) = method {
            routes.push((method.to_uppercase(), path.to_owned()));
        }
    }
    routes
}

#[test]
fn a_route_is_found_however_it_is_written() {
    let source =
        r#".route("/a", web::get().to(a)) web::resource("/b").route(web::post().to(b)).route(web::put().to(c))"#;
    let found: Vec<String> = routes_in(source).into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(found, ["GET /a", "POST /b", "PUT /b"]);
}

const INTROSPECTION: &str = "{ __schema {
    queryType { name } mutationType { name } subscriptionType { name }
    types {
        name kind enumValues { name }
        inputFields { name type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }
        fields {
            name
            type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }
            args { name type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }
        }
    }
} }";

fn type_of<'s>(schema: &'s Value, name: &str) -> &'s Value {
    let types = schema["types"].as_array().unwrap();
    types.iter().find(|found| found["name"] == name).unwrap_or_else(|| panic!("the schema has no type {name}"))
}

/// The field with a value for each argument that it needs, and something selected from what it gives.
fn usage_of(schema: &Value, field: &Value) -> String {
    let args = field["args"].as_array().unwrap().iter().filter(|arg| arg["type"]["kind"] == "NON_NULL");
    let args: Vec<String> =
        args.map(|arg| format!("{}: {}", arg["name"].as_str().unwrap(), value_of(schema, &arg["type"]))).collect();
    let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
    let mut given = &field["type"];
    while given["ofType"].is_object() {
        given = &given["ofType"];
    }
    let selection = if matches!(given["kind"].as_str(), Some("SCALAR" | "ENUM")) { "" } else { " { __typename }" };
    format!("{}{args}{selection}", field["name"].as_str().unwrap())
}

/// Some value of a type, written in GraphQL.
fn value_of(schema: &Value, wanted: &Value) -> String {
    let name = wanted["name"].as_str().unwrap_or_default();
    match wanted["kind"].as_str().unwrap() {
        "NON_NULL" => value_of(schema, &wanted["ofType"]),
        "LIST" => "[]".to_owned(),
        "ENUM" => type_of(schema, name)["enumValues"][0]["name"].as_str().unwrap().to_owned(),
        "INPUT_OBJECT" => {
            let fields = type_of(schema, name)["inputFields"].as_array().unwrap();
            let needed = fields.iter().filter(|field| field["type"]["kind"] == "NON_NULL");
            let fields = needed
                .map(|field| format!("{}: {}", field["name"].as_str().unwrap(), value_of(schema, &field["type"])));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        _ => match name {
            "Int" => "1".to_owned(),
            "Float" => "1.5".to_owned(),
            "Boolean" => "true".to_owned(),
            "DateTime" => "\"2030-01-01T00:00:00Z\"".to_owned(),
            "BigInt" | "Decimal" => "\"1\"".to_owned(),
            _ => "\"x\"".to_owned(),
        },
    }
}
