//! What a deployment is made of, by digest and commit: `holdpoint.lock`.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{AgentDef, Digest, Policy};

/// The version of the file's own form.
pub const LOCK_VERSION: u32 = 1;

/// What a release is made of. All that decides what an image holds and how agents behave is in it; two releases with
/// the same inputs are the same release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// [`LOCK_VERSION`].
    pub version: u32,
    /// Holdpoint's version.
    pub holdpoint: String,
    /// The Claude CLI's version.
    pub claude_cli: String,
    /// Everything in the configuration that says what agents are and do, but for their policies.
    pub settings: Digest,
    /// The policies of all agents.
    pub policy: Digest,
    /// The base image's id in the engine, where sessions run in containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The merged dependencies, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Digest>,
    /// The `.claude` folders of both repositories, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Digest>,
    /// The image that was built of it; None where sessions run in the base image, or as processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageLock>,
    /// Repositories, by what they are: `master`, `project`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, SourceLock>,
    /// Marketplaces and their plugins, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginLock>,
}

/// A configuration repository at a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceLock {
    /// Where it is: a git address without a secret, or a folder.
    pub from: String,
    /// The branch or tag that was asked for, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The folder within it, where not all of it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The commit; for a folder of this machine the digest of its files.
    pub revision: String,
}

/// A plugin at a commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginLock {
    /// The marketplace's name.
    pub marketplace: String,
    /// The plugin's name in it; None for the marketplace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Where it is: a git address without a secret, or a folder.
    pub from: String,
    /// The commit; for a folder of this machine the digest of its files.
    pub revision: String,
}

/// The image that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageLock {
    /// Its id in the engine: the digest of its configuration, which names the layers.
    pub id: String,
    /// Where it was pushed to, with the digest of the manifest as the registry serves it; None where it stayed here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// How much has to be done when something has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Nothing.
    Nothing,
    /// New conversations take the new settings; the image stays.
    Reload,
    /// The image's last layer is made anew: settings and plugins.
    Redeploy,
    /// Dependencies are installed anew.
    Rebuild,
}

impl Effort {
    /// The name as shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Reload => "reload",
            Self::Redeploy => "redeploy",
            Self::Rebuild => "rebuild",
        }
    }
}

/// Something that differs between two locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What: `project`, `policy`, `plugin review@tools`.
    pub what: String,
    /// What it was; None where there was none.
    pub from: Option<String>,
    /// What it is; None where there is none any more.
    pub to: Option<String>,
    /// What that asks for.
    pub effort: Effort,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{what}: {} → {}", short(from), short(to)),
            (None, Some(to)) => write!(f, "{what}: {} (new)", short(to)),
            (Some(from), None) => write!(f, "{what}: {} (gone)", short(from)),
            (None, None) => f.write_str(what),
        }
    }
}

/// Digits of a digest or commit that people see.
const SHORT: usize = 12;

/// A digest, commit or image reference as people read it; anything else stays whole.
#[must_use]
pub fn short(text: &str) -> String {
    let (head, digits) = match text.rsplit_once("sha256:") {
        Some((head, digits)) => (head, digits),
        None => ("", text),
    };
    let is_digest = digits.len() >= 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { format!("{head}{}", &digits[..SHORT]) } else { text.to_owned() }
}

/// The digest of what agents are and do, but for their policies.
#[must_use]
pub fn settings_digest(agents: &BTreeMap<String, AgentDef>) -> Digest {
    let without = |agent: &AgentDef| AgentDef { policy: Policy::default(), ..agent.clone() };
    let agents: BTreeMap<_, _> = agents.iter().map(|(name, agent)| (name, without(agent))).collect();
    digest_of(&agents)
}

/// The digest of the policies of all agents.
#[must_use]
pub fn policy_digest(agents: &BTreeMap<String, AgentDef>) -> Digest {
    let policies: BTreeMap<_, _> = agents.iter().map(|(name, agent)| (name, &agent.policy)).collect();
    digest_of(&policies)
}

