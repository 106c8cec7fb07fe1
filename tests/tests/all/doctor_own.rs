//! `sallyport doctor` on what this program prints.

use crate::command_line::sallyport;
use crate::doctor::{configuration, doctor};
use serde_json::json;

#[test]
fn what_this_program_prints_is_in_good_health() {
    const BARE_METAL: [&str; 5] = [
        "webhooks",
        "--policies",
        "policies/presets/bare-metal",
        "--modules",
        "target/policies",
    ];
    let two = "MutatingWebhookConfiguration sallyport and ValidatingWebhookConfiguration sallyport";
    let three = format!("{two} and ValidatingWebhookConfiguration sallyport-policies");
    // One more caBundle is missing than there are configurations: that of the webhook for
    // deletions.
    for (more, count, names) in [(None, 2, two), (Some("--policies-from-cluster"), 3, &three)] {
        let arguments: Vec<_> = BARE_METAL.into_iter().chain(more).collect();
        let output = doctor(
            &String::from_utf8(sallyport(&arguments).stdout).expect("UTF-8"),
            &[],
        );
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.starts_with(&format!("Sallyport is registered by {names}.\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!(
                "{count} configurations: 0 errors, {} warnings, 0 notes",
                count + 1
            )),
            "{text}"
        );
        assert_eq!(
            text.matches("clientConfig.caBundle: none").count(),
            count + 1,
            "{text}"
        );
        assert_eq!(output.status.code(), Some(0));
    }
}

/// Runs doctor on what is printed for one set of policies, beside another one.
fn compared(printed_for: &[&str], judged_by: &[&str]) -> String {
    let modules = ["--modules", "target/policies"];
    let printed = sallyport(&[&["webhooks"], printed_for, &modules].concat());
    assert!(printed.status.success(), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    let output = doctor(&printed, &[judged_by, &modules].concat());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_registration_without_the_deletions_that_a_policy_judges_is_found() {
    let judging = ["--policies", "policies/presets/bare-metal"];
    let silent = ["--policies", "policies/presets/baseline"];
    let lacks = "warning webhooks: no delete.sallyport.dev, for change-protection";
    let needless = "deletions of Services, which none of the policies judges";
    for registration in [&silent[..], &["--policies-from-cluster"]] {
        let text = compared(registration, &judging);
        assert!(text.contains(lacks), "{text}");
        assert!(
            text.contains("`--policies-from-cluster --deletions`"),
            "{text}"
        );
    }
    for registration in [&judging[..], &["--policies-from-cluster", "--deletions"]] {
        let text = compared(registration, &judging);
        assert!(!text.contains("delete.sallyport.dev, for"), "{text}");
        let text = compared(registration, &silent);
        assert!(text.contains(needless), "{text}");
    }
    let text = compared(&silent, &silent);
    assert!(!text.contains("deletions of Services"), "{text}");
}

#[test]
fn a_registration_of_our_own_without_a_certificate_is_not_sent_to_cert_manager() {
    let text = |name: &str| {
        let webhook = json!({"name": name, "clientConfig": {"service": {"namespace": "n",
            "name": "s"}}});
        let output = doctor(&configuration("Validating", &webhook).to_string(), &[]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let ours = text("validate.sallyport.dev");
    assert!(ours.contains("serve --self-managed-certificate"), "{ours}");
    assert!(!ours.contains("cert-manager"), "{ours}");
    assert!(text("a.example.com").contains("cert-manager"));
}
