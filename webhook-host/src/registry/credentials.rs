//! Credentials for registries: from Docker's configuration file, whose helpers only commands run,
//! or from a mounted image pull secret, which has the same format.
//!
//! They are read at each pull, so that a rotated secret takes effect. Invariant: no error and no
//! log line holds a secret.

use super::error::{Reason, RegistryError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sallyport_core::manifest::Repository;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where credentials are looked up.
#[derive(Debug, Clone)]
pub(crate) enum CredentialSource {
    /// Docker's own file, with its helpers, if it is there.
    Docker(PathBuf),
    /// A file that must be there, and whose helpers are not run.
    Secret(PathBuf),
    /// No credentials.
    Anonymous,
}

/// Credentials for one registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// For the token endpoint, in place of a password.
    IdentityToken(String),
    /// Sent as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Returns the value of the header `Authorization` for basic authentication.
    pub(super) fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }
}

/// The largest file of credentials.
const MAX_FILE: u64 = 1 << 20;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl CredentialSource {
    /// Finds the credentials for a repository; `None` when there are none.
    pub(super) fn find(
        &self,
        repository: &Repository,
    ) -> Result<Option<Credentials>, RegistryError> {
        let (file, runs_helpers) = match self {
            Self::Anonymous => return Ok(None),
            Self::Docker(file) if !file.exists() => return Ok(None),
            Self::Docker(file) => (file, true),
            Self::Secret(file) => (file, false),
        };
        let fail = |problem: String| {
            let message = format!("the credentials in {}: {problem}", file.display());
            RegistryError::new(Reason::Unauthorized, message)
        };
        let config = read(file).map_err(fail)?;
        if runs_helpers && let Some(helper) = config.helper(repository) {
            return ask_helper(helper, repository).map_err(fail);
        }
        let auth = config.auth(repository);
        auth.map(|(key, auth)| {
            auth.credentials()
                .map_err(|why| fail(format!("{key}: {why}")))
        })
        .transpose()
        .map(Option::flatten)
    }
}

fn read(file: &Path) -> Result<DockerConfig, String> {
    let mut text = vec![];
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let read = opened.take(MAX_FILE + 1).read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err("larger than any such file".to_owned());
    }
    // An error of serde may quote the text, and with it a secret.
    serde_json::from_slice(&text).map_err(|error| {
        format!(
            "no configuration of Docker (JSON with \"auths\"): line {}, column {}",
            error.line(),
            error.column()
        )
    })
}

impl DockerConfig {
    fn helper(&self, repository: &Repository) -> Option<&str> {
        let registry = repository.registry().to_string();
        let own = self.cred_helpers.get(&registry).map(String::as_str);
        own.or((!self.creds_store.is_empty()).then_some(self.creds_store.as_str()))
    }

    /// Finds the entry for a repository. As for Docker and kubelet, a key is a registry or a path
    /// in one, and the longest path wins.
    fn auth(&self, repository: &Repository) -> Option<(&str, &Auth)> {
        let whole = names(repository);
        let of = |key: &str| {
            let key = key
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            let key = key.trim_end_matches('/');
            let key = key
                .strip_suffix("/v1")
                .or(key.strip_suffix("/v2"))
                .unwrap_or(key);
            let is_for = |name: &String| {
                let rest = name.strip_prefix(key);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            (!key.is_empty() && whole.iter().any(is_for)).then_some(key.len())
        };
        let fitting = self
            .auths
            .iter()
            .filter_map(|(key, auth)| Some((of(key)?, key, auth)));
        let (_, key, auth) = fitting.max_by_key(|(length, ..)| *length)?;
        Some((key, auth))
    }
}

/// Returns the keys that a file may have for a repository's registry.
fn names(repository: &Repository) -> Vec<String> {
    let registries = match repository.registry().to_string() {
        hub if hub == "docker.io" || hub == "index.docker.io" => {
            vec!["docker.io".to_owned(), "index.docker.io".to_owned()]
        }
        other => vec![other],
    };
    let path = repository.path();
    registries
        .iter()
        .map(|registry| format!("{registry}/{path}"))
        .collect()
}

impl Auth {
    fn credentials(&self) -> Result<Option<Credentials>, String> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::RegistryToken(self.registrytoken.clone())));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            let (user, password) = (self.username.clone(), self.password.clone());
            let is_there = !user.is_empty() || !password.is_empty();
            return Ok(is_there.then_some(Credentials::Password { user, password }));
        }
        let decoded = STANDARD.decode(self.auth.trim());
        let text = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = text.as_ref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or("auth is no base64 of user:password")?;
        Ok(Some(Credentials::Password {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        }))
    }
}

