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
mod inside;
mod memory;
mod start;

use inside::{is_child, run};

use super::cache::Compiled;
use super::request::LoadRequest;
use super::state::Line;
use memory::MIB;
use sallyport_core::policy::{LoadError, Problem};
use sallyport_core::settings::Record;
use sallyport_core::units::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// The variable that makes this executable a child that compiles. Its value is the child's limits.
const VARIABLE: &str = "SALLYPORT_COMPILE_CHILD";

/// The largest compiled code in bytes: three times that of a component with a JavaScript engine.
const MAX_CODE: u64 = 128 << 20;

/// The largest job or reply in bytes, without component and code. A ServicePolicy has 1.5 MiB at
/// most.
const MAX_HEADER: u32 = 16 << 20;

/// The seconds of processor time that each component gets. A Rust guest takes 0.2 s, and each of
/// `describe`, `defaults` and `configure` may take 5 s.
const BASE_TIME: u64 = 10;

/// The seconds of processor time for each MiB of component: twice those of a JavaScript engine in
/// an unoptimised build.
const TIME_PER_MIB: u64 = 5;

/// The limit on wall-clock time as a multiple of the one on processor time, which is the stricter
/// limit where the platform has it: other processes need the processors too.
const WALL_FACTOR: u32 = 10;

/// The bytes of memory without which no further thread compiles: what a component in Rust needs
/// with one.
const MEMORY_PER_THREAD: u64 = 64 * MIB;

/// The niceness of a child beside reviews, which have precedence.
const NICENESS: u8 = 10;

/// The interval at which the parent checks the child. A process can touch some 20 MiB in that time.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// The time for a child that has closed its pipe to exit.
const EXIT_TIME: Duration = Duration::from_secs(1);

/// A job. The component's bytes follow.
#[derive(Clone, Serialize, Deserialize)]
struct Job<'a> {
    name: Cow<'a, str>,
    /// The manifest's settings.
    settings: Cow<'a, Map<String, Value>>,
    /// The type of the settings; `None` when it has none.
    settings_type: Option<Cow<'a, Record>>,
    /// The policy's memory limit, in bytes.
    memory: usize,
    /// True if the settings are to be baked in.
    snapshot: bool,
    /// The time for one guest function.
    load_time: Duration,
    /// The largest memory limit of any policy: the size of the pool's slots.
    slot: Bytes,
    /// The number of threads that compile.
    threads: usize,
}

/// The reply to a job. Without an error, the compiled code follows.
#[derive(Serialize, Deserialize)]
struct Reply {
    compilations: u64,
    /// The lines that `configure` logged.
    log: Vec<Line>,
    /// The rights that the child could not give up, if any.
    unconfined: Option<String>,
    result: Result<Outcome, Vec<Problem>>,
}

/// The facts about the compiled code.
#[derive(Serialize, Deserialize)]
struct Outcome {
    no_snapshot: Option<String>,
    cacheable: bool,
}

/// The result of a child.
pub(super) struct Made {
    pub(super) compiled: Compiled,
    /// True if it may be cached.
    pub(super) cacheable: bool,
    /// The lines that `configure` logged.
    pub(super) log: Vec<Line>,
    pub(super) compilations: u64,
}

/// An error of a child process.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the process that compiles it can't be started: {0}")]
    Start(#[source] io::Error),
    #[error(
        "there are {free} MiB of memory left, and compiling needs {least} MiB beside {} MiB that \
         stay free for reviews; raise the \
         memory limit of this process, or compile elsewhere and share --cache-dir",
        memory::RESERVE / MIB
    )]
    NoRoom { free: u64, least: u64 },
    #[error(
        "compiling it needs more than {0} MiB of memory; simplify its largest functions, or raise \
         the memory limit of this process"
    )]
    Memory(u64),
    #[error(
        "compiling it takes too long: it was ended after {0} s; simplify its largest functions"
    )]
    Time(u64),
    #[error("compiling it takes more than {0} s of processor time; simplify its largest functions")]
    Processor(u64),
    #[error(
        "compiling it crashed the compiler ({0}); simplify its largest functions, and please \
         report this"
    )]
    Crash(ExitStatus),
    #[error("its compiled code has more than {} MiB; link fewer dependencies into \
        it", MAX_CODE / MIB)]
    Code,
    #[error("the process that compiles it answered nothing that can be read: {0}")]
    Answer(String),
}

