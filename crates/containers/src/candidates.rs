//! What to try, in order. Pure: looks at nothing but what it is given.

use std::path::{Path, PathBuf};

use crate::{Choice, ConnectOptions, Kind, error::Fact};

/// Where rootful Podman's own unit listens.
const ROOTFUL_SOCKET: &str = "/run/podman/podman.sock";

/// Where Docker listens.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// One to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// As a heading.
    pub(crate) what: String,
    /// It will not do if it is of another kind.
    pub(crate) must_be: Option<Kind>,
    /// How to reach it.
    pub(crate) way: Way,
}

/// How to reach a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through this socket.
    Socket(PathBuf),
    /// By serving it.
    Serve,
    /// Not at all.
    Never(Fact),
}

/// What to try, in order; never nothing.
pub(crate) fn candidates(options: &ConnectOptions) -> Vec<Candidate> {
    let podman_host = named("CONTAINER_HOST", options.container_host.as_deref());
    let docker_host = named("DOCKER_HOST", options.docker_host.as_deref());
    match &options.choice {
        Choice::Socket(path) => vec![socket(path.display().to_string(), path)],
        Choice::Auto => podman_host
            .into_iter()
            .chain(docker_host)
            .chain(rootless(options))
            .chain(rootful(options))
            .chain(docker(options))
            .collect(),
        Choice::RootlessPodman => {
            must_be(podman_host.into_iter().chain(rootless(options)), Kind::RootlessPodman)
        }
        Choice::RootfulPodman => {
            must_be(podman_host.into_iter().chain(rootful(options)), Kind::RootfulPodman)
        }
        Choice::Docker => must_be(docker_host.into_iter().chain(docker(options)), Kind::Docker),
    }
}

fn must_be(candidates: impl Iterator<Item = Candidate>, kind: Kind) -> Vec<Candidate> {
    candidates.map(|candidate| Candidate { must_be: Some(kind), ..candidate }).collect()
}

fn socket(what: impl Into<String>, path: &Path) -> Candidate {
    Candidate { what: what.into(), must_be: None, way: Way::Socket(path.to_owned()) }
}

/// What a variable names.
fn named(variable: &'static str, address: Option<&str>) -> Option<Candidate> {
    let address = address?;
    Some(match address.strip_prefix("unix://") {
        Some(path) => socket(variable, Path::new(path)),
        None => Candidate {
            what: variable.into(),
            must_be: None,
            way: Way::Never(Fact::OtherMachine { variable, address: address.to_owned() }),
        },
    })
}

fn rootless(options: &ConnectOptions) -> Vec<Candidate> {
    let kind = Kind::RootlessPodman;
    if options.uid == 0 {
        let way = Way::Never(Fact::IsRoot);
        return vec![Candidate { what: kind.to_string(), must_be: None, way }];
    }
    let mut list: Vec<_> = runtime_dirs(options)
        .iter()
        .map(|dir| socket(kind.to_string(), &dir.join("podman/podman.sock")))
        .collect();
    list.push(Candidate { what: format!("{kind}, served for us"), must_be: Some(kind), way: Way::Serve });
    list
}

fn rootful(options: &ConnectOptions) -> Vec<Candidate> {
    let kind = Kind::RootfulPodman;
    let way = if options.uid == 0 { Way::Serve } else { Way::Never(Fact::IsNotRoot) };
    vec![
        socket(kind.to_string(), Path::new(ROOTFUL_SOCKET)),
        Candidate { what: format!("{kind}, served for us"), must_be: Some(kind), way },
    ]
}

/// Docker's socket, and that of a rootless Docker
/// (<https://docs.docker.com/engine/security/rootless/>).
fn docker(options: &ConnectOptions) -> Vec<Candidate> {
    let mut list = vec![socket("Docker", Path::new(DOCKER_SOCKET))];
    if options.uid != 0 {
        list.extend(
            runtime_dirs(options).iter().map(|dir| socket("rootless Docker", &dir.join("docker.sock"))),
        );
    }
    list
}

