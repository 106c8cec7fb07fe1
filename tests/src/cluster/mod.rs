//! An API server with its etcd on free ports of the loopback interface.
//!
//! Cluster IPs are loopback addresses, too. So a webhook that is registered by Service reference
//! can listen on its Service's cluster IP itself, where a real cluster has kube-proxy, and the API
//! server calls it like any other.

mod assets;
mod kubectl;
mod process;

pub use kubectl::Ran;
pub use process::Process;

use crate::{root, wait_for};
use assets::Assets;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

/// A running API server. Dropping it kills its processes; their logs stay.
pub struct Cluster {
    assets: &'static Assets,
    files: PathBuf,
    etcd_port: u16,
    port: u16,
    /// The ranges of cluster IPs, one for each address family.
    cluster_ips: String,
    is_audited: bool,
    /// The minor version of Kubernetes.
    pub minor: u32,
    /// More arguments of the API server, which override earlier ones.
    arguments: Vec<String>,
    server: Mutex<Option<Process>>,
    etcd: Option<Process>,
}

/// Linux routes all of 127.0.0.0/8 to this machine.
const CLUSTER_IPS: &str = "127.64.0.0/16";

/// Wider than the range that the shipped policies allow, since an API server refuses ports outside
/// of its own range before it calls a webhook. The ports below 30000 are in the static band, the
/// first 88, from which an API server of 1.27 or newer allocates last: tests choose these.
const NODE_PORTS: &str = "29950-32767";

/// An event at the end of each request for a Service, and no others.
const AUDIT_POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy",
"omitStages":["RequestReceived","ResponseStarted"],"rules":[{"level":"Metadata",
"resources":[{"group":"","resources":["services","services/status"]}]},{"level":"None"}]}"#;

/// The namespaces that every API server creates.
const SYSTEM_NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The token of a user in `system:masters`. The port is a loopback one.
const TOKEN: &str = "sallyport-tests";

/// The token of a user without any rights.
const POWERLESS: &str = "sallyport-powerless";

/// Returns the programs. Panics with instructions where there are none: tests that need them are
/// ignored there, and run only on request.
fn assets() -> &'static Assets {
    static FOUND: LazyLock<Option<Assets>> = LazyLock::new(Assets::locate);
    FOUND.as_ref().expect(ADVICE)
}

const ADVICE: &str = "no kube-apiserver: run `make assets` (seconds by setup-envtest, or some 10 \
    minutes of compiling Debian's source), or set KUBEBUILDER_ASSETS to a folder with \
    kube-apiserver, etcd and kubectl";

impl Cluster {
    /// Returns the minor version of Kubernetes that clusters of this machine have, without starting
    /// one.
    ///
    /// # Panics
    ///
    /// When there is no API server.
    #[must_use]
    pub fn minor_here() -> u32 {
        static MINOR: LazyLock<u32> = LazyLock::new(|| {
            let server = assets().program("kube-apiserver");
            let output = Command::new(server).arg("--version").output();
            let said = output.expect("the API server runs").stdout;
            // Kubernetes v1.36.2
            let said = String::from_utf8_lossy(&said);
            let minor = said.split('.').nth(1).and_then(|minor| minor.parse().ok());
            minor.unwrap_or_else(|| panic!("not a version: {said}"))
        });
        *MINOR
    }

    /// Returns one API server for all tests that don't change it. Tests that call this must be
    /// ignored on machines without an API server.
    pub fn shared() -> Arc<Self> {
        // Weak, since a test binary drops no statics: etcd's data is removed with the last test.
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::new("shared"));
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// Returns an API server of the test's own.
    pub fn new(name: &str) -> Self {
        Self::with_cluster_ips(name, CLUSTER_IPS)
    }

    /// Returns an API server with an audit log of the requests for Services.
    pub fn audited(name: &str) -> Self {
        Self::with(name, CLUSTER_IPS, true, &[], &[])
    }

    /// Returns an API server with other cluster IPs, such as `fd64::/112`, or one range for each
    /// family.
    pub fn with_cluster_ips(name: &str, ranges: &str) -> Self {
        Self::with(name, ranges, false, &[], &[])
    }

    /// Returns an API server with more arguments, which override those that all have.
    pub fn with_arguments(name: &str, arguments: &[String]) -> Self {
        Self::with(name, CLUSTER_IPS, false, arguments, &[])
    }

    /// Returns an API server whose etcd takes no writes beyond this size of its file, in bytes.
    pub fn with_etcd_quota(name: &str, bytes: u64) -> Self {
        let quota = format!("--quota-backend-bytes={bytes}");
        Self::with(name, CLUSTER_IPS, false, &[], &[quota])
    }

