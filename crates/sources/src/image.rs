//! The files by which the CLI finds its plugins in the image, offline.
//!
//! A marketplace of `source: directory` is used where it lies: the CLI neither copies nor fetches it, and it is there at
//! the first start already (seen with 2.1.330). It counts only in the user's settings: a project's are not trusted with
//! that. So each marketplace becomes a folder with a list of just the plugins that are wanted, all of them in it.

use std::collections::BTreeMap;

use holdpoint_model::{
    problem::Problem,
    tree::{Tree, TreeFile},
};
use serde_json::{Map, Value, json};

use crate::{configuration::Configuration, marketplace::MANIFEST, plugins::Plugin};

/// Where the settings are in `.claude`.
const SETTINGS: &str = "settings.json";
/// What the settings say of marketplaces and plugins.
const KEYS: [&str; 2] = ["extraKnownMarketplaces", "enabledPlugins"];
/// Plugins that come with the CLI.
const BUILT_IN: &str = "@builtin";

/// What the CLI lets nobody but their owner's repositories be called, beside all that has the owner's names in it.
const RESERVED: &[&str] = &[
    "agent-skills",
    "life-sciences",
    "knowledge-work-plugins",
    "financial-services-plugins",
    "first-party-plugins",
    "builtin",
    "inline",
    "skills-dir",
    "synced",
];

/// What a marketplace is called in the image: some names the CLI takes only from GitHub.
#[must_use]
pub fn marketplace_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let reserved =
        RESERVED.contains(&lower.as_str()) || lower.contains("claude") || lower.contains("anthropic");
    if reserved { format!("pinned.{name}") } else { name.to_owned() }
}

/// The marketplaces with their plugins, to be put below `/app/plugins`: of each `NAME/.claude-plugin/marketplace.json`
/// and `NAME/plugins/PLUGIN/…`.
///
/// # Errors
/// If a plugin has a path that fits nowhere.
pub fn marketplace_trees(plugins: &[Plugin]) -> Result<Tree, Problem> {
    let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut tree = Tree::default();
    let mut put = |path: &str, file: TreeFile| {
        tree.insert(path, file)
            .map_err(|error| Problem::new("failed to make the folder of the plugins", error))
    };
    for plugin in plugins {
        let marketplace = marketplace_name(&plugin.marketplace);
        let folder = format!("plugins/{}", plugin.plugin);
        for (path, file) in plugin.tree.iter() {
            put(&format!("{marketplace}/{folder}/{path}"), file.clone())?;
        }
        let mut entry = plugin.entry.clone();
        entry.insert("name".into(), plugin.plugin.clone().into());
        entry.insert("source".into(), format!("./{folder}").into());
        lists.entry(marketplace).or_default().push(Value::Object(entry));
    }
    for (name, mut plugins) in lists {
        plugins.sort_by_key(|plugin| plugin["name"].as_str().map(str::to_owned));
        let list = json!({"name": name, "owner": {"name": "holdpoint"}, "plugins": plugins});
        put(&format!("{name}/{MANIFEST}"), text(&list)?)?;
    }
    Ok(tree)
}

/// The configuration as it is in the image: the user's settings name the marketplaces in `folder` (`/app/plugins`) and
/// enable the plugins, the project's no longer name any. All else stays as it is.
///
/// # Errors
/// If settings cannot be read, which [`configuration`](crate::configuration()) has found out before.
pub fn settled(
    configuration: &Configuration,
    plugins: &[Plugin],
    folder: &str,
) -> Result<Configuration, Problem> {
    let mut settled = configuration.clone();
    let mut user = settings(&configuration.user_claude)?;
    let mut project = settings(&configuration.project_claude)?;
    let mut enabled = Map::new();
    for settings in [&mut user, &mut project].into_iter().flatten() {
        if let Some(Value::Object(map)) = settings.get("enabledPlugins") {
            let built_in = map.iter().filter(|(name, _)| name.ends_with(BUILT_IN));
            enabled.extend(built_in.map(|(name, value)| (name.clone(), value.clone())));
        }
        for key in KEYS {
            settings.remove(key);
        }
    }
    let mut known = Map::new();
    for plugin in plugins {
        let name = marketplace_name(&plugin.marketplace);
        enabled.insert(format!("{}@{name}", plugin.plugin), true.into());
        known.insert(
            name.clone(),
            json!({"source": {"source": "directory", "path": format!("{folder}/{name}")}}),
        );
    }
    let mut user = user.unwrap_or_default();
    for (key, map) in [(KEYS[0], known), (KEYS[1], enabled)] {
        if !map.is_empty() {
            user.insert(key.to_owned(), Value::Object(map));
        }
    }
    let had_one = configuration.user_claude.get(SETTINGS).is_some();
    if had_one || !user.is_empty() {
        write(&mut settled.user_claude, user)?;
    }
    if let Some(project) = project {
        write(&mut settled.project_claude, project)?;
    }
    Ok(settled)
}

