//! Containers that run one script and are gone: for a layer of dependencies, and to ask what is installed.

use std::{collections::HashMap, path::Path};

use bollard::{
    Docker,
    container::AttachContainerResults,
    errors::Error,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, RemoveContainerOptions, StartContainerOptions,
        UploadToContainerOptions, WaitContainerOptions,
    },
};
use bytes::Bytes;
use futures::StreamExt as _;
use holdpoint_model::image::LABEL_KIND;
use uuid::Uuid;

use super::labels::{KIND_LAYER, LABEL_BUILDER, LABEL_KEY};

/// A line longer than this is cut into several, in bytes. npm's note of a large set has a megabyte.
const LINE_LIMIT: usize = 16 << 20;

/// What a container is to run.
pub(super) struct Job<'a> {
    pub(super) image: &'a str,
    /// `uid:gid` inside.
    pub(super) user: &'a str,
    pub(super) command: Vec<String>,
    pub(super) network: Option<&'a str>,
    /// Who makes it: the folder of the builder.
    pub(super) builder: &'a Path,
    /// Of the layer; empty where none is made.
    pub(super) key: &'a str,
}

/// A container. Dropping it removes it, whatever runs in it; if the program ends before that, the next build does.
#[derive(Debug)]
pub(super) struct Container {
    client: Docker,
    name: String,
    is_gone: bool,
}

impl Container {
    /// Makes one, and puts an archive into its root.
    pub(super) async fn create(client: &Docker, job: &Job<'_>, files: Option<Bytes>) -> Result<Self, Error> {
        // Known before it is there, so that it can be removed however far its making came.
        let container = Self {
            client: client.clone(),
            name: format!("holdpoint-build-{}", Uuid::new_v4()),
            is_gone: false,
        };
        let options = CreateContainerOptions { name: Some(container.name.clone()), ..Default::default() };
        let body = ContainerCreateBody {
            image: Some(job.image.to_owned()),
            user: Some(job.user.to_owned()),
            entrypoint: Some(Vec::new()),
            cmd: Some(job.command.clone()),
            working_dir: Some("/".into()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            labels: Some(HashMap::from([
                (LABEL_KIND.to_owned(), KIND_LAYER.to_owned()),
                (LABEL_KEY.to_owned(), job.key.to_owned()),
                (LABEL_BUILDER.to_owned(), job.builder.display().to_string()),
            ])),
            host_config: Some(HostConfig {
                network_mode: job.network.map(str::to_owned),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        client.create_container(Some(options), body).await?;
        if let Some(files) = files {
            let options = UploadToContainerOptions { path: "/".into(), ..Default::default() };
            client.upload_to_container(&container.name, Some(options), bollard::body_full(files)).await?;
        }
        Ok(container)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs it to its end, and tells each line that it prints. Gives its exit code.
    pub(super) async fn run(&self, mut line: impl FnMut(&str)) -> Result<i64, Error> {
        let options = AttachContainerOptions {
            stdout: true,
            stderr: true,
            stream: true,
            ..AttachContainerOptions::default()
        };
        // Before it starts, so that nothing is missed.
        let AttachContainerResults { mut output, input: _input } =
            self.client.attach_container(&self.name, Some(options)).await?;
        self.client.start_container(&self.name, None::<StartContainerOptions>).await?;
        let mut lines = Lines::default();
        while let Some(piece) = output.next().await {
            lines.take(&piece?.into_bytes(), &mut line);
        }
        lines.end(&mut line);
        let mut waiting = self.client.wait_container(&self.name, None::<WaitContainerOptions>);
        match waiting.next().await {
            Some(Ok(ended)) => Ok(ended.status_code),
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(error),
            None => {
                Err(Error::from(std::io::Error::other("the engine does not say how the container ended")))
            }
        }
    }

    /// Removes it.
    pub(super) async fn remove(mut self) -> Result<(), Error> {
        let removed = remove(&self.client, &self.name).await;
        self.is_gone = removed.is_ok();
        removed
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.is_gone {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (client, name) = (self.client.clone(), std::mem::take(&mut self.name));
            // Where it fails, the next build removes it.
            runtime.spawn(async move { remove(&client, &name).await });
        }
    }
}

/// Ends and removes a container; one that is gone is no error.
pub(super) async fn remove(client: &Docker, name: &str) -> Result<(), Error> {
    let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    match client.remove_container(name, Some(options)).await {
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        removed => removed,
    }
}

/// Makes lines of pieces.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8], line: &mut impl FnMut(&str)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n' || *byte == b'\r') {
            self.begun.extend_from_slice(part);
            let is_whole = part.ends_with(b"\n") || part.ends_with(b"\r");
            if is_whole || self.begun.len() > LINE_LIMIT {
                self.end(line);
            }
        }
    }

    fn end(&mut self, line: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.begun);
        let text = text.trim_end();
        if !text.is_empty() {
            line(text);
        }
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let mut lines = Lines::default();
        let mut said = Vec::new();
        for piece in ["on", "e\ntw", "o\r\n", "\n", "25 %\r50 %\r", "end"] {
            lines.take(piece.as_bytes(), &mut |line: &str| said.push(line.to_owned()));
        }
        lines.end(&mut |line: &str| said.push(line.to_owned()));
        assert_eq!(said, ["one", "two", "25 %", "50 %", "end"]);
    }
}
