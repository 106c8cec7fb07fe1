//! The recorder: writes answered reviews to a file, on a thread in the background.
//!
//! A review that doesn't fit the queue is counted as dropped. One that can't be written, for
//! example because the disk is full, is counted as failed and logged at most once a minute. Started
//! by `cli::serve`.

use super::queue::{Answered, Queue, QueueReader, queue};
use crate::metrics::{Metrics, Recorded};
use crate::record::{HashKey, LogFile, Record};
use prometheus_client::metrics::counter::Counter;
use std::io::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The interval at which an idle thread checks if it should end.
const TICK: Duration = Duration::from_millis(100);

/// The shortest interval between two log lines about reviews that can't be recorded: on a nearly
/// full disk some fit and some don't.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The interval at which the thread checks that its file is still at its path.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Records answered reviews.
pub struct Recorder {
    queue: Queue,
    dropped: Counter,
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The thread's state.
struct Writer {
    file: LogFile,
    key: HashKey,
    /// The number of the file that the key is for: each file has its own.
    key_file: u64,
    is_ending: Arc<AtomicBool>,
    written: Counter,
    failed: Counter,
    /// The last time a failure was logged, and whether the last review failed.
    failure_logged: Option<Instant>,
    is_failing: bool,
    file_checked: Instant,
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Fails when the process can't start another thread, or the system has no random numbers.
    pub fn start(file: LogFile, metrics: &Metrics) -> Result<Self> {
        let (queue, waiting) = queue();
        let is_ending = Arc::new(AtomicBool::new(false));
        let counter = |result| metrics.recorded().get_or_create_owned(&Recorded { result });
        let writer = Writer {
            key_file: file.opened(),
            key: HashKey::random()?,
            file,
            is_ending: Arc::clone(&is_ending),
            written: counter("written"),
            failed: counter("failed"),
            failure_logged: None,
            is_failing: false,
            file_checked: Instant::now(),
        };
        let dropped = counter("dropped");
        let thread = std::thread::Builder::new()
            .name("record".into())
            .spawn(move || writer.run(&waiting))?;
        Ok(Self {
            queue,
            dropped,
            is_ending,
            thread,
        })
    }

    /// Queues a review to be recorded, or counts it as dropped.
    pub(crate) fn take(&self, answered: &Arc<Answered>) {
        if !self.queue.offer(answered) {
            self.dropped.inc();
        }
    }

    /// Waits until all queued reviews are written, or the timeout passes.
    pub fn finish(&self, timeout: Duration) {
        let began = Instant::now();
        self.is_ending.store(true, Ordering::Relaxed);
        while !self.thread.is_finished() {
            if began.elapsed() > timeout {
                tracing::warn!(
                    "not all reviews are recorded: writing them takes more than {timeout:?}"
                );
                return;
            }
            std::thread::sleep(TICK / 10);
        }
    }
}

impl Writer {
    fn run(mut self, waiting: &QueueReader) {
        loop {
            match waiting.next(TICK) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if self.is_ending.load(Ordering::Relaxed) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(answered) => {
                    // A panic on one review must not end the thread.
                    let written = catch_unwind(AssertUnwindSafe(|| self.write(&answered)));
                    self.count(written.unwrap_or_else(|_| Err(Error::other("it panicked"))));
                }
            }
        }
    }

    fn write(&mut self, answered: &Answered) -> Result<()> {
        if self.file_checked.elapsed() >= FILE_CHECK_INTERVAL {
            self.file.follow()?;
            self.file_checked = Instant::now();
        }
        self.file.make_room()?;
        if self.key_file != self.file.opened() {
            (self.key, self.key_file) = (HashKey::random()?, self.file.opened());
        }
        let line = line(answered, &self.key)?;
        self.file.append(&line)
    }

    fn count(&mut self, written: Result<()>) {
        match written {
            Ok(()) => {
                self.written.inc();
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("reviews are recorded again");
                }
            }
            Err(error) => {
                self.failed.inc();
                let is_due = self
                    .failure_logged
                    .is_none_or(|logged| logged.elapsed() >= FAILURE_LOG_INTERVAL);
                if is_due {
                    (self.failure_logged, self.is_failing) = (Some(Instant::now()), true);
                    tracing::error!(%error, "a review can't be recorded; further ones that can't \
                        are only counted");
                }
            }
        }
    }
}

/// Makes a line of JSON. Holds the large-body lock while the body is a tree, and releases it before
/// the line is written, because disks may be slow.
fn line(answered: &Answered, key: &HashKey) -> serde_json::Result<Vec<u8>> {
    let Answered {
        function,
        body,
        lock,
        now,
        set,
        inventory,
        outcome,
    } = answered;
    let _guard = lock.acquire_blocking();
    let record = Record::of(
        *function,
        body,
        *now,
        (&set.admission, set.generation),
        inventory,
        outcome,
        key,
    )?;
    serde_json::to_vec(&record)
}
