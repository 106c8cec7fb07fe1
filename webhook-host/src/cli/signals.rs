//! The signals of `sallyport serve`: SIGHUP reloads; SIGTERM and SIGINT end it, at once before it
//! serves, and by a drain afterwards.

use anyhow::Result;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The time before it serves, in which a signal ends it at once: nothing is in flight.
pub(super) struct Start {
    watch: JoinHandle<Signals>,
    serving: oneshot::Sender<()>,
}

impl Start {
    pub(super) fn watch(runtime: &Runtime) -> Result<Self> {
        let _entered = runtime.enter();
        let mut signals = Signals::new()?;
        let (serving, is_serving) = oneshot::channel();
        let watch = runtime.spawn(async move {
            tokio::select! {
                _ = signals.end.next() => {
                    tracing::info!("stopped before it served");
                    std::process::exit(0);
                }
                _ = is_serving => signals,
            }
        });
        Ok(Self { watch, serving })
    }

    /// Signals mean something else from now on.
    pub(super) async fn end(self) -> Result<Signals> {
        let _ = self.serving.send(());
        Ok(self.watch.await?)
    }
}

/// The signals that the process acts on.
pub(super) struct Signals {
    /// Reload. One that comes before it serves asks for what happens anyway.
    pub(super) hangup: Signal,
    pub(super) end: Ends,
}

/// Which signal ends the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Terminate,
    Interrupt,
}

/// SIGTERM, which a kubelet sends, and SIGINT, which a terminal does.
pub(super) struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let end = Ends {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            end,
        })
    }
}

impl Ends {
    pub(super) async fn next(&mut self) -> End {
        tokio::select! {
            _ = self.terminate.recv() => End::Terminate,
            _ = self.interrupt.recv() => End::Interrupt,
        }
    }
}