    fn with(
        name: &str,
        ranges: &str,
        is_audited: bool,
        arguments: &[String],
        of_etcd: &[String],
    ) -> Self {
        let assets = assets();
        // The shared one may start again while another thread still removes its predecessor.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let files = root()
            .join("target/tmp/cluster")
            .join(format!("{name}-{}-{count}", std::process::id()));
        let _ = std::fs::remove_dir_all(&files);
        std::fs::create_dir_all(&files).expect("a folder");
        write_credentials(&files);
        write_admission_configuration(&files);
        std::fs::write(files.join("audit.yaml"), AUDIT_POLICY).expect("written");
        let (etcd_port, port) = (free_port(), free_port());
        let mut cluster = Self {
            etcd: Some(start_etcd(assets, &files, etcd_port, of_etcd)),
            assets,
            etcd_port,
            port,
            cluster_ips: ranges.to_owned(),
            is_audited,
            arguments: arguments.to_vec(),
            minor: 0,
            server: Mutex::new(None),
            files,
        };
        cluster.write_kubeconfig(TOKEN, &cluster.kubeconfig());
        cluster.write_kubeconfig(POWERLESS, &cluster.powerless());
        cluster.start();
        cluster.minor = cluster.ask_minor();
        cluster.label_system_namespaces();
        cluster
    }

    /// Starts the API server and waits until it is ready.
    pub fn start(&self) {
        let file = |name: &str| self.files.join(name).display().to_string();
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--service-cluster-ip-range={}", self.cluster_ips),
            format!("--service-node-port-range={NODE_PORTS}"),
            "--authorization-mode=RBAC".to_owned(),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!(
                "--service-account-signing-key-file={}",
                file("accounts.key")
            ),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--admission-control-config-file={}", file("admission.yaml")),
            "--endpoint-reconciler-type=none".to_owned(),
            // A third of the time to start, where these are on by default.
            "--runtime-config=api/beta=false".to_owned(),
            "--enable-priority-and-fairness=false".to_owned(),
        ];
        if self.is_audited {
            arguments.push(format!("--audit-policy-file={}", file("audit.yaml")));
            arguments.push(format!("--audit-log-path={}", self.audit_log().display()));
        }
        if self.cluster_ips.starts_with("fd") {
            // An address of the family of the first range. It is published nowhere.
            arguments.push("--advertise-address=fd00::1".to_owned());
        }
        arguments.extend(self.arguments.iter().cloned());
        let process = Process::start(
            &self.assets.program("kube-apiserver"),
            self.log("kube-apiserver"),
            &arguments,
        );
        wait_for("the API server", || {
            self.kubectl(&["get", "--raw", "/readyz"])
                .result()
                .map_err(|error| format!("{error}\n{}", process.log()))
        });
        *self.server.lock().expect("no panic") = Some(process);
        wait_for("the system's namespaces", || {
            let system = [&["get", "namespace"], &SYSTEM_NAMESPACES[..]].concat();
            self.kubectl(&system).result()
        });
    }

    /// Returns the URL of etcd.
    pub fn etcd(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    /// Kills the API server and waits for its end.
    pub fn stop(&self) {
        drop(self.server.lock().expect("no panic").take());
    }

    /// Runs kubectl in the workspace.
    pub fn kubectl(&self, arguments: &[&str]) -> Ran {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with standard input, for `-f -`. Unless the arguments say otherwise, a kubectl
    /// before 1.25 does not validate: it would read the whole OpenAPI, which takes 0.2 s of
    /// processor time. In newer versions the API server validates fields.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command("kubectl");
        command.args(arguments);
        let has = |start: &str| arguments.iter().any(|argument| argument.starts_with(start));
        let writes = ["create", "apply", "replace"].into_iter().any(has);
        let is_old = Self::minor_here() < 25;
        if is_old && writes && has("-f") && !has("--validate") && !has("--raw") {
            command.arg("--validate=false");
        }
        Ran::of(command, input)
    }

    /// Runs a line as a user types it, in a shell whose `kubectl` talks to this cluster and whose
    /// directory is the cluster's.
    pub fn shell(&self, line: &str) -> Ran {
        let mut command = self.command("sh");
        command.args(["-c", line]).current_dir(&self.files);
        Ran::of(command, "")
    }

    /// Creates a namespace for one test.
    pub fn namespace(&self, name: &str) {
        let namespace = labelled(name);
        self.kubectl_with(&["create", "-f", "-"], &namespace).ok();
    }

    /// Returns a log file for a process of a test. The name is unique, since tests run in parallel.
    pub fn log(&self, name: &str) -> PathBuf {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        self.files.join(format!(
            "{name}-{}.log",
            COUNT.fetch_add(1, Ordering::Relaxed)
        ))
    }

    /// Returns the file of the audit log: a line of JSON for each request.
    pub fn audit_log(&self) -> PathBuf {
        self.files.join("audit.log")
    }

    fn command(&self, name: &str) -> Command {
        let mut path = self.assets.program("").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let program = if name == "kubectl" {
            self.assets.program(name)
        } else {
            name.into()
        };
        let mut command = Command::new(program);
        // kubectl keeps its discovery cache below HOME.
        command
            .env("PATH", path)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.files);
        command.current_dir(root());
        command
    }

    /// Returns the directory of kubectl and the servers.
    pub fn programs(&self) -> PathBuf {
        self.assets.program("")
    }

    /// Returns a kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.join("kubeconfig")
    }

    /// Returns a kubeconfig of a user without rights.
    pub fn powerless(&self) -> PathBuf {
        self.files.join("powerless")
    }

    /// Returns the authority that signed the certificate `kube-apiserver`, which the API server
    /// presents to webhooks on request.
    pub fn client_authority(&self) -> PathBuf {
        self.files.join("clients.crt")
    }

    /// Returns a kubeconfig of a service account.
    pub fn service_account(&self, namespace: &str, name: &str) -> PathBuf {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request =
            r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
        let answer = self
            .kubectl_with(&["create", "--raw", &path, "-f", "-"], request)
            .ok();
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        let file = self.files.join(format!("{namespace}-{name}"));
        self.write_kubeconfig(answer["status"]["token"].as_str().expect("a token"), &file);
        file
    }

    fn write_kubeconfig(&self, token: &str, file: &Path) {
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": self.files.join("ca.crt"),
            }}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        });
        std::fs::write(file, config.to_string()).expect("written");
    }

    fn ask_minor(&self) -> u32 {
        let version = self.kubectl(&["get", "--raw", "/version"]).ok();
        let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
        let minor = version["minor"].as_str().unwrap_or_default();
        minor
            .trim_end_matches('+')
            .parse()
            .unwrap_or_else(|error| panic!("{error}: {version}"))
    }

    /// Labels the system's namespaces where the API server doesn't.
    fn label_system_namespaces(&self) {
        if self.minor < 21 {
            let namespaces = SYSTEM_NAMESPACES.map(labelled).join("\n");
            self.kubectl_with(&["apply", "-f", "-"], &namespaces).ok();
        }
    }
}