fn runtime_dirs(options: &ConnectOptions) -> Vec<PathBuf> {
    let usual = PathBuf::from(format!("/run/user/{}", options.uid));
    let mut dirs: Vec<_> = options.runtime_dir.iter().cloned().collect();
    if !dirs.contains(&usual) {
        dirs.push(usual);
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(choice: Choice, uid: u32) -> ConnectOptions {
        ConnectOptions {
            choice,
            uid,
            runtime_dir: Some("/run/user/1000".into()),
            container_host: None,
            docker_host: None,
            path: String::new(),
            own_folder: "/run/user/1000/holdpoint".into(),
            service_env: Vec::new(),
        }
    }

    /// `socket PATH`, `serve` or `never`, and what it must be.
    fn shown(options: &ConnectOptions) -> Vec<String> {
        let way = |candidate: &Candidate| match &candidate.way {
            Way::Socket(path) => path.display().to_string(),
            Way::Serve => "serve".into(),
            Way::Never(fact) => format!("never: {fact}"),
        };
        let shown = candidates(options);
        shown.iter().map(|one| format!("{} {}", way(one), one.must_be.map_or("any", Kind::name))).collect()
    }

    #[test]
    fn an_ordinary_user_gets_its_own_podman_before_that_of_root_and_docker() {
        assert_eq!(
            shown(&options(Choice::Auto, 1000)),
            [
                "/run/user/1000/podman/podman.sock any",
                "serve rootless-podman",
                "/run/podman/podman.sock any",
                "never: only root can serve it rootful-podman",
                "/var/run/docker.sock any",
                "/run/user/1000/docker.sock any",
            ]
        );
    }

    #[test]
    fn root_gets_rootful_podman() {
        assert_eq!(
            shown(&options(Choice::Auto, 0)),
            [
                "never: this is root; rootless Podman is that of an ordinary user any",
                "/run/podman/podman.sock any",
                "serve rootful-podman",
                "/var/run/docker.sock any",
            ]
        );
    }

    #[test]
    fn another_runtime_folder_comes_before_the_usual_one() {
        let options =
            ConnectOptions { runtime_dir: Some("/tmp/r".into()), ..options(Choice::RootlessPodman, 1000) };
        assert_eq!(
            shown(&options),
            [
                "/tmp/r/podman/podman.sock rootless-podman",
                "/run/user/1000/podman/podman.sock rootless-podman",
                "serve rootless-podman",
            ]
        );
    }

    #[test]
    fn variables_come_first_and_only_for_their_engine() {
        let base = ConnectOptions {
            container_host: Some("unix:///c.sock".into()),
            docker_host: Some("tcp://far:2375".into()),
            ..options(Choice::Auto, 0)
        };
        let shown_auto = shown(&base);
        assert_eq!(shown_auto[0], "/c.sock any");
        assert!(shown_auto[1].contains("DOCKER_HOST is tcp://far:2375"), "{shown_auto:?}");
        assert_eq!(
            shown(&ConnectOptions { choice: Choice::RootfulPodman, ..base.clone() })[0],
            "/c.sock rootful-podman"
        );
        let docker = shown(&ConnectOptions { choice: Choice::Docker, ..base.clone() });
        assert!(docker[0].starts_with("never") && docker[1] == "/var/run/docker.sock docker", "{docker:?}");
        assert_eq!(shown(&ConnectOptions { choice: Choice::Socket("/s".into()), ..base }), ["/s any"]);
    }

    #[test]
    fn choices_are_written_as_kinds_are() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        for (kind, choice) in [
            (Kind::RootlessPodman, Choice::RootlessPodman),
            (Kind::RootfulPodman, Choice::RootfulPodman),
            (Kind::Docker, Choice::Docker),
        ] {
            assert_eq!(kind.name().parse(), Ok(choice));
        }
        assert_eq!("unix:///a/b".parse(), Ok(Choice::Socket("/a/b".into())));
        assert_eq!("/a/b".parse(), Ok(Choice::Socket("/a/b".into())));
        assert!("podman".parse::<Choice>().is_err_and(|error| error.contains("rootless-podman")));
    }
}
