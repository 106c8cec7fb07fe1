//! A real Prometheus that scrapes a host, with the alerts of `deploy/`. `make monitoring-test`
//! names the program in `SALLYPORT_PROMETHEUS`.

use crate::root;
use sallyport_core::yaml;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The timeout on a busy machine.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(90);

/// The interval at which alerts are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The window of rates, in place of minutes.
pub const WINDOW: &str = "10s";

/// The directory of the alerts and the dashboard.
pub const FILES: &str = "deploy/chart/sallyport/files/monitoring";

/// A Prometheus that scrapes one host each second. Dropping it ends the process.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    _files: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts a Prometheus that scrapes the admin port of a host, and evaluates the alerts without
    /// their delays.
    pub fn scraping(host: SocketAddr) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            std::fs::write(files.path().join(name), text).expect("written");
        };
        put("rules.yaml", &quick_rules());
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "sallyport", "static_configs": [{
                "targets": [host.to_string()],
                "labels": {"namespace": "sallyport-system", "pod": "sallyport-0"},
            }]}],
        });
        put("prometheus.yaml", &config.to_string());
        let program = std::env::var_os("SALLYPORT_PROMETHEUS").expect("make monitoring-test");
        let mut child = Command::new(program)
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(files.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut said, mut listening) = (String::new(), None);
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                panic!("Prometheus ended:\n{said}")
            };
            writeln!(said, "{line}").expect("a string");
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                listening = Some(address.trim().parse().expect("an address"));
            }
            if line.contains("Server is ready to receive web requests") {
                break listening.expect("it listens before it is ready");
            }
        };
        // A pipe that nobody reads would block its writer.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self {
            child,
            address,
            _files: files,
        }
    }

    /// Returns `data` of an answer of Prometheus' API.
    pub fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        // An answer of HTTP/1.0 has no chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let answer: Value = serde_json::from_str(body).expect(body);
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// Returns the series that an expression has now.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let query: String = expression.bytes().fold(String::new(), |mut query, byte| {
            write!(query, "%{byte:02x}").expect("a string");
            query
        });
        let data = self.get(&format!("/api/v1/query?query={query}"));
        data["result"].as_array().expect("a vector").clone()
    }

    /// Returns the names of the alerts that fire.
    pub fn firing(&self) -> BTreeSet<String> {
        let data = self.get("/api/v1/alerts");
        let alerts = data["alerts"].as_array().expect("a list").clone();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().map(str::to_owned);
        firing.filter_map(name).collect()
    }

    /// Waits until alerts fire as they should.
    ///
    /// # Panics
    ///
    /// When they don't within [`WAIT_TIMEOUT`].
    pub fn wait(&self, holds: impl Fn(&BTreeSet<String>) -> bool) {
        let began = Instant::now();
        loop {
            let firing = self.firing();
            if holds(&firing) {
                return;
            }
            assert!(began.elapsed() < WAIT_TIMEOUT, "{firing:?}");
            std::thread::sleep(LOOK);
        }
    }
}

/// Returns the alerts with seconds in place of minutes.
fn quick_rules() -> String {
    let text = std::fs::read_to_string(root().join(FILES).join("rules.yaml")).expect("readable");
    let mut rules = yaml::documents(&text).expect("YAML").remove(0);
    for rule in rules["groups"][0]["rules"].as_array_mut().expect("rules") {
        rule["for"] = "0s".into();
        let expression = rule["expr"].as_str().expect("a text");
        let quick = expression.replace("[5m]", &format!("[{WINDOW}]"));
        rule["expr"] = quick.replace("[15m]", &format!("[{WINDOW}]")).into();
    }
    rules.to_string()
}
