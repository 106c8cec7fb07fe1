//! The recorder and the decision log: each writes a line for an answered review, on a thread in the
//! background.
//!
//! Invariants: a request never waits for a line. A review that doesn't fit the queue is counted as
//! dropped. One that can't be written, for example because the disk is full, is counted as failed
//! and logged at most once a minute. Started by `cli::serve`.

use super::queue::{Answered, Queue, QueueReader, queue};
use crate::metrics::{self, Metrics, Recorded, RecordedReviews};
use crate::record::{Decided, Decisions, HashKey, LogFile, Record};
use prometheus_client::metrics::counter::Counter;
use std::io::{Error, Result, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The interval at which an idle thread checks if it should end.
const TICK: Duration = Duration::from_millis(100);

/// The rest after each write. Under load, requests queue reviews meanwhile without waking the
/// thread, and many lines take one system call. The queue has room for those of 5 ms.
const REST: Duration = Duration::from_millis(5);

/// The size from which on collected lines are written.
const MAX_COLLECTED_BYTES: usize = 64 << 10;

/// The shortest interval between two log lines about reviews that can't be written: on a nearly
/// full disk some fit and some don't.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The interval at which the thread checks that its file is still at its path.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Writes lines of answered reviews.
pub struct LineWriter {
    queue: Queue,
    dropped: Counter,
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    noun: &'static str,
}

/// The destination of the decision log.
pub enum Destination {
    /// A file, which is rotated.
    File(LogFile),
    /// Standard output. Logs go to standard error.
    Stdout,
}

/// The lines that are made of reviews.
enum Lines {
    Records,
    Decisions(Box<Decisions>),
}

/// The thread's state.
struct Writer {
    lines: Lines,
    destination: Destination,
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
    noun: &'static str,
}

impl LineWriter {
    /// Starts the recorder.
    ///
    /// # Errors
    ///
    /// Fails when the process can't start another thread, or the system has no random numbers.
    pub fn records(file: LogFile, metrics: &Metrics) -> Result<Self> {
        let destination = Destination::File(file);
        Self::start(Lines::Records, destination, &metrics.records.reviews)
    }

    /// Starts the decision log.
    ///
    /// # Errors
    ///
    /// Fails when the process can't start another thread, or the system has no random numbers.
    pub fn decisions(destination: Destination, metrics: &Metrics) -> Result<Self> {
        let lines = Lines::Decisions(Box::default());
        Self::start(lines, destination, &metrics.records.decision_lines)
    }

    fn start(lines: Lines, destination: Destination, counts: &RecordedReviews) -> Result<Self> {
        let (queue, waiting) = queue();
        let is_ending = Arc::new(AtomicBool::new(false));
        let counter = |result| counts.get_or_create_owned(&Recorded { result });
        let (thread, noun) = match lines {
            Lines::Records => ("record", "records"),
            Lines::Decisions(_) => ("decisions", "lines of the decision log"),
        };
        let writer = Writer {
            key_file: destination.opened(),
            key: HashKey::random()?,
            lines,
            destination,
            is_ending: Arc::clone(&is_ending),
            written: counter("written"),
            failed: counter("failed"),
            failure_logged: None,
            is_failing: false,
            file_checked: Instant::now(),
            noun,
        };
        let dropped = counter("dropped");
        let thread = std::thread::Builder::new()
            .name(thread.into())
            .spawn(move || writer.run(&waiting))?;
        Ok(Self {
            queue,
            dropped,
            is_ending,
            thread,
            noun,
        })
    }

    /// Queues a review to be written, or counts it as dropped.
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
                let noun = self.noun;
                tracing::warn!("some {noun} are lost: writing them takes more than {timeout:?}");
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
                    self.write(&answered, waiting);
                    std::thread::sleep(REST);
                }
            }
        }
    }

    /// Writes the lines of a review and of those that wait behind it, as many as fit one write.
    fn write(&mut self, first: &Arc<Answered>, waiting: &QueueReader) {
        if let Err(error) = self.prepare() {
            return self.failed(1, &error);
        }
        let (mut text, mut count) = (vec![], 0);
        let mut next = Some(Arc::clone(first));
        while let Some(answered) = next {
            // A panic on one review must not end the thread.
            let whole = text.len();
            if count > 0 {
                text.push(b'\n');
            }
            let add = || self.lines.add(&answered, &self.key, &mut text);
            let problem = match catch_unwind(AssertUnwindSafe(add)) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.into()),
                Err(_) => Some(Error::other("it panicked")),
            };
            match problem {
                None => count += 1,
                Some(error) => {
                    text.truncate(whole);
                    self.failed(1, &error);
                }
            }
            let has_room = text.len() < self.destination.room();
            next = has_room
                .then(|| waiting.next(Duration::ZERO).ok())
                .flatten();
        }
        if count == 0 {
            return;
        }
        match self.destination.append(&text) {
            Ok(()) => self.written(count),
            Err(error) => self.failed(count, &error),
        }
    }

    /// Opens a file anew where it must be, before lines are made: each file has its own key.
    fn prepare(&mut self) -> Result<()> {
        if let Destination::File(file) = &mut self.destination {
            if self.file_checked.elapsed() >= FILE_CHECK_INTERVAL {
                file.follow()?;
                self.file_checked = Instant::now();
            }
            file.make_room()?;
        }
        if self.key_file != self.destination.opened() {
            (self.key, self.key_file) = (HashKey::random()?, self.destination.opened());
            if let Lines::Decisions(decisions) = &mut self.lines {
                decisions.forget_users();
            }
        }
        Ok(())
    }

    fn written(&mut self, count: u64) {
        self.written.inc_by(count);
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("{} are written again", self.noun);
        }
    }

    fn failed(&mut self, count: u64, error: &Error) {
        self.failed.inc_by(count);
        let is_due = self
            .failure_logged
            .is_none_or(|logged| logged.elapsed() >= FAILURE_LOG_INTERVAL);
        if is_due {
            (self.failure_logged, self.is_failing) = (Some(Instant::now()), true);
            let noun = self.noun;
            tracing::error!(%error, "{noun} can't be written; further failures are only counted");
        }
    }
}

