//! Marketplaces: where they are, and what their list says of each plugin.

use std::collections::BTreeMap;

use holdpoint_model::{problem::Problem, tree::Tree};
use serde_json::{Map, Value};

use crate::{
    names::near_text,
    revision::commit,
    source::{Source, inside},
};

/// Where the list is, in a marketplace.
pub(crate) const MANIFEST: &str = ".claude-plugin/marketplace.json";

/// The marketplace that the CLI knows without being told.
const OFFICIAL: (&str, &str) = ("claude-plugins-official", "anthropics/claude-plugins-official");

/// A plugin that the settings enable.
#[derive(Clone, Debug)]
pub struct WantedPlugin {
    /// Its name in the marketplace.
    pub plugin: String,
    /// What the settings call the marketplace.
    pub marketplace: String,
    /// Where the marketplace is.
    pub from: MarketplaceFrom,
    /// Where it is enabled: `project: .claude/settings.json:12`.
    pub said_by: String,
}

/// Where a marketplace is.
#[derive(Clone, Debug)]
pub enum MarketplaceFrom {
    /// A repository or a folder.
    Source {
        /// Which.
        source: Source,
        /// The path of its list, if it is elsewhere than usual.
        manifest: Option<String>,
    },
    /// A folder of the configuration repository that names it.
    Given {
        /// What is in it.
        files: Tree,
    },
}

impl PartialEq for WantedPlugin {
    fn eq(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.plugin.clone(), it.marketplace.clone(), it.said_by.clone());
        key(self) == key(other) && self.from == other.from
    }
}

impl Eq for WantedPlugin {}

impl PartialEq for MarketplaceFrom {
    /// Whether it is the same place; a token is not asked for.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Source { source: a, manifest: x }, Self::Source { source: b, manifest: y }) => {
                a.to_string() == b.to_string() && x == y
            }
            (Self::Given { files: a }, Self::Given { files: b }) => a == b,
            _ => false,
        }
    }
}

impl Eq for MarketplaceFrom {}

/// Where the files of a plugin are.
#[derive(Clone, Debug)]
pub(crate) enum PluginFrom {
    /// In the marketplace: a folder of it, or all of it.
    Within(Option<String>),
    /// Elsewhere.
    Own(Source),
}

/// What the list says of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) from: PluginFrom,
    /// All but where it is: some plugins have no `plugin.json`, and are what their marketplace says they are.
    pub(crate) says: Map<String, Value>,
}

/// A marketplace's list.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    of: String,
    plugins: BTreeMap<String, Map<String, Value>>,
    plugin_root: Option<String>,
}

impl Manifest {
    pub(crate) fn parse(marketplace: &str, path: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let what = format!("failed to read the marketplace {marketplace:?}");
        let wrong =
            |why: String| Problem::new(&what, format!("{path}: {why}")).next("claude plugin validate FOLDER");
        let all: Value = serde_json::from_slice(bytes).map_err(|error| {
            wrong(format!("line {}, column {}: it is no JSON: {error}", error.line(), error.column()))
        })?;
        let list = all.get("plugins").and_then(Value::as_array);
        let list = list.ok_or_else(|| wrong("it has no list `plugins`".into()))?;
        let named = list.iter().filter_map(|entry| {
            let entry = entry.as_object()?;
            Some((entry.get("name")?.as_str()?.to_owned(), entry.clone()))
        });
        let plugin_root = match all.get("metadata").and_then(|metadata| metadata.get("pluginRoot")) {
            Some(Value::String(root)) => {
                inside(root).ok_or_else(|| wrong(format!("its `pluginRoot` {root:?} leads out of it")))?
            }
            _ => None,
        };
        Ok(Self { of: marketplace.to_owned(), plugins: named.collect(), plugin_root })
    }

    /// What it says of a plugin.
    pub(crate) fn entry(&self, plugin: &str, said_by: &str) -> Result<Entry, Problem> {
        let of = &self.of;
        let what = format!("failed to use the plugin \"{plugin}@{of}\"");
        let Some(says) = self.plugins.get(plugin) else {
            let near = near_text(plugin, self.plugins.keys().map(String::as_str));
            return Err(Problem::new(what, format!("{said_by}: the marketplace has no such plugin; {near}")));
        };
        let from = self.from(says.get("source").unwrap_or(&Value::Null));
        let from = from.map_err(|why| Problem::new(what, format!("in the list of {of}: {why}")))?;
        let mut says = says.clone();
        says.remove("source");
        Ok(Entry { from, says })
    }

