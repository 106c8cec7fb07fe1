//! OCI registries: components are pulled from them by reference, pushed to them, and signed there.
//!
//! `Registry` holds what lasts as long as the process (settings, cache, counters); a `Session` is
//! one read of policies or one command, with one HostConfig's rules. Invariants: every pulled
//! component has the requested digest and the signatures that the rules require; policies are
//! pulled when they are loaded, never for a review; each wait and each size has a bound.

mod address;
mod artefact;
mod cache;
mod challenge;
mod client;
mod credentials;
mod error;
mod layout;
mod publish;
mod signatures;
mod source_policy;
mod transport;

pub(crate) use artefact::Packed;
pub(crate) use cache::Cache;
pub(crate) use credentials::CredentialSource;
pub(crate) use error::{Reason, RegistryError};
pub(crate) use layout::Layout;
pub(crate) use publish::SignatureFormat;
pub(crate) use source_policy::SourcePolicy;

use crate::authorities::client_config;
use crate::signature::{Material, Signed};
use artefact::{Manifest, check};
use client::{Access, Client};
use sallyport_core::manifest::{Digest, Mode, Reference, Repository, VerificationMode};
use sallyport_core::policy::LoadError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use transport::Transport;

/// The largest component: five times the size of one that carries a JavaScript engine.
const MAX_COMPONENT: usize = 64 << 20;

/// The largest manifest and the largest config.
const MAX_MANIFEST: usize = 4 << 20;

/// The time for one artefact with its signatures, whatever the registry does: enough for a
/// component of the largest size over a slow line.
const PULL_TIME: Duration = Duration::from_mins(5);

/// The most artefacts that are remembered between reads of the policies. Any further ones are
/// pulled or read from the cache at each read.
const MAX_KNOWN: usize = 1024;

/// The settings of requests to registries.
#[derive(Debug)]
pub(crate) struct RegistryConfig {
    /// A file with certificates of authorities, in place of the system's.
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) credentials: CredentialSource,
    /// The longest time for which a registry may send nothing.
    pub(crate) patience: Duration,
    pub(crate) cache: Option<Cache>,
}

/// The state that all sessions of a process share.
#[derive(Debug)]
pub(crate) struct Registry {
    config: RegistryConfig,
    /// Artefacts that were pulled, so that a policy that did not change is not pulled again.
    known: Mutex<BTreeMap<(Repository, Digest), Known>>,
    /// The digests that tags had at their last pull.
    tags: Mutex<BTreeMap<Reference, Digest>>,
    pulled: AtomicU64,
    cached: AtomicU64,
    failed: [AtomicU64; Reason::ALL.len()],
}

#[derive(Debug, Clone)]
struct Known {
    manifest: Vec<u8>,
    component: Digest,
    signatures: Vec<Material>,
}

/// An artefact that may be used.
#[derive(Debug, Clone)]
pub(crate) struct Artefact {
    /// The digest of its manifest.
    pub(crate) digest: Digest,
    pub(crate) component: Vec<u8>,
}

impl Registry {
    pub(crate) fn new(config: RegistryConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            known: Mutex::default(),
            tags: Mutex::default(),
            pulled: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            failed: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Creates a registry without cache and credentials, for tests that pull nothing.
    #[cfg(test)]
    pub(crate) fn offline() -> Arc<Self> {
        Self::new(RegistryConfig {
            authorities: None,
            credentials: CredentialSource::Anonymous,
            patience: Duration::from_secs(1),
            cache: None,
        })
    }

    /// Begins a read of policies, or a command.
    pub(crate) fn session(self: &Arc<Self>, rules: SourcePolicy) -> Session {
        Session {
            registry: Arc::clone(self),
            rules,
            network: OnceLock::new(),
            unreached: Mutex::default(),
        }
    }

    /// Returns the pulls since the start by result.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let done = [
            ("pulled", read(&self.pulled)),
            ("cached", read(&self.cached)),
        ];
        let failed = Reason::ALL.iter().zip(&self.failed);
        let failed = failed.map(move |(reason, counter)| (reason.label(), read(counter)));
        done.into_iter().chain(failed)
    }

    fn count_failure(&self, reason: Reason) {
        let at = Reason::ALL.iter().position(|other| *other == reason);
        let counter = &self.failed[at.expect("all reasons are listed")];
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn known(&self, repository: &Repository, digest: &Digest) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(repository.clone(), digest.clone())).cloned()
    }

    fn remember(&self, repository: &Repository, digest: &Digest, what: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert((repository.clone(), digest.clone()), what);
    }

    /// Records the digest of a tag, and logs when it differs from the last one.
    fn note_tag(&self, reference: &Reference, digest: &Digest) {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.len() >= MAX_KNOWN {
            tags.clear();
        }
        if let Some(before) = tags.insert(reference.clone(), digest.clone())
            && before != *digest
        {
            tracing::warn!(
                "the tag {reference} has moved from {before} to {digest}; name a digest to decide \
                 yourself which version is loaded"
            );
        }
    }
}

