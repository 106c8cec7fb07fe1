//! The serving program as a process of its own, and its figures as seen from outside.

use crate::examples::{component, manifest, names, root};
use crate::generator::{self, Load, Order};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The namespace of the clients that make a policy loop. That policy matches no other namespace.
const NOISY: &str = "noisy";

/// Clock ticks of a second in /proc/PID/stat; Linux has no other value on any architecture of
/// Rust's tier 1.
const TICKS: f64 = 100.0;

/// A directory of policies.
pub(crate) struct Set {
    directory: TempDir,
    manifests: Vec<Value>,
}

impl Set {
    /// Returns a directory with some of the shipped policies.
    pub(crate) fn of(names: &[impl AsRef<str>]) -> Result<Self> {
        Self::new(
            names
                .iter()
                .map(|name| manifest(name.as_ref()))
                .collect::<Result<_>>()?,
        )
    }

    /// Returns a directory with one policy that matches no request of the load: the host parses and
    /// answers.
    pub(crate) fn none() -> Result<Self> {
        let mut manifest = manifest("service-type")?;
        manifest["spec"]["match"] =
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NOISY}}});
        Self::new(vec![manifest])
    }

    /// Returns a directory with shipped policies, and a guest that loops on demand.
    pub(crate) fn with_looping(names: &[&str]) -> Result<Self> {
        let mut set = Self::of(names)?;
        let looping = json!({
            "apiVersion": "sallyport.dev/v1alpha1",
            "kind": "ServicePolicy",
            "metadata": {"name": "looping"},
            "spec": {
                "module": {"file": "misbehave.wasm"},
                "match": {"namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": NOISY}
                }},
            },
        });
        let module = root().join("target/guests/misbehave.wasm");
        std::fs::copy(&module, set.directory.path().join("misbehave.wasm"))
            .context("run `make policies` first")?;
        set.manifests.push(looping);
        set.write(0)?;
        Ok(set)
    }

    fn new(manifests: Vec<Value>) -> Result<Self> {
        let set = Self {
            directory: tempfile::tempdir()?,
            manifests,
        };
        for name in names()? {
            std::fs::write(
                set.directory
                    .path()
                    .join(format!("{}.wasm", name.replace('-', "_"))),
                component(&name)?,
            )?;
        }
        set.write(0)?;
        Ok(set)
    }

    /// Writes manifests whose deadline depends on the version, so that each version differs.
    fn write(&self, version: u64) -> Result<()> {
        for manifest in &self.manifests {
            let mut manifest = manifest.clone();
            manifest["spec"]["limits"]["deadline"] = format!("{}ms", 50 + version % 50).into();
            let name = manifest["metadata"]["name"].as_str().context("a name")?;
            let (file, aside) = (
                self.path().join(format!("{name}.yaml")),
                self.path().join(format!(".{name}")),
            );
            std::fs::write(&aside, manifest.to_string())?;
            std::fs::rename(aside, file)?;
        }
        Ok(())
    }

    /// Changes all manifests at each interval.
    pub(crate) fn change(&self, every: Duration, time: Duration) -> Result<()> {
        let (began, mut version) = (Instant::now(), 1);
        while began.elapsed() + every < time {
            std::thread::sleep(every);
            self.write(version)?;
            version += 1;
        }
        Ok(())
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A directory for compiled code. The program creates it, so that it is private.
pub(crate) struct Cache(TempDir);

impl Cache {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }
}

