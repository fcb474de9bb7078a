//! What goes into an image, of the files of master and project.

use std::collections::BTreeMap;

use holdpoint_model::{
    problem::Problem,
    tree::{Tree, TreeFile},
};
use serde_json::Value;

use crate::{
    marketplace::{MarketplaceFrom, WantedPlugin, is_name, official},
    secrets,
    settings::{self, SETTINGS, Settings, place},
    source::{Location, Source, inside},
    tree::shown,
};

/// The folder of Claude's configuration in a repository.
const CLAUDE: &str = ".claude";
/// The folder of lists of dependencies.
const DEPENDENCIES: &str = "dependencies";

/// The largest file that is looked through for secrets, in bytes; larger ones are pictures and the like.
const MAX_LOOKED_THROUGH: usize = 512 * 1024;

/// What the CLI keeps for one person or one machine, which no image is to have.
const PERSONAL: &[&str] =
    &["settings.local.json", "plugins", "projects", "todos", "statsig", "shell-snapshots", "debug"];

/// Marketplaces that come with the CLI.
const BUILT_IN: &str = "builtin";

/// What an image is configured by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Master's `.claude`: `/app/template_user/.claude` of the image.
    pub user_claude: Tree,
    /// The project's `.claude`: `/app/.claude` of the image.
    pub project_claude: Tree,
    /// The lists of dependencies, master's before the project's.
    pub dependencies: Vec<Dependencies>,
    /// The plugins that are enabled, by marketplace and name.
    pub plugins: Vec<WantedPlugin>,
    /// What whoever builds should know.
    pub notes: Vec<String>,
}

/// A repository's lists of dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// `master` or `project`.
    pub repository: &'static str,
    /// The files below `dependencies/`, by their paths in the repository.
    pub files: Tree,
}

/// Reads what master and project say. Where both say something of the same marketplace or plugin, the project is right.
///
/// # Errors
/// All that is wrong, by file and line where there is one.
pub fn configuration(master: Option<&Tree>, project: Option<&Tree>) -> Result<Configuration, Vec<Problem>> {
    let mut configuration = Configuration::default();
    let mut problems = Vec::new();
    let mut said = Said::default();
    for (name, tree) in [("master", master), ("project", project)] {
        let Some(tree) = tree else { continue };
        let claude = claude(name, tree, &mut configuration.notes, &mut problems);
        match tree.get(SETTINGS).map(|file| settings::read(name, &file.bytes)) {
            None => {}
            Some(Ok(settings)) => said.take(name, tree, settings, &mut configuration.notes, &mut problems),
            Some(Err(wrong)) => problems.extend(wrong),
        }
        let dependencies = dependencies(tree);
        if claude.is_empty() && dependencies.is_empty() {
            configuration.notes.push(format!(
                "{name}: it has neither `.claude/` nor `dependencies/`: is it the right folder?"
            ));
        }
        if tree.get(".mcp.json").is_some() {
            let note = "`.mcp.json` is not taken: name its servers in the agent's own settings";
            configuration.notes.push(format!("{name}: {note}"));
        }
        configuration.dependencies.push(Dependencies { repository: name, files: dependencies });
        match name {
            "master" => configuration.user_claude = claude,
            _ => configuration.project_claude = claude,
        }
    }
    configuration.plugins = said.wanted(&mut problems);
    if problems.is_empty() { Ok(configuration) } else { Err(problems) }
}

/// The `.claude` folder, without what is one person's.
fn claude(name: &str, tree: &Tree, notes: &mut Vec<String>, problems: &mut Vec<Problem>) -> Tree {
    let mut kept = Tree::default();
    for (path, file) in tree.below(CLAUDE) {
        let whole = format!("{CLAUDE}/{path}");
        if secrets::keeps_secrets(path) {
            problems.push(
                Problem::new(
                    format!("failed to take the configuration of {name}"),
                    format!("{name}: {whole}: programs keep secrets in files of that name"),
                )
                .next(format!("git rm --cached {whole}, and see what else has read it")),
            );
            continue;
        }
        let first = path.split('/').next().unwrap_or_default();
        if PERSONAL.contains(&first) {
            notes.push(format!("{name}: {} is left out: the CLI keeps it for one person", shown(&whole)));
            continue;
        }
        problems.extend(literal(name, &whole, file));
        // It was in a tree before.
        let _ = kept.insert(path, file.clone());
    }
    kept
}

