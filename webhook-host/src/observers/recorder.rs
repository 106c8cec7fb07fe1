//! Answered reviews go to a file here: on a thread in the background, after the answer was given.
//!
//! A request hands over what it was answered with and goes on. What doesn't fit the queue is
//! counted as dropped; what can't be written, because the disk is full, as failed, and logged once
//! a minute at most. Started by `cli::serve`.

use super::queue::{Answered, Queue, Waiting, queue};
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

/// How long the thread waits for a review before it looks whether it should end.
const TICK: Duration = Duration::from_millis(100);

/// How often it is told at most that reviews can't be recorded: on a disk that is nearly full, now
/// one fits and now none.
const TOLD: Duration = Duration::from_secs(60);

/// How often the thread looks whether its file is still where it was.
const LOOK: Duration = Duration::from_secs(1);

/// What keeps answered reviews.
pub struct Recorder {
    queue: Queue,
    dropped: Counter,
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The thread's side.
struct Writer {
    file: LogFile,
    key: HashKey,
    /// Which of the files that were begun the key is for.
    keyed: u64,
    ending: Arc<AtomicBool>,
    written: Counter,
    failed: Counter,
    /// When it was told last that reviews can't be recorded, and whether that holds still.
    told: Option<Instant>,
    is_failing: bool,
    looked: Instant,
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the process can't start one more, or the system has no random numbers.
    pub fn start(file: LogFile, metrics: &Metrics) -> Result<Self> {
        let (queue, waiting) = queue();
        let ending = Arc::new(AtomicBool::new(false));
        let counter = |result| metrics.recorded().get_or_create_owned(&Recorded { result });
        let writer = Writer {
            keyed: file.begun(),
            key: HashKey::random()?,
            file,
            ending: Arc::clone(&ending),
            written: counter("written"),
            failed: counter("failed"),
            told: None,
            is_failing: false,
            looked: Instant::now(),
        };
        let dropped = counter("dropped");
        let thread = std::thread::Builder::new()
            .name("record".into())
            .spawn(move || writer.run(&waiting))?;
        Ok(Self {
            queue,
            dropped,
            ending,
            thread,
        })
    }

    /// Records this review, as soon as there is time, or not at all.
    pub(crate) fn take(&self, answered: &Arc<Answered>) {
        if !self.queue.offer(answered) {
            self.dropped.inc();
        }
    }

    /// Waits until all that was taken is written, but not for long.
    pub fn finish(&self, patience: Duration) {
        let began = Instant::now();
        self.ending.store(true, Ordering::Relaxed);
        while !self.thread.is_finished() {
            if began.elapsed() > patience {
                tracing::warn!(
                    "not all reviews are recorded: writing them takes more than {patience:?}"
                );
                return;
            }
            std::thread::sleep(TICK / 10);
        }
    }
}

impl Writer {
    fn run(mut self, waiting: &Waiting) {
        loop {
            match waiting.next(TICK) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) if self.ending.load(Ordering::Relaxed) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(answered) => {
                    // A bug that one body brings to light must not end the thread.
                    let written = catch_unwind(AssertUnwindSafe(|| self.write(&answered)));
                    self.count(written.unwrap_or_else(|_| Err(Error::other("it panicked"))));
                }
            }
        }
    }

    fn write(&mut self, answered: &Answered) -> Result<()> {
        if self.looked.elapsed() >= LOOK {
            self.file.follow()?;
            self.looked = Instant::now();
        }
        self.file.make_room()?;
        if self.keyed != self.file.begun() {
            (self.key, self.keyed) = (HashKey::random()?, self.file.begun());
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
                if self.told.is_none_or(|told| told.elapsed() >= TOLD) {
                    (self.told, self.is_failing) = (Some(Instant::now()), true);
                    tracing::error!(%error, "a review can't be recorded; further ones that can't \
                        are only counted");
                }
            }
        }
    }
}

/// The whole body is a tree meanwhile, but no more when the line is written: a disk may take its
/// time.
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
