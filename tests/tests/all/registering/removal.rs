//! Every way to remove an installation, in any order of its steps: no webhook configuration is
//! left.

use super::{
    GROUP, INSTALLATION, NAMESPACE, ROLES, VALIDATING, change_manifest, configurations, eventually,
    installed, policies, registered,
};
use crate::command_line::sallyport;
use crate::object_server::{ObjectServer, Request};
use crate::program::Program;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Runs `sallyport webhooks --delete`, which takes some seconds.
pub(super) async fn delete(kubeconfig: PathBuf) -> Output {
    let run = move || {
        let kubeconfig = kubeconfig.to_str().expect("UTF-8");
        sallyport(&["webhooks", "--delete", "--kubeconfig", kubeconfig])
    };
    tokio::task::spawn_blocking(run)
        .await
        .expect("the program runs")
}

/// A step towards removing an installation. Operators may take them in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `kubectl scale --replicas=0`.
    Scale,
    /// `kubectl delete` of the webhook configurations.
    DeleteConfigurations,
    /// `kubectl delete -k`: the host's Pods and the installation's ClusterRole.
    DeleteAll,
    /// `kubectl delete namespace`: the host's Pods, and the Namespace when they have ended.
    DeleteNamespace,
    /// `sallyport webhooks --delete`.
    Webhooks,
}

use Step::{DeleteAll, DeleteConfigurations, DeleteNamespace, Scale, Webhooks};

/// The time between kubectl's return and the Pod's SIGTERM.
const SIGNAL: Duration = Duration::from_millis(700);

/// A cluster with one replica and its operator.
struct Operator {
    server: ObjectServer,
    kubeconfig: PathBuf,
    host: Program,
    signalled: AtomicBool,
}

impl Operator {
    async fn take(&self, step: Step) {
        match step {
            Scale => self.signal_later(),
            DeleteConfigurations => {
                for path in configurations(&self.server) {
                    self.server.delete(&path);
                }
            }
            DeleteAll => {
                self.signal_later();
                self.server.delete(INSTALLATION);
            }
            DeleteNamespace => {
                self.signal_later();
                let server = self.server.clone();
                tokio::spawn(async move {
                    // The time of a drain.
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    server.delete(NAMESPACE);
                });
            }
            Webhooks => {
                let output = delete(self.kubeconfig.clone()).await;
                assert!(output.status.success(), "{output:?}");
            }
        }
    }

    /// Sends SIGTERM later, once however often the Pod is deleted.
    fn signal_later(&self) {
        if self.signalled.swap(true, Ordering::Relaxed) {
            return;
        }
        let pid = self.host.pid().to_string();
        tokio::spawn(async move {
            tokio::time::sleep(SIGNAL).await;
            let sent = Command::new("kill").args(["-TERM", &pid]).status();
            assert!(
                sent.is_ok_and(|status| status.success()),
                "it ends by nothing else"
            );
        });
    }
}