/// One read of policies, or one command.
pub(crate) struct Session {
    registry: Arc<Registry>,
    rules: SourcePolicy,
    /// Created for the first request.
    network: OnceLock<Result<Network, RegistryError>>,
    /// Artefacts that a later attempt may get.
    unreached: Mutex<Vec<String>>,
}

struct Network {
    runtime: Runtime,
    transport: Transport,
}

/// A repository in the registry or in a mirror, with its client once it was used.
struct Place<'a> {
    repository: Repository,
    client: tokio::sync::OnceCell<Client<'a>>,
}

impl Session {
    /// Returns the digest of a component that was pulled before by the same reference, if it may
    /// still be used. Sends no request.
    pub(crate) fn known(&self, reference: &Reference, mode: Mode) -> Option<Digest> {
        self.rules.check(reference, mode).ok()?;
        let digest = reference.digest.as_ref()?;
        let known = self.registry.known(&reference.repository, digest)?;
        let signed = Signed {
            repository: &reference.repository,
            digest,
            manifest: &known.manifest,
        };
        let required = VerificationMode::Require;
        self.rules
            .verify(signed, &known.signatures, required)
            .ok()?;
        Some(known.component)
    }

    /// Checks a reference by the rules alone.
    pub(crate) fn check(&self, reference: &Reference, mode: Mode) -> Result<(), RegistryError> {
        self.rules.check(reference, mode)
    }

    /// Pulls an artefact. Must not be called by a thread of a runtime.
    pub(crate) fn pull(
        &self,
        reference: &Reference,
        mode: Mode,
    ) -> Result<Artefact, RegistryError> {
        let pulled = self.rules.check(reference, mode).and_then(|()| {
            let pulled = self.run(self.fetch(reference));
            pulled.map_err(|error| error.about(reference))
        });
        pulled.inspect_err(|error| {
            self.registry.count_failure(error.reason);
            if error.reason.is_about_access() {
                let mut unreached = self
                    .unreached
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                unreached.push(error.to_string());
            }
        })
    }

    /// Returns this session as a function that pulls the components of suites.
    pub(crate) fn into_pull(self) -> impl Fn(&Reference, Mode) -> Result<Vec<u8>, LoadError> {
        move |reference, mode| match self.pull(reference, mode) {
            Ok(pulled) => Ok(pulled.component),
            Err(error) => Err(LoadError::component(error.to_string())),
        }
    }

    /// Returns the artefacts that were not pulled for a reason that may go away without a change of
    /// the policies: a registry that is away, or a pull secret that has to be renewed.
    pub(crate) fn unreached(&self) -> Vec<String> {
        self.unreached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs a future to its end, within [`PULL_TIME`].
    fn run<T>(
        &self,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let network = self.network()?;
        network.runtime.block_on(async {
            let done = tokio::time::timeout(PULL_TIME, work).await;
            done.unwrap_or_else(|_| {
                let message = format!("not done within {PULL_TIME:?}");
                Err(RegistryError::new(Reason::Stalled, message))
            })
        })
    }

    fn network(&self) -> Result<&Network, RegistryError> {
        let network = self.network.get_or_init(|| {
            let config = &self.registry.config;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| RegistryError::new(Reason::Local, error.to_string()))?;
            let tls = client_config(config.authorities.as_deref(), "--registry-ca")
                .map_err(|message| RegistryError::new(Reason::Local, message))?;
            Ok(Network {
                runtime,
                transport: Transport::new(Arc::new(tls), config.patience),
            })
        });
        network.as_ref().map_err(Clone::clone)
    }

