//! Recent denials, and recent reviews on which a candidate diverges, for the live console.
//!
//! Invariants: a request hands over a denied review and never waits; other reviews cost a
//! comparison. The thread takes at most a quarter of one processor (it rests three times as long as
//! it worked). [`MAX_KEPT`] of each kind are kept, redacted as records are; a denial that doesn't
//! fit the queue is counted and not shown. Divergences come from the shadow, on its thread. Started
//! by `cli::serve`, read by `console`.

use super::queue::{Answered, Queue, QueueReader, queue};
use crate::record::{Denial, DivergentReview, HashKey, ReviewParts};
use sallyport_core::admission::Shadowed;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The denials that are kept, and the divergences. Each has at most some 12 KiB of text.
const MAX_KEPT: usize = 100;

/// The rest after work, as a multiple of the time worked.
const REST_FACTOR: u32 = 3;

/// The shortest rest that is slept: sleeping has a resolution of about 0.1 ms.
const MIN_REST: Duration = Duration::from_millis(2);

/// The time that an idle thread waits before it looks for the next denial again.
const IDLE_WAIT: Duration = Duration::from_secs(60);

/// The reviews of a host that its console shows.
pub struct Recent {
    queue: Queue,
    kept: Arc<Kept>,
}

/// The state that requests, the threads and the console share.
struct Kept {
    key: HashKey,
    total: AtomicU64,
    not_shown: AtomicU64,
    denials: Ring,
    divergences: Ring,
}

/// The last items of a kind as JSON. The first one since the start has the number 1.
pub(crate) struct Ring {
    /// The newest at the end.
    items: Mutex<VecDeque<Numbered>>,
    /// The number of the newest.
    newest: watch::Sender<u64>,
}

struct Numbered {
    number: u64,
    json: String,
}

/// The denials since the start.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DenialCounts {
    /// All of them.
    total: u64,
    /// Those that came too fast to be shown.
    not_shown: u64,
}

impl Recent {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Fails when the process can't start another thread, or the system has no random numbers.
    pub fn start() -> std::io::Result<Self> {
        let (queue, waiting) = queue();
        let kept = Arc::new(Kept {
            key: HashKey::random()?,
            total: AtomicU64::new(0),
            not_shown: AtomicU64::new(0),
            denials: Ring::new(),
            divergences: Ring::new(),
        });
        let written = Arc::clone(&kept);
        std::thread::Builder::new()
            .name("denials".into())
            .spawn(move || written.run(&waiting))?;
        Ok(Self { queue, kept })
    }

    /// Queues a review that was denied, or counts it as not shown.
    pub(crate) fn take(&self, answered: &Arc<Answered>) {
        if answered.outcome.response.denial.is_none() {
            return;
        }
        self.kept.total.fetch_add(1, Ordering::Relaxed);
        if !self.queue.offer(answered) {
            self.kept.skip();
        }
    }

    /// Keeps a review on which a candidate diverges.
    pub(super) fn diverged(&self, answered: &Answered, shadowed: &Shadowed) {
        let parts = parts(answered);
        if let Ok(review) = DivergentReview::of(&parts, shadowed, &self.kept.key) {
            let json = serde_json::to_string(&review).expect("it is made of texts and numbers");
            self.kept.divergences.keep(json);
        }
    }

    pub(crate) fn denials(&self) -> &Ring {
        &self.kept.denials
    }

    pub(crate) fn divergences(&self) -> &Ring {
        &self.kept.divergences
    }

    pub(crate) fn counts(&self) -> DenialCounts {
        DenialCounts {
            total: self.kept.total.load(Ordering::Relaxed),
            not_shown: self.kept.not_shown.load(Ordering::Relaxed),
        }
    }
}

impl Kept {
    fn run(&self, waiting: &QueueReader) {
        let mut rest = Duration::ZERO;
        loop {
            let answered = match waiting.next(IDLE_WAIT) {
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => continue,
                Ok(answered) => answered,
            };
            let guard = answered.lock.acquire_blocking();
            let began = Instant::now();
            // A panic on one review must not end the thread.
            match catch_unwind(AssertUnwindSafe(|| self.denial(&answered))) {
                Ok(Ok(json)) => self.denials.keep(json),
                Ok(Err(_)) | Err(_) => self.skip(),
            }
            drop(guard);
            rest += began.elapsed() * REST_FACTOR;
            if rest >= MIN_REST {
                std::thread::sleep(std::mem::take(&mut rest));
            }
        }
    }

    fn denial(&self, answered: &Answered) -> serde_json::Result<String> {
        serde_json::to_string(&Denial::of(&parts(answered), &self.key)?)
    }

    fn skip(&self) {
        self.not_shown.fetch_add(1, Ordering::Relaxed);
    }
}

fn parts(answered: &Answered) -> ReviewParts<'_> {
    ReviewParts {
        body: &answered.body,
        time: answered.now,
        admission: &answered.set.admission,
        generation: answered.set.generation,
        outcome: &answered.outcome,
    }
}

impl Ring {
    fn new() -> Self {
        Self {
            items: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }

    fn keep(&self, json: String) {
        let mut items = self.items();
        let number = items.back().map_or(1, |last| last.number + 1);
        if items.len() == MAX_KEPT {
            items.pop_front();
        }
        items.push_back(Numbered { number, json });
        drop(items);
        self.newest.send_replace(number);
    }

    /// Returns the items after the one with this number as a JSON array, and the number of the
    /// newest; `None` when there are none.
    pub(crate) fn after(&self, number: u64) -> Option<(u64, String)> {
        let items = self.items();
        let newest = items.back()?.number;
        let mut json = String::new();
        for item in items.iter().filter(|item| item.number > number) {
            let separator = if json.is_empty() { '[' } else { ',' };
            let Numbered { number, json: text } = item;
            let _ = write!(json, "{separator}{{\"number\":{number},\"review\":{text}}}");
        }
        (!json.is_empty()).then(|| (newest, json + "]"))
    }

    /// Returns the number of the newest item, which changes with each.
    pub(crate) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn items(&self) -> MutexGuard<'_, VecDeque<Numbered>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_last_items_are_kept_and_readers_get_those_they_lack() {
        let ring = Ring::new();
        assert_eq!(ring.after(0), None);
        for number in 1..=250 {
            ring.keep(format!("\"{number}\""));
        }
        let (newest, all) = ring.after(0).expect("some");
        let value: Value = serde_json::from_str(&all).expect("JSON");
        let listed = value.as_array().expect("an array");
        assert_eq!((newest, listed.len()), (250, MAX_KEPT));
        assert_eq!(listed[0], json!({"number": 151, "review": "151"}));
        let last = ring.after(249).expect("one");
        assert_eq!(last, (250, r#"[{"number":250,"review":"250"}]"#.to_owned()));
        assert_eq!(ring.after(250), None);
        assert_eq!(*ring.newest().borrow(), 250);
    }
}
