//! The console at `/`: its built files, embedded in the program.
//!
//! Files under `assets/` carry a hash in their name and may be kept for ever; the document is asked for anew each time, and
//! answers every path that is nobody else's. A policy lets it run its own script and styles and talk to this origin only.

use actix_web::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Compress;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::Error;
use crate::services::Services;

/// What `npm run build` in `web/` made; nothing in a build without it.
#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Dist;

/// The document.
const DOCUMENT: &str = "index.html";
/// Where the document wants the nonce of its styles.
const NONCE: &str = "__STYLE_NONCE__";
/// Paths that are never the console's: programs that ask for them want a word for programs.
const OTHERS: [&str; 5] = ["assets", "v1", "graphql", "nodes", "webhooks"];

/// Adds the routes; they take every path that no other route took.
pub fn configure(routes: &mut ServiceConfig) {
    let file =
        web::resource("/{path:.*}").wrap(Compress::default()).route(web::get().to(get)).route(web::head().to(get));
    routes.service(file);
}

async fn get(http: HttpRequest, services: Data<Services>) -> Result<HttpResponse, Error> {
    let path = http.path().trim_start_matches('/');
    match Dist::get(path) {
        Some(file) if path != DOCUMENT => Ok(asset(&http, path, &file)),
        _ if is_place(&http, path) => document(&services),
        _ => Err(Error::NotFound("route")),
    }
}

/// A path that people can be at: a browser asks for a document, and no other door has it.
fn is_place(http: &HttpRequest, path: &str) -> bool {
    let accepts = http.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let first = path.split('/').next().unwrap_or_default();
    path.is_empty() || (accepts.contains("text/html") && !OTHERS.contains(&first))
}

fn asset(http: &HttpRequest, path: &str, file: &EmbeddedFile) -> HttpResponse {
    let tag = format!("\"{}\"", hex::encode(file.metadata.sha256_hash()));
    let known = http.headers().get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let kept = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "public, max-age=3600" };
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    guard(&mut response).insert_header((CACHE_CONTROL, kept)).insert_header((ETAG, tag));
    if known {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, file.metadata.mimetype())).body(file.data.clone().into_owned())
}

/// The document, with a nonce that is good for this answer alone.
fn document(services: &Services) -> Result<HttpResponse, Error> {
    let Some(file) = Dist::get(DOCUMENT) else {
        let message = "The console is not part of this build. `cargo xtask up` builds it.";
        return Ok(HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(message));
    };
    let nonce = hex::encode(services.ids.bytes::<16>());
    let document = String::from_utf8_lossy(&file.data).replace(NONCE, &nonce);
    let mut response = HttpResponse::Ok();
    guard(&mut response)
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, policy(&nonce)))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"));
    Ok(response.content_type("text/html; charset=utf-8").body(document))
}

fn guard(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff")).insert_header((REFERRER_POLICY, "same-origin"))
}

/// Style attributes are allowed, since the components position themselves by them; style elements need the nonce.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src-elem 'self' 'nonce-{nonce}'; style-src-attr 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_person_can_be_anywhere_but_at_another_door() {
        let place = |path: &str, accept: &'static str| {
            is_place(&TestRequest::default().insert_header((ACCEPT, accept)).to_http_request(), path)
        };
        let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
        assert!(place("", "*/*") && place("usage", browser) && place("jobs/job_1", browser));
        assert!(!place("usage", "*/*") && !place("v1/unknown", browser) && !place("assets/gone.js", browser));
    }

    #[test]
    fn the_policy_allows_no_script_but_our_own() {
        let policy = policy("abc");
        assert!(policy.contains("script-src 'self';") && policy.contains("'nonce-abc'"));
        assert!(!policy.contains("unsafe-eval") && !policy.contains('\n'));
    }
}
