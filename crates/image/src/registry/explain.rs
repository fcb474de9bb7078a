//! From what a registry, or an engine about it, says to what failed, why, and what to type. Pure.

use oci_client::{Reference, errors::OciDistributionError};

use crate::Problem;

/// What was said, by the registry or by the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Of HTTP, where it is known.
    pub(super) status: Option<u16>,
    pub(super) said: String,
}

impl Refusal {
    pub(super) fn said(said: impl Into<String>) -> Self {
        Self { status: None, said: said.into() }
    }

    fn has(&self, words: &[&str]) -> bool {
        let said = self.said.to_lowercase();
        words.iter().any(|word| said.contains(word))
    }

    /// Whether the registry says that it has no such image.
    pub(super) fn is_not_there(&self) -> bool {
        self.status == Some(404)
            || self.has(&["manifest unknown", "manifest_unknown", "name unknown", "name_unknown"])
    }
}

impl From<OciDistributionError> for Refusal {
    fn from(error: OciDistributionError) -> Self {
        match &error {
            OciDistributionError::UnauthorizedError { .. } => {
                Self { status: Some(401), said: error.to_string() }
            }
            OciDistributionError::AuthenticationFailure(said) => {
                // The library knows the status and says it in words alone.
                let status = if said.contains("403") { 403 } else { 401 };
                Self { status: Some(status), said: error.to_string() }
            }
            OciDistributionError::ServerError { code, .. } => {
                Self { status: Some(*code), said: error.to_string() }
            }
            OciDistributionError::ImageManifestNotFoundError(_) => {
                Self { status: Some(404), said: error.to_string() }
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                let said = envelope.errors.iter().map(|one| format!("{:?}: {}", one.code, one.message));
                let said = said.collect::<Vec<_>>().join("; ");
                let status = envelope.errors.iter().find_map(|one| status(&format!("{:?}", one.code)));
                Self { status, said }
            }
            OciDistributionError::RequestError(request) => Self::said(chain(request)),
            _ => Self::said(error.to_string()),
        }
    }
}

/// The status that goes with a code of the distribution specification.
fn status(code: &str) -> Option<u16> {
    match code {
        "Unauthorized" => Some(401),
        "Denied" => Some(403),
        "ManifestUnknown" | "NameUnknown" | "NotFound" | "BlobUnknown" => Some(404),
        "Toomanyrequests" => Some(429),
        _ => None,
    }
}

/// An error with what caused it: of a request only the last one says what was wrong.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        said.push(error.to_string());
        next = error.source();
    }
    said.join(": ")
}

/// What failed, why, and what to type next.
pub(super) fn explain(what: &str, reference: &Reference, refusal: &Refusal) -> Problem {
    let registry = reference.resolve_registry();
    let repository = reference.repository();
    let log_in = format!("podman login {registry}     (or `docker login {registry}`)");
    let status = refusal.status;
    let (why, next) = if refusal.has(&["no space left", "insufficient storage", "quota exceeded"])
        || status == Some(507)
    {
        (
            "there is no space left: in the registry's storage, or on the engine's disk".to_owned(),
            "podman system df     (here); then the disk and the quota of the registry".to_owned(),
        )
    } else if refusal.has(&[
        "http response to https client",
        "wrong version number",
        "invalidcontenttype",
        "corrupt message",
    ]) {
        (
            format!(
                "{registry} speaks no TLS, and plain HTTP is used only on this machine or where that is said"
            ),
            "allow plain HTTP for this registry, if nobody can get in between".to_owned(),
        )
    } else if refusal.has(&["x509", "certificate", "unknown issuer", "unknownissuer"]) {
        (
            format!("the certificate of {registry} is not trusted"),
            format!(
                "put the certificate that signs it into /etc/containers/certs.d/{registry}/ca.crt (Docker: /etc/docker/certs.d/{registry}/ca.crt), and name it in SSL_CERT_FILE"
            ),
        )
    } else if status == Some(429) || refusal.has(&["toomanyrequests", "too many requests"]) {
        (format!("{registry} had too many requests"), format!("wait, and try again; or {log_in}"))
    } else if status == Some(403) || refusal.has(&["403", "denied", "forbidden", "insufficient_scope"]) {
        (
            format!("the log-in is known to {registry}, but may not do this in {repository}"),
            "get a token that may write packages (`write:packages`, `push`), and check the repository's name"
                .to_owned(),
        )
    } else if status == Some(401)
        || refusal.has(&["unauthorized", "authentication required", "invalid username/password", "401"])
    {
        (format!("{registry} refuses the log-in, or there is none"), log_in)
    } else if refusal.has(&["name unknown", "name_unknown", "nameunknown", "repository name not known"]) {
        (
            format!("{registry} has no repository {repository}"),
            "check its name; some registries want it to be made before anything is pushed".to_owned(),
        )
    } else if refusal.is_not_there() {
        (
            format!("{registry} has no such image in {repository}"),
            "build and push it again; registries drop what no tag refers to".to_owned(),
        )
    } else if status == Some(405) || refusal.has(&["unsupported"]) {
        (
            format!("{registry} does not allow it"),
            "leave it to the registry's own rules, or allow deletion there".to_owned(),
        )
    } else if refusal.has(&[
        "connection refused",
        "no such host",
        "dns error",
        "failed to lookup",
        "timed out",
        "timeout",
        "no route to host",
        "network is unreachable",
        "connection reset",
    ]) {
        (format!("{registry} cannot be reached"), format!("curl -v https://{registry}/v2/"))
    } else {
        (format!("{registry} did not do it"), format!("curl -v https://{registry}/v2/"))
    };
    Problem::new(what, format!("{why} ({})", refusal.said.trim())).next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let reference: Reference = "registry.example/team/agents:1".parse().expect("a name");
        for (status, said, why, next) in [
            (Some(401), "Not authorized", "refuses the log-in", "login registry.example"),
            (None, "unauthorized: authentication required", "refuses the log-in", "login"),
            (
                None,
                "denied: requested access to the resource is denied",
                "may not do this in team/agents",
                "write:packages",
            ),
            (Some(403), "", "may not do this", "write:packages"),
            (None, "manifest unknown: manifest unknown", "no such image", "push it again"),
            (
                Some(404),
                "NameUnknown: repository name not known to registry",
                "no repository team/agents",
                "check its name",
            ),
            (None, "write /var/tmp/storage1: no space left on device", "no space left", "podman system df"),
            (Some(507), "", "no space left", "podman system df"),
            (
                None,
                "x509: certificate signed by unknown authority",
                "is not trusted",
                "certs.d/registry.example/ca.crt",
            ),
            (None, "http: server gave HTTP response to HTTPS client", "speaks no TLS", "plain HTTP"),
            (None, "dial tcp 10.0.0.1:443: connect: connection refused", "cannot be reached", "curl -v"),
            (None, "dns error: failed to lookup address information", "cannot be reached", "curl -v"),
            (Some(429), "slow down", "too many requests", "wait"),
            (Some(405), "", "does not allow it", "allow deletion"),
            (None, "something new", "did not do it", "curl -v"),
        ] {
            let problem = explain("failed", &reference, &Refusal { status, said: said.into() });
            assert!(problem.why.contains(why) && problem.why.contains(said), "{said}: {problem:?}");
            assert!(problem.next.join("\n").contains(next), "{said}: {problem:?}");
        }
    }
}
