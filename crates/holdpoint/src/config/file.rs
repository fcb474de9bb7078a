//! `holdpoint.toml` as it is written. What is not known is refused.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use holdpoint_model::{AgentDef, Keep};
use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of Holdpoint. Everything is optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "holdpoint.toml")]
pub struct FileConfig {
    /// The port of panel and API; 3370 where absent. `--port` and HOLDPOINT_PORT come first.
    pub port: Option<u16>,
    /// The address to listen on; 127.0.0.1 where absent, which only this machine reaches.
    pub host: Option<IpAddr>,
    /// How others reach the panel, where that is not `http://HOST:PORT`: behind a proxy, for instance.
    pub base_url: Option<String>,
    /// How others than this machine reach the panel.
    pub server: ServerTable,
    /// Sessions that may run at once; more wait in line. Derived from memory and cores where absent.
    pub max_sessions: Option<u32>,
    /// Where sessions run: in a `container` each, or as a `process` of this user, which isolates nothing. `auto`
    /// where absent: containers where they work.
    pub engine: EngineChoice,
    /// How long conversations are kept after their end, as in `"90d"`; then they are deleted with their
    /// files. `"forever"` where absent. An agent may say otherwise for its own.
    pub keep: Option<Keep>,
    /// What is logged: `error`, `warn`, `info`, `debug`, or directives as in `info,holdpoint_web=debug`.
    pub log: Option<String>,
    /// The Claude CLI.
    pub claude: ClaudeTable,
    /// The way to the model.
    pub gateway: GatewayTable,
    /// The container engine, and the images that sessions run in.
    pub container: ContainerTable,
    /// What images of agents are made of, and where they go. `holdpoint deploy` does it.
    pub deploy: DeployTable,
    /// Where transcripts and workspaces of waiting conversations are put by.
    pub checkpoints: CheckpointsTable,
    /// Answers from a script in place of a model: offline, free, repeatable.
    pub rehearsal: RehearsalTable,
    /// Where people are told that something waits for them.
    pub notify: NotifyTable,
    /// The agents, by the name that scripts use. `claude` is there without being written.
    pub agents: BTreeMap<String, AgentDef>,
}

/// `[server]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTable {
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, as in `["127.0.0.1/32"]`; nobody's
    /// where absent.
    pub trusted_proxies: Vec<String>,
    /// Panel and API over TLS, on an address of their own beside the plain one.
    pub tls: Option<TlsTable>,
}

/// `tls` of `[server]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsTable {
    /// The file of the certificate and those that lead up to it, as PEM. Read again when it changes.
    pub cert: PathBuf,
    /// The file of its key, as PEM.
    pub key: PathBuf,
    /// The address to listen on; 127.0.0.1 where absent, `0.0.0.0` for whoever reaches this machine.
    #[serde(default)]
    pub host: Option<IpAddr>,
    /// The port; 3443 where absent.
    #[serde(default)]
    pub port: Option<u16>,
}

/// `engine`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// Containers where they work, else processes.
    #[default]
    Auto,
    /// Containers, or it does not start.
    Container,
    /// Processes.
    Process,
}

/// `[claude]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClaudeTable {
    /// The CLI's program file, or `path` for the `claude` on PATH. Where absent, Holdpoint installs
    /// the version it was tested with into its data folder.
    pub cli: Option<String>,
    /// Accepts other versions of the CLI than the one Holdpoint was tested with.
    pub any_version: bool,
}

/// `[gateway]`. The API key is never written here: set ANTHROPIC_API_KEY.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayTable {
    /// The model endpoint. ANTHROPIC_BASE_URL comes first.
    pub upstream: Option<String>,
    /// Several model endpoints in its place, each with a key of its own. A call goes to the first that takes
    /// its model, and to the next one when that can be reached no better or has no room. ANTHROPIC_API_KEY
    /// and ANTHROPIC_BASE_URL are not read then, but where a key names one.
    pub upstreams: Vec<UpstreamTable>,
    /// Model calls that may be under way at once; more wait in line, each conversation in its turn.
    pub concurrent_calls: Option<u32>,
    /// Model calls that may begin within any minute; more wait in line.
    pub calls_per_minute: Option<u32>,
    /// US dollars for all conversations that one person started, rehearsals left out, in a day of UTC.
    pub budget_per_person_per_day_usd: Option<f64>,
    /// The same in a calendar month of UTC.
    pub budget_per_person_per_month_usd: Option<f64>,
}

