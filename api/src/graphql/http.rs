//! `POST /graphql`: one operation in, its answer out; who is asking, and from where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN, SET_COOKIE,
};
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use async_graphql::{Context, Request};
use secrecy::{ExposeSecret, SecretString};

use super::bound::bounded;
use super::refusal::{named, refused, with_nulls};
use super::{Schema, socket};
use crate::auth::{Auth, Caller, SESSION_COOKIE};
use crate::error::Error;
use crate::openai;

/// The longest operation, by POST and over a socket. *Units*: bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// What the two routes work with.
pub struct Door {
    /// The API.
    pub schema: Schema,
    /// Credentials to callers.
    pub auth: Auth,
    /// Where a trusted proxy tells the client's network address.
    pub client_address_header: Option<String>,
}

/// Adds the routes.
pub fn configure(routes: &mut ServiceConfig, door: Door) {
    let graphql = web::resource("/graphql")
        .app_data(Data::new(door))
        .route(web::post().to(post))
        .route(web::get().to(socket::open));
    routes.service(graphql);
}

/// The browser, or the program, that waits for a response which can set cookies; a socket's operations have none.
#[derive(Clone, Copy)]
pub struct Browser {
    secure: bool,
    peer: IpAddr,
}

impl Browser {
    /// The one that asks. *Errors*: the operation came over a socket.
    pub fn of(ctx: &Context<'_>) -> Result<Self, Error> {
        let message = "Send this by POST: a WebSocket cannot set the session's cookie.";
        ctx.data_opt().copied().ok_or_else(|| Error::Invalid { param: None, message: message.to_owned() })
    }

    /// The network that it asks from: an IPv4 address, or the first half of an IPv6 one.
    pub fn peer(self) -> IpAddr {
        self.peer
    }

    /// Gives it the session's cookie; an empty one that lasts no time takes it back.
    pub fn set_session(self, ctx: &Context<'_>, token: &SecretString, max_age_seconds: i64) {
        let secure = if self.secure { "; Secure" } else { "" };
        let token = token.expose_secret();
        let cookie =
            format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_seconds}{secure}");
        // It answers whether there was one before.
        ctx.append_http_header("set-cookie", cookie);
    }
}

async fn post(http: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let done = execute(&http, payload, &door).await;
    done.unwrap_or_else(refuse)
}

async fn execute(http: &HttpRequest, payload: Payload, door: &Door) -> Result<HttpResponse, Error> {
    let headers = http.headers();
    if is_foreign(headers) && !headers.contains_key(AUTHORIZATION) {
        return Err(Error::Forbidden("a page of another site must send its own Authorization header"));
    }
    if !is_json(headers) {
        return Err(Error::invalid("content-type", "Send the operation as JSON, with content-type: application/json."));
    }
    let caller = caller(&door.auth, headers).await?;
    let request = bounded(read(&openai::http::body(payload, BODY_BYTES_MAX).await?)?)?;
    let browser = Browser {
        secure: http.app_config().secure() || origin(headers).is_some_and(|(scheme, _)| scheme == "https"),
        peer: network(client_address(http, door.client_address_header.as_deref())),
    };
    let mut request = request.data(browser);
    if let Some(caller) = caller {
        request = request.data(caller);
    }
    let response = named(with_nulls(door.schema.execute(request).await));
    let mut http = HttpResponse::Ok();
    http.insert_header((CACHE_CONTROL, "no-store"));
    for cookie in response.http_headers.get_all("set-cookie") {
        http.append_header((SET_COOKIE, cookie.as_bytes()));
    }
    Ok(http.json(response))
}

/// A request that never became an operation, refused in GraphQL's shape.
pub fn refuse(error: Error) -> HttpResponse {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(refused(error))
}

/// Who is asking, if anyone: by header, or else by the console's cookie. A cookie that is over counts as none, so that
/// signing in works.
async fn caller(auth: &Auth, headers: &HeaderMap) -> Result<Option<Caller>, Error> {
    if headers.contains_key(AUTHORIZATION) {
        return openai::http::caller(auth, headers).await.map(Some);
    }
    let Some(token) = session_cookie(headers) else { return Ok(None) };
    match auth.caller(token.expose_secret()).await {
        Ok(caller) => Ok(Some(caller)),
        Err(Error::InvalidCredential) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The session's token in the cookie.
pub fn session_cookie(headers: &HeaderMap) -> Option<SecretString> {
    let cookies = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let mut pairs = cookies.filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, token)| *name == SESSION_COOKIE && !token.is_empty())?;
    Some(token.to_owned().into())
}

