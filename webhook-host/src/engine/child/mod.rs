//! Compilation in a child process, so that the cost of compiling a component never falls on the
//! serving process.
//!
//! **Start.** The child is this executable, started again (`/proc/self/exe`) with one environment
//! variable and nothing else of the environment. A constructor that this library registers
//! (`start`) runs before `main`, sees the variable, works and exits. So the child exists wherever
//! the library is linked, in the program and in test binaries alike, without configuration, and
//! both ends of the pipes are of one build. (A fork without exec is not safe in a process with
//! threads, and would share its secrets.)
//!
//! **Pipes.** In: a [`Job`] and the component's bytes. Out: a [`Reply`] and the compiled code, as
//! wasmtime serialises it, at most [`MAX_CODE`] bytes. Pre-initialisation runs in the child too,
//! since it compiles twice; so `configure` leaves the serving process as well. The parent validates
//! the component's form beforehand (core's `component`), computes the key and writes the cache.
//!
//! **Trust.** The parent runs the code that the child returns: cranelift's output is trusted. The
//! confinement below limits a component that makes the compiler hang, swell or crash, or that
//! breaks out of the sandbox while it is configured, to that reply. Each component has a child of
//! its own, so it can't change another one's code.
//!
//! **Limits**, enforced by the parent on every platform: wall-clock time ([`Limits`]), one child at
//! a time in this process, the sizes of both directions. On Linux the child gives up all other
//! rights before it reads its job (see `confinement`), and the parent checks its resident size and
//! the container's free memory every [`CHECK_INTERVAL`].
//!
//! Started by `load`, on a thread that serves no review.

mod confinement;
mod failure;
mod inside;
mod limits;
mod memory;
mod messages;
mod start;

pub(super) use failure::CompileError;
use failure::Failure;
use inside::{is_child, run};
use limits::Limits;
pub(super) use limits::Resources;
use messages::{Job, MAX_CODE, Outcome, Reply, read_header, write_header};

use super::cache::Compiled;
use super::request::LoadRequest;
use super::state::Line;
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// The variable that makes this executable a child that compiles. Its value is the child's limits.
const VARIABLE: &str = "SALLYPORT_COMPILE_CHILD";

/// The interval at which the parent checks the child. A process can touch some 20 MiB in that time.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The time for a child that has closed its pipe to exit.
const EXIT_TIME: Duration = Duration::from_secs(1);

/// The result of a child.
pub(super) struct Made {
    pub(super) compiled: Compiled,
    /// True if it may be cached.
    pub(super) cacheable: bool,
    /// The lines that `configure` logged.
    pub(super) log: Vec<Line>,
    pub(super) compilations: u64,
}

/// A function that is called once if a compilation takes longer than a given time.
#[derive(Clone, Copy)]
pub(super) struct Slow<'a> {
    pub(super) after: Duration,
    pub(super) tell: &'a dyn Fn(),
}

/// Compiles a component in a child process, its settings baked in if `snapshot` says so. Calls
/// `slow` if it takes long.
///
/// # Errors
///
/// Fails when the component, its guest code or its settings are invalid, or when compiling it takes
/// too much.
pub(super) fn compile(
    request: &LoadRequest<'_>,
    snapshot: bool,
    resources: &Resources,
    slow: Slow<'_>,
) -> Result<Made, CompileError> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    if is_child() {
        // This is `main` of a program without its constructors. It must not start itself again and
        // again.
        return Err(Failure::Start(io::Error::other("this process is such a child")).into());
    }
    let component = request.component.bytes();
    let limits = Limits::new(component.len(), memory::free(), resources.niceness)?;
    let job = Job {
        name: Cow::Borrowed(request.name),
        settings: Cow::Borrowed(request.settings),
        settings_type: request.component.settings().map(Cow::Borrowed),
        memory: request.memory,
        snapshot,
        load_time: resources.load_time,
        slot: resources.slot,
        threads: limits.threads(resources.threads),
    };
    let (reply, code) = converse(limits, &job, component, slow)?;
    if let Some(missing) = reply.unconfined {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            tracing::warn!(
                "policies are compiled in a process with fewer restrictions than usual: {missing}"
            )
        });
    }
    let Outcome {
        no_snapshot,
        cacheable,
    } = reply
        .result
        .map_err(|problems| CompileError::Refused(problems.into()))?;
    Ok(Made {
        compiled: Compiled { code, no_snapshot },
        cacheable,
        log: reply.log,
        compilations: reply.compilations,
    })
}

/// Gives a job to a child. If the memory is too little for several threads that compile large
/// functions at the same time, a second child compiles with one thread.
fn converse(
    limits: Limits,
    job: &Job<'_>,
    component: &[u8],
    slow: Slow<'_>,
) -> Result<(Reply, Vec<u8>), Failure> {
    match converse_once(limits, job, component, slow) {
        Err(Failure::Memory(_)) if job.threads > 1 => {
            let job = Job {
                threads: 1,
                ..job.clone()
            };
            converse_once(limits, &job, component, slow)
        }
        conversed => conversed,
    }
}

