//! The flags of commands that use registries.

use super::cache::CacheArgs;
use super::quantity::short_time;
use crate::registry::{Cache, CredentialSource, Registry, RegistryConfig, Session, SourcePolicy};
use crate::sources::load;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use sallyport_core::manifest::HostConfigSpec;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Registries")]
#[group(skip)]
pub(super) struct RegistryArgs {
    /// Credentials, in the format of Docker's config.json or of an image pull secret. Credential
    /// helpers that it names are run [default: $DOCKER_CONFIG/config.json or
    /// ~/.docker/config.json]
    #[arg(long, value_name = "FILE", env = "SALLYPORT_REGISTRY_CREDENTIALS")]
    registry_credentials: Option<PathBuf>,
    /// PEM file with the authorities of registries' certificates [default: the system's, or those
    /// that are built in where it has none]
    #[arg(long, value_name = "FILE", env = "SALLYPORT_REGISTRY_CA")]
    registry_ca: Option<PathBuf>,
    /// The longest time that a registry may stay silent
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = short_time)]
    registry_timeout: Duration,
    /// Directory of pulled components, by digest. Content is checked whenever it is read, so it may
    /// be shared [default: `registry` in --cache-dir, else ~/.cache/sallyport/registry]
    #[arg(long, value_name = "DIR", env = "SALLYPORT_REGISTRY_CACHE")]
    registry_cache: Option<PathBuf>,
}

impl RegistryArgs {
    /// Returns the registries of a command: with the credentials of its user.
    pub(super) fn of_command(&self, cache: Option<&CacheArgs>) -> Result<Arc<Registry>> {
        let credentials = match &self.registry_credentials {
            Some(file) => {
                ensure!(
                    file.exists(),
                    "--registry-credentials: there is no file {}",
                    file.display()
                );
                CredentialSource::Docker(file.clone())
            }
            None => docker_config(|name| std::env::var_os(name))
                .map_or(CredentialSource::Anonymous, CredentialSource::Docker),
        };
        Ok(self.registry(credentials, cache))
    }

    /// Returns the registries of a serving host: with the named file of credentials, and without
    /// credential helpers.
    pub(super) fn of_host(&self, cache: &CacheArgs) -> Arc<Registry> {
        let credentials = self
            .registry_credentials
            .clone()
            .map_or(CredentialSource::Anonymous, CredentialSource::Secret);
        self.registry(credentials, Some(cache))
    }

    /// Begins the session of a command, by the rules of a HostConfig.
    pub(super) fn session(&self, cache: &CacheArgs, config: &HostConfigSpec) -> Result<Session> {
        let rules = SourcePolicy::of_command(config);
        Ok(self.of_command(Some(cache))?.session(rules))
    }

    /// Returns the cache for what was pulled, where there is one.
    pub(super) fn cache(&self, cache: Option<&CacheArgs>) -> Option<Cache> {
        let own = self.registry_cache.clone();
        let directory = own.or_else(|| cache?.registry_directory());
        directory.map(|directory| Cache::new(directory, Cache::SIZE))
    }

    fn registry(&self, credentials: CredentialSource, cache: Option<&CacheArgs>) -> Arc<Registry> {
        Registry::new(RegistryConfig {
            authorities: self.registry_ca.clone(),
            credentials,
            patience: self.registry_timeout,
            cache: self.cache(cache),
        })
    }
}

/// The flags of commands that are about registries alone.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RemoteArgs {
    /// HostConfig manifest with mirrors (spec.registries) and required signatures
    /// (spec.verification)
    #[arg(long, value_name = "FILE", env = "SALLYPORT_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) registry: RegistryArgs,
}

impl RemoteArgs {
    /// Returns the HostConfig; without one, nothing is mirrored or verified.
    pub(super) fn config(&self) -> Result<HostConfigSpec> {
        match &self.config {
            Some(file) => load::host_config(Some(file)),
            None => Ok(HostConfigSpec::default()),
        }
    }

    pub(super) fn session(&self, config: &HostConfigSpec) -> Result<Session> {
        let rules = SourcePolicy::of_command(config);
        Ok(self.registry.of_command(None)?.session(rules))
    }
}

/// Returns the path of Docker's configuration file; `None` without a home directory.
fn docker_config(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let directory = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))?;
    Some(directory.join("config.json"))
}

/// Writes a file as a whole, or not at all.
pub(super) fn write_file(file: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || {
        let mut temporary = tempfile::NamedTempFile::new_in(parent)?;
        temporary.write_all(content)?;
        // A temporary file is its owner's alone.
        #[cfg(unix)]
        temporary
            .as_file()
            .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        temporary.persist(file)?;
        Ok::<_, std::io::Error>(())
    };
    write().with_context(|| format!("can't write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_file_is_where_docker_has_it() {
        let file = |variables: &[(&str, &str)]| {
            docker_config(|name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            })
        };
        assert_eq!(
            file(&[("HOME", "/h")]),
            Some("/h/.docker/config.json".into())
        );
        let both = [("HOME", "/h"), ("DOCKER_CONFIG", "/d")];
        assert_eq!(file(&both), Some("/d/config.json".into()));
        assert_eq!(file(&[]), None);
    }
}