    async fn client(
        &self,
        repository: &Repository,
        access: Access,
    ) -> Result<Client<'_>, RegistryError> {
        let transport = &self.network()?.transport;
        let credentials = &self.registry.config.credentials;
        Client::new(transport, repository, access, credentials).await
    }

    fn places(&self, repository: &Repository) -> Vec<Place<'_>> {
        let places = self.rules.places(repository).into_iter();
        places
            .map(|repository| Place {
                repository,
                client: tokio::sync::OnceCell::new(),
            })
            .collect()
    }

    async fn fetch(&self, reference: &Reference) -> Result<Artefact, RegistryError> {
        let cache = self.registry.config.cache.as_ref();
        let repository = &reference.repository;
        let places = self.places(repository);
        let (digest, manifest) = self.fetch_manifest(reference, &places).await?;
        let read = Manifest::read(&manifest)?;
        let layer = read.component()?;
        if layer.size > MAX_COMPONENT as u64 {
            let message = format!(
                "its component has {} bytes; a component has at most {MAX_COMPONENT}",
                layer.size
            );
            return Err(RegistryError::new(Reason::TooLarge, message));
        }
        let size = usize::try_from(layer.size).unwrap_or(MAX_COMPONENT);
        let kept = cache.and_then(|cache| cache.content(&layer.digest, size));
        let is_kept = kept.is_some();
        let component = match kept {
            Some(component) => component,
            None => {
                let pull = async |client: &Client<'_>| {
                    let component = client.blob(&layer.digest, size).await?;
                    check(&component, &layer.digest, "a component")?;
                    Ok(component)
                };
                self.first(&places, pull).await?
            }
        };
        let signatures = self
            .verified(repository, &digest, &manifest, &places)
            .await?;
        if let Some(cache) = cache.filter(|_| !is_kept) {
            cache.keep_content(&digest, &manifest);
            cache.keep_content(&layer.digest, &component);
        }
        let counter = if is_kept {
            &self.registry.cached
        } else {
            &self.registry.pulled
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let known = Known {
            component: layer.digest.clone(),
            manifest,
            signatures,
        };
        self.registry.remember(repository, &digest, known);
        Ok(Artefact { digest, component })
    }

    /// Returns a manifest with its digest: from the cache for a digest, else from the first place
    /// that has it.
    async fn fetch_manifest<'s>(
        &'s self,
        reference: &Reference,
        places: &[Place<'s>],
    ) -> Result<(Digest, Vec<u8>), RegistryError> {
        let cache = self.registry.config.cache.as_ref();
        if let Some(digest) = &reference.digest
            && let Some(manifest) = cache.and_then(|cache| cache.content(digest, MAX_MANIFEST))
        {
            return Ok((digest.clone(), manifest));
        }
        let name = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag.as_str(),
            (None, None) => unreachable!("a reference has a tag or a digest"),
        };
        let pull = async |client: &Client<'_>| {
            let manifest = client.manifest(name).await?.ok_or_else(|| {
                let message = format!("the registry has no artefact {name} there");
                RegistryError::new(Reason::NotFound, message)
            })?;
            if let Some(digest) = &reference.digest {
                check(&manifest, digest, "a manifest")?;
            }
            Ok(manifest)
        };
        let manifest = self.first(places, pull).await?;
        let digest = Digest::of(&manifest);
        if reference.digest.is_none() {
            self.registry.note_tag(reference, &digest);
        }
        Ok((digest, manifest))
    }

    /// Tries the places one after the other until one gives a good answer.
    async fn first<'s, T>(
        &'s self,
        places: &[Place<'s>],
        ask: impl AsyncFn(&Client<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut errors = vec![];
        for place in places {
            let client = || self.client(&place.repository, Access::Pull);
            let asked = match place.client.get_or_try_init(client).await {
                Ok(client) => ask(client).await,
                Err(error) => Err(error),
            };
            match asked {
                Ok(answer) => return Ok(answer),
                Err(error) => errors.push(error),
            }
        }
        let transient = errors.iter().find(|error| error.reason.is_transient());
        let last = errors.last().expect("a repository has a place");
        let reason = transient.unwrap_or(last).reason;
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Err(RegistryError::new(reason, texts.join("; ")))
    }

    /// Returns the signatures of an artefact after verifying them by the rules. Uses those in the
    /// cache if they satisfy the rules, else those in the registry.
    async fn verified<'s>(
        &'s self,
        repository: &Repository,
        digest: &Digest,
        manifest: &[u8],
        places: &[Place<'s>],
    ) -> Result<Vec<Material>, RegistryError> {
        if !self.rules.is_verified(repository) {
            return Ok(vec![]);
        }
        let cache = self.registry.config.cache.as_ref();
        let signed = Signed {
            repository,
            digest,
            manifest,
        };
        let verify = |found: &[Material], mode| self.rules.verify(signed, found, mode);
        let both = |found: &[Material]| {
            verify(found, VerificationMode::Require)
                .and_then(|()| verify(found, VerificationMode::Warn))
        };
        let kept = cache.map_or_else(Vec::new, |cache| cache.signatures(repository, digest));
        if both(&kept).is_ok() {
            return Ok(kept);
        }
        let pull = async |client: &Client<'_>| client.signatures(digest).await;
        let found = match self.first(places, pull).await {
            Ok(found) => found,
            Err(error) if verify(&kept, VerificationMode::Require).is_ok() => {
                tracing::warn!("{repository}@{digest}: its signatures can't be read: {error}");
                return Ok(kept);
            }
            Err(error) => return Err(error),
        };
        verify(&found, VerificationMode::Require)
            .map_err(|problem| RegistryError::new(Reason::Signature, problem))?;
        if let Err(problem) = verify(&found, VerificationMode::Warn) {
            tracing::warn!("{repository}@{digest}: {problem}; it is used all the same");
        }
        if let Some(cache) = cache {
            cache.keep_signatures(repository, digest, &found);
        }
        Ok(found)
    }
}
