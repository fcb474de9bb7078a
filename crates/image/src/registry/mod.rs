//! Images in registries: pushed through the engine, named by the digest that the *registry* serves them under.
//!
//! An engine's own digest of an image is another one wherever layers are compressed on the way, whatever it shows
//! after a push. So the registry is asked, and what it answers is checked: the manifest that it gives for the digest
//! has it, and describes the image that was pushed.

mod check;
mod engine;
mod explain;
mod login;

use std::net::IpAddr;

use holdpoint_containers::Containers;
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use secrecy::ExposeSecret as _;

pub use login::{Login, LoginSources, login};

use crate::Problem;
use check::{MANIFEST_TYPES, Served};
use explain::{Refusal, explain};

/// How long a registry may take to begin with an answer.
const CONNECT_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// How long it may be silent in the middle of one.
const READ_LIMIT: std::time::Duration = std::time::Duration::from_secs(120);

/// How a registry is reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// User and password; nobody's where there are none.
    pub login: Option<Login>,
    /// Without TLS. A registry on this machine (`localhost`, `127.0.0.1`) is reached so anyway.
    pub plain_http: bool,
    /// More certificates to trust (PEM), for asking. The engine that pushes has a store of its own.
    pub certificates: Option<Vec<u8>>,
}

/// Where an image is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// `registry/repository@sha256:…`: what a configuration refers to.
    pub reference: String,
    /// `sha256:…`, the digest of the manifest as the registry serves it.
    pub digest: String,
}

