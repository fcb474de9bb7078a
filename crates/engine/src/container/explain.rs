//! What a container engine says when it cannot start something, in words, with what to type: by what it says
//! (`holdpoint_containers::recognise`), and by what was asked of it.

use bollard::errors::Error;
use holdpoint_containers::{Kind, recognise};

use crate::EngineError;

/// What is known of the start that failed.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) kind: Kind,
    pub(super) image: &'a str,
}

/// The error of a failed start.
pub(super) fn explain(error: &Error, attempt: &Attempt<'_>) -> EngineError {
    let said = said(error);
    let lower = said.to_lowercase();
    let container = |why: String, next: String| EngineError::Container { why, next, said: said.clone() };
    let status = match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    };
    if let Some(symptom) = recognise(&said) {
        return container(symptom.why.into(), symptom.next.into());
    }
    if status == Some(404) && (lower.contains("no such image") || lower.contains("image not known")) {
        let next = if attempt.image.starts_with("localhost/holdpoint/base") {
            "holdpoint image build --base".to_owned()
        } else if attempt.kind == Kind::Docker {
            format!("docker pull {}", attempt.image)
        } else {
            format!("podman pull {}", attempt.image)
        };
        return container(format!("the image {} is not on this machine", attempt.image), next);
    }
    if status.is_none() {
        let next = match attempt.kind {
            Kind::RootlessPodman => "systemctl --user enable --now podman.socket",
            Kind::RootfulPodman => "sudo systemctl enable --now podman.socket",
            Kind::Docker => "sudo systemctl enable --now docker",
        };
        return container(format!("{} does not answer any more", attempt.kind), next.into());
    }
    let next = if attempt.kind == Kind::Docker { "docker info" } else { "podman info" };
    container(format!("{} refused", attempt.kind), format!("{next}     (and its own log)"))
}

fn said(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status_code: u16, message: &str) -> String {
        let error = Error::DockerResponseServerError { status_code, message: message.into() };
        explain(&error, &Attempt { kind: Kind::RootlessPodman, image: "localhost/holdpoint/base:1" })
            .to_string()
    }

    #[test]
    fn causes_are_told_with_what_to_type() {
        for (status, said, command) in [
            (404, "No such image: localhost/holdpoint/base:1", "holdpoint image build --base"),
            (500, "exec: \"newuidmap\": executable file not found in $PATH", "apt-get install -y uidmap"),
            (500, "something new", "podman info"),
        ] {
            let text = of(status, said);
            assert!(text.contains(command) && text.contains(said), "{text}");
        }
    }
}
