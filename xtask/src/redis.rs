//! A private Redis on a Unix socket, without persistence: it holds nothing that matters.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::account::Account;
use crate::directory::Directory;
use crate::process::{self, Service};
use crate::progress::Step;

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    /// Its URL.
    pub url: String,
    /// The process.
    pub service: Service,
}

/// The server's program: Redis, or its successor of the same protocol.
pub fn program() -> Option<PathBuf> {
    ["redis-server", "valkey-server"].into_iter().find_map(process::find_program)
}

/// Starts the server and waits until it accepts connections.
pub fn start(
    directory: &Directory,
    sockets: &Path,
    account: Option<&Account>,
    step: &mut Step,
) -> anyhow::Result<Redis> {
    let socket = sockets.join("redis.sock");
    let mut command = Command::new(program().context("no redis-server on PATH")?);
    command.args(["--port", "0", "--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.arg("--unixsocket").arg(&socket).arg("--dir").arg(sockets).current_dir(sockets);
    if let Some(account) = account {
        account.run(&mut command);
    }
    let mut service = Service::start("Redis", &mut command, &directory.log("redis"), libc::SIGTERM, libc::SIGTERM)?;
    service.wait_until(Duration::from_secs(30), || Ok(UnixStream::connect(&socket).is_ok()), || step.tick(""))?;
    Ok(Redis { url: url(&socket), service })
}

fn url(socket: &Path) -> String {
    let path: String = socket
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&byte| match byte {
            b' ' | b'%' | b'?' | b'#' | 0x80.. => format!("%{byte:02X}"),
            plain => char::from(plain).to_string(),
        })
        .collect();
    format!("redis+unix://{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_the_socket_path() {
        assert_eq!(url(Path::new("/run/x/redis.sock")), "redis+unix:///run/x/redis.sock");
        assert_eq!(url(Path::new("/a b/redis.sock")), "redis+unix:///a%20b/redis.sock");
    }
}
