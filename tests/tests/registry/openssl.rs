//! Signatures that openssl makes are verified here, and those made here by openssl.

use crate::{COMPONENT, sallyport};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sallyport_core::manifest::Digest;
use sallyport_tests::registry::{Daemon, Guard};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn openssl(arguments: &[&str]) -> bool {
    let output = Command::new("openssl").args(arguments).output();
    output.expect("openssl is installed").status.success()
}

/// Makes a key: ECDSA on a curve, `ED25519` or `RSA`.
pub(crate) fn new_key(private: &str, public: &str, kind: &str) {
    let curve = format!("ec_paramgen_curve:{kind}");
    let kind = match kind {
        "ED25519" => vec!["-algorithm", "ED25519"],
        "RSA" => vec!["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        _ => vec!["-algorithm", "EC", "-pkeyopt", &curve],
    };
    assert!(openssl(
        &[&["genpkey", "-out", private], &kind[..]].concat()
    ));
    assert!(openssl(&[
        "pkey", "-in", private, "-pubout", "-out", public
    ]));
}

/// Returns the arguments that sign or verify with openssl for a kind of key.
fn digest_flags(kind: &str) -> Vec<&'static str> {
    match kind {
        "ED25519" => vec!["pkeyutl", "-rawin"],
        "P-384" => vec!["pkeyutl", "-rawin", "-digest", "sha384"],
        _ => vec!["pkeyutl", "-rawin", "-digest", "sha256"],
    }
}

fn sign(kind: &str, key: &str, message: &[u8], files: &Path) -> Vec<u8> {
    let (text, signature) = (files.join("message"), files.join("signature"));
    std::fs::write(&text, message).expect("written");
    let [text, signature] = [&text, &signature].map(|path| path.to_str().expect("UTF-8"));
    let rest = ["-sign", "-inkey", key, "-in", text, "-out", signature];
    assert!(openssl(&[&digest_flags(kind)[..], &rest].concat()));
    std::fs::read(signature).expect("signed")
}

fn verifies(kind: &str, key: &str, message: &[u8], signature: &[u8], files: &Path) -> bool {
    let (text, file) = (files.join("message"), files.join("signature"));
    std::fs::write(&text, message).expect("written");
    std::fs::write(&file, signature).expect("written");
    let [text, file] = [&text, &file].map(|path| path.to_str().expect("UTF-8"));
    let rest = [
        "-verify", "-pubin", "-inkey", key, "-in", text, "-sigfile", file,
    ];
    openssl(&[&digest_flags(kind)[..], &rest].concat())
}

/// An image layout as a test reads and writes it.
struct Layout(String);

impl Layout {
    fn blob(&self, digest: &str) -> Vec<u8> {
        let hex = digest.trim_start_matches("sha256:");
        std::fs::read(format!("{}/blobs/sha256/{hex}", self.0)).expect("saved")
    }

    fn manifests(&self) -> Vec<(String, Value)> {
        let index = std::fs::read(format!("{}/index.json", self.0)).expect("saved");
        let index: Value = serde_json::from_slice(&index).expect("JSON");
        let listed = index["manifests"].as_array().expect("a list").clone();
        let read = |entry: Value| {
            let name = entry["annotations"]["org.opencontainers.image.ref.name"].clone();
            let manifest = self.blob(entry["digest"].as_str().expect("a digest"));
            let manifest = serde_json::from_slice(&manifest).expect("JSON");
            (name.as_str().expect("a name").to_owned(), manifest)
        };
        listed.into_iter().map(read).collect()
    }