/// Takes these steps, and checks that nothing is left once the host has ended.
async fn ends_clean(order: &[Step]) {
    let policies = policies();
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let host = registered(
        &server,
        &kubeconfig,
        policies.path(),
        &["--drain-delay", "3"],
    )
    .await;
    let collector = tokio::spawn({
        let server = server.clone();
        async move {
            loop {
                server.collect_garbage();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    // Makes a running registrar compare all the time, instead of once in ten seconds.
    let changes = tokio::spawn(async move {
        for round in 0.. {
            change_manifest(policies.path(), round);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let mut operator = Operator {
        server,
        kubeconfig,
        host,
        signalled: AtomicBool::new(false),
    };
    for step in order {
        operator.take(*step).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if order
        .iter()
        .any(|step| matches!(step, Scale | DeleteAll | DeleteNamespace))
    {
        let host = tokio::task::spawn_blocking(move || {
            let status = operator.host.wait();
            (status, operator.host.log(), operator.server)
        });
        let (status, log, server) = host.await.expect("it ends");
        assert_eq!(status.code(), Some(0), "{log}");
        if order.contains(&DeleteNamespace) {
            eventually("the end of the namespace", || {
                server.object(NAMESPACE).is_null()
            })
            .await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(
            configurations(&server),
            Vec::<String>::new(),
            "{order:?}\n{log}"
        );
    } else {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let log = operator.host.log();
        assert_eq!(
            configurations(&operator.server),
            Vec::<String>::new(),
            "{order:?}\n{log}"
        );
    }
    collector.abort();
    changes.abort();
}

/// Returns every order of the steps.
fn orders(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut all = vec![vec![]];
    for (index, step) in steps.iter().enumerate() {
        let rest = [&steps[..index], &steps[index + 1..]].concat();
        all.extend(
            orders(&rest)
                .into_iter()
                .map(|order| [&[*step], &order[..]].concat()),
        );
    }
    all
}

/// Tries every order of all steps and of two steps, and each step that suffices by itself. The
/// others don't: a Deployment that is scaled to zero leaves the configurations, since failing
/// closed must outlive hosts, and a running host creates again what is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_order_of_removal_steps_leaves_a_configuration() {
    let mut orders = orders(&[Scale, DeleteConfigurations, DeleteAll, Webhooks]);
    let takes_away = |step: &Step| matches!(step, DeleteAll | Webhooks);
    orders.retain(|order| {
        matches!(order.len(), 2 | 4) || (order.len() == 1 && takes_away(&order[0]))
    });
    orders.push(vec![DeleteNamespace]);
    orders.extend(
        [Scale, DeleteConfigurations, DeleteAll, Webhooks].map(|step| vec![step, DeleteNamespace]),
    );
    orders.extend(
        [Scale, DeleteConfigurations, DeleteAll, Webhooks].map(|step| vec![DeleteNamespace, step]),
    );
    assert_eq!(orders.len(), 24 + 12 + 2 + 9);
    let runs = orders.iter().map(|order| ends_clean(order));
    futures::stream::iter(runs)
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_includes_the_backstop_and_nothing_foreign() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    let kubeconfig = kubeconfig.to_str().expect("UTF-8");
    let printed = |more: &[&str]| {
        let policies = [
            "webhooks",
            "--policies",
            "policies/presets/baseline",
            "--modules",
            "target/policies",
        ];
        let output = sallyport(&[&policies[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        sallyport_core::yaml::documents(&String::from_utf8(output.stdout).expect("UTF-8"))
            .expect("YAML")
    };
    let path = |object: &Value| {
        let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
        let plural = kind
            .strip_suffix('y')
            .map_or_else(|| format!("{kind}s"), |kind| format!("{kind}ies"));
        format!(
            "{GROUP}/{plural}/{}",
            object["metadata"]["name"].as_str().unwrap_or_default()
        )
    };
    let ours = [printed(&[]), printed(&["--backstop"])].concat();
    assert!(
        ours.iter()
            .any(|object| object["kind"] == "ValidatingAdmissionPolicyBinding")
    );
    for object in &ours {
        server.put(&path(object), object.clone());
    }
    let others = [
        (
            format!("{GROUP}/validatingadmissionpolicies/sallyport-of-another"),
            json!({"metadata": {"name": "x"}}),
        ),
        (
            format!("{GROUP}/validatingwebhookconfigurations/other"),
            json!({"webhooks": [{"name": "a.example.com"}]}),
        ),
    ];
    for (path, object) in &others {
        server.put(path, object.clone());
    }
    let output = sallyport(&["webhooks", "--delete", "--kubeconfig", kubeconfig]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(
        ours.iter()
            .all(|object| server.object(&path(object)).is_null()),
        "{text}"
    );
    assert!(
        others
            .iter()
            .all(|(path, _)| !server.object(path).is_null()),
        "{text}"
    );
    assert!(
        text.contains("ValidatingWebhookConfiguration sallyport is deleted"),
        "{text}"
    );
    let first = server
        .requests()
        .into_iter()
        .find(Request::writes)
        .expect("the hold");
    assert_eq!(first.path, INSTALLATION, "the hold comes first");
    assert_eq!(
        server.object(INSTALLATION)["metadata"]["annotations"]["sallyport.dev/hold"],
        "sallyport webhooks --delete"
    );

    // A configuration with our name and a foreign webhook.
    server.put(
        VALIDATING,
        json!({"metadata": {"name": "sallyport"}, "webhooks": [{"name": "a.example.com"}]}),
    );
    let output = sallyport(&["webhooks", "--delete", "--kubeconfig", kubeconfig]);
    assert!(!output.status.success() && !server.object(VALIDATING).is_null());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("has webhooks that are not Sallyport's"),
        "{errors}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_hold_nothing_is_deleted() {
    let server = installed().await;
    let _reachable = server.reachable().await;
    let (_directory, kubeconfig) = server.kubeconfig();
    server.put(
        VALIDATING,
        json!({"metadata": {"name": "sallyport"}, "webhooks": []}),
    );
    server.forbid_writes(ROLES, true);
    let output = sallyport(&[
        "webhooks",
        "--delete",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
    ]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("nothing was deleted: can't hold ClusterRole sallyport-installation"),
        "{errors}"
    );
    assert!(!server.object(VALIDATING).is_null());
}