fn digest_of(value: &impl Serialize) -> Digest {
    // Plain data can be written; should it not, nothing would be equal to anything.
    let value = serde_json::to_value(value);
    Digest::of(&value.unwrap_or_else(|error| json!({"unserializable": error.to_string()})))
}

impl PluginLock {
    /// As people read it: `plugin review@tools`, `marketplace tools`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("plugin {plugin}@{}", self.marketplace),
            None => format!("marketplace {}", self.marketplace),
        }
    }
}

impl Lock {
    /// The digest of what goes in: everything but the image that comes out.
    #[must_use]
    pub fn inputs(&self) -> Digest {
        Self { image: None, ..self.clone() }.digest()
    }

    /// The digest of all of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_of(self)
    }

    /// Whether these agents are what it was made of.
    #[must_use]
    pub fn is_of(&self, agents: &BTreeMap<String, AgentDef>) -> bool {
        self.settings == settings_digest(agents) && self.policy == policy_digest(agents)
    }

    /// Whether an image of its own is built of it.
    #[must_use]
    pub fn needs_image(&self) -> bool {
        self.dependencies.is_some()
            || self.configuration.is_some()
            || self.plugins.iter().any(|it| it.plugin.is_some())
    }

    /// What differs from an earlier one, the most work first. The image is what comes of the rest, and is left out.
    #[must_use]
    pub fn changes_from(&self, earlier: Option<&Self>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut note = |what: String, from: Option<String>, to: Option<String>, effort| {
            if from != to {
                changes.push(Change { what, from, to, effort });
            }
        };
        let of = |take: fn(&Self) -> Option<String>| (earlier.and_then(take), take(self));
        let digest = |digest: &Option<Digest>| digest.as_ref().map(Digest::to_string);
        let image = if self.needs_image() { Effort::Rebuild } else { Effort::Reload };
        let (from, to) = of(|lock| Some(lock.holdpoint.clone()));
        note("Holdpoint".into(), from, to, image);
        let (from, to) = of(|lock| Some(lock.claude_cli.clone()));
        note("Claude CLI".into(), from, to, image);
        let (from, to) = of(|lock| lock.base.clone());
        note("base image".into(), from, to, image);
        let before = earlier.and_then(|lock| digest(&lock.dependencies));
        note("dependencies".into(), before, digest(&self.dependencies), Effort::Rebuild);
        let before = earlier.and_then(|lock| digest(&lock.configuration));
        note("configuration".into(), before, digest(&self.configuration), Effort::Redeploy);
        let none = BTreeMap::new();
        let sources = earlier.map_or(&none, |lock| &lock.sources);
        for name in sources.keys().chain(self.sources.keys().filter(|name| !sources.contains_key(*name))) {
            let (before, now) = (sources.get(name), self.sources.get(name));
            let moved = before.zip(now).is_none_or(|(before, now)| !before.is_same_place(now));
            let at = |source: &SourceLock| if moved { source.at() } else { source.revision.clone() };
            // A commit that changes nothing in what is taken of it is a new lock, and no new image.
            note(name.clone(), before.map(at), now.map(at), Effort::Reload);
        }
        let plugins = earlier.map_or(&[][..], |lock| &lock.plugins);
        let at = |list: &[PluginLock], title: &str| {
            list.iter().find(|plugin| plugin.title() == title).map(|plugin| plugin.revision.clone())
        };
        let mut titles: Vec<(String, bool)> = plugins
            .iter()
            .chain(&self.plugins)
            .map(|plugin| (plugin.title(), plugin.plugin.is_some()))
            .collect();
        titles.sort();
        titles.dedup();
        for (title, is_plugin) in titles {
            let effort = if is_plugin { Effort::Redeploy } else { Effort::Reload };
            let (from, to) = (at(plugins, &title), at(&self.plugins, &title));
            note(title, from, to, effort);
        }
        let (from, to) = of(|lock| Some(lock.settings.to_string()));
        note("agents".into(), from, to, Effort::Reload);
        let (from, to) = of(|lock| Some(lock.policy.to_string()));
        note("policy".into(), from, to, Effort::Reload);
        changes.sort_by_key(|change| std::cmp::Reverse(change.effort));
        changes
    }
}

