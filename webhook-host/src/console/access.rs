//! Bearer tokens, checked by the API server as Kubernetes' own components check them: a TokenReview
//! tells which user a token belongs to, and a SubjectAccessReview if that user may `get` the
//! request's path as a nonResourceURL.
//!
//! Invariants: a request is refused unless the API server has answered. Answers are cached for
//! [`KEPT_FOR`] under a digest of the token, never under the token itself. At most [`MAX_CHECKS`]
//! checks run at the same time, and a refusal takes at least [`REFUSAL_TIME`], so that guessing is
//! slow and the API server is not flooded.

use super::refusal::Refusal;
use crate::kube_error;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client, Config};
use sallyport_core::excerpt::excerpt;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// The time for which an answer is cached: the default of `DelegatingAuthorizationOptions` in
/// k8s.io/apiserver, for allowed and for denied requests.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The most answers that are cached.
const MAX_KEPT: usize = 256;

/// The most checks that run at the same time.
const MAX_CHECKS: usize = 4;

/// The time for both requests to the API server.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The least time of a check that refuses a token.
const REFUSAL_TIME: Duration = Duration::from_millis(250);

/// The documentation of the rights that the host needs.
const RIGHTS: &str = "docs/console.md, \"Tokens\"";

/// The check of tokens.
pub(super) struct Access {
    client: Client,
    checks: Semaphore,
    /// By a digest of token and path.
    kept: Mutex<BTreeMap<[u8; 32], Kept>>,
    /// The last failure, so that only a new one is logged.
    failure: Mutex<Option<String>>,
}

struct Kept {
    at: Instant,
    answer: Result<(), Refusal>,
}

/// The reason why a token could not be checked.
enum Failure {
    Refused(Refusal),
    Unanswered(String),
}

impl Access {
    /// Creates the check; needs a runtime.
    pub(super) fn new(config: Config) -> std::io::Result<Self> {
        Ok(Self {
            client: Client::try_from(config).map_err(std::io::Error::other)?,
            checks: Semaphore::new(MAX_CHECKS),
            kept: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// Checks the token of a request.
    pub(super) async fn check(&self, head: &Parts) -> Result<(), Refusal> {
        let token = bearer(head).ok_or_else(|| {
            Refusal::new(
                StatusCode::UNAUTHORIZED,
                "a bearer token is needed, such as that of `kubectl create token`",
            )
        })?;
        let path = head.uri.path();
        let digest = digest(token, path);
        if let Some(answer) = self.known(&digest) {
            return answer;
        }
        let _permit = self.checks.acquire().await.expect("it is never closed");
        // Another request may have checked the same token meanwhile.
        if let Some(answer) = self.known(&digest) {
            return answer;
        }
        let began = tokio::time::Instant::now();
        let asked = tokio::time::timeout(CHECK_TIMEOUT, self.ask(token, path)).await;
        let answer = match asked {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Refused(refusal))) => Err(refusal),
            Ok(Err(Failure::Unanswered(why))) => return Err(self.failed(why)),
            Err(_) => return Err(self.failed(format!("no answer within {CHECK_TIMEOUT:?}"))),
        };
        *lock(&self.failure) = None;
        self.keep(digest, answer.clone());
        if answer.is_err() {
            tokio::time::sleep_until(began + REFUSAL_TIME).await;
        }
        answer
    }

    async fn ask(&self, token: &str, path: &str) -> Result<(), Failure> {
        let user = self.user(token).await?;
        let spec = SubjectAccessReviewSpec {
            user: user.username.clone(),
            groups: user.groups,
            uid: user.uid,
            extra: user.extra,
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some("get".to_owned()),
            }),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview {
            spec,
            ..SubjectAccessReview::default()
        };
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let answered = reviews.create(&PostParams::default(), &review).await;
        let status = answered.map_err(unanswered)?.status.unwrap_or_default();
        if status.allowed && status.denied != Some(true) {
            return Ok(());
        }
        let user = user.username.unwrap_or_default();
        let sentence = format!(
            "user {:?} may not get the nonResourceURL {path}; bind the user to the ClusterRole of \
             {RIGHTS}",
            excerpt(&user)
        );
        Err(Failure::Refused(Refusal::new(
            StatusCode::FORBIDDEN,
            sentence,
        )))
    }

    /// Returns the user to whom the token belongs.
    async fn user(&self, token: &str) -> Result<UserInfo, Failure> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                ..TokenReviewSpec::default()
            },
            ..TokenReview::default()
        };
        let reviews = Api::<TokenReview>::all(self.client.clone());
        let answered = reviews.create(&PostParams::default(), &review).await;
        let status = answered.map_err(unanswered)?.status.unwrap_or_default();
        let user = status
            .user
            .filter(|_| status.authenticated == Some(true))
            .filter(|user| user.username.as_ref().is_some_and(|name| !name.is_empty()));
        user.ok_or_else(|| {
            Failure::Refused(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "the API server does not know this token; it may have expired",
            ))
        })
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Result<(), Refusal>> {
        let kept = lock(&self.kept);
        let found = kept.get(digest)?;
        (found.at.elapsed() < KEPT_FOR).then(|| found.answer.clone())
    }

    fn keep(&self, digest: [u8; 32], answer: Result<(), Refusal>) {
        let mut kept = lock(&self.kept);
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, kept| kept.at.elapsed() < KEPT_FOR);
        }
        if kept.len() < MAX_KEPT {
            let at = Instant::now();
            kept.insert(digest, Kept { at, answer });
        }
    }

    /// Logs a failure that is new, and refuses the request.
    fn failed(&self, why: String) -> Refusal {
        let mut last = lock(&self.failure);
        if last.as_ref() != Some(&why) {
            tracing::error!("the console can't check tokens: {why}");
            *last = Some(why);
        }
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the API server can't be asked about this token; the host's log says why",
        )
    }
}

fn unanswered(error: kube::Error) -> Failure {
    Failure::Unanswered(kube_error::explain(&error, RIGHTS).1)
}

fn bearer(head: &Parts) -> Option<&str> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn digest(token: &str, path: &str) -> [u8; 32] {
    // No token has a line break: a header can't.
    Sha256::digest(format!("{path}\n{token}")).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
