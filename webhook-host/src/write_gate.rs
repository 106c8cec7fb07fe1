//! The permission to write objects that are shared with other replicas: webhook configurations, the
//! Secret and the Lease of the certificate, the status of ServicePolicies.
//!
//! The gate closes at the signal that ends the host. A host that drains may live on for minutes,
//! while its operator deletes the objects that it kept; anything it wrote then would outlive it.
//! Invariant: every writer of a shared object runs inside [`WriteGate::run`], so a closed gate
//! aborts its request in flight, and no other one begins. Closed by `cli::serve`.

use tokio::sync::watch;

/// A gate that is open until the host drains. Clones share it.
#[derive(Debug, Clone)]
pub struct WriteGate(watch::Sender<bool>);

impl WriteGate {
    /// Creates an open gate.
    pub fn open() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Closes the gate for good, which ends all writers. Returns at once.
    pub fn close(&self) {
        self.0.send_replace(true);
    }

    /// Runs a writer until it ends or the gate closes. In the latter case the writer is dropped,
    /// and its request in flight with it.
    pub async fn run(&self, writer: impl Future<Output = ()>) {
        let mut closed = self.0.subscribe();
        tokio::select! {
            // Checked first, so that a closed gate wins when both are ready.
            biased;
            _ = closed.wait_for(|closed| *closed) => {}
            () = writer => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_closed_gate_ends_the_writer_and_lets_none_begin() {
        let (gate, mut written) = (WriteGate::open(), 0);
        let other = gate.clone();
        gate.run(async {
            written += 1;
            other.close();
            tokio::time::sleep(Duration::from_secs(60)).await;
            written += 1;
        })
        .await;
        gate.run(async { written += 1 }).await;
        assert_eq!(written, 1);
    }
}
