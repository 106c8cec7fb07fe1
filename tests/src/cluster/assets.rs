//! Finds kube-apiserver, etcd and kubectl on this machine.

use std::path::{Path, PathBuf};

/// A directory with all three programs.
pub(crate) struct Assets(PathBuf);

const PROGRAMS: [&str; 3] = ["kube-apiserver", "etcd", "kubectl"];

impl Assets {
    /// Returns the directory that the environment names, or else the newest of the cache.
    pub(crate) fn locate() -> Option<Self> {
        Self::given().or_else(Self::newest)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn given() -> Option<Self> {
        let folder = PathBuf::from(
            std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty())?,
        );
        assert!(
            whole(&folder),
            "KUBEBUILDER_ASSETS is {}, which lacks one of {PROGRAMS:?}",
            folder.display()
        );
        Some(Self(folder))
    }

    /// Returns the newest directory of the cache, which `scripts/assets.sh` fills, one for each
    /// version.
    fn newest() -> Option<Self> {
        let cache = match std::env::var_os("SALLYPORT_ASSETS") {
            Some(cache) => PathBuf::from(cache),
            None => user_cache()?.join("sallyport/kubebuilder-assets"),
        };
        let folders = std::fs::read_dir(cache)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()));
        folders
            .filter(|folder| whole(folder))
            .max_by_key(|folder| version(folder))
            .map(Self)
    }
}

fn user_cache() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .filter(|set| !set.is_empty())
        .map(PathBuf::from)
        .or_else(home)
}

fn whole(folder: &Path) -> bool {
    PROGRAMS
        .iter()
        .all(|program| folder.join(program).is_file())
}

fn version(folder: &Path) -> Vec<u32> {
    let name = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    name.split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}