fn literal(name: &str, path: &str, file: &TreeFile) -> Vec<Problem> {
    if file.bytes.len() > MAX_LOOKED_THROUGH {
        return Vec::new();
    }
    let Ok(text) = std::str::from_utf8(&file.bytes) else { return Vec::new() };
    let problem = |(line, kind): (usize, &str)| {
        let what = format!("failed to take the configuration of {name}");
        let why = format!(
            "{name}: {path}:{line}: there is {kind}, which everybody who may pull the image could read"
        );
        Problem::new(what, why)
            .next("take it out, and have whoever issued it make another: it is in the repository's history")
            .next("give it to the agent by reference: key = { env = \"NAME\" } in holdpoint.toml")
    };
    secrets::find(text).into_iter().map(problem).collect()
}

fn dependencies(tree: &Tree) -> Tree {
    let mut files = Tree::default();
    for (path, file) in tree.below(DEPENDENCIES) {
        // It was in a tree before.
        let _ = files.insert(&format!("{DEPENDENCIES}/{path}"), file.clone());
    }
    files
}

/// What the settings say of marketplaces and plugins, the later repository over the earlier.
#[derive(Default)]
struct Said {
    marketplaces: BTreeMap<String, MarketplaceFrom>,
    /// Marketplaces that are named and cannot be used: their plugins need no second complaint.
    unusable: Vec<String>,
    /// Whether each is wanted, and where that is said.
    plugins: BTreeMap<String, (bool, String)>,
}

impl Said {
    fn take(
        &mut self,
        name: &str,
        tree: &Tree,
        settings: Settings,
        notes: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) {
        for (marketplace, (value, line)) in settings.marketplaces {
            match marketplace_from(name, tree, &marketplace, &value, notes) {
                Ok(from) => drop(self.marketplaces.insert(marketplace, from)),
                Err(why) => {
                    let what = format!("failed to use the marketplace {marketplace:?}");
                    problems.push(Problem::new(what, format!("{}: {why}", place(name, line))));
                    self.unusable.push(marketplace);
                }
            }
        }
        for (plugin, (wanted, line)) in settings.plugins {
            self.plugins.insert(plugin, (wanted, place(name, line)));
        }
    }

    fn wanted(self, problems: &mut Vec<Problem>) -> Vec<WantedPlugin> {
        let mut all = Vec::new();
        for (key, (wanted, said_by)) in &self.plugins {
            if !wanted {
                continue;
            }
            let what = || format!("failed to use the plugin {key:?}");
            let named =
                key.rsplit_once('@').filter(|(plugin, marketplace)| is_name(plugin) && is_name(marketplace));
            let Some((plugin, marketplace)) = named else {
                let why = format!("{said_by}: its name is to be `plugin@marketplace`");
                problems.push(Problem::new(what(), why));
                continue;
            };
            if marketplace == BUILT_IN || self.unusable.iter().any(|it| it == marketplace) {
                continue;
            }
            let from = self.marketplaces.get(marketplace).cloned().or_else(|| official(marketplace));
            let Some(from) = from else {
                let names = self.marketplaces.keys().map(String::as_str);
                let near = crate::names::near_text(marketplace, names);
                let why =
                    format!("{said_by}: no settings say where the marketplace {marketplace:?} is; {near}");
                problems.push(Problem::new(what(), why).next(format!(
                    "\"extraKnownMarketplaces\": {{\"{marketplace}\": {{\"source\": {{\"source\": \"github\", \"repo\": \"OWNER/REPOSITORY\"}}}}}}"
                )));
                continue;
            };
            all.push(WantedPlugin {
                plugin: plugin.to_owned(),
                marketplace: marketplace.to_owned(),
                from,
                said_by: said_by.clone(),
            });
        }
        all.sort_by(|a, b| (&a.marketplace, &a.plugin).cmp(&(&b.marketplace, &b.plugin)));
        all
    }
}

