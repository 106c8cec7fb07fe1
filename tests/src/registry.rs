//! A real registry, Debian's `docker-registry`, as a child process on the loopback interface.
//! `scripts/registry.sh` gets it.

use crate::root;
use serde_json::json;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The password of the user `jane` is `hunter2`.
const HTPASSWD: &str = "jane:$2b$04$uAnuEWVjRm28KOHc1aVFU.X2rlcuyolI5ELJpuErRSyyy0WRsiX0.\n";

/// A running registry with an empty store. Dropping it ends the process.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its directory, in which tests keep files of their own, too.
    pub files: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The credentials that a registry asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Plain HTTP, for everybody.
    Open,
    /// TLS by an authority of its own, `ca.pem` among its files, and a password.
    TlsAndPassword,
}

/// Returns the program; `None` where there is none.
fn program() -> Option<PathBuf> {
    let given = std::env::var_os("SALLYPORT_DOCKER_REGISTRY").map(PathBuf::from);
    let made = root().join("target/docker-registry/usr/bin/docker-registry");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&paths).map(|path| path.join("docker-registry"));
    let mut all = given.into_iter().chain([made]).chain(installed);
    all.find(|path| path.is_file())
}

impl Daemon {
    /// Starts a registry.
    ///
    /// # Panics
    ///
    /// When there is no docker-registry, or it does not start.
    #[must_use]
    pub fn start(guard: Guard) -> Self {
        let program = program().expect("a docker-registry; `make registry-test` gets one");
        let files = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let config = configure(files.path(), address, guard);
        let log = std::fs::File::create(files.path().join("log")).expect("created");
        let child = Command::new(program)
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("the registry runs");
        let daemon = Self {
            child,
            address,
            files,
        };
        daemon.wait();
        daemon
    }

    fn wait(&self) {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).expect("readable")
    }

    /// Returns a reference to a repository of it.
    #[must_use]
    pub fn reference(&self, rest: &str) -> String {
        format!("localhost:{}/{rest}", self.address.port())
    }

    /// Returns the path of one of its files.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }
}

/// Writes the registry's configuration, which is YAML and so may be JSON.
fn configure(files: &Path, address: SocketAddr, guard: Guard) -> PathBuf {
    let write = |name: &str, text: &str| {
        let path = files.join(name);
        let mut file = std::fs::File::create(&path).expect("created");
        file.write_all(text.as_bytes()).expect("written");
        path.display().to_string()
    };
    let mut config = json!({
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": files.join("store")}},
        "http": {"addr": address.to_string()},
    });
    if guard == Guard::TlsAndPassword {
        let names = vec!["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let certificate = write("ca.pem", &made.cert.pem());
        let key = write("key.pem", &made.signing_key.serialize_pem());
        config["http"]["tls"] = json!({"certificate": certificate, "key": key});
        let path = write("htpasswd", HTPASSWD);
        config["auth"] = json!({"htpasswd": {"realm": "test", "path": path}});
    }
    write("config.yml", &config.to_string()).into()
}
