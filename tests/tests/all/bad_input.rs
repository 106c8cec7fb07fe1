//! Bodies that are no AdmissionReview: the host answers 4xx and one sentence, over both protocols,
//! and keeps serving.

use crate::client::{PROTOCOLS, Protocol, Reply, request};
use crate::host::{Host, command, misbehaving};
use bytes::Bytes;
use hyper::StatusCode;
use sallyport::server::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const JSON: &str = "application/json";

async fn host() -> Host {
    Host::with(
        &misbehaving(&json!({})),
        Limits {
            body: 64 << 10,
            ..Limits::default()
        },
    )
    .await
}

impl Host {
    /// Sends one bad request over both protocols, which must agree, and then a good one, which must
    /// be answered.
    async fn refuses(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> (u16, String) {
        let body = body.into();
        let mut refusals = vec![];
        for protocol in PROTOCOLS {
            let reply = self
                .client
                .send(protocol, request(method, path, content_type, body.clone()))
                .await;
            refusals.push((reply.status.as_u16(), reply.text().to_owned()));
            self.lives(protocol).await;
        }
        assert_eq!(refusals[0], refusals[1]);
        refusals.swap_remove(0)
    }

    async fn lives(&self, protocol: Protocol) {
        let reply: Reply = self
            .client
            .post(protocol, "/validate", command("nothing"))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        assert_eq!(reply.json()["response"]["allowed"], true);
    }

    /// Sends bytes that are no TLS, and returns the answer.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the host listens");
        stream.write_all(bytes).await.expect("sent");
        let mut answer = vec![];
        // A reset ends the answer, too.
        let _ = stream.read_to_end(&mut answer).await;
        self.lives(Protocol::Http1).await;
        answer
    }
}

/// Returns an AdmissionReview with one fault.
fn review(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let mut review = serde_json::from_slice(&command("nothing")).expect("JSON");
    change(&mut review);
    review.to_string().into_bytes()
}

#[tokio::test]
async fn plain_http_gets_an_answer_that_says_to_use_https() {
    let answer = host()
        .await
        .raw(b"GET /validate HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert_eq!(body, "this port speaks TLS; use https instead of http\n");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{head}"
    );
}

#[tokio::test]
async fn garbage_in_place_of_a_handshake_is_survived() {
    let host = host().await;
    host.raw(&[0xff; 4096]).await;
    host.raw(&[22; 4096]).await;
    host.raw(b"\x16\x03\x01\x00\x05hello").await;
}

