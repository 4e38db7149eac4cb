//! The replicas' door to each other: letters to the ledger's writer, over HTTP on a port of their own.
//!
//! *Shape*: `POST /ledger` with a letter ([`ledger::Replica::answer`]) and `authorization: Bearer` 64 hexadecimal digits, which
//! every replica derives from the control plane's secret. Keep the port private: what is on it is plain text.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::{Context, bail};
use hmac::{Hmac, KeyInit, Mac};
use ledger::{Carried, Carrier, NotCarried, Replica};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::config::Peer;

/// What tells this token from everything else that is made of the control plane's secret.
const LABEL: &[u8] = b"tokengrid peer token v1";
/// The longest letter, or reply, that is read. *Units*: bytes.
const LETTER_MAX: usize = 16 << 20;
/// How long a letter may travel and be answered; it is sent again after.
const LETTER_TIME_MAX: Duration = Duration::from_secs(10);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Connections from other replicas at once.
const CONNECTIONS_MAX: usize = 256;

/// What replicas prove to each other that they are of one control plane.
#[derive(Clone)]
pub struct PeerKey(Hmac<Sha256>);

impl PeerKey {
    /// `secret` is 32 bytes in hexadecimal, as `serve` takes it.
    pub fn try_new(secret: &SecretString) -> anyhow::Result<Self> {
        let bytes = hex::decode(secret.expose_secret().trim()).ok().filter(|bytes| bytes.len() >= 32);
        let bytes = bytes.context("TOKENGRID_SECRET must be at least 32 bytes in hexadecimal")?;
        let mut mac = Hmac::new_from_slice(&bytes).expect("an HMAC takes a key of any length");
        mac.update(LABEL);
        Ok(Self(mac))
    }

    fn token(&self) -> String {
        hex::encode(self.0.clone().finalize().into_bytes())
    }

    /// True for a request with the token; how long it takes does not depend on what is wrong with one.
    fn opens(&self, request: &HttpRequest) -> bool {
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).and_then(|token| hex::decode(token).ok());
        token.is_some_and(|token| self.0.clone().verify_slice(&token).is_ok())
    }
}

/// Carries letters to other replicas, over connections that are kept.
pub struct PeerCarrier {
    client: Client,
    token: SecretString,
}

impl PeerCarrier {
    /// With the token that the others ask for.
    pub fn try_new(key: &PeerKey) -> anyhow::Result<Self> {
        let client = Client::builder().timeout(LETTER_TIME_MAX).connect_timeout(CONNECT_TIME_MAX).no_proxy();
        let client = client.build().context("an HTTP client can be made")?;
        Ok(Self { client, token: key.token().into() })
    }

    async fn post(&self, address: &str, letter: Vec<u8>) -> reqwest::Result<Option<Vec<u8>>> {
        let request = self.client.post(format!("http://{address}/ledger")).bearer_auth(self.token.expose_secret());
        let mut response = request.body(letter).send().await?.error_for_status()?;
        let mut reply = Vec::new();
        while let Some(piece) = response.chunk().await? {
            if reply.len() + piece.len() > LETTER_MAX {
                return Ok(None);
            }
            reply.extend_from_slice(&piece);
        }
        Ok(Some(reply))
    }
}

impl Carrier for PeerCarrier {
    fn carry<'a>(&'a self, address: &'a str, letter: Vec<u8>) -> Carried<'a> {
        Box::pin(async move {
            match self.post(address, letter).await {
                Ok(Some(reply)) => Ok(reply),
                Ok(None) => {
                    tracing::warn!(replica.address = address, "a replica's reply is too long");
                    Err(NotCarried)
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, replica.address = address, "a replica does not answer");
                    Err(NotCarried)
                }
            }
        })
    }
}

/// Binds the port, and tells the address at which the others reach it.
pub fn listen(config: &Peer) -> anyhow::Result<(TcpListener, String)> {
    let asked = config.peer_listen;
    let listener =
        TcpListener::bind(asked).with_context(|| format!("TOKENGRID_PEER_LISTEN: cannot listen on {asked}"))?;
    let bound = listener.local_addr().context("a listener has an address")?;
    Ok((listener, advertised(config, bound)?))
}

fn advertised(config: &Peer, bound: SocketAddr) -> anyhow::Result<String> {
    match &config.peer_address {
        Some(address) => Ok(address.clone()),
        None if bound.ip().is_unspecified() => {
            bail!("TOKENGRID_PEER_ADDRESS is not set, and {bound} is no address at which others reach this replica")
        }
        None => Ok(bound.to_string()),
    }
}

/// Answers other replicas' letters.
pub fn serve(listener: TcpListener, key: PeerKey, replica: Replica) -> std::io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || {
        let (key, replica) = (Data::new(key.clone()), Data::new(replica.clone()));
        App::new().app_data(key).app_data(replica).route("/ledger", web::post().to(answer))
    });
    // No letter is cut off at the end: the writer has stopped by then.
    let server = server.workers(1).max_connections(CONNECTIONS_MAX).disable_signals().shutdown_timeout(1);
    Ok(server.listen(listener)?.run())
}

async fn answer(
    request: HttpRequest,
    body: web::Payload,
    key: Data<PeerKey>,
    replica: Data<Replica>,
) -> actix_web::Result<HttpResponse> {
    if !key.opens(&request) {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let Ok(letter) = body.to_bytes_limited(LETTER_MAX).await else {
        return Ok(HttpResponse::PayloadTooLarge().finish());
    };
    match replica.answer(&letter?).await {
        Ok(reply) => Ok(HttpResponse::Ok().content_type("application/json").body(reply)),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a replica's letter cannot be read");
            Ok(HttpResponse::BadRequest().finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn key(digits: &str) -> PeerKey {
        PeerKey::try_new(&digits.repeat(32).into()).unwrap()
    }

    #[test]
    fn a_letter_is_taken_with_the_token_of_the_same_secret_alone() {
        let with = |header: String| TestRequest::post().insert_header((AUTHORIZATION, header)).to_http_request();
        let (ours, others) = (key("5e"), key("5f"));
        assert!(ours.opens(&with(format!("Bearer {}", ours.token()))));
        for header in [
            format!("Bearer {}", others.token()),
            format!("Bearer {}", &ours.token()[..62]),
            format!("Bearer {}", "5e".repeat(32)),
            ours.token(),
            "Bearer ".to_owned(),
        ] {
            assert!(!ours.opens(&with(header.clone())), "{header}");
        }
        assert!(!ours.opens(&TestRequest::post().to_http_request()));
    }

    #[test]
    fn others_are_told_an_address_that_they_can_reach() {
        let config = |peer_address: Option<&str>| Peer {
            peer_listen: "0.0.0.0:0".parse().unwrap(),
            peer_address: peer_address.map(str::to_owned),
        };
        let (everywhere, here) = ("0.0.0.0:7070".parse().unwrap(), "10.0.0.7:7070".parse().unwrap());
        assert_eq!(advertised(&config(None), here).unwrap(), "10.0.0.7:7070");
        assert_eq!(advertised(&config(Some("a.grid:7070")), everywhere).unwrap(), "a.grid:7070");
        assert!(advertised(&config(None), everywhere).unwrap_err().to_string().contains("TOKENGRID_PEER_ADDRESS"));
    }
}