/// The timeout of a helper, which may have to prompt a person.
const HELPER_TIME: Duration = Duration::from_secs(60);

/// The most bytes of a helper's answer.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Runs one of Docker's credential helpers, a program of the machine's user.
fn ask_helper(name: &str, repository: &Repository) -> Result<Option<Credentials>, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(format!("{name:?} is no helper's name"));
    }
    let server = match repository.registry().to_string() {
        hub if hub == "docker.io" => "https://index.docker.io/v1/".to_owned(),
        other => other,
    };
    let program = format!("docker-credential-{name}");
    let child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| format!("can't run the helper {program}: {error}"))?;
    let answer = talk(&mut child, &server);
    let (status, answer) = answer.map_err(|error| format!("the helper {program}: {error}"))?;
    // Helpers say on standard output that they have none.
    if !status {
        let text = String::from_utf8_lossy(&answer);
        if text.contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("the helper {program} fails for {server}"));
    }
    let Ok(Answer { username, secret }) = serde_json::from_slice(&answer) else {
        return Err(format!(
            "the helper {program} has no usable answer for {server}"
        ));
    };
    Ok(Some(if username == "<token>" {
        Credentials::IdentityToken(secret)
    } else {
        Credentials::Password {
            user: username,
            password: secret,
        }
    }))
}

fn talk(child: &mut Child, server: &str) -> io::Result<(bool, Vec<u8>)> {
    let mut input = child.stdin.take().expect("it is piped");
    // A helper that does not read says so by its status.
    let _ = input.write_all(server.as_bytes());
    drop(input);
    let output = child.stdout.take().expect("it is piped");
    let reader = std::thread::Builder::new().spawn(move || {
        let mut answer = vec![];
        output
            .take(MAX_ANSWER)
            .read_to_end(&mut answer)
            .map(|_| answer)
    })?;
    let end = Instant::now() + HELPER_TIME;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other("no answer within a minute"));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let answer = reader.join().map_err(|_| io::Error::other("no answer"))??;
    Ok((status.success(), answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(auths: serde_json::Value, repository: &str) -> Result<Option<String>, String> {
        let directory = tempfile::tempdir().expect("a place to write");
        let file = directory.path().join("config.json");
        std::fs::write(&file, json!({"auths": auths}).to_string()).expect("written");
        let repository = repository.parse().expect("a repository");
        let found = CredentialSource::Secret(file).find(&repository);
        let shown = |credentials| match credentials {
            Credentials::Password { user, password } => format!("{user}:{password}"),
            Credentials::IdentityToken(token) => format!("identity {token}"),
            Credentials::RegistryToken(token) => format!("registry {token}"),
        };
        found
            .map(|found| found.map(shown))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_longest_entry_for_a_repository_counts() {
        let auth = |text: &str| json!({"auth": STANDARD.encode(text)});
        let auths = json!({
            "ghcr.io": auth("all:1"),
            "https://ghcr.io/acme": auth("acme:2"),
            "https://index.docker.io/v1/": auth("hub:p:w"),
            "registry.example.com:5000": {"username": "u", "password": "p"},
            "token.example.com": {"identitytoken": "t"},
            "nothing.example.com": {},
        });
        for (repository, expected) in [
            ("ghcr.io/other/p", Some("all:1")),
            ("ghcr.io/acme/p", Some("acme:2")),
            ("ghcr.io/acmes/p", Some("all:1")),
            ("docker.io/acme/p", Some("hub:p:w")),
            ("registry.example.com:5000/p", Some("u:p")),
            ("registry.example.com/p", None),
            ("token.example.com/p", Some("identity t")),
            ("nothing.example.com/p", None),
        ] {
            let found = found(auths.clone(), repository).expect("readable");
            assert_eq!(found.as_deref(), expected, "{repository}");
        }
    }

    #[test]
    fn a_bad_file_is_an_error_that_shows_no_secret() {
        let auths = json!({"ghcr.io": {"auth": "hunter2-hunter2"}});
        let error = found(auths, "ghcr.io/p").expect_err("no pair");
        assert!(
            error.ends_with("ghcr.io: auth is no base64 of user:password"),
            "{error}"
        );
        let error = found(json!({"ghcr.io": "hunter2"}), "ghcr.io/p").expect_err("no object");
        assert!(error.contains("no configuration of Docker"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        let missing = CredentialSource::Secret("/nowhere/config.json".into());
        let repository = "ghcr.io/p".parse().expect("a repository");
        assert!(missing.find(&repository).is_err());
        let docker = CredentialSource::Docker("/nowhere/config.json".into());
        assert_eq!(docker.find(&repository).expect("no file is needed"), None);
    }
}