/// Returns a namespace with the label of its name, which webhook configurations select by. API
/// servers before 1.21 don't add it themselves.
fn labelled(namespace: &str) -> String {
    let labels = serde_json::json!({"kubernetes.io/metadata.name": namespace});
    let metadata = serde_json::json!({"name": namespace, "labels": labels});
    serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).to_string()
}

fn start_etcd(assets: &Assets, files: &Path, port: u16, more: &[String]) -> Process {
    let (client, peer) = (
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", free_port()),
    );
    let arguments = [
        format!("--data-dir={}", files.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // Nothing outlives the test, so nothing needs to be synced to disk.
        "--unsafe-no-fsync".to_owned(),
    ];
    let arguments = [&arguments, more].concat();
    Process::start(&assets.program("etcd"), files.join("etcd.log"), &arguments)
}

fn write_credentials(files: &Path) {
    let server = Signed::new(&["127.0.0.1", "localhost"]);
    let accounts = KeyPair::generate().expect("a key");
    for (name, text) in [
        ("ca.crt", server.ca),
        ("server.crt", server.certificate),
        ("server.key", server.key),
        ("accounts.pub", accounts.public_key_pem()),
        ("accounts.key", accounts.serialize_pem()),
        (
            "tokens.csv",
            format!("{TOKEN},admin,admin,system:masters\n{POWERLESS},nobody,nobody\n"),
        ),
    ] {
        std::fs::write(files.join(name), text).expect("written");
    }
}

/// Writes the configuration by which the API server presents a certificate to webhooks, as
/// `docs/operations.md` describes it but with other paths and hosts. A user without a port is for
/// port 443.
fn write_admission_configuration(files: &Path) {
    let client = Signed::new(&["kube-apiserver"]);
    let document = std::fs::read_to_string(root().join("docs/operations.md")).expect("it is there");
    let block = |beginning: &str| {
        let blocks = document
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split_once("```"));
        let block = blocks
            .map(|(block, _)| block)
            .find(|block| block.starts_with(beginning));
        let block = block.unwrap_or_else(|| {
            panic!("docs/operations.md has no block that begins with {beginning:?}")
        });
        let folder = format!("{}/", files.display());
        let block = block
            .replace("/etc/kubernetes/pki/", &folder)
            .replace("/etc/kubernetes/", &folder);
        block.replace("sallyport.sallyport-system.svc", "'*'")
    };
    for (name, text) in [
        ("clients.crt", client.ca),
        ("webhook-client.crt", client.certificate),
        ("webhook-client.key", client.key),
        (
            "admission.yaml",
            block("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration"),
        ),
        ("webhooks.conf", block("apiVersion: v1\nkind: Config")),
    ] {
        std::fs::write(files.join(name), text).expect("written");
    }
}

/// A certificate with its key, signed by its own authority, as PEM.
pub struct Signed {
    /// The authority's certificate.
    pub ca: String,
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Signed {
    /// Creates a certificate for DNS names and addresses.
    ///
    /// # Panics
    ///
    /// When a name is neither.
    pub fn new(names: &[&str]) -> Self {
        let mut authority = CertificateParams::new([]).expect("no names");
        authority.distinguished_name.push(
            DnType::CommonName,
            format!("authority of {}", names.join(", ")),
        );
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"))
                .expect("signed");
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(names)
            .expect("names")
            .signed_by(&key, &authority)
            .expect("signed");
        Self {
            ca: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Returns a port that was free a moment ago, for programs that can't take port 0 and report it.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        drop(self.etcd.take());
        // 64 MB each, and useless without the server.
        let _ = std::fs::remove_dir_all(self.files.join("etcd"));
    }
}