/// Pushes an image of the engine, and asks the registry for its digest. `progress` is told what the engine says.
///
/// # Errors
/// When it is refused, or when the registry then serves something else.
pub async fn push(
    containers: &Containers,
    image_id: &str,
    repository: &str,
    tag: &str,
    access: &Access,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Pushed, Problem> {
    let what = format!("failed to push to {repository}:{tag}");
    let reference = parse(&format!("{repository}:{tag}"))?;
    let plain = is_plain(&reference, access);
    engine::push(containers, image_id, &reference, tag, access, plain, progress)
        .await
        .map_err(|said| explain(&what, &reference, &said))?;
    let asking = Asking::new(&reference, access)?;
    let served = asking
        .served(&reference, Some(image_id))
        .await
        .map_err(|refusal| explain(&what, &reference, &refusal))?;
    if served.config != image_id {
        return Err(Problem::new(
            what,
            format!(
                "{} serves another image under {tag} than was pushed: {} rather than {image_id}. Somebody else pushed to this tag, or what is between changes images",
                reference.resolve_registry(),
                served.config
            ),
        )
        .next("push again, under a tag that nobody else uses"));
    }
    Ok(Pushed { reference: format!("{repository}@{}", served.digest), digest: served.digest })
}

/// Pulls an image by its digest, and gives its id in the engine.
///
/// # Errors
/// When it is not there, or the engine does not get it.
pub async fn pull_by_digest(
    containers: &Containers,
    reference: &str,
    access: &Access,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<String, Problem> {
    let what = format!("failed to pull {reference}");
    let parsed = parse(reference)?;
    if parsed.digest().is_none() {
        return Err(Problem::new(what, "it is not named by a digest, so it may be another image tomorrow")
            .next("name it as repository@sha256:…"));
    }
    let served = Asking::new(&parsed, access)?
        .served(&parsed, None)
        .await
        .map_err(|refusal| explain(&what, &parsed, &refusal))?;
    engine::pull(containers, reference, access, is_plain(&parsed, access), progress)
        .await
        .map_err(|said| explain(&what, &parsed, &said))?;
    let found = containers.client().inspect_image(&served.config).await;
    found.map_err(|error| {
        Problem::new(&what, format!("{} has no image {} after it: {error}", containers.kind(), served.config))
    })?;
    Ok(served.config)
}

/// Whether a registry has an image, by a tag or a digest.
///
/// # Errors
/// When it does not say.
pub async fn exists(reference: &str, access: &Access) -> Result<bool, Problem> {
    let parsed = parse(reference)?;
    match Asking::new(&parsed, access)?.digest(&parsed).await {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.is_not_there() => Ok(false),
        Err(refusal) => Err(explain(&format!("failed to look for {reference}"), &parsed, &refusal)),
    }
}

/// Removes the manifest of a digest from a registry, and with it every tag on it. Many registries do not allow it.
///
/// # Errors
/// When it is not named by a digest, or the registry refuses.
pub async fn delete(reference: &str, access: &Access) -> Result<(), Problem> {
    let what = format!("failed to delete {reference}");
    let parsed = parse(reference)?;
    let Some(digest) = parsed.digest() else {
        return Err(
            Problem::new(what, "registries delete by digest alone").next("name it as repository@sha256:…")
        );
    };
    let asking = Asking::new(&parsed, access)?;
    asking.delete(&parsed, digest).await.map_err(|refusal| explain(&what, &parsed, &refusal))
}

fn parse(reference: &str) -> Result<Reference, Problem> {
    reference.parse().map_err(|error| {
        Problem::new(format!("{reference:?} is no name of an image"), error)
            .next("name it as registry.example/group/name")
    })
}

/// Plain HTTP only where nobody is in between, or somebody said so.
fn is_plain(reference: &Reference, access: &Access) -> bool {
    access.plain_http || is_loopback(reference.resolve_registry())
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Asks a registry.
struct Asking {
    client: Client,
    http: reqwest::Client,
    auth: RegistryAuth,
    scheme: &'static str,
}

impl Asking {
    fn new(reference: &Reference, access: &Access) -> Result<Self, Problem> {
        let plain = is_plain(reference, access);
        let registry = reference.resolve_registry().to_owned();
        let protocol =
            if plain { ClientProtocol::HttpsExcept(vec![registry]) } else { ClientProtocol::Https };
        let certificates = access.certificates.iter();
        let failed = |error: &dyn std::fmt::Display| {
            Problem::new("failed to read the certificates for the registry", error)
                .next("check that the file holds certificates as PEM")
        };
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_LIMIT).read_timeout(READ_LIMIT);
        for pem in certificates.clone() {
            let bundle = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| failed(&error))?;
            http = http.tls_certs_merge(bundle);
        }
        let config = ClientConfig {
            protocol,
            extra_root_certificates: certificates
                .map(|data| Certificate { encoding: CertificateEncoding::Pem, data: data.clone() })
                .collect(),
            platform_resolver: None,
            connect_timeout: Some(CONNECT_LIMIT),
            read_timeout: Some(READ_LIMIT),
            user_agent: "holdpoint",
            ..ClientConfig::default()
        };
        let auth = match &access.login {
            Some(login) => RegistryAuth::Basic(login.user.clone(), login.password.expose_secret().to_owned()),
            None => RegistryAuth::Anonymous,
        };
        Ok(Self {
            client: Client::try_from(config).map_err(|error| failed(&error))?,
            http: http.build().map_err(|error| failed(&error))?,
            auth,
            scheme: if plain { "http" } else { "https" },
        })
    }

    /// The digest that the registry serves a name under: `Docker-Content-Digest`.
    async fn digest(&self, reference: &Reference) -> Result<String, Refusal> {
        Ok(self.client.fetch_manifest_digest(reference, &self.auth).await?)
    }

    /// The manifest of this kind of machine, by its digest. Of an index, the one of `config` comes first.
    async fn served(&self, reference: &Reference, config: Option<&str>) -> Result<Served, Refusal> {
        let digest = self.digest(reference).await?;
        let text = self.manifest(reference, &digest).await?;
        let choices = match check::read(&text, &digest)? {
            check::Manifest::Image(served) => return Ok(served),
            check::Manifest::Index(choices) => choices,
        };
        let mut first = None;
        for choice in choices {
            let text = self.manifest(reference, &choice).await?;
            if let check::Manifest::Image(served) = check::read(&text, &choice)? {
                if config.is_none_or(|config| config == served.config) {
                    return Ok(served);
                }
                first = first.or(Some(served));
            }
        }
        first.ok_or_else(|| Refusal::said("it has no image for this kind of machine under this name"))
    }

    async fn manifest(&self, reference: &Reference, digest: &str) -> Result<Vec<u8>, Refusal> {
        let by_digest = reference.clone_with_digest(digest.to_owned());
        let (text, _) = self.client.pull_manifest_raw(&by_digest, &self.auth, MANIFEST_TYPES).await?;
        Ok(text.to_vec())
    }

    /// The library has no way to delete.
    async fn delete(&self, reference: &Reference, digest: &str) -> Result<(), Refusal> {
        let token = self.client.auth(reference, &self.auth, RegistryOperation::Push).await?;
        let (registry, repository) = (reference.resolve_registry(), reference.repository());
        let url = format!("{}://{registry}/v2/{repository}/manifests/{digest}", self.scheme);
        let request = self.http.delete(url);
        let request = match (token, &self.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let answer = request.send().await.map_err(OciDistributionError::from)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = answer.text().await.unwrap_or_default();
        Err(Refusal { status: Some(status.as_u16()), said: text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_without_tls() {
        for (registry, is_one) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.8.0.1", true),
            ("[::1]:5000", true),
            ("localhost", true),
            ("localhost.example", false),
            ("10.0.0.1:5000", false),
            ("registry.example", false),
            ("127.0.0.1.example:5000", false),
        ] {
            assert_eq!(is_loopback(registry), is_one, "{registry}");
        }
        let far = parse("registry.example/x:1").expect("a name");
        assert!(!is_plain(&far, &Access::default()));
        assert!(is_plain(&far, &Access { plain_http: true, ..Access::default() }));
    }
}