/// True when a browser says that a page of another site sends this: our cookie must not speak for it.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        && origin(headers)
            .is_none_or(|(_, authority)| text(headers, &HOST).is_none_or(|host| !host.eq_ignore_ascii_case(authority)))
}

/// The client's address as the trusted proxy's header says last, or else the other end of the connection.
fn client_address(http: &HttpRequest, header: Option<&str>) -> IpAddr {
    let told = header.and_then(|name| http.headers().get_all(name).last()).and_then(|value| value.to_str().ok());
    let told = told.and_then(|value| value.rsplit(',').next()).and_then(|address| address.trim().parse().ok());
    told.or_else(|| http.peer_addr().map(|peer| peer.ip())).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// What one subscriber has: an IPv4 address, or 64 bits of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

/// Scheme and authority of the page that sends this.
fn origin(headers: &HeaderMap) -> Option<(&str, &str)> {
    text(headers, &ORIGIN)?.split_once("://")
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = text(headers, &CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// One operation. *Errors*: several at once, or something else.
fn read(body: &[u8]) -> Result<Request, Error> {
    let invalid = |message: String| Error::Invalid { param: None, message };
    match body.trim_ascii_start().first() {
        Some(b'{') => {}
        // Serde would take a list for the fields of one request.
        Some(b'[') => return Err(invalid("Batches are not accepted. Send one operation in a request.".to_owned())),
        _ => return Err(invalid("The body is not a GraphQL request, {\"query\": …, \"variables\": …}.".to_owned())),
    }
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("The body is not a GraphQL request: {error}.")))?;
    if request.query.trim().is_empty() {
        return Err(Error::invalid("query", "The request has no `query`."));
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let request = pairs.iter().fold(TestRequest::default(), |request, pair| request.insert_header(*pair));
        request.to_http_request().headers().clone()
    }

    #[test]
    fn only_one_operation_in_a_json_object_is_read() {
        assert_eq!(read(br#" {"query": "{ me { id } }", "variables": {"a": 1}}"#).unwrap().query, "{ me { id } }");
        for (bad, word) in [
            (r#"[{"query": "{ me { id } }"}]"#, "Batches"),
            (r#"["{ me { id } }"]"#, "Batches"),
            (r#""{ me { id } }""#, "not a GraphQL request"),
            ("", "not a GraphQL request"),
            (r#"{"query": "#, "not a GraphQL request"),
            (r#"{"query": 7}"#, "not a GraphQL request"),
            (r#"{"query": "{ me }", "variables": []}"#, "not a GraphQL request"),
            (r#"{"mutation": "x"}"#, "no `query`"),
        ] {
            let error = read(bad.as_bytes()).unwrap_err();
            assert!(error.status() == 400 && error.to_string().contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn another_sites_page_is_told_apart() {
        let foreign = |pairs| is_foreign(&headers(pairs));
        assert!(!foreign(&[("host", "grid.example")]));
        assert!(!foreign(&[("host", "grid.example"), ("origin", "https://grid.example")]));
        assert!(!foreign(&[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")]));
        assert!(foreign(&[("host", "grid.example"), ("origin", "https://evil.example")]));
        assert!(foreign(&[("host", "grid.example"), ("origin", "https://grid.example.evil")]));
        assert!(foreign(&[("host", "grid.example:8080"), ("origin", "http://grid.example")]));
        assert!(foreign(&[("host", "grid.example"), ("origin", "null")]));
        assert!(foreign(&[("origin", "https://grid.example")]));
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let found = |cookie: &'static str| {
            let token = session_cookie(&headers(&[("cookie", cookie)]));
            token.map(|token| token.expose_secret().to_owned())
        };
        assert_eq!(found("a=b; tokengrid_session=x.y.z; c=d").as_deref(), Some("x.y.z"));
        assert_eq!(found("tokengrid_session=; not_tokengrid_session=x"), None);
    }

    #[test]
    fn a_form_of_another_site_cannot_pass_for_json() {
        assert!(is_json(&headers(&[("content-type", "application/json; charset=utf-8")])));
        assert!(!is_json(&headers(&[("content-type", "text/plain")])));
        assert!(!is_json(&headers(&[])));
    }
}