fn converse_once(
    limits: Limits,
    job: &Job<'_>,
    component: &[u8],
    slow: Slow<'_>,
) -> Result<(Reply, Vec<u8>), Failure> {
    let began = Instant::now();
    let mut child = start(limits, job.threads).map_err(Failure::Start)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let exchange = move || {
            // Fails when the child was ended meanwhile.
            let _ = sender.send(exchange(stdin, stdout, job, component));
        };
        let thread = std::thread::Builder::new()
            .name("compile pipe".into())
            .spawn_scoped(scope, exchange);
        let answer = match thread {
            Ok(_) => answer(&mut child, &receiver, limits, began, slow),
            Err(error) => Err(Failure::Start(error)),
        };
        // The child has replied, or must end. Killing a child that has exited fails.
        let _ = child.kill();
        let _ = child.wait();
        answer
    })
}

fn start(limits: Limits, threads: usize) -> io::Result<Child> {
    let mut command = Command::new(program()?);
    command
        .env_clear()
        .env(VARIABLE, limits.to_text())
        // Read by rayon, which wasmtime compiles with. It can't see a container's limit itself.
        .env("RAYON_NUM_THREADS", threads.to_string());
    // mimalloc, the allocator on musl, would begin with a GiB of writable memory, which counts
    // against the child's limit though little of it is used.
    if cfg!(target_env = "musl") {
        command.env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
    }
    // An executable whose libraries are elsewhere needs the first variable again, and on Windows
    // the system's own libraries need the second.
    for name in ["LD_LIBRARY_PATH", "SystemRoot"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Returns the path of this executable, valid also after its file was replaced.
fn program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        Ok("/proc/self/exe".into())
    } else {
        std::env::current_exe()
    }
}

/// Sends a job and reads the reply.
fn exchange(
    stdin: Option<impl Write>,
    stdout: Option<impl Read>,
    job: &Job<'_>,
    component: &[u8],
) -> io::Result<(Reply, Vec<u8>)> {
    let (mut stdin, mut stdout) = (
        stdin.ok_or(io::ErrorKind::BrokenPipe)?,
        stdout.ok_or(io::ErrorKind::BrokenPipe)?,
    );
    write_header(&mut stdin, job)?;
    stdin.write_all(component)?;
    drop(stdin);
    let reply = read_header(&mut stdout)?;
    let mut code = vec![];
    stdout.take(MAX_CODE + 1).read_to_end(&mut code)?;
    Ok((reply, code))
}

/// Waits for the reply, and checks the child's limits meanwhile.
fn answer(
    child: &mut Child,
    receiver: &Receiver<io::Result<(Reply, Vec<u8>)>>,
    limits: Limits,
    began: Instant,
    slow: Slow<'_>,
) -> Result<(Reply, Vec<u8>), Failure> {
    let mut slow = Some(slow);
    loop {
        match receiver.recv_timeout(CHECK_INTERVAL) {
            Ok(Ok((_, code))) if code.len() as u64 > MAX_CODE => return Err(Failure::Code),
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => return Err(exit_failure(child, limits, &error)),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(failure) = limits.exceeded(child.id(), began) {
                    return Err(failure);
                }
                if let Some(slow) = slow.take_if(|slow| began.elapsed() >= slow.after) {
                    (slow.tell)();
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Answer("its pipe was lost".to_owned()));
            }
        }
    }
}

/// Returns the failure of a child that closed its pipe without a reply.
fn exit_failure(child: &mut Child, limits: Limits, error: &io::Error) -> Failure {
    let closed = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(None) if closed.elapsed() < EXIT_TIME => std::thread::sleep(CHECK_INTERVAL),
            Ok(None) | Err(_) => return Failure::Answer(error.to_string()),
            Ok(Some(status)) => break status,
        }
    };
    signal_failure(status, limits).unwrap_or_else(|| Failure::Answer(error.to_string()))
}

/// Returns the failure that the signal indicates by which a child ended.
#[cfg(unix)]
fn signal_failure(status: ExitStatus, limits: Limits) -> Option<Failure> {
    use std::os::unix::process::ExitStatusExt as _;
    Some(match status.signal()? {
        // The limit on processor time.
        libc::SIGXCPU => Failure::Processor(limits.processor),
        // The allocator aborts when it gets no more memory, and the kernel kills when it has too
        // little.
        libc::SIGABRT | libc::SIGKILL => limits.too_little_memory(),
        _ => Failure::Crash(status),
    })
}

/// Returns the failure of a child on Windows, which has no signals: a process that crashes ends
/// with a negative status.
#[cfg(not(unix))]
fn signal_failure(status: ExitStatus, _: Limits) -> Option<Failure> {
    let crashed = status.code().is_some_and(|code| code < 0);
    crashed.then_some(Failure::Crash(status))
}