/// An error of a compilation.
pub(super) enum CompileError {
    /// Compiling takes too much memory or time, as the text says.
    GivenUp(String),
    /// The component or its settings are invalid, or nothing can be compiled now.
    Refused(LoadError),
}

impl From<Failure> for CompileError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Start(_) | Failure::NoRoom { .. } | Failure::Answer(_) => {
                Self::Refused(LoadError::component(failure.to_string()))
            }
            _ => Self::GivenUp(failure.to_string()),
        }
    }
}

/// The limits of one child.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The bytes of memory, resident and of data.
    memory: u64,
    /// The seconds of processor time.
    processor: u64,
    /// The niceness of the child above that of this process.
    niceness: u8,
}

impl Limits {
    /// Returns the limits for a component of this many bytes, given the free memory.
    fn new(component: usize, free: Option<u64>, niceness: u8) -> Result<Self, Failure> {
        let memory =
            memory::child_limit(free).map_err(|(free, least)| Failure::NoRoom { free, least })?;
        Ok(Self {
            memory,
            processor: BASE_TIME + TIME_PER_MIB * (component as u64).div_ceil(MIB),
            niceness,
        })
    }

    /// Returns the number of threads, at most `most`, for which the memory is enough.
    fn threads(self, most: usize) -> usize {
        let fit = usize::try_from(self.memory / MEMORY_PER_THREAD).unwrap_or(usize::MAX);
        fit.min(most).max(1)
    }

    fn wall(self) -> Duration {
        Duration::from_secs(self.processor) * WALL_FACTOR
    }

    /// Formats the limits for the environment variable.
    fn to_text(self) -> String {
        format!("{}:{}:{}", self.memory, self.processor, self.niceness)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(':');
        Some(Self {
            memory: numbers.next()?.parse().ok()?,
            processor: numbers.next()?.parse().ok()?,
            niceness: numbers.next()?.parse().ok()?,
        })
    }

    /// Returns the failure if a child that started at `began` exceeds a limit.
    fn exceeded(self, child: u32, began: Instant) -> Option<Failure> {
        if began.elapsed() > self.wall() {
            return Some(Failure::Time(self.wall().as_secs()));
        }
        let too_large = memory::resident(child).is_some_and(|resident| resident > self.memory);
        (too_large || memory::is_short()).then(|| self.too_little_memory())
    }

    fn too_little_memory(self) -> Failure {
        Failure::Memory(self.memory / MIB)
    }
}

/// A function that is called once if a compilation takes longer than a given time.
#[derive(Clone, Copy)]
pub(super) struct Slow<'a> {
    pub(super) after: Duration,
    pub(super) tell: &'a dyn Fn(),
}

/// The resources for a compilation.
#[derive(Debug, PartialEq)]
pub(super) struct Resources {
    /// The largest memory limit of any policy.
    pub(super) slot: Bytes,
    /// The time for one guest function.
    pub(super) load_time: Duration,
    /// The threads that may compile. Fewer do when memory is short.
    pub(super) threads: usize,
    /// The niceness of the child above that of this process.
    pub(super) niceness: u8,
}

impl Resources {
    /// Returns the resources for a compilation beside reviews: one thread of lower priority.
    pub(super) fn beside_reviews(slot: Bytes, load_time: Duration) -> Self {
        Self {
            slot,
            load_time,
            threads: 1,
            niceness: NICENESS,
        }
    }

    /// Returns the resources for a compilation in a process that serves no reviews: all processors.
    pub(super) fn alone(slot: Bytes, load_time: Duration) -> Self {
        Self {
            slot,
            load_time,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            niceness: 0,
        }
    }
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

fn write_header(to: &mut impl Write, header: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(header)?;
    let length = u32::try_from(text.len())
        .ok()
        .filter(|length| *length <= MAX_HEADER);
    let length = length.ok_or_else(|| io::Error::other(format!("more than {MAX_HEADER} bytes")))?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&text)
}

fn read_header<T: for<'a> Deserialize<'a>>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(io::Error::other(format!("more than {MAX_HEADER} bytes")));
    }
    let mut text = vec![];
    from.take(length.into()).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