/// A serving host. Dropping it ends the process.
pub(crate) struct Program {
    child: Child,
    files: TempDir,
    port: u16,
    admin: SocketAddr,
    /// The time from the start of the process until it served.
    pub(crate) took: Duration,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    pub(crate) fn start(set: &Set, cache: &Cache) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let began = Instant::now();
        let mut child = command()?
            .args(["serve", "--strict", "--self-signed"])
            .args(["--watch-interval", "50ms"])
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--ca-out",
            ])
            .arg(ca(&files))
            .args([
                Path::new("--policies"),
                set.path(),
                Path::new("--cache-dir"),
                &cache.0.path().join("code"),
            ])
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("piped")?).lines();
        let (mut said, mut admin) = (String::new(), None);
        let port = loop {
            let Some(line) = lines.next().transpose()? else {
                bail!("the program ended:\n{said}")
            };
            admin = admin.or_else(|| {
                line.split_once("metrics on http://")?
                    .1
                    .trim()
                    .parse::<SocketAddr>()
                    .ok()
            });
            if let Some((_, address)) = line.split_once("serving on https://") {
                break address.trim().parse::<SocketAddr>()?.port();
            }
            said.push_str(&line);
            said.push('\n');
        };
        let took = began.elapsed();
        // A pipe that nobody reads would block its writer.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self {
            child,
            files,
            port,
            admin: admin.context("no admin address")?,
            took,
        })
    }

    /// Runs a load, and returns its figures and the server's cost.
    pub(crate) fn load(&self, order: &Order) -> Result<Load> {
        let before = self.processor()?;
        let mut load = generator::spawn(order, self.port, &ca(&self.files))?.finish()?;
        let spent = self.processor()? - before;
        load.processor = spent.as_secs_f64() * 1e6 / (load.rate * generator::TIME.as_secs_f64());
        Ok(load)
    }

    /// Starts ten clients in the noisy namespace, which send this command to the guest.
    pub(crate) fn noise(&self, word: &str) -> Result<generator::Running> {
        let mut review: Value = serde_json::from_slice(&crate::body(crate::NODE_PORT)?)?;
        review["request"]["namespace"] = NOISY.into();
        review["request"]["object"]["metadata"]["namespace"] = NOISY.into();
        review["request"]["object"]["metadata"]["annotations"] = json!({"test/do": word});
        let order = Order {
            protocol: "http/1.1",
            clients: 10,
            body: review.to_string().into_bytes(),
            rate: None,
        };
        generator::spawn(&order, self.port, &ca(&self.files))
    }

    /// Returns the number of Sets that have served.
    pub(crate) fn generation(&self) -> Result<u64> {
        let policies: Value = serde_json::from_str(&self.admin("/policies")?)?;
        policies["generation"].as_u64().context("no generation")
    }

    /// Returns the server's own histogram of validations: from the end of the request's head to the
    /// answer.
    pub(crate) fn admissions(&self) -> Result<Histogram> {
        let text = self.admin("/metrics")?;
        let buckets = text.lines().filter_map(|line| {
            let labels = line.strip_prefix("sallyport_admission_seconds_bucket{")?;
            let (bound, count) = (
                labels.split_once("le=\"")?.1.split_once('"')?.0,
                labels.rsplit_once(' ')?.1,
            );
            labels
                .contains("function=\"validate\"")
                .then(|| Some((bound.parse().ok()?, count.parse().ok()?)))?
        });
        Ok(Histogram(buckets.collect()))
    }

    /// Fails when a policy was asked that the measurement expects to match other namespaces only.
    pub(crate) fn never_asked(&self, policy: &str) -> Result<()> {
        let label = format!("policy=\"{policy}\"");
        let counts = |line: &&str| {
            line.starts_with("sallyport_policy_evaluation_seconds_count{") && line.contains(&label)
        };
        match self
            .admin("/metrics")?
            .lines()
            .filter(counts)
            .find(|line| !line.ends_with(" 0"))
        {
            Some(line) => {
                bail!("{policy} was asked about a namespace that it does not match: {line}")
            }
            None => Ok(()),
        }
    }

    fn admin(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        Ok(body.to_owned())
    }

    /// Returns the resident memory in KiB.
    pub(crate) fn resident(&self) -> Result<u64> {
        sallyport_tests::resident(self.child.id()).context("no VmRSS")
    }

    /// Returns the processor time of the process so far, the kernel's included (proc_pid_stat(5),
    /// utime and stime).
    fn processor(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(") ").context("no command in stat")?;
        let ticks = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(str::parse::<f64>)
            .sum::<Result<f64, _>>()?;
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }
}

/// Upper bounds in seconds, the last one infinite, each with the number of requests within it.
pub(crate) struct Histogram(Vec<(f64, u64)>);

impl Histogram {
    pub(crate) fn since(&self, before: &Self) -> Self {
        let earlier = |bound| {
            before
                .0
                .iter()
                .find(|(other, _)| *other == bound)
                .map_or(0, |(_, count)| *count)
        };
        Self(
            self.0
                .iter()
                .map(|(bound, count)| (*bound, count - earlier(*bound)))
                .collect(),
        )
    }

    /// Returns the least bound that this share of the requests keeps, as text.
    pub(crate) fn bound(&self, share: f64) -> String {
        let all = self.0.last().map_or(0, |(_, count)| *count);
        let kept = self
            .0
            .iter()
            .find(|(_, count)| all > 0 && *count as f64 >= share * all as f64);
        kept.map_or("nothing was measured".to_owned(), |(bound, _)| {
            format!("{:.0} us", bound * 1e6)
        })
    }
}

/// Returns the released program that `SALLYPORT_PROGRAM` names, or this benchmark's own.
fn command() -> Result<Command> {
    if let Some(released) = std::env::var_os("SALLYPORT_PROGRAM") {
        return Ok(Command::new(released));
    }
    let mut own = Command::new(std::env::current_exe()?);
    own.arg("sallyport");
    Ok(own)
}

fn ca(files: &TempDir) -> PathBuf {
    files.path().join("ca.crt")
}
