//! `inspect --live`: the policies that a running host serves, read from its admin port.

use crate::status::Status;
use anyhow::{Context as _, Result, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// For connection, request and answer together.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Bytes of an answer: some thousand policies.
const MAX_ANSWER: usize = 4 << 20;

const POLICIES: &str = "/policies";

/// Asks the host with this admin address.
pub(super) fn status(url: &str) -> Result<Status> {
    let authority = authority(url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let body = runtime
        .block_on(async { tokio::time::timeout(MAX_WAIT, get(&authority)).await })
        .with_context(|| format!("{url}: no answer within {MAX_WAIT:?}"))?
        .with_context(|| {
            format!("{url}: can't ask; is it the admin address (--admin-listen) of a running host?")
        })?;
    serde_json::from_slice(&body)
        .with_context(|| format!("{url}{POLICIES}: not what a sallyport host answers"))
}

/// Returns `127.0.0.1:8081` of `127.0.0.1:8081` or `http://127.0.0.1:8081/`.
fn authority(address: &str) -> Result<String> {
    let expected = "expected a host and a port, such as 127.0.0.1:8081";
    let uri: Uri = address
        .parse()
        .with_context(|| format!("{address:?}: {expected}"))?;
    match (uri.scheme_str(), uri.authority(), uri.path()) {
        (Some("http"), Some(authority), "/" | POLICIES) => {
            let host = authority.host();
            Ok(format!("{host}:{}", authority.port_u16().unwrap_or(80)))
        }
        (None, Some(authority), "") if authority.port().is_some() => Ok(authority.to_string()),
        _ => bail!("{address:?}: {expected}"),
    }
}

async fn get(authority: &str) -> Result<Bytes> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection.
    tokio::spawn(connection);
    let request = Request::get(POLICIES)
        .header("host", authority)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::OK {
        bail!("GET {POLICIES} was answered with {}", response.status());
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await;
    Ok(body
        .map_err(|error| anyhow::anyhow!("the answer ended early: {error}"))?
        .to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_address_is_a_host_with_a_port_or_an_http_url() {
        for url in [
            "127.0.0.1:8081",
            "http://127.0.0.1:8081",
            "http://127.0.0.1:8081/",
            "http://127.0.0.1:8081/policies",
        ] {
            assert_eq!(authority(url).expect("a URL"), "127.0.0.1:8081");
        }
        assert_eq!(authority("http://[::1]:8081").expect("a URL"), "[::1]:8081");
        for url in [
            "",
            "localhost",
            "127.0.0.1",
            "https://127.0.0.1:8081",
            "http://",
            "http://h/metrics",
        ] {
            authority(url).expect_err(url);
        }
    }
}
