//! Simple signing: a JSON text that names the artefact and its repository, and a signature of that
//! text. cosign keeps both in an image with the tag `sha256-….sig`.

use super::verify::{decode, signer};
use super::{KeyError, Material, Refusal, Signed, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sallyport_core::excerpt::excerpt;
use sallyport_core::manifest::{PublicKey, Reference, Repository};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type of a payload by cosign of version 2, and by its newer ones.
const TYPES: [&str; 2] = [
    "cosign container image signature",
    "https://sigstore.dev/cosign/sign/v1",
];

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    /// Free-form; null as cosign writes it.
    #[serde(default)]
    optional: Value,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Serialize, Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

pub(super) fn sign(key: &SigningKey, signed: Signed<'_>) -> Result<Material, KeyError> {
    let payload = Payload {
        critical: Critical {
            identity: Identity {
                reference: signed.repository.to_string(),
            },
            image: Image {
                digest: signed.digest.to_string(),
            },
            r#type: TYPES[0].to_owned(),
        },
        optional: Value::Null,
    };
    let payload = serde_json::to_string(&payload).expect("texts are JSON");
    let signature = STANDARD.encode(key.sign(payload.as_bytes())?);
    Ok(Material::Simple { payload, signature })
}

pub(super) fn verify<'k>(
    payload: &str,
    signature: &str,
    signed: Signed<'_>,
    keys: &'k [PublicKey],
) -> Result<&'k PublicKey, Refusal> {
    let signature = decode(signature).map_err(Refusal::Unreadable)?;
    let key = signer(keys, payload.as_bytes(), &signature).ok_or(Refusal::OtherKey)?;
    let read = serde_json::from_str::<Payload>(payload);
    let Critical {
        identity,
        image,
        r#type,
    } = read
        .map_err(|error| Refusal::Unreadable(error.to_string()))?
        .critical;
    if !TYPES.contains(&r#type.as_str()) {
        let problem = format!("its type is {:?}", excerpt(&r#type));
        return Err(Refusal::Unreadable(problem));
    }
    if image.digest != signed.digest.as_str() {
        return Err(Refusal::OtherArtefact(excerpt(&image.digest).into_owned()));
    }
    names(&identity.reference, signed.repository)?;
    Ok(key)
}

/// Checks that a signed name is that of a repository. The name may carry a tag or a digest.
pub(super) fn names(name: &str, repository: &Repository) -> Result<(), Refusal> {
    let found = name
        .parse::<Reference>()
        .map(|reference| reference.repository)
        .or_else(|_| name.parse::<Repository>());
    match found {
        Ok(found) if is_same(&found, repository) => Ok(()),
        _ => Err(Refusal::OtherRepository(excerpt(name).into_owned())),
    }
}

/// Returns true if both name one repository. Docker Hub has two names.
fn is_same(one: &Repository, other: &Repository) -> bool {
    let registry = |repository: &Repository| match repository.registry().to_string() {
        name if name == "index.docker.io" => "docker.io".to_owned(),
        name => name,
    };
    one.path() == other.path() && registry(one) == registry(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_a_tag_or_a_digest_and_docker_hub_two_names() {
        let hub: Repository = "docker.io/acme/p".parse().expect("a repository");
        for name in [
            "docker.io/acme/p",
            "index.docker.io/acme/p",
            "index.docker.io/acme/p:1.0",
            "docker.io/acme/p@\
             sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            assert_eq!(names(name, &hub), Ok(()), "{name}");
        }
        for name in ["", "acme/p", "docker.io/acme/p/q", "ghcr.io/acme/p:1"] {
            let refusal = Err(Refusal::OtherRepository(name.to_owned()));
            assert_eq!(names(name, &hub), refusal, "{name}");
        }
    }
}