    fn from(&self, source: &Value) -> Result<PluginFrom, String> {
        if let Value::String(path) = source {
            let bare = !path.starts_with('.') && !path.contains('/');
            let folder =
                inside(path).ok_or_else(|| format!("its folder {path:?} leads out of the marketplace"))?;
            return Ok(PluginFrom::Within(match (&self.plugin_root, folder) {
                (Some(root), Some(folder)) if bare => Some(format!("{root}/{folder}")),
                (_, folder) => folder,
            }));
        }
        let text = |key: &str| source.get(key).and_then(Value::as_str).map(str::to_owned);
        let need = |key: &str| text(key).ok_or_else(|| format!("`{key}` is missing in its `source`"));
        let at = match text("sha") {
            Some(sha) => Some(commit(&sha).ok_or_else(|| format!("its `sha` {sha:?} is no whole commit"))?),
            None => text("ref"),
        };
        let folder = match text("path") {
            Some(path) => {
                inside(&path).ok_or_else(|| format!("its `path` {path:?} leads out of the repository"))?
            }
            None => None,
        };
        let url = match text("source").as_deref() {
            Some("github") => github(&need("repo")?)?,
            Some("url" | "git") => need("url")?,
            Some("git-subdir") => {
                folder.as_ref().ok_or("`path` is missing in its `source`")?;
                let url = need("url")?;
                github(&url).unwrap_or(url)
            }
            Some(kind) => {
                return Err(format!(
                    "a plugin by `{kind}` cannot be pinned to a commit; only folders of the marketplace, `github`, `url` \
                     and `git-subdir` are taken"
                ));
            }
            None => return Err("its `source` does not say where it is".to_owned()),
        };
        Ok(PluginFrom::Own(Source::git(url).at(at).within(folder)))
    }
}

/// The address of a repository of GitHub. By HTTPS: who has keys instead has git say so
/// (`url.git@github.com:.insteadOf`).
pub(crate) fn github(repository: &str) -> Result<String, String> {
    match repository.trim_end_matches(".git").split_once('/') {
        Some((owner, name)) if is_name(owner) && is_name(name) => {
            Ok(format!("https://github.com/{owner}/{name}.git"))
        }
        _ => Err(format!("{repository:?} is not `OWNER/REPOSITORY`")),
    }
}

/// The marketplace of that name that the CLI knows by itself.
pub(crate) fn official(name: &str) -> Option<MarketplaceFrom> {
    let (official, repository) = OFFICIAL;
    let source = || Source::git(format!("https://github.com/{repository}.git"));
    (name == official).then(|| MarketplaceFrom::Source { source: source(), manifest: None })
}

/// Whether it can be the name of a plugin or a marketplace: a folder has it in the image.
pub(crate) fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.len() <= 100
        && !name.contains("..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: &str, root: Option<&str>) -> Result<Entry, Problem> {
        let metadata =
            root.map(|root| format!(r#""metadata": {{"pluginRoot": "{root}"}},"#)).unwrap_or_default();
        let text =
            format!(r#"{{{metadata} "plugins": [{{"name": "x", "strict": false, "source": {source}}}]}}"#);
        Manifest::parse("m", MANIFEST, text.as_bytes())?.entry("x", "project: .claude/settings.json:3")
    }

    #[test]
    fn every_kind_of_plugin_is_found() {
        for (source, root, is) in [
            (r#""./plugins/x""#, None, "in plugins/x"),
            (r#""./""#, None, "in all"),
            (r#"".""#, None, "in all"),
            (r#""x""#, Some("./plugins"), "in plugins/x"),
            (r#""./x""#, Some("./plugins"), "in x"),
            (r#""x""#, None, "in x"),
            (r#"{"source": "github", "repo": "a/b", "ref": "v1"}"#, None, "https://github.com/a/b.git#v1"),
            (r#"{"source": "url", "url": "git@h:a.git"}"#, None, "git@h:a.git"),
            (
                r#"{"source": "git-subdir", "url": "a/b", "path": "./c/d"}"#,
                None,
                "https://github.com/a/b.git (c/d)",
            ),
            (
                r#"{"source": "git-subdir", "url": "https://h/a", "path": "c", "ref": "v1", "sha": "0123456789012345678901234567890123456789"}"#,
                None,
                "https://h/a#0123456789012345678901234567890123456789 (c)",
            ),
        ] {
            let entry = entry(source, root).expect(source);
            let shown = match &entry.from {
                PluginFrom::Within(folder) => format!("in {}", folder.as_deref().unwrap_or("all")),
                PluginFrom::Own(source) => source.to_string(),
            };
            assert_eq!(shown, is, "{source}");
            assert_eq!(entry.says.get("strict"), Some(&Value::Bool(false)));
            assert!(!entry.says.contains_key("source"));
        }
    }

    #[test]
    fn what_cannot_be_pinned_or_leads_out_is_refused() {
        for source in [
            "null",
            r#""../x""#,
            r#""/etc""#,
            r#"{"source": "npm", "package": "x"}"#,
            r#"{"source": "command", "command": "id"}"#,
            r#"{"source": "archive", "url": "https://h/x.zip"}"#,
            r#"{"source": "github"}"#,
            r#"{"source": "github", "repo": "../x"}"#,
            r#"{"source": "url", "url": "https://h/a", "sha": "abc"}"#,
            r#"{"source": "git-subdir", "url": "https://h/a"}"#,
            r#"{"source": "git-subdir", "url": "https://h/a", "path": "../x"}"#,
        ] {
            assert!(entry(source, None).is_err(), "{source}");
        }
        assert!(entry(r#""x""#, Some("../out")).is_err());
        assert!(Manifest::parse("m", MANIFEST, b"{").expect_err("no JSON").why.contains("line 1, column 1"));
        let list =
            Manifest::parse("m", MANIFEST, br#"{"plugins": [{"name": "reviewer"}, 3]}"#).expect("fits");
        assert!(list.entry("reviwer", "s").expect_err("none").why.contains("there are: reviewer"));
    }

    #[test]
    fn names_are_folders() {
        for good in ["a", "a-b_c.d", "1x", "_x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".a", "-a", "a/b", "a b", "a..b", "a@b", "ä"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