#[cfg(test)]
mod tests {
    use super::memory::MIB;
    use super::*;
    use sallyport_core::units::Bytes;
    use serde_json::Map;

    /// Returns a component with one module, with this many functions, each of nested loops over
    /// local variables.
    fn component(functions: usize, loops: usize, locals: usize) -> Vec<u8> {
        let mut code = [vec![1], leb(locals), vec![0x7f]].concat();
        for index in 0..loops {
            let local = leb(index * 7 % locals);
            // loop, local.get, i32.const 1, i32.add, local.set
            code.extend([&[0x03, 0x40, 0x20], &*local, &[0x41, 1, 0x6a, 0x21], &local].concat());
        }
        for index in 0..loops {
            // local.get, br_if 0, end
            code.extend([&[0x20], &*leb(index * 11 % locals), &[0x0d, 0, 0x0b]].concat());
        }
        code.push(0x0b);
        let body = [leb(code.len()), code].concat();
        let section = |id: u8, content: Vec<u8>| [vec![id], leb(content.len()), content].concat();
        let module = [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, vec![1, 0x60, 0, 0]),
            section(3, [leb(functions), vec![0; functions]].concat()),
            section(10, [leb(functions), body.repeat(functions)].concat()),
        ];
        [b"\0asm\x0d\0\x01\0".to_vec(), section(1, module.concat())].concat()
    }

    fn leb(mut value: usize) -> Vec<u8> {
        let mut bytes = vec![];
        while value >= 0x80 {
            bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
            value >>= 7;
        }
        bytes.push(u8::try_from(value).expect("seven bits"));
        bytes
    }

    #[test]
    fn threads_are_as_many_as_fit_into_the_memory() {
        let threads = |memory, most| {
            let limits = Limits {
                memory: memory * MIB,
                processor: 60,
                niceness: 0,
            };
            limits.threads(most)
        };
        assert_eq!(threads(1024, 4), 4);
        assert_eq!(threads(194, 64), 3);
        assert_eq!(threads(64, 64), 1);
        assert_eq!(threads(10, 64), 1);
        assert_eq!(threads(1024, 1), 1);
    }

    const UNTOLD: Slow<'static> = Slow {
        after: Duration::MAX,
        tell: &|| {},
    };

    fn job(threads: usize) -> Job<'static> {
        Job {
            name: "tried".into(),
            settings: Cow::Owned(Map::new()),
            settings_type: None,
            memory: 1 << 20,
            snapshot: true,
            load_time: Duration::from_secs(5),
            slot: Bytes::new(1 << 20),
            threads,
        }
    }

    fn failure(limits: Limits, component: &[u8]) -> String {
        match converse(limits, &job(1), component, UNTOLD) {
            Err(failure) => failure.to_string(),
            Ok((reply, _)) => format!("{:?}", reply.result.map(|_| ())),
        }
    }

    #[test]
    fn a_child_that_needs_too_much_memory_is_ended() {
        let limits = Limits {
            memory: 100 * MIB,
            processor: 60,
            niceness: 0,
        };
        let error = failure(limits, &component(1, 1000, 3000));
        assert!(
            error.starts_with("compiling it needs more than 100 MiB of memory"),
            "{error}"
        );
    }

    #[test]
    fn threads_that_need_too_much_memory_together_give_way_to_one() {
        let limits = Limits {
            memory: 160 * MIB,
            processor: 60,
            niceness: 0,
        };
        let (component, job) = (component(8, 200, 600), job(8));
        let together = converse_once(limits, &job, &component, UNTOLD);
        assert!(matches!(together, Err(Failure::Memory(_))));
        let (reply, _) = converse(limits, &job, &component, UNTOLD).expect("it fits");
        let problems = reply.result.map(drop).expect_err("it is no policy");
        assert!(
            format!("{problems:?}").contains("sallyport:policy"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_child_that_needs_too_much_processor_time_is_ended() {
        let limits = Limits {
            memory: MAX_MEMORY,
            processor: 1,
            niceness: 0,
        };
        let error = failure(limits, &component(2000, 100, 100));
        let ended = [
            "compiling it takes more than 1 s of processor time",
            "compiling it takes too long",
        ];
        assert!(ended.iter().any(|text| error.starts_with(text)), "{error}");
    }

    #[test]
    fn a_child_answers_with_the_problem_of_what_it_was_given() {
        let limits = Limits {
            memory: MAX_MEMORY,
            processor: 60,
            niceness: 0,
        };
        let error = failure(limits, &component(1, 1, 1));
        assert!(error.contains("sallyport:policy"), "{error}");
        let error = failure(limits, b"nothing");
        assert!(error.contains("failed to parse WebAssembly"), "{error}");
    }

    const MAX_MEMORY: u64 = 1 << 30;
}
