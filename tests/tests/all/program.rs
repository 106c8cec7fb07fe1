//! The program as a child process of the test, on free ports of the loopback interface.

use crate::client::{Client, PROTOCOLS, probe};
use crate::command_line::SALLYPORT;
use crate::host::{command, misbehave, root};
use hyper::StatusCode;
use sallyport_tests::{children, most_resident};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The timeout on a busy machine.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// A running host, started from the command line.
pub(crate) struct Program {
    process: Process,
    pub(crate) client: Client,
    pub(crate) admin: SocketAddr,
    pub(crate) webhook: SocketAddr,
    /// Dropped after the process, since a control group must be empty to be removed.
    _group: Option<MemoryGroup>,
}

/// A control group (version 1 or 2) that limits memory.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Creates a control group; `None` where this process may not.
    fn new(bytes: u64) -> Option<Self> {
        let limits = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        limits.iter().find_map(|(parent, limit)| {
            let group =
                Self(Path::new(parent).join(format!("sallyport-drill-{}", std::process::id())));
            std::fs::create_dir(&group.0).ok()?;
            std::fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            // Swapped memory must not escape the limit.
            let _ = std::fs::write(group.0.join("memory.swap.max"), "0");
            Some(group)
        })
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A killed process leaves its group a moment later.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A child process. Dropping it kills the process.
struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Ends with the program's last line.
    reader: Option<JoinHandle<()>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn new(mut child: Child) -> Self {
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, written) = (
            BufReader::new(child.stderr.take().expect("piped")),
            Arc::clone(&log),
        );
        let reader = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                writeln!(written.lock().expect("no panic"), "{line}").expect("a string");
            }
        });
        Self {
            child,
            log,
            reader: Some(reader),
        }
    }

    fn serve(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(&*SALLYPORT), arguments)
    }

    /// Starts the program in a control group with a memory limit.
    fn serve_in(group: &MemoryGroup, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let script = r#"echo $$ > "$0" && exec "$@""#;
        command
            .arg("-c")
            .arg(script)
            .arg(group.0.join("cgroup.procs"))
            .arg(&*SALLYPORT);
        Self::spawn(command, arguments)
    }

    fn spawn(mut command: Command, arguments: &[&str]) -> Self {
        let child = command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .args(arguments)
            .current_dir(root())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        Self::new(child)
    }

    /// Returns the addresses of the admin port and of the webhook.
    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (
            self.address("probes and metrics on http://"),
            self.address("serving on https://"),
        )
    }

    fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "can't send {name}"
        );
    }

    /// Waits for the end of the program and of its log.
    fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            match self.child.try_wait().expect("it is a child") {
                Some(status) => {
                    let reader = self.reader.take().map_or(Ok(()), JoinHandle::join);
                    reader.expect("no panic");
                    return status;
                }
                None if began.elapsed() > WAIT_TIMEOUT => {
                    panic!("it does not end:\n{}", self.log())
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Returns the address that is logged after these words.
    fn address(&self, words: &str) -> SocketAddr {
        let began = Instant::now();
        loop {
            let log = self.log();
            if let Some(found) = log.lines().find_map(|line| {
                line.split_once(words)?
                    .1
                    .trim_end_matches(['"', '}'])
                    .parse()
                    .ok()
            }) {
                return found;
            }
            assert!(began.elapsed() < WAIT_TIMEOUT, "it does not serve:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn serving<'a>(policies: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["--policies", policies.to_str().expect("UTF-8")], more].concat()
}

/// A host that may be waiting for something before it serves.
pub(crate) struct Starting {
    process: Process,
    pub(crate) admin: SocketAddr,
}

impl Starting {
    pub(crate) fn serve(policies: &Path, more: &[&str]) -> Self {
        let process = Process::serve(&serving(policies, more));
        let admin = process.address("probes and metrics on http://");
        Self { process, admin }
    }

    /// Ends the host by a signal. Returns its exit status and log.
    pub(crate) fn end(mut self, signal: &str) -> (ExitStatus, String) {
        self.process.signal(signal);
        let status = self.process.wait();
        (status, self.process.log())
    }

    /// Waits until the host serves. Its client trusts the authority in this file, which the host
    /// writes.
    pub(crate) fn serving_by(self, ca: &Path) -> Program {
        self.process.address("serving on https://");
        let ca = std::fs::read_to_string(ca).expect("it was written before");
        self.serving(&ca)
    }

    /// Waits until the host serves. Its client trusts this authority.
    pub(crate) fn serving(self, ca: &str) -> Program {
        let Self { process, admin } = self;
        let webhook = process.address("serving on https://");
        Program {
            process,
            client: Client::new(webhook, ca),
            admin,
            webhook,
            _group: None,
        }
    }
}

impl Program {
    /// Serves the policies of a directory.
    pub(crate) fn serve(policies: &Path, more: &[&str]) -> Self {
        Self::start(&serving(policies, more))
    }

    /// Starts the program with these arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(None, arguments)
    }

    /// Serves the policies of a directory with a memory limit, where this process may set one.
    pub(crate) fn serve_within(policies: &Path, more: &[&str], memory: u64) -> Self {
        let group = MemoryGroup::new(memory);
        if group.is_none() {
            eprintln!(
                "no control group for memory can be made here: the limit is only compared, and \
                 kills nobody"
            );
        }
        Self::start_in(group, &serving(policies, more))
    }

    /// Serves the policies of a directory, with this standard output.
    pub(crate) fn writing_to(stdout: impl Into<Stdio>, policies: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(&*SALLYPORT);
        command.stdout(stdout);
        let start = |arguments: &[&str]| Process::spawn(command, arguments);
        Self::start_by(start, &serving(policies, more))
    }

    /// Serves the policies of a directory, with these environment variables.
    pub(crate) fn with_variables(
        variables: &[(&str, &str)],
        policies: &Path,
        more: &[&str],
    ) -> Self {
        let mut command = Command::new(&*SALLYPORT);
        command.envs(variables.iter().copied());
        let start = |arguments: &[&str]| Process::spawn(command, arguments);
        Self::start_by(start, &serving(policies, more))
    }

    fn start_in(group: Option<MemoryGroup>, arguments: &[&str]) -> Self {
        match group {
            None => Self::start_by(Process::serve, arguments),
            Some(group) => {
                let process = |arguments: &[&str]| Process::serve_in(&group, arguments);
                let started = Self::start_by(process, arguments);
                Self {
                    _group: Some(group),
                    ..started
                }
            }
        }
    }

    fn start_by(start: impl FnOnce(&[&str]) -> Process, arguments: &[&str]) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let ca = files.path().join("ca.crt");
        let out = ["--self-signed", "--ca-out", ca.to_str().expect("UTF-8")];
        let arguments = [&out, arguments].concat();
        let process = start(&arguments);
        let (admin, webhook) = process.addresses();
        let client = Client::new(
            webhook,
            &std::fs::read_to_string(&ca).expect("it was written before"),
        );
        Self {
            process,
            client,
            admin,
            webhook,
            _group: None,
        }
    }

    /// Serves the policies of a directory with a certificate of the test's own authority.
    pub(crate) fn with_certificate(policies: &Path, ca: &str, more: &[&str]) -> Self {
        let process = Process::serve(&serving(policies, more));
        let (admin, webhook) = process.addresses();
        Self {
            process,
            client: Client::new(webhook, ca),
            admin,
            webhook,
            _group: None,
        }
    }

    /// Returns the number of threads with which each of its child processes compiles right now.
    pub(crate) fn compiling_threads(&self) -> Vec<String> {
        let threads = |process: &u32| {
            let environment = std::fs::read_to_string(format!("/proc/{process}/environ")).ok()?;
            let mut variables = environment.split('\0');
            let threads = variables.find_map(|one| one.strip_prefix("RAYON_NUM_THREADS="))?;
            Some(threads.to_owned())
        };
        let children = children(self.process.child.id());
        children.iter().filter_map(threads).collect()
    }

    /// Returns the log so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Waits for a line of the log with these words.
    pub(crate) async fn logged(&self, words: &str) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
            assert!(began.elapsed() < WAIT_TIMEOUT, "no {words:?}:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the peak memory so far in KiB.
    pub(crate) fn most_resident(&self) -> u64 {
        most_resident(self.process.child.id()).expect("it runs")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Polls `/policies` until the condition holds.
    pub(crate) async fn status(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let answer = probe(self.admin, "/policies").await;
            let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
            let status =
                serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
            if holds(&status) {
                return status;
            }
            assert!(began.elapsed() < WAIT_TIMEOUT, "{status:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Polls the certificate in `/policies` until the condition holds.
    pub(crate) async fn status_of_certificate(&self, holds: impl Fn(&Value) -> bool) -> Value {
        self.status(|status| holds(&status["certificate"])).await["certificate"].clone()
    }

    /// Returns the policies' message for a Service that they deny.
    pub(crate) async fn verdict(&self) -> String {
        let reply = self
            .client
            .post(PROTOCOLS[0], "/validate", command("deny"))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        message(&reply.json())
    }
}

pub(crate) fn message(review: &Value) -> String {
    review["response"]["status"]["message"]
        .as_str()
        .unwrap_or("allowed")
        .to_owned()
}

/// Returns a manifest of the guest `misbehave` with `spec` merged over its own.
pub(crate) fn manifest(name: &str, spec: &Value) -> String {
    let mut manifest = json!({
        "apiVersion": "sallyport.dev/v1alpha1",
        "kind": "ServicePolicy",
        "metadata": {"name": name},
        "spec": {"module": {"file": "misbehave.wasm"}},
    });
    for (key, part) in spec.as_object().expect("an object") {
        manifest["spec"][key] = part.clone();
    }
    manifest.to_string()
}

/// Returns a directory with the guest `misbehave` and some files.
pub(crate) fn directory(files: &[(&str, String)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("misbehave.wasm"), misbehave()).expect("written");
    for (name, text) in files {
        put(directory.path(), name, text);
    }
    directory
}

/// Replaces a file atomically: writes another one and renames it.
pub(crate) fn put(directory: &Path, name: &str, text: &str) {
    let hidden: PathBuf = directory.join(format!(".{name}"));
    std::fs::write(&hidden, text).expect("written");
    std::fs::rename(hidden, directory.join(name)).expect("moved");
}