    /// Writes content. Returns its descriptor.
    fn put(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        let path = format!("{}/blobs/sha256/{}", self.0, digest.hex());
        std::fs::create_dir_all(format!("{}/blobs/sha256", self.0)).expect("made");
        std::fs::write(path, content).expect("written");
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// Lists one manifest under a name.
    fn list(&self, manifest: &Value, name: &str) {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let mut entry = self.put(kind, manifest.to_string().as_bytes());
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        std::fs::write(format!("{}/index.json", self.0), index).expect("written");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Returns the bytes that a DSSE envelope's signature is about.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len());
    [head.as_bytes(), payload].concat()
}

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn openssl_verifies_what_sallyport_signs() {
    let registry = Daemon::start(Guard::Open);
    let home = registry.files.path();
    for kind in ["P-256", "P-384", "ED25519", "RSA"] {
        let repository = format!("acme/{}", kind.to_lowercase());
        let tagged = registry.reference(&format!("{repository}:1.0"));
        let pinned = sallyport(home, &["push", COMPONENT, &tagged])
            .done()
            .replace(":1.0@", "@");
        let (key, public) = (registry.file("key"), registry.file("pub"));
        new_key(&key, &public, kind);
        for format in ["simple", "bundle"] {
            sallyport(home, &["sign", &pinned, "--key", &key, "--format", format]).done();
        }
        sallyport(home, &["verify", &tagged, "--key", &public]).done();
        let layout = Layout(registry.file(kind));
        sallyport(home, &["save", &tagged, "-o", &layout.0]).done();
        let mut verified = 0;
        for (_, manifest) in layout.manifests() {
            let layer = &manifest["layers"][0];
            let content = layout.blob(text(&layer["digest"]));
            let signature = &layer["annotations"]["dev.cosignproject.cosign/signature"];
            let (message, signature) = if let Some(signature) = signature.as_str() {
                let payload: Value = serde_json::from_slice(&content).expect("JSON");
                let identity = &payload["critical"]["identity"]["docker-reference"];
                assert_eq!(text(identity), registry.reference(&repository));
                (content, signature.to_owned())
            } else if manifest["subject"].is_object() {
                let bundle: Value = serde_json::from_slice(&content).expect("JSON");
                let envelope = &bundle["dsseEnvelope"];
                let payload = STANDARD.decode(text(&envelope["payload"])).expect("base64");
                let signature = text(&envelope["signatures"][0]["sig"]).to_owned();
                (pre_authentication(&payload), signature)
            } else {
                continue;
            };
            let signature = STANDARD.decode(signature).expect("base64");
            assert!(
                verifies(kind, &public, &message, &signature, home),
                "{kind}"
            );
            let other = [&message[..], b"!"].concat();
            assert!(!verifies(kind, &public, &other, &signature, home), "{kind}");
            verified += 1;
        }
        assert_eq!(verified, 2, "{kind}: one of each form");
    }
}

#[test]
#[ignore = "needs a docker-registry: make registry-test"]
fn sallyport_verifies_what_openssl_signs() {
    let registry = Daemon::start(Guard::Open);
    let home = registry.files.path();
    for (kind, form) in [
        ("P-256", "simple"),
        ("P-256", "bundle"),
        ("P-384", "simple"),
        ("ED25519", "bundle"),
        ("RSA", "simple"),
        ("RSA", "bundle"),
    ] {
        let name = format!("acme/{}-{form}", kind.to_lowercase());
        let tagged = registry.reference(&format!("{name}:1.0"));
        let pinned = sallyport(home, &["push", COMPONENT, &tagged]).done();
        let digest: Digest = pinned.split_once('@').expect("one").1.parse().expect("one");
        let (key, public) = (registry.file("key"), registry.file("pub"));
        new_key(&key, &public, kind);
        let error = sallyport(home, &["verify", &tagged, "--key", &public]).failed();
        assert!(error.ends_with("it is not signed"), "{error}");
        let layout = Layout(registry.file(&format!("{kind}-{form}")));
        let empty = layout.put("application/vnd.oci.empty.v1+json", b"{}");
        // Loaded without a path, so that each repository keeps its own.
        let original = format!("signer.example.com/{name}");
        if form == "simple" {
            let payload = json!({
                "critical": {
                    "identity": {"docker-reference": registry.reference(&name)},
                    "image": {"docker-manifest-digest": digest},
                    "type": "cosign container image signature",
                },
                "optional": {"creator": "openssl"},
            });
            let payload = payload.to_string().into_bytes();
            let signature = STANDARD.encode(sign(kind, &key, &payload, home));
            let media = "application/vnd.dev.cosign.simplesigning.v1+json";
            let mut layer = layout.put(media, &payload);
            layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
            let manifest = json!({"schemaVersion": 2, "config": empty, "layers": [layer]});
            layout.list(
                &manifest,
                &format!("{original}:sha256-{}.sig", digest.hex()),
            );
        } else {
            let statement = json!({
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"digest": {"sha256": digest.hex()}}],
                "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {},
            });
            let payload = statement.to_string().into_bytes();
            let signature = sign(kind, &key, &pre_authentication(&payload), home);
            let media = "application/vnd.dev.sigstore.bundle.v0.3+json";
            let bundle = json!({
                "mediaType": media,
                "verificationMaterial": {"publicKey": {"hint": "openssl"}},
                "dsseEnvelope": {
                    "payload": STANDARD.encode(&payload),
                    "payloadType": "application/vnd.in-toto+json",
                    "signatures": [{"sig": STANDARD.encode(signature)}],
                },
            });
            let layer = layout.put(media, bundle.to_string().as_bytes());
            let subject = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest, "size": 1,
            });
            let manifest = json!({
                "schemaVersion": 2, "artifactType": media, "config": empty, "layers": [layer],
                "subject": subject,
            });
            layout.list(&manifest, &format!("{original}@{digest}"));
        }
        // There is no policy in it, which is said after the signature was pushed.
        let to = registry.reference("");
        sallyport(home, &["load", &layout.0, "--to", to.trim_end_matches('/')]).failed();
        sallyport(home, &["verify", &tagged, "--key", &public]).done();
        let (other_key, other) = (registry.file("other"), registry.file("other.pub"));
        new_key(&other_key, &other, kind);
        let error = sallyport(home, &["verify", &tagged, "--key", &other]).failed();
        assert!(error.ends_with("it was made with another key"), "{error}");
    }
}
