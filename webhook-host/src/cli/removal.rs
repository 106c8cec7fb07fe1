//! The flags of `sallyport webhooks` that change a cluster: `--delete` and `--resume`.

use super::kube::KubeArgs;
use super::output::print;
use crate::webhooks::registrar::{HOLD, INSTALLATION, Installation, Removal};
use anyhow::{Context as _, Error, Result, ensure};
use clap::Args;
use kube::Client;
use std::io::{Write as _, stdout};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(next_help_heading = "Removal")]
#[group(skip)]
pub(super) struct RemovalArgs {
    /// Delete the webhook configurations and the backstop of --webhook-configuration from the
    /// cluster. Before that, every host of the installation is told to write no configuration any
    /// more, so that none comes back. Works in any order with scaling to zero and kubectl delete.
    #[arg(
        long,
        conflicts_with_all = [
            "policies_from_cluster", "deletions", "backstop", "output", "owner_uid", "resume"
        ]
    )]
    delete: bool,
    /// Let hosts write webhook configurations again, after --delete.
    #[arg(
        long,
        conflicts_with_all = [
            "policies_from_cluster", "deletions", "backstop", "output", "owner_uid"
        ]
    )]
    resume: bool,
    /// ClusterRole that stands for the installation.
    #[arg(long, value_name = "NAME", default_value = INSTALLATION)]
    installation: String,
    #[command(flatten)]
    kube: KubeArgs,
}

impl RemovalArgs {
    pub(super) fn is_wanted(&self) -> bool {
        self.delete || self.resume
    }

    /// Checks that no flag is given that only a change of a cluster heeds.
    ///
    /// # Errors
    ///
    /// When there is one.
    pub(super) fn ensure_unused(&self) -> Result<()> {
        ensure!(
            !self.kube.are_given(),
            "--kubeconfig and --context count with --delete and --resume only; what is printed \
             here asks no cluster"
        );
        Ok(())
    }

    pub(super) fn installation(&self) -> &str {
        &self.installation
    }

    /// Deletes or resumes the registration of a name.
    ///
    /// # Errors
    ///
    /// When the API server can't be reached, or refuses.
    pub(super) fn run(&self, registration: &str) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let client = Client::try_from(self.kube.config("webhooks").await?)?;
            let installation = Installation::new(client.clone(), self.installation.clone());
            if self.resume {
                return self.resume(&installation).await;
            }
            let removal = Removal::new(&client, installation, registration);
            removal
                // A closed pipe must not end a deletion halfway.
                .run(|line| drop(writeln!(stdout(), "{line}")))
                .await
                .map_err(Error::msg)?;
            print(
                "nothing asks Sallyport any more; `sallyport webhooks --resume` lets hosts \
                 register again\n",
            )?;
            Ok(ExitCode::SUCCESS)
        })
    }

    async fn resume(&self, installation: &Installation) -> Result<ExitCode> {
        let name = installation.name();
        let found = installation
            .resume()
            .await
            .with_context(|| format!("ClusterRole {name}"))?;
        ensure!(
            found,
            "ClusterRole {name} is not there; apply deploy/base, or name another one with \
             --installation"
        );
        print(&format!(
            "ClusterRole {name} has no annotation {HOLD}: hosts with --register write the \
             configurations again\n"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