impl SourceLock {
    fn is_same_place(&self, other: &Self) -> bool {
        (&self.from, &self.reference, &self.folder) == (&other.from, &other.reference, &other.folder)
    }

    /// Where it is, with what of it is meant: `ADDRESS#REF/FOLDER`.
    #[must_use]
    pub fn place(&self) -> String {
        let reference = self.reference.as_deref().map(|it| format!("#{it}")).unwrap_or_default();
        let folder = self.folder.as_deref().map(|it| format!("/{it}")).unwrap_or_default();
        format!("{}{reference}{folder}", self.from)
    }

    /// Its revision, with where that is.
    fn at(&self) -> String {
        format!("{} {}", self.place(), short(&self.revision))
    }
}

/// How much the changes ask for all together.
#[must_use]
pub fn effort(changes: &[Change]) -> Effort {
    changes.iter().map(|change| change.effort).max().unwrap_or(Effort::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        Lock {
            version: LOCK_VERSION,
            holdpoint: "0.1.0".into(),
            claude_cli: "2.1.330".into(),
            settings: Digest::of_bytes(b"settings"),
            policy: Digest::of_bytes(b"policy"),
            base: Some(format!("sha256:{}", "b".repeat(64))),
            dependencies: Some(Digest::of_bytes(b"deps")),
            configuration: Some(Digest::of_bytes(b"conf")),
            image: Some(ImageLock { id: format!("sha256:{}", "a".repeat(64)), reference: None }),
            sources: BTreeMap::from([(
                "project".into(),
                SourceLock {
                    from: "https://git.example.org/project".into(),
                    reference: Some("main".into()),
                    folder: None,
                    revision: "1".repeat(40),
                },
            )]),
            plugins: vec![PluginLock {
                marketplace: "tools".into(),
                plugin: Some("review".into()),
                from: "https://git.example.org/tools".into(),
                revision: "2".repeat(40),
            }],
        }
    }

    #[test]
    fn what_changed_says_how_much_is_to_do() {
        type Case = (&'static str, fn(&mut Lock), &'static str, Effort);
        let table: [Case; 10] = [
            ("nothing", |_| {}, "", Effort::Nothing),
            ("image", |lock| lock.image = None, "", Effort::Nothing),
            ("policy", |lock| lock.policy = Digest::of_bytes(b"x"), "policy", Effort::Reload),
            ("settings", |lock| lock.settings = Digest::of_bytes(b"x"), "agents", Effort::Reload),
            ("configuration", |lock| lock.configuration = None, "configuration", Effort::Redeploy),
            ("plugin", |lock| lock.plugins.clear(), "plugin review@tools", Effort::Redeploy),
            ("dependencies", |lock| lock.dependencies = None, "dependencies", Effort::Rebuild),
            ("cli", |lock| lock.claude_cli = "3".into(), "Claude CLI", Effort::Rebuild),
            ("base", |lock| lock.base = None, "base image", Effort::Rebuild),
            (
                "commit",
                |lock| lock.sources.values_mut().for_each(|source| source.revision = "3".repeat(40)),
                "project",
                Effort::Reload,
            ),
        ];
        for (name, change, what, expected) in table {
            let mut new = lock();
            change(&mut new);
            let changes = new.changes_from(Some(&lock()));
            assert_eq!(effort(&changes), expected, "{name}: {changes:?}");
            assert_eq!(changes.first().map_or("", |change| &change.what), what, "{name}");
            assert_eq!(changes.is_empty(), new.inputs() == lock().inputs(), "{name}");
        }
        assert_eq!(effort(&lock().changes_from(None)), Effort::Rebuild, "the first one");
    }

    #[test]
    fn a_file_reads_back_and_people_see_short_digests() {
        let text = serde_json::to_string(&lock()).expect("json");
        assert_eq!(serde_json::from_str::<Lock>(&text).expect("lock"), lock());
        assert_eq!(short(&"a".repeat(40)), "a".repeat(12));
        assert_eq!(
            short(&format!("r.example.org/a@sha256:{}", "c".repeat(64))),
            format!("r.example.org/a@{}", "c".repeat(12))
        );
        assert_eq!(short("2.1.330"), "2.1.330");
    }
}