/// Where a marketplace is, as the settings say it.
fn marketplace_from(
    name: &str,
    tree: &Tree,
    marketplace: &str,
    value: &Value,
    notes: &mut Vec<String>,
) -> Result<MarketplaceFrom, String> {
    if !is_name(marketplace) {
        return Err("its name is to be letters, digits, `.`, `_` and `-`".to_owned());
    }
    let source = value.get("source").unwrap_or(&Value::Null);
    let text = |key: &str| source.get(key).and_then(Value::as_str).map(str::to_owned);
    let need = |key: &str| text(key).ok_or_else(|| format!("`{key}` is missing in its `source`"));
    let remote = |url: String| {
        let source = Source::git(url).at(text("ref"));
        let manifest = text("path").map(|path| inside(&path).flatten().ok_or("its `path` leads out of it"));
        Ok(MarketplaceFrom::Source { source, manifest: manifest.transpose()? })
    };
    match text("source").as_deref() {
        Some("github") => remote(crate::marketplace::github(&need("repo")?)?),
        Some("git") => remote(need("url")?),
        Some(kind @ ("directory" | "file")) => {
            let path = need("path")?;
            if path.starts_with('/') {
                let folder = match kind {
                    "file" => path.strip_suffix("/.claude-plugin/marketplace.json").ok_or_else(|| {
                        "its `path` is to end with `/.claude-plugin/marketplace.json`".to_owned()
                    })?,
                    _ => &path,
                };
                notes.push(format!(
                    "{name}: the marketplace {marketplace} is a folder of this machine, {folder}"
                ));
                let source = Source {
                    from: Location::Folder(folder.into()),
                    reference: None,
                    folder: None,
                    token: None,
                };
                return Ok(MarketplaceFrom::Source { source, manifest: None });
            }
            let whole = inside(&path).ok_or("its `path` leads out of the repository")?;
            let folder = match (kind, whole.as_deref()) {
                ("file", path) => path
                    .and_then(|path| {
                        format!("/{path}").strip_suffix("/.claude-plugin/marketplace.json").map(str::to_owned)
                    })
                    .map(|folder| folder.trim_start_matches('/').to_owned())
                    .ok_or("its `path` is to end with `.claude-plugin/marketplace.json`")?,
                (_, path) => path.unwrap_or_default().to_owned(),
            };
            let files = if folder.is_empty() { tree.clone() } else { tree.folder(&folder) };
            if files.is_empty() {
                return Err(format!("its folder `{folder}` is not in the repository"));
            }
            Ok(MarketplaceFrom::Given { files })
        }
        Some(kind @ ("url" | "npm" | "settings" | "hostPattern" | "pathPattern")) => Err(format!(
            "a marketplace by `{kind}` cannot be pinned to a commit; use `github`, `git`, or a `directory` of the repository"
        )),
        Some(other) => {
            Err(format!("there is no kind of source {other:?}; use `github`, `git` or `directory`"))
        }
        None => Err(
            "its `source` does not say what it is: {\"source\": \"github\", \"repo\": \"OWNER/REPOSITORY\"}"
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            let file = TreeFile { bytes: text.as_bytes().to_vec(), executable: false };
            tree.insert(path, file).expect("fits");
        }
        tree
    }

    fn whys(problems: Vec<Problem>) -> Vec<String> {
        problems.into_iter().map(|problem| problem.why).collect()
    }

    const MARKET: &str =
        r#""extraKnownMarketplaces": {"m": {"source": {"source": "github", "repo": "a/b"}}}"#;

    #[test]
    fn the_project_is_right_over_master() {
        let master = format!(r#"{{{MARKET}, "enabledPlugins": {{"x@m": true, "y@m": true, "z@m": false}}}}"#);
        let project = r#"{"extraKnownMarketplaces": {"m": {"source": {"source": "git", "url": "git@h:a.git", "ref": "v1"}}},
            "enabledPlugins": {"y@m": false, "z@m": true}}"#;
        let master =
            tree(&[(SETTINGS, &master), (".claude/CLAUDE.md", "m"), ("dependencies/requirements.txt", "x")]);
        let project = tree(&[(SETTINGS, project), (".claude/skills/s/SKILL.md", "p")]);
        let found = configuration(Some(&master), Some(&project)).expect("fits");
        let names: Vec<_> =
            found.plugins.iter().map(|it| (it.plugin.as_str(), it.said_by.as_str())).collect();
        assert_eq!(
            names,
            [("x", "master: .claude/settings.json:1"), ("z", "project: .claude/settings.json:2")]
        );
        for plugin in &found.plugins {
            let MarketplaceFrom::Source { source, .. } = &plugin.from else { panic!("{plugin:?}") };
            assert_eq!(source.to_string(), "git@h:a.git#v1");
        }
        assert!(found.user_claude.get("CLAUDE.md").is_some());
        assert!(found.project_claude.get("skills/s/SKILL.md").is_some());
        assert!(found.dependencies[0].files.get("dependencies/requirements.txt").is_some());
        assert_eq!(found.notes, [""; 0]);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let master = tree(&[(SETTINGS, "{"), (".claude/.credentials.json", "{}")]);
        let key = format!("x\nsk-ant-api03-{}", "Ab1".repeat(10));
        let project = tree(&[
            (SETTINGS, "{\n\"enabledPlugins\": {\"x@none\": true,\n\"y\": true}}"),
            (".claude/CLAUDE.md", &key),
        ]);
        let problems = whys(configuration(Some(&master), Some(&project)).expect_err("wrong"));
        for part in [
            "master: .claude/settings.json:1:1: it is no JSON",
            "master: .claude/.credentials.json: programs keep secrets",
            "project: .claude/CLAUDE.md:2: there is an Anthropic key",
            "project: .claude/settings.json:2: no settings say where the marketplace \"none\" is",
            "project: .claude/settings.json:3: its name is to be `plugin@marketplace`",
        ] {
            assert!(problems.iter().any(|why| why.contains(part)), "{part} is missing in {problems:#?}");
        }
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(!problems.concat().contains("Ab1Ab1"));
    }

    #[test]
    fn every_kind_of_marketplace_is_taken_or_refused_with_its_line() {
        let of = |source: &str| {
            let settings = format!(
                "{{\"extraKnownMarketplaces\": {{\n\"m\": {{\"source\": {source}}}}},\n\"enabledPlugins\": {{\"x@m\": true}}}}"
            );
            let files = [(SETTINGS, settings.as_str()), ("market/.claude-plugin/marketplace.json", "{}")];
            configuration(None, Some(&tree(&files)))
        };
        for (source, shown) in [
            (r#"{"source": "github", "repo": "a/b", "ref": "v1"}"#, "https://github.com/a/b.git#v1"),
            (r#"{"source": "git", "url": "ssh://git@h/a"}"#, "ssh://git@h/a"),
            (r#"{"source": "directory", "path": "/srv/market"}"#, "/srv/market"),
            (r#"{"source": "file", "path": "/srv/market/.claude-plugin/marketplace.json"}"#, "/srv/market"),
        ] {
            let found = of(source).expect(source);
            let MarketplaceFrom::Source { source, .. } = &found.plugins[0].from else { panic!("{found:?}") };
            assert_eq!(source.to_string(), shown);
        }
        for source in [
            r#"{"source": "directory", "path": "./market"}"#,
            r#"{"source": "file", "path": "market/.claude-plugin/marketplace.json"}"#,
        ] {
            let found = of(source).expect(source);
            let MarketplaceFrom::Given { files } = &found.plugins[0].from else { panic!("{found:?}") };
            assert!(files.get(".claude-plugin/marketplace.json").is_some());
        }
        for source in [
            "null",
            r#"{"source": "url", "url": "https://h/marketplace.json"}"#,
            r#"{"source": "npm", "package": "x"}"#,
            r#"{"source": "new"}"#,
            r#"{"source": "github"}"#,
            r#"{"source": "github", "repo": "a/b/c"}"#,
            r#"{"source": "github", "repo": "-x/y"}"#,
            r#"{"source": "directory", "path": "../out"}"#,
            r#"{"source": "directory", "path": "./none"}"#,
        ] {
            let problems = whys(of(source).expect_err(source));
            assert_eq!(problems.len(), 1, "{source}: {problems:?}");
            assert!(problems[0].starts_with("project: .claude/settings.json:2: "), "{problems:?}");
        }
    }

    #[test]
    fn what_is_one_persons_is_left_out() {
        let project =
            tree(&[(".claude/settings.local.json", "{"), (".claude/plugins/x", ""), (".claude/a", "")]);
        let found = configuration(None, Some(&project)).expect("fits");
        assert_eq!(found.project_claude.len(), 1);
        assert_eq!(found.notes.len(), 2);
        let nothing = configuration(Some(&tree(&[("README.md", "")])), None).expect("fits");
        assert!(nothing.notes[0].contains("is it the right folder?"));
    }
}
