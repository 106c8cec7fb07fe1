//! `sallyport webhooks --static`: writes the files of manifest-based admission control, and prints
//! how to configure an API server with them.

use crate::report::registration as report;
use crate::webhooks::registration::Registration;
use crate::webhooks::static_manifests::{
    FEATURE_GATE, MUTATING_POLICIES, MUTATING_WEBHOOKS, Protection, SINCE, StaticManifests,
    VALIDATING_WEBHOOKS,
};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use sallyport_core::manifest::{Group, ServiceAccount, Subject};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

#[derive(Debug, Args)]
#[command(next_help_heading = "Static manifests")]
#[group(skip)]
pub(super) struct StaticArgs {
    /// Write manifests that API servers load from their own disk (Kubernetes 1.36 with the feature
    /// gate ManifestBasedAdmissionControlConfig) into this directory: the backstop, a policy that
    /// protects the webhook configurations, and with --webhook-url the webhooks themselves.
    #[arg(long = "static", id = "static", value_name = "DIR",
        conflicts_with_all = ["backstop", "owner_uid", "output"])]
    directory: Option<PathBuf>,
    /// Where the API server finds the directory.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/etc/kubernetes/sallyport",
        requires = "static"
    )]
    static_path: String,
    /// Group whose members may change and delete what is protected.
    #[arg(
        long,
        value_name = "GROUP",
        default_value = "sallyport-admins",
        requires = "static"
    )]
    static_group: Group,
    /// Name of the hosts' service account, which maintains the configurations with --register.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "sallyport",
        requires = "static"
    )]
    static_service_account: String,
    /// Users who may write the caBundle of the configurations and nothing else; several times.
    #[arg(
        long,
        value_name = "USER",
        requires = "static",
        default_value = "system:serviceaccount:cert-manager:cert-manager-cainjector"
    )]
    static_ca_writer: Vec<Subject>,
}

impl StaticArgs {
    /// Returns true if static manifests are asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.directory.is_some()
    }

    /// Writes the files, and returns the instructions. `namespace` is the hosts'.
    pub(super) fn write(
        &self,
        registration: &Registration<'_>,
        namespace: &str,
        minor: Option<u32>,
    ) -> Result<String> {
        if let Some(minor) = minor.filter(|minor| *minor < SINCE) {
            bail!(
                "--static needs Kubernetes 1.{SINCE} or later, and --kubernetes says 1.{minor}; \
                 for older ones: --backstop"
            );
        }
        ensure!(
            Path::new(&self.static_path).is_absolute(),
            "--static-path: expected an absolute path, found {:?}; an API server reads no other",
            self.static_path
        );
        let account = format!("{namespace}/{}", self.static_service_account);
        let service_account: ServiceAccount = account
            .parse()
            .map_err(|error| anyhow::anyhow!("--static-service-account: {error}"))?;
        let protection = Protection {
            group: self.static_group.clone(),
            service_account,
            ca_writers: self.static_ca_writer.clone(),
        };
        let manifests = StaticManifests::of(registration, &protection);
        let directory = self.directory.as_deref().unwrap_or(Path::new("."));
        let path = self.static_path.trim_end_matches('/');
        let files = report::static_files(registration, &manifests, path);
        for (file, text) in &files {
            let file = directory.join(file);
            put(&file, text)
                .with_context(|| format!("--static: can't write {}", file.display()))?;
        }
        // Removes files of an earlier run that these policies don't need.
        for folder in [VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS, MUTATING_POLICIES] {
            let name = format!("{folder}/{}.yaml", registration.options.name);
            let file = directory.join(&name);
            if !files.iter().any(|(written, _)| *written == name) && file.exists() {
                std::fs::remove_file(&file)
                    .with_context(|| format!("--static: can't remove {}", file.display()))?;
            }
        }
        Ok(self.instructions(directory, path, &files))
    }

    fn instructions(&self, directory: &Path, path: &str, files: &[(String, String)]) -> String {
        let names: Vec<_> = files
            .iter()
            .map(|(file, _)| format!("  {file}\n"))
            .collect();
        format!(
            "Written to {}:\n{}\n\
             Copy the directory to {path} on every node of the control plane, and give each \
             kube-apiserver\n  \
             --feature-gates={FEATURE_GATE}=true\n  \
             --admission-control-config-file={path}/admission.yaml\n\
             (where that flag is set already, add the entries of admission.yaml to its file).\n\
             Members of the group {} may change and delete the protected objects.\n\
             Print the files anew when policies, settings or exemptions change: a running API \
             server reads them again.\n",
            directory.display(),
            names.concat(),
            self.static_group.as_str(),
        )
    }
}

/// Replaces a file in one step, since a running API server watches the directory.
fn put(file: &Path, text: &str) -> Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut temporary = NamedTempFile::new_in(directory)?;
    temporary.write_all(text.as_bytes())?;
    readable(&temporary)?;
    temporary.persist(file)?;
    Ok(())
}

/// Lets API servers read the file that run as a user of their own. It holds no secrets.
#[cfg(unix)]
fn readable(file: &NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(mode)
}

#[cfg(not(unix))]
fn readable(_: &NamedTempFile) -> std::io::Result<()> {
    Ok(())
}