#[tokio::test]
async fn garbage_after_the_handshake_is_survived() {
    let host = host().await;
    for protocol in PROTOCOLS {
        let mut stream = host.client.handshake(protocol).await;
        stream
            .write_all(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
            .await
            .expect("sent");
        let _ = stream.read_to_end(&mut vec![]).await;
        host.lives(protocol).await;
    }
}

#[tokio::test]
async fn another_content_type_is_415() {
    let (status, sentence) = host()
        .await
        .refuses("POST", "/validate", "text/yaml", command("nothing"))
        .await;
    assert_eq!(
        (status, &*sentence),
        (
            415,
            r#"Content-Type: expected application/json, found "text/yaml""#
        )
    );
}

#[tokio::test]
async fn a_content_type_with_a_charset_is_fine() {
    let request = request(
        "POST",
        "/validate",
        "application/json; charset=utf-8",
        command("nothing"),
    );
    assert_eq!(
        host()
            .await
            .client
            .send(Protocol::Http1, request)
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let (status, sentence) = host()
        .await
        .refuses("POST", "/validate", JSON, vec![b' '; (64 << 10) + 1])
        .await;
    let expected =
        "the body has more than 65536 bytes; raise --body-limit if this is a real object";
    assert_eq!((status, &*sentence), (413, expected));
}

#[tokio::test]
async fn a_body_far_over_the_limit_is_413() {
    let (status, _) = host()
        .await
        .refuses("POST", "/mutate", JSON, vec![b' '; 4 << 20])
        .await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn a_body_at_the_limit_is_read() {
    let mut body = command("nothing");
    body.resize(64 << 10, b' ');
    assert_eq!(
        host()
            .await
            .client
            .post(Protocol::Http2, "/validate", body)
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn what_is_not_json_is_400() {
    let host = host().await;
    for body in [
        "",
        "not json",
        "{",
        "\"AdmissionReview\"",
        "[1]",
        "{\"kind\": \"\u{0}\"}",
    ] {
        let (status, sentence) = host.refuses("POST", "/validate", JSON, body).await;
        assert_eq!(status, 400, "{body}");
        assert!(
            sentence.starts_with("the body is no AdmissionReview: "),
            "{body}: {sentence}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_400() {
    let (status, _) = host()
        .await
        .refuses("POST", "/validate", JSON, &[0xff, 0xfe, 0x00][..])
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn nesting_without_end_is_400() {
    let (status, _) = host()
        .await
        .refuses("POST", "/validate", JSON, "[".repeat(60_000))
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_review_without_request_is_400() {
    let body = review(|review| review["request"] = serde_json::Value::Null);
    let (status, sentence) = host().await.refuses("POST", "/validate", JSON, body).await;
    let expected =
        "request: required, but missing; an AdmissionReview without a request asks nothing";
    assert_eq!((status, &*sentence), (400, expected));
}

#[tokio::test]
async fn v1beta1_is_400_and_named() {
    let body = review(|review| review["apiVersion"] = "admission.k8s.io/v1beta1".into());
    let (status, sentence) = host().await.refuses("POST", "/validate", JSON, body).await;
    let expected = "apiVersion: expected admission.k8s.io/v1, found \"admission.k8s.io/v1beta1\"; \
        list only v1 in the \
                    webhook's admissionReviewVersions";
    assert_eq!((status, &*sentence), (400, expected));
}

#[tokio::test]
async fn another_kind_is_400_and_named() {
    let body = review(|review| review["kind"] = "Service".into());
    let (status, sentence) = host().await.refuses("POST", "/validate", JSON, body).await;
    assert_eq!(
        (status, &*sentence),
        (400, r#"kind: expected AdmissionReview, found "Service""#)
    );
}

#[tokio::test]
async fn a_uid_that_is_a_number_is_400() {
    let body = review(|review| review["request"]["uid"] = 5.into());
    let (status, sentence) = host().await.refuses("POST", "/validate", JSON, body).await;
    assert_eq!(status, 400);
    assert!(
        sentence.starts_with("the body is no AdmissionReview: "),
        "{sentence}"
    );
}

#[tokio::test]
async fn another_method_is_405() {
    let (status, sentence) = host().await.refuses("GET", "/validate", JSON, "").await;
    assert_eq!(
        (status, &*sentence),
        (405, "send an AdmissionReview by POST")
    );
}

#[tokio::test]
async fn another_path_is_404() {
    let (status, sentence) = host()
        .await
        .refuses("POST", "/review", JSON, command("nothing"))
        .await;
    assert_eq!(
        (status, &*sentence),
        (404, "there are only /validate and /mutate here")
    );
}

#[tokio::test]
async fn a_timeout_that_is_no_duration_is_400() {
    let (status, sentence) = host()
        .await
        .refuses("POST", "/validate?timeout=soon", JSON, command("nothing"))
        .await;
    let expected = r#"timeout: "soon" is no duration; write it as in 10s, 1m0s or 500ms"#;
    assert_eq!((status, &*sentence), (400, expected));
}

#[tokio::test]
async fn a_service_that_does_not_decode_is_denied_with_its_field() {
    let body = review(|review| {
        review["request"]["object"]["spec"]["ports"][0]["nodePort"] = "30080".into()
    });
    let reply = host()
        .await
        .client
        .post(Protocol::Http1, "/validate", body)
        .await
        .json();
    assert_eq!(reply["response"]["allowed"], false);
    let message = reply["response"]["status"]["message"]
        .as_str()
        .expect("a message")
        .to_owned();
    assert!(
        message.contains(r#"spec.ports[0].nodePort: expected integer, found string "30080""#),
        "{message}"
    );
}

#[tokio::test]
async fn mutate_leaves_undecodable_services_to_the_api_server() {
    let body = review(|review| {
        review["request"]["object"]["spec"]["ports"][0]["nodePort"] = "30080".into()
    });
    let reply = host()
        .await
        .client
        .post(Protocol::Http1, "/mutate", body)
        .await
        .json();
    assert_eq!(reply["response"]["allowed"], true);
    assert!(reply["response"]["patch"].is_null());
}