fn settings(claude: &Tree) -> Result<Option<Map<String, Value>>, Problem> {
    let Some(file) = claude.get(SETTINGS) else { return Ok(None) };
    let bytes = file.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&file.bytes);
    let settings = serde_json::from_slice(bytes);
    settings.map(Some).map_err(|error| Problem::new("failed to read settings.json", error))
}

fn write(claude: &mut Tree, settings: Map<String, Value>) -> Result<(), Problem> {
    let inserted = claude.insert(SETTINGS, text(&Value::Object(settings))?);
    inserted.map_err(|error| Problem::new("failed to write settings.json", error))
}

fn text(value: &Value) -> Result<TreeFile, Problem> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Problem::new("failed to write JSON", error))?;
    Ok(TreeFile { bytes: (text + "\n").into_bytes(), executable: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            let file = TreeFile { bytes: text.as_bytes().to_vec(), executable: path.ends_with(".sh") };
            tree.insert(path, file).expect("fits");
        }
        tree
    }

    fn plugin(marketplace: &str, name: &str) -> Plugin {
        Plugin {
            marketplace: marketplace.into(),
            plugin: name.into(),
            revision: Revision::Commit("a".repeat(40)),
            tree: tree(&[("commands/hi.md", "hi"), ("run.sh", "#!")]),
            entry: json!({"name": "other", "strict": false}).as_object().expect("object").clone(),
        }
    }

    fn value(tree: &Tree, path: &str) -> Value {
        serde_json::from_slice(&tree.get(path).expect(path).bytes).expect("json")
    }

    #[test]
    fn every_marketplace_lists_what_is_in_it() {
        let plugins = [plugin("m", "b"), plugin("m", "a"), plugin("claude-plugins-official", "a")];
        let tree = marketplace_trees(&plugins).expect("fits");
        let list = value(&tree, "m/.claude-plugin/marketplace.json");
        assert_eq!(list["plugins"][0], json!({"name": "a", "source": "./plugins/a", "strict": false}));
        assert_eq!(list["plugins"][1]["name"], "b");
        assert!(tree.get("m/plugins/b/run.sh").expect("there").executable);
        let other = value(&tree, "pinned.claude-plugins-official/.claude-plugin/marketplace.json");
        assert_eq!(other["name"], "pinned.claude-plugins-official");
    }

    #[test]
    fn the_users_settings_say_it_and_the_projects_do_not() {
        let user = r#"{"model": "opus", "enabledPlugins": {"x@m": true, "k@builtin": false}}"#;
        let project =
            r#"{"extraKnownMarketplaces": {"m": {}}, "env": {"A": "b"}, "enabledPlugins": {"a@m": true}}"#;
        let configuration = Configuration {
            user_claude: tree(&[("settings.json", user), ("CLAUDE.md", "x")]),
            project_claude: tree(&[("settings.json", project)]),
            ..Configuration::default()
        };
        let settled = settled(&configuration, &[plugin("m", "a")], "/app/plugins").expect("fits");
        assert_eq!(
            value(&settled.user_claude, "settings.json"),
            json!({
                "model": "opus",
                "extraKnownMarketplaces": {"m": {"source": {"source": "directory", "path": "/app/plugins/m"}}},
                "enabledPlugins": {"a@m": true, "k@builtin": false},
            })
        );
        assert_eq!(value(&settled.project_claude, "settings.json"), json!({"env": {"A": "b"}}));
        assert!(settled.user_claude.get("CLAUDE.md").is_some());
    }

    #[test]
    fn without_settings_and_plugins_none_are_made() {
        let none = settled(&Configuration::default(), &[], "/app/plugins").expect("fits");
        assert_eq!(none, Configuration::default());
        let one = settled(&Configuration::default(), &[plugin("m", "a")], "/app/plugins").expect("fits");
        assert!(one.user_claude.get("settings.json").is_some() && one.project_claude.is_empty());
    }
}
