//! The page: every mail, newest first, for people (`/`) and for programs (`/mails.json`).

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;

use actix_web::dev::Server;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFRESH};
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::{Mail, Mails};

/// *Units*: seconds between two looks of an open page.
const REFRESH_SECONDS: &str = "2";

const STYLE: &str = "
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 0 auto; padding: 1.5rem 1rem; background: light-dark(#f6f7f9, #14161a); color: light-dark(#1b1f24, #e6e8eb); }
h1 { font-size: 1.25rem; margin: 0; }
header p { margin: 0 0 1.5rem; color: light-dark(#57606a, #9aa4af); }
article { margin-bottom: 1rem; padding: 1rem 1.25rem; border: 1px solid light-dark(#d8dde3, #2d333b); border-radius: 8px; background: light-dark(#fff, #1c1f24); }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
article p { margin: 0; font-size: 0.875rem; color: light-dark(#57606a, #9aa4af); overflow-wrap: anywhere; }
pre { margin: 0.75rem 0 0; font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; }
";

/// The server, to be waited for, and where it listens.
pub(super) fn serve(mails: Mails) -> io::Result<(Server, SocketAddr)> {
    let mails = Data::new(mails);
    let policy = policy();
    let server = HttpServer::new(move || {
        let policy = policy.clone();
        let page = move |mails: Data<Mails>| {
            let page = HttpResponse::Ok()
                .content_type("text/html; charset=utf-8")
                .insert_header((CONTENT_SECURITY_POLICY, policy.clone()))
                .insert_header((CACHE_CONTROL, "no-store"))
                .insert_header((REFRESH, REFRESH_SECONDS))
                .body(html(&mails.kept.borrow()));
            std::future::ready(page)
        };
        let list = |mails: Data<Mails>| {
            let list = HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(&*mails.kept.borrow());
            std::future::ready(list)
        };
        App::new().app_data(mails.clone()).route("/", web::get().to(page)).route("/mails.json", web::get().to(list))
    });
    let server = server.workers(1).disable_signals().shutdown_timeout(0).bind(("127.0.0.1", 0))?;
    let address = server.addrs()[0];
    Ok((server.run(), address))
}

/// Nothing but the one style sheet, named by its hash.
fn policy() -> String {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn html(mails: &[Mail]) -> String {
    let mut page = format!(
        "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<link rel=\"icon\" href=\"data:,\">
<title>Outbox</title>
<style>{STYLE}</style>
<main>
<header><h1>Outbox</h1><p>Mail of this machine's Tokengrid, newest first. None of it has left.</p></header>
"
    );
    if mails.is_empty() {
        page += "<p>No mail yet. This page looks again by itself.</p>\n";
    }
    for Mail { to, subject, text, at } in mails {
        let (to, subject, text) = (escaped(to), escaped(subject), escaped(text.trim_end()));
        let at = at.format("%Y-%m-%d %H:%M:%S UTC");
        writeln!(page, "<article><h2>{subject}</h2><p>to {to}, {at}</p><pre>{text}</pre></article>")
            .expect("text can be written to a string");
    }
    page + "</main>\n</html>\n"
}

fn escaped(text: &str) -> String {
    let escape = |character: char| match character {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}
