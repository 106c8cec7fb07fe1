//! The flags of the cache of compiled policies.

use super::output::slow_compilation;
use crate::engine::{Cache, CacheError, Engine, EngineConfig};
use anyhow::{Result, bail};
use clap::Args;
use sallyport_core::units::Bytes;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(next_help_heading = "Cache")]
pub(super) struct CacheArgs {
    /// Directory of compiled policies, so that the next start need not compile them. Private to
    /// its user [default: $XDG_CACHE_HOME/sallyport/compiled or ~/.cache/sallyport/compiled]
    #[arg(long, value_name = "DIR", env = "SALLYPORT_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Size of that directory, such as 512Mi. The least recently used entries are removed first
    #[arg(long, value_name = "SIZE", default_value_t = Cache::SIZE, conflicts_with = "no_cache")]
    cache_size: Bytes,
    /// Compile all policies, and keep nothing
    #[arg(long)]
    no_cache: bool,
}

impl CacheArgs {
    fn limit(&self) -> u64 {
        u64::try_from(self.cache_size.get()).unwrap_or(u64::MAX)
    }

    /// Returns an engine for a command that asks one policy at a time.
    pub(super) fn engine(&self) -> Result<Arc<Engine>> {
        self.engine_with(EngineConfig::default())
    }

    /// Returns an engine for suites, which load one component with many settings.
    pub(super) fn engine_for_suites(&self) -> Result<Arc<Engine>> {
        self.engine_with(EngineConfig {
            snapshots: false,
            ..EngineConfig::default()
        })
    }

    fn engine_with(&self, config: EngineConfig) -> Result<Arc<Engine>> {
        let config = EngineConfig {
            concurrency: 1,
            cache: self.open()?,
            slow: slow_compilation(),
            ..config
        };
        Ok(Arc::new(Engine::new(&config)?))
    }

    /// Returns the directory for what was pulled from registries: below `--cache-dir`, or beside
    /// the default one.
    pub(super) fn registry_directory(&self) -> Option<PathBuf> {
        if self.no_cache {
            return None;
        }
        if let Some(directory) = &self.cache_dir {
            return Some(directory.join("registry"));
        }
        let compiled = default_directory(|name| std::env::var_os(name))?;
        Some(compiled.with_file_name("registry"))
    }

    /// Opens the cache that the flags name. Returns `None` without a home directory, because a
    /// missing default directory is no reason to fail.
    pub(super) fn open(&self) -> Result<Option<Cache>> {
        if self.no_cache {
            return Ok(None);
        }
        if let Some(directory) = &self.cache_dir {
            return match Cache::open(directory, self.limit()) {
                Ok(cache) => Ok(Some(cache)),
                Err(error) => bail!("--cache-dir: {error}"),
            };
        }
        let Some(directory) = default_directory(|name| std::env::var_os(name)) else {
            tracing::info!(
                "compiled policies are not kept: there is no home directory; name one with \
                 --cache-dir"
            );
            return Ok(None);
        };
        match Cache::open(&directory, self.limit()) {
            Ok(cache) => Ok(Some(cache)),
            Err(error @ CacheError::Unusable { .. }) => {
                tracing::info!(
                    "compiled policies are not kept: {error}; name another directory with \
                     --cache-dir"
                );
                Ok(None)
            }
            Err(error) => bail!("{error}, or choose with --cache-dir or --no-cache"),
        }
    }
}

/// Returns the default directory, by the XDG base directory specification: a variable that holds no
/// absolute path is ignored. It is a directory of its own, because the program's directory also
/// holds downloads of `scripts/` and need not be closed to other users.
fn default_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("sallyport/compiled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(variables: &[(&str, &str)]) -> Option<PathBuf> {
        default_directory(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_default_directory_is_in_the_users_caches() {
        assert_eq!(
            directory(&[("HOME", "/home/jane")]),
            Some("/home/jane/.cache/sallyport/compiled".into())
        );
        assert_eq!(
            directory(&[("HOME", "/home/jane"), ("XDG_CACHE_HOME", "/c")]),
            Some("/c/sallyport/compiled".into())
        );
        assert_eq!(
            directory(&[("HOME", "/home/jane"), ("XDG_CACHE_HOME", "")]),
            Some("/home/jane/.cache/sallyport/compiled".into())
        );
    }

    #[test]
    fn without_a_home_there_is_none() {
        assert_eq!(directory(&[]), None);
        assert_eq!(directory(&[("HOME", "")]), None);
    }
}
