//! Registries: open, with a password, and those that are not there.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use holdpoint_image::registry::{Access, Login, delete, exists, pull_by_digest, push};

use crate::parts::{Registry, World, output, shown};

/// A small image, of these bytes: its id.
fn image(world: &World, text: &str) -> Result<String> {
    let folder = world.at(text);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("file"), text)?;
    let tar = world.at(&format!("{text}.tar"));
    output(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&folder).arg("file"))?;
    let id = world.podman(&["import", "--quiet", &tar.display().to_string()])?;
    let id = id.trim().trim_start_matches("sha256:");
    Ok(format!("sha256:{id}"))
}

fn quiet(_: &str) {}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_there_and_comes_back_by_the_digest_that_is_served() -> Result<()> {
    let world = World::rootful().await?;
    let registry = Registry::start(None).await?;
    let access = Access::default();
    let (one, two) = (image(&world, "one")?, image(&world, "two")?);
    let repository = format!("{}/team/agents", registry.host);
    assert!(!exists(&format!("{repository}:1"), &access).await.map_err(shown)?);
    let pushed = push(&world.containers, &one, &repository, "1", &access, &quiet).await.map_err(shown)?;
    let url = format!("http://{}/v2/team/agents/manifests", registry.host);
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let head = output(Command::new("curl").args(["-sI", "-H", accept, &format!("{url}/1")]))?;
    assert!(head.contains(&pushed.digest), "{head} does not say {}", pushed.digest);
    assert_eq!(pushed.reference, format!("{repository}@{}", pushed.digest));
    let again = push(&world.containers, &one, &repository, "1", &access, &quiet).await.map_err(shown)?;
    assert_eq!(again, pushed);
    let other = push(&world.containers, &two, &repository, "1", &access, &quiet).await.map_err(shown)?;
    assert_ne!(other.digest, pushed.digest, "the tag moved on");

    // The first one is still there under its digest.
    for reference in [&pushed.reference, &format!("{repository}:1")] {
        assert!(exists(reference, &access).await.map_err(shown)?, "{reference}");
    }
    world.podman(&["rmi", "--force", &one])?;
    let id = pull_by_digest(&world.containers, &pushed.reference, &access, &quiet).await.map_err(shown)?;
    assert_eq!(id, one);
    let by_tag = pull_by_digest(&world.containers, &format!("{repository}:1"), &access, &quiet).await;
    assert!(by_tag.is_err_and(|problem| problem.why.contains("not named by a digest")));

    // An index of several kinds of machine: ours is taken of it.
    let size = |digest: &str| -> Result<usize> {
        Ok(output(Command::new("curl").args(["-s", "-H", accept, &format!("{url}/{digest}")]))?.len())
    };
    let ours = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let kind = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Type: "))
        .context("a type")?
        .trim()
        .to_owned();
    let entry = |digest: &str, machine: &str| -> Result<serde_json::Value> {
        Ok(serde_json::json!({"mediaType": kind, "digest": digest, "size": size(digest)?,
            "platform": {"os": "linux", "architecture": machine}}))
    };
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": index_type,
        "manifests": [entry(&other.digest, "s390x")?, entry(&pushed.digest, ours)?]});
    fs::write(world.at("index.json"), index.to_string())?;
    let body = format!("@{}", world.at("index.json").display());
    let put = [
        "-sSf",
        "-D",
        "-",
        "-X",
        "PUT",
        "-H",
        &format!("Content-Type: {index_type}"),
        "--data-binary",
        &body,
        &format!("{url}/many"),
    ]
    .map(str::to_owned);
    let put = output(Command::new("curl").args(&put))?;
    let digest =
        put.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: ")).context("a digest")?;
    let many = format!("{repository}@{}", digest.trim());
    let id = pull_by_digest(&world.containers, &many, &access, &quiet).await.map_err(shown)?;
    assert_eq!(id, one);

    delete(&many, &access).await.map_err(shown)?;
    delete(&pushed.reference, &access).await.map_err(shown)?;
    assert!(!exists(&pushed.reference, &access).await.map_err(shown)?);
    let gone = pull_by_digest(&world.containers, &pushed.reference, &access, &quiet).await.expect_err("gone");
    assert!(gone.why.contains("no such image"), "{gone:?}");
    for id in [&one, &two] {
        world.podman(&["rmi", "--force", id])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_which_it_fails_says_what_to_do() -> Result<()> {
    let world = World::rootful().await?;
    let registry = Registry::start(Some(("ada", "pa:ss"))).await?;
    let image = image(&world, "locked")?;
    let repository = format!("{}/team/agents", registry.host);
    let with = |user: &str, password: &str| Access {
        login: Some(Login { user: user.into(), password: password.to_owned().into() }),
        ..Access::default()
    };
    for access in [Access::default(), with("ada", "wrong")] {
        let problem =
            push(&world.containers, &image, &repository, "1", &access, &quiet).await.expect_err("refused");
        assert!(problem.why.contains("refuses the log-in"), "{problem:?}");
        assert!(problem.next[0].contains("podman login"), "{problem:?}");
        let problem = exists(&format!("{repository}:1"), &access).await.expect_err("refused");
        assert!(problem.why.contains("refuses the log-in"), "{problem:?}");
        assert!(!format!("{problem:?}").contains("wrong"), "{problem:?}");
    }
    let access = with("ada", "pa:ss");
    let pushed = push(&world.containers, &image, &repository, "1", &access, &quiet).await.map_err(shown)?;
    assert!(exists(&pushed.reference, &access).await.map_err(shown)?);
    let id = pull_by_digest(&world.containers, &pushed.reference, &access, &quiet).await.map_err(shown)?;
    assert_eq!(id, image);
    delete(&pushed.reference, &access).await.map_err(shown)?;

    let nobody = registry.host.clone();
    drop(registry);
    let far = format!("{nobody}/team/agents");
    for problem in [
        push(&world.containers, &image, &far, "1", &access, &quiet).await.expect_err("nobody is there"),
        exists(&format!("{far}:1"), &access).await.expect_err("nobody is there"),
    ] {
        assert!(problem.why.contains("cannot be reached"), "{problem:?}");
    }
    world.podman(&["rmi", "--force", &image])?;
    Ok(())
}
