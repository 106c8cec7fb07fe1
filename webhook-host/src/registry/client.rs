//! A client for one repository of one registry, by the distribution specification. It reads and
//! writes manifests and blobs, and handles redirects, tokens and retries.
//!
//! Invariants: credentials go only to the registry and to its token server, never with a redirect
//! to another server; each answer has a limit. Callers that know a digest check the content; this
//! client does not.

use super::address::{Origin, Url};
use super::challenge::Challenge;
use super::credentials::{CredentialSource, Credentials};
use super::error::{Reason, RegistryError};
use super::transport::{Ask, Reply, Transport};
use bytes::Bytes;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Method, StatusCode};
use sallyport_core::manifest::{Digest, Repository};
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The most redirects that are followed: a registry redirects to a storage, which rarely redirects
/// again.
const MAX_REDIRECTS: usize = 3;

/// The longest wait that a registry may ask for with 429, and the most waits for one request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
const MAX_RETRIES: usize = 2;

/// The largest answer of a token server.
const MAX_TOKEN: usize = 64 << 10;

/// The largest manifest that the specification asks registries to take.
const MAX_MANIFEST: usize = 4 << 20;

/// The media types of manifests that are accepted.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// The action that a token has to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
}

/// A repository at one place, the registry itself or a mirror.
pub(super) struct Client<'a> {
    transport: &'a Transport,
    origin: Origin,
    repository: Repository,
    access: Access,
    credentials: Option<Credentials>,
    /// The value of the header `Authorization` that was accepted last.
    authorization: Mutex<Option<String>>,
}

impl<'a> Client<'a> {
    /// Creates a client, and finds out whether a registry on this machine speaks TLS.
    pub(super) async fn new(
        transport: &'a Transport,
        repository: &Repository,
        access: Access,
        credentials: &CredentialSource,
    ) -> Result<Self, RegistryError> {
        let mut origin = Origin::of_registry(repository.registry(), true);
        if origin.is_loopback() {
            let plain = Origin::of_registry(repository.registry(), false);
            let has_port = repository.registry().port().is_some();
            if !has_port || !transport.speaks_tls(&origin).await? {
                origin = plain;
            }
        }
        Ok(Self {
            transport,
            origin,
            repository: repository.clone(),
            access,
            credentials: credentials.find(repository)?,
            authorization: Mutex::default(),
        })
    }

    /// Returns the manifest of a tag or a digest; `None` when there is none.
    pub(super) async fn manifest(&self, name: &str) -> Result<Option<Vec<u8>>, RegistryError> {
        let ask = ask(
            Method::GET,
            [(ACCEPT, MANIFESTS)],
            Bytes::new(),
            MAX_MANIFEST,
        );
        let reply = self.ask(&format!("/manifests/{name}"), &ask).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.expect(&reply, &[StatusCode::OK], "the manifest")?;
        Ok(Some(reply.body))
    }

    /// Reads a blob of at most `limit` bytes.
    pub(super) async fn blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Vec<u8>, RegistryError> {
        let ask = ask(Method::GET, [], Bytes::new(), limit);
        let reply = self.ask(&format!("/blobs/{digest}"), &ask).await?;
        self.expect(&reply, &[StatusCode::OK], "a blob")?;
        Ok(reply.body)
    }

    /// Returns the index of the manifests that refer to a digest; `None` where the registry does
    /// not keep one.
    pub(super) async fn referrers(
        &self,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let index = "application/vnd.oci.image.index.v1+json";
        let ask = ask(Method::GET, [(ACCEPT, index)], Bytes::new(), MAX_MANIFEST);
        let reply = self.ask(&format!("/referrers/{digest}"), &ask).await?;
        // Registries that predate the specification may answer with something else.
        let content = reply.headers.get(CONTENT_TYPE);
        let is_index = content.is_some_and(|value| value.as_bytes().starts_with(index.as_bytes()));
        if matches!(reply.status.as_u16(), 400 | 404 | 405 | 501) {
            return Ok(None);
        }
        self.expect(&reply, &[StatusCode::OK], "the list of referrers")?;
        Ok(is_index.then_some(reply.body))
    }

    /// Writes a blob, unless the repository has it.
    pub(super) async fn put_blob(
        &self,
        digest: &Digest,
        content: Bytes,
    ) -> Result<(), RegistryError> {
        let head = ask(Method::HEAD, [], Bytes::new(), 0);
        let reply = self.ask(&format!("/blobs/{digest}"), &head).await?;
        if reply.status == StatusCode::OK {
            return Ok(());
        }
        let start = ask(Method::POST, [], Bytes::new(), MAX_TOKEN);
        let reply = self.ask("/blobs/uploads/", &start).await?;
        self.expect(&reply, &[StatusCode::ACCEPTED], "an upload")?;
        let mut url = self.location(&reply)?;
        let mark = if url.path.contains('?') { '&' } else { '?' };
        write!(url.path, "{mark}digest={digest}").expect("a string takes everything");
        let stream = [(CONTENT_TYPE, "application/octet-stream")];
        let put = ask(Method::PUT, stream, content, MAX_TOKEN);
        let reply = self.ask_at(url, &put).await?;
        self.expect(&reply, &[StatusCode::CREATED], "the end of an upload")
    }