impl Lines {
    /// Appends a line of JSON; an error may leave a part of it. Holds the large-body lock while the
    /// body is a tree, and releases it before the line is written, because disks may be slow.
    fn add(
        &mut self,
        answered: &Answered,
        key: &HashKey,
        text: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let Answered {
            function,
            request,
            body,
            lock,
            now,
            set,
            inventory,
            outcome,
            took,
            trace,
        } = answered;
        let _guard = lock.acquire_blocking();
        match self {
            Self::Records => {
                let set = (&*set.admission, set.generation);
                let record = Record::of(*function, body, *now, set, inventory, outcome, key)?;
                serde_json::to_writer(text, &record)
            }
            Self::Decisions(decisions) => {
                let decided = Decided {
                    function: *function,
                    request,
                    body,
                    now: *now,
                    admission: &set.admission,
                    set: set.digest(),
                    generation: set.generation,
                    outcome,
                    verdict: metrics::result(outcome),
                    took: *took,
                    trace_id: trace.map(|trace| trace.trace_id.to_string()),
                };
                decisions.line(decided, key, text)
            }
        }
    }
}

impl Destination {
    fn opened(&self) -> u64 {
        match self {
            Self::File(file) => file.opened(),
            Self::Stdout => 1,
        }
    }

    /// Returns the bytes that may be collected before they are written.
    fn room(&self) -> usize {
        match self {
            Self::File(file) => usize::try_from(file.room())
                .map_or(MAX_COLLECTED_BYTES, |room| room.min(MAX_COLLECTED_BYTES)),
            Self::Stdout => MAX_COLLECTED_BYTES,
        }
    }

    /// Appends lines, without the last line break.
    fn append(&mut self, lines: &[u8]) -> Result<()> {
        match self {
            Self::File(file) => file.append(lines),
            Self::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.write_all(b"\n")?;
                stdout.flush()
            }
        }
    }
}
