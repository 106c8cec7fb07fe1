//! The microseconds of a policy between a loop in process and a server under load: the same
//! reviews after caches were emptied, beside a busy processor, and on threads that take turns.
//!
//! Criterion measures loops alone, so this measures each review by itself. Prints the medians of
//! one table; nothing is asserted.

use crate::examples::{FOUR, NODE_PORT, body};
use crate::{admission, asking_all, of, review};
use anyhow::{Context as _, Result};
use sallyport::engine::Engine;
use sallyport_core::admission::{Admission, AdmissionRequest};
use sallyport_core::service;
use serde_json::value::RawValue;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Reviews for each figure.
const REVIEWS: usize = 5_000;

/// No policy, one, and four, each asked about everything.
struct Asked {
    none: Admission,
    one: Admission,
    four: Admission,
    body: Vec<u8>,
}

/// Measures and prints the table.
pub(crate) fn print(engine: &Arc<Engine>) -> Result<()> {
    let asked = Asked {
        none: admission(vec![]),
        one: asking_all(of(engine, &["service-type"])?),
        four: asking_all(of(engine, &FOUR)?),
        body: body(NODE_PORT)?,
    };
    println!(
        "\n{:<34}{:>14}{:>14}{:>14}",
        "medians, us", "no policy", "one adds", "four add"
    );
    asked.row("back to back", || {});
    for kib in [64, 512, 2048, 8192] {
        let mut memory = vec![0_u8; kib << 10];
        asked.row(&format!("after writing {kib} KiB"), || {
            memory
                .iter_mut()
                .step_by(64)
                .for_each(|byte| *byte = byte.wrapping_add(1));
            black_box(&memory);
        });
    }
    let (mut client, mut server) = loopback()?;
    let mut bytes = vec![0; asked.body.len()];
    asked.row("after a round trip on loopback", || {
        let exchanged = client
            .write_all(&asked.body)
            .and_then(|()| server.read_exact(&mut bytes))
            .and_then(|()| server.write_all(&bytes[..300]))
            .and_then(|()| client.read_exact(&mut bytes[..300]));
        exchanged.expect("the connection is open");
    });
    asked.row("after 100 us of sleep", || {
        std::thread::sleep(Duration::from_micros(100));
    });
    asked.beside_a_busy_thread();
    asked.on_two_threads();
    parts(&asked.body)
}

/// Prints the parts of a review without policies that read JSON.
fn parts(body: &[u8]) -> Result<()> {
    let request = AdmissionRequest::parse(body)?;
    let object = request.object.context("the review has an object")?.get();
    let envelope = each(|| AdmissionRequest::parse(body).is_ok());
    let scan = each(|| serde_json::from_str::<&RawValue>(object).is_ok());
    let parse = each(|| service::parse(object).is_ok());
    println!(
        "\nof a review without policies, us: the envelope {envelope:.2}, of which {scan:.2} scan \
         its object; then parsing the object {parse:.2}"
    );
    Ok(())
}

/// Returns the microseconds of one call, as the median of many thousands in a row.
fn each(call: impl Fn() -> bool) -> f64 {
    const CALLS: u32 = 1_000;
    median((0..50).map(|_| {
        let began = Instant::now();
        (0..CALLS).for_each(|_| _ = black_box(call()));
        began.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    }))
}

impl Asked {
    fn row(&self, name: &str, mut before: impl FnMut()) {
        let figures = [&self.none, &self.one, &self.four].map(|asked| {
            median((0..REVIEWS).map(|_| {
                before();
                self.took(asked)
            }))
        });
        tell(name, figures);
    }

    fn took(&self, asked: &Admission) -> f64 {
        let began = Instant::now();
        black_box(review(asked, &self.body));
        began.elapsed().as_secs_f64() * 1e6
    }

    /// A thread that only counts takes the other processor.
    fn beside_a_busy_thread(&self) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            self.row("beside a busy thread", || {});
            over.store(true, Ordering::Relaxed);
        });
    }

    /// Each instance is made where the one before it was not.
    fn on_two_threads(&self) {
        let figures = [&self.none, &self.one, &self.four].map(|asked| {
            let ((to_there, there), (to_here, here)) = (channel::<()>(), channel::<()>());
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    while there.recv().is_ok() {
                        self.took(asked);
                        if to_here.send(()).is_err() {
                            return;
                        }
                    }
                });
                let median = median((0..REVIEWS).map(|_| {
                    to_there.send(()).expect("the thread runs");
                    here.recv().expect("the thread runs");
                    self.took(asked)
                }));
                drop(to_there);
                median
            })
        });
        tell("on two threads in turn", figures);
    }
}

fn tell(name: &str, [none, one, four]: [f64; 3]) {
    println!(
        "{name:<34}{none:>14.1}{:>14.1}{:>14.1}",
        one - none,
        four - none
    );
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn loopback() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
    }
    Ok((client, server))
}