    /// Writes a manifest under a tag or its digest. Returns true if the registry keeps a list of
    /// referrers for its subject.
    pub(super) async fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        content: Vec<u8>,
    ) -> Result<bool, RegistryError> {
        let put = ask(
            Method::PUT,
            [(CONTENT_TYPE, media_type)],
            content.into(),
            MAX_TOKEN,
        );
        let reply = self.ask(&format!("/manifests/{name}"), &put).await?;
        self.expect(&reply, &[StatusCode::CREATED], "a manifest")?;
        Ok(reply.headers.contains_key("oci-subject"))
    }

    async fn ask(&self, path: &str, ask: &Ask) -> Result<Reply, RegistryError> {
        let url = Url {
            origin: self.origin.clone(),
            path: format!("/v2/{}{path}", self.repository.path()),
        };
        self.ask_at(url, ask).await
    }

    /// Sends a request. Repeats it after 401 with a token, and after 429 when the wait is over.
    async fn ask_at(&self, url: Url, ask: &Ask) -> Result<Reply, RegistryError> {
        let (mut retries, mut tokens) = (0, 0);
        loop {
            let reply = self.follow(url.clone(), ask).await?;
            match reply.status {
                // The first token may have expired; a second one will not have.
                StatusCode::UNAUTHORIZED if tokens < 2 && url.origin == self.origin => {
                    tokens += 1;
                    let had = self.current().is_some();
                    let next = self.authorize(&reply).await?;
                    let is_new = self.replace(next);
                    if had && !is_new {
                        return Err(self.unauthorized());
                    }
                }
                StatusCode::TOO_MANY_REQUESTS if retries < MAX_RETRIES => {
                    retries += 1;
                    let Some(pause) = retry_after(&reply.headers) else {
                        return Ok(reply);
                    };
                    tokio::time::sleep(pause).await;
                }
                _ => return Ok(reply),
            }
        }
    }

    /// Sends a request and follows redirects of reads. Only the registry itself gets the
    /// credentials.
    async fn follow(&self, url: Url, ask: &Ask) -> Result<Reply, RegistryError> {
        let mut next = url;
        for _ in 0..=MAX_REDIRECTS {
            let mut here = ask.clone();
            if next.origin == self.origin
                && let Some(value) = self.current()
            {
                let mut value = HeaderValue::try_from(value).map_err(|_| {
                    let message =
                        format!("{}: the credentials hold control characters", next.origin);
                    RegistryError::new(Reason::Unauthorized, message)
                })?;
                value.set_sensitive(true);
                here.headers.insert(AUTHORIZATION, value);
            }
            let reply = self.transport.exchange(&next, &self.origin, &here).await?;
            let is_read = matches!(ask.method, Method::GET | Method::HEAD);
            if !reply.status.is_redirection() || !is_read {
                return Ok(reply);
            }
            let location = reply
                .headers
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let Some(location) = location else {
                let message = format!("{} redirects to nowhere", next.origin);
                return Err(RegistryError::new(Reason::Redirect, message));
            };
            next = Url::read(location, &next.origin)?;
        }
        let message = format!("{} redirects more than {MAX_REDIRECTS} times", self.origin);
        Err(RegistryError::new(Reason::Redirect, message))
    }

    fn location(&self, reply: &Reply) -> Result<Url, RegistryError> {
        let location = reply
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| {
            RegistryError::malformed(format!("{} does not say where to upload", self.origin))
        })?;
        Url::read(location, &self.origin)
    }

    fn current(&self) -> Option<String> {
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the value. Returns true if it was a different one.
    fn replace(&self, next: String) -> bool {
        let mut held = self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_new = held.as_ref() != Some(&next);
        *held = Some(next);
        is_new
    }

    /// Returns the value of the header `Authorization` that a reply demands.
    async fn authorize(&self, reply: &Reply) -> Result<String, RegistryError> {
        let challenges = reply.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .next();
        match (challenge, &self.credentials) {
            (_, Some(Credentials::RegistryToken(token))) => Ok(format!("Bearer {token}")),
            (Some(Challenge::Basic), Some(Credentials::Password { user, password })) => {
                Ok(Credentials::basic(user, password))
            }
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                }),
                credentials,
            ) => {
                let scope = scope.unwrap_or_else(|| self.scope());
                let service = service.unwrap_or_default();
                let token = self.token(&realm, &service, &scope, credentials.as_ref());
                Ok(format!("Bearer {}", token.await?))
            }
            _ => Err(self.unauthorized()),
        }
    }

    fn scope(&self) -> String {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        format!("repository:{}:{actions}", self.repository.path())
    }

    /// Asks a token server for a token.
    async fn token(
        &self,
        realm: &str,
        service: &str,
        scope: &str,
        credentials: Option<&Credentials>,
    ) -> Result<String, RegistryError> {
        let mut url = Url::read(realm, &self.origin)?;
        let query = format!("service={}&scope={}", encode(service), encode(scope));
        let ask = match credentials {
            Some(Credentials::IdentityToken(token)) => {
                let token = encode(token);
                let form = format!(
                    "grant_type=refresh_token&client_id=sallyport&refresh_token={token}&{query}"
                );
                let form_type = [(CONTENT_TYPE, "application/x-www-form-urlencoded")];
                ask(Method::POST, form_type, form.into(), MAX_TOKEN)
            }
            _ => {
                let mark = if url.path.contains('?') { '&' } else { '?' };
                write!(url.path, "{mark}{query}").expect("a string takes everything");
                let mut ask = ask(Method::GET, [], Bytes::new(), MAX_TOKEN);
                if let Some(Credentials::Password { user, password }) = credentials {
                    let basic = HeaderValue::try_from(Credentials::basic(user, password));
                    ask.headers
                        .insert(AUTHORIZATION, basic.expect("base64 is a header's text"));
                }
                ask
            }
        };
        let reply = self.transport.exchange(&url, &self.origin, &ask).await?;
        match reply.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(self.unauthorized()),
            _ => self.expect(&reply, &[StatusCode::OK], "a token")?,
        }
        let answer = serde_json::from_slice::<TokenAnswer>(&reply.body).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token.ok_or_else(|| {
            RegistryError::malformed(format!("{} answers without a token", url.origin))
        })
    }

    fn unauthorized(&self) -> RegistryError {
        let registry = self.repository.registry();
        let message = match &self.credentials {
            Some(_) => format!(
                "{} refuses the credentials for {registry}; they may have expired: log in again, \
                 or renew the pull secret",
                self.origin
            ),
            None => format!(
                "{} asks for credentials, and there are none for {registry}: log in with docker \
                 login, or name a file with --registry-credentials",
                self.origin
            ),
        };
        RegistryError::new(Reason::Unauthorized, message)
    }

    /// Checks that a reply has a status that was asked for.
    fn expect(
        &self,
        reply: &Reply,
        expected: &[StatusCode],
        what: &str,
    ) -> Result<(), RegistryError> {
        if expected.contains(&reply.status) {
            return Ok(());
        }
        let origin = &self.origin;
        let reason = match reply.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.credentials.is_none() => {
                return Err(self.unauthorized());
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Unauthorized,
            StatusCode::NOT_FOUND => Reason::NotFound,
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = reply
                    .headers
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok());
                let wait = wait.map_or_else(
                    || "later".to_owned(),
                    |wait| format!("after {} s", wait.escape_debug()),
                );
                let message = format!("{origin} has had too many requests (429); try {wait}");
                return Err(RegistryError::new(Reason::Throttled, message));
            }
            status if status.is_server_error() => Reason::Server,
            _ => Reason::Malformed,
        };
        let said = said(&reply.body);
        let message = format!(
            "{origin} answers {} for {what}{said}",
            reply.status.as_u16()
        );
        Err(RegistryError::new(reason, message))
    }
}

fn ask<const N: usize>(
    method: Method,
    headers: [(HeaderName, &str); N],
    body: Bytes,
    limit: usize,
) -> Ask {
    let value = |text: &str| HeaderValue::from_str(text).expect("media types are header values");
    let headers: HeaderMap = headers
        .into_iter()
        .map(|(name, text)| (name, value(text)))
        .collect();
    Ask {
        method,
        headers,
        body,
        limit,
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Returns the wait that a registry asks for, if it is short enough to be waited for.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    let pause = Duration::from_secs(seconds);
    (pause <= MAX_RETRY_AFTER).then_some(pause)
}

/// Returns what a registry says about an error, in its own words, shortened.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let errors = serde_json::from_slice::<Errors>(body).ok();
    let first = errors.and_then(|errors| errors.errors.into_iter().next());
    first.map_or_else(String::new, |Error { code, message }| {
        let text = format!("{code} {message}");
        let text = sallyport_core::excerpt::cut(text.trim(), 200).into_owned();
        format!(": {}", text.escape_debug())
    })
}

/// Encodes a text for a query or a form.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}