/// One of `upstreams` of `[gateway]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTable {
    /// What it is called in messages and in the log.
    pub name: String,
    /// Its address, without `/v1`.
    pub url: String,
    /// The key that it wants, as `x-api-key`.
    pub key: FromEnv,
    /// The models that it takes, as in `["claude-haiku-*"]`; all where absent.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

/// `[container]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerTable {
    /// `rootless-podman`, `rootful-podman`, `docker`, or the path of a socket; `auto` where absent, which
    /// takes the first of them that works.
    pub engine: Option<String>,
    /// The image of agents that name none; the base image of this Holdpoint where absent.
    pub image: Option<String>,
    /// The mirror of Debian that the base image is built from, as in `http://deb.debian.org/debian`. Where
    /// absent, the sources of this machine's apt if it is the same release, else Debian's own.
    pub mirror: Option<String>,
}

/// `[deploy]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeployTable {
    /// The repository that images are pushed to, as in `registry.example.org/team/agents`; each release has a tag of
    /// its own there, and is used by its digest. Where absent, images stay on this machine.
    pub registry: Option<String>,
    /// Reaches the registry without TLS. One on this machine is reached so anyway.
    pub plain_http: bool,
    /// User and password of the registry. Where absent, the files of `podman login` and `docker login` are asked.
    pub credentials: Option<CredentialsTable>,
    /// The network of the containers that install packages: `host`, or one of the engine's. Where absent, the engine's
    /// default, which reaches no port of this machine.
    pub network: Option<String>,
    /// How many earlier releases keep their image, to go back to; 5 where absent.
    pub keep: Option<u32>,
    /// The configuration repository that several projects share: its `.claude` is the user's.
    pub master: Option<SourceTable>,
    /// The project's configuration repository: what it says goes over the master's.
    pub project: Option<SourceTable>,
}

/// `credentials` of `[deploy]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialsTable {
    /// The user.
    pub user: FromEnv,
    /// The password or token.
    pub password: FromEnv,
}

/// `[deploy.master]` and `[deploy.project]`: a repository, or a folder of this machine.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceTable {
    /// Its address, as git takes it: `https://…`, `ssh://…`, `git@host:path`, `file://…`. Never with a password.
    pub git: Option<String>,
    /// A folder of this machine in its place, relative to this file.
    pub folder: Option<PathBuf>,
    /// The branch, tag or commit; the default branch where absent.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The folder within it, where not all of it is meant.
    pub subfolder: Option<String>,
    /// A token for an `https` address. Where absent, git's own credential helpers are asked.
    pub token: Option<FromEnv>,
}

/// `[checkpoints]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointsTable {
    /// A bucket of an S3-compatible server; a folder of the data folder where absent.
    pub s3: Option<S3Table>,
}

/// `s3` of `[checkpoints]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Table {
    /// `https://host[:port]`; Amazon's own where absent. Plain `http` only to this machine itself.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket, which must exist.
    pub bucket: String,
    /// What every key begins with.
    #[serde(default)]
    pub prefix: String,
    /// The region; `us-east-1` where absent, which servers without regions take.
    #[serde(default)]
    pub region: Option<String>,
    /// The access key's id.
    pub key_id: FromEnv,
    /// The access key.
    pub secret: FromEnv,
}

/// `[rehearsal]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RehearsalTable {
    /// The script that answers every agent, relative to this file.
    pub script: Option<PathBuf>,
}

/// `[notify]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyTable {
    /// A program that is told by a signed POST, as the Standard Webhooks specification says.
    pub webhook: Option<WebhookTable>,
    /// Phones that are told over ntfy.
    pub ntfy: Option<NtfyTable>,
}

/// `webhook` of `[notify]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTable {
    /// Where to.
    pub url: String,
    /// What signs: `whsec_` and 24 to 64 random bytes in base64.
    pub secret: FromEnv,
}

/// `ntfy` of `[notify]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NtfyTable {
    /// The topic's address. On a public server whoever knows it reads along.
    pub url: String,
    /// An access token, where the topic needs one.
    #[serde(default)]
    pub token: Option<FromEnv>,
}

/// A secret, which is never written here: `{ env = "NAME" }` names the variable that holds it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FromEnv {
    /// The variable's name.
    pub env: String,
}

/// The JSON Schema of `holdpoint.toml`, for editors.
#[must_use]
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(FileConfig)).unwrap_or_default();
    text.push('\n');
    text
}
