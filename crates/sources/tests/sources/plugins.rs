//! From two configuration repositories to the plugins that they want.

use std::time::Instant;

use holdpoint_model::tree::Tree;
use holdpoint_sources::{Configuration, Pin, Plugins, Source, Sources, configuration};

use crate::site::{Repository, Site};

pub(crate) struct World {
    pub(crate) site: Site,
    master: Repository,
    project: Repository,
    market: Repository,
    pub(crate) own: Repository,
    mono: Repository,
}

impl World {
    /// A marketplace "of GitHub" with plugins of every kind; the user's git settings say where GitHub is.
    pub(crate) fn new() -> Self {
        let site = Site::new();
        let base = format!("file://{}/", site.path("hub").display());
        site.add_to_gitconfig(&format!("[url \"{base}\"]\ninsteadOf = https://github.com/\n"));
        let own = site.repository("hub/acme/own.git");
        own.commit(&[
            (".claude-plugin/plugin.json", r#"{"name": "own", "version": "1.0.0"}"#),
            ("commands/own.md", "Say own"),
        ]);
        let mono = site.repository("hub/acme/mono.git");
        mono.commit(&[("tools/sub/commands/sub.md", "Say sub"), ("README.md", "x")]);
        let market = site.repository("hub/acme/market.git");
        let sha = mono.head();
        let list = format!(
            r#"{{"name": "market", "owner": {{"name": "acme"}}, "plugins": [
                {{"name": "inside", "source": "./plugins/inside", "description": "d"}},
                {{"name": "bare", "source": "./plugins/bare", "strict": false, "commands": ["./cmds/b.md"]}},
                {{"name": "own", "source": {{"source": "github", "repo": "acme/own"}}}},
                {{"name": "sub", "source": {{"source": "git-subdir", "url": "acme/mono", "path": "tools/sub", "sha": "{sha}"}}}},
                {{"name": "npm", "source": {{"source": "npm", "package": "x"}}}}]}}"#
        );
        market.commit(&[
            (".claude-plugin/marketplace.json", &list),
            ("plugins/inside/.claude-plugin/plugin.json", r#"{"name": "inside", "version": "1.0.0"}"#),
            ("plugins/inside/commands/hi.md", "Say hi"),
            ("plugins/bare/cmds/b.md", "Say b"),
        ]);
        let master = site.repository("master");
        master.commit(&[
            (".claude/CLAUDE.md", "Be kind."),
            (
                ".claude/settings.json",
                r#"{"extraKnownMarketplaces": {"market": {"source": {"source": "github", "repo": "acme/market"}}},
                    "enabledPlugins": {"inside@market": true, "bare@market": true, "own@market": true, "npm@market": true}}"#,
            ),
        ]);
        let project = site.repository("project");
        project.commit(&[
            (
                ".claude/settings.json",
                r#"{"extraKnownMarketplaces": {"local": {"source": {"source": "directory", "path": "./market"}}},
                    "enabledPlugins": {"sub@market": true, "npm@market": false, "here@local": true}}"#,
            ),
            ("market/.claude-plugin/marketplace.json", r#"{"name": "local", "plugins": [{"name": "here", "source": "./here"}]}"#),
            ("market/here/commands/here.md", "Say here"),
        ]);
        Self { site, master, project, market, own, mono }
    }

    async fn tree(&self, sources: &Sources, repository: &Repository) -> Tree {
        let source = Source::git(repository.url());
        let at = sources.look(&source).await.expect("there");
        sources.files(&source, &at).await.expect("fetched").tree
    }

    pub(crate) async fn configuration(&self, sources: &Sources) -> Configuration {
        let (master, project) =
            (self.tree(sources, &self.master).await, self.tree(sources, &self.project).await);
        configuration(Some(&master), Some(&project)).expect("fits")
    }
}

fn names(plugins: &Plugins) -> Vec<(&str, &str, String)> {
    plugins.plugins.iter().map(|it| (&*it.marketplace, &*it.plugin, it.revision.to_string())).collect()
}

#[tokio::test]
async fn plugins_of_every_kind_come_and_stay_where_they_are_pinned() {
    let world = World::new();
    let sources = world.site.sources();
    let wanted = world.configuration(&sources).await.plugins;
    let first = sources.plugins(&wanted, &[]).await.expect("fetched");
    let (market, own, mono) = (world.market.head(), world.own.head(), world.mono.head());
    let found = names(&first);
    for (marketplace, plugin, at) in [
        ("market", "bare", &market),
        ("market", "inside", &market),
        ("market", "own", &own),
        ("market", "sub", &mono),
    ] {
        assert!(found.contains(&(marketplace, plugin, at.to_string())), "{plugin}: {found:?}");
    }
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found[0].1, "here");
    let sub = first.plugins.iter().find(|it| it.plugin == "sub").expect("there");
    assert_eq!(sub.tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["commands/sub.md"]);

    // Nothing has changed: that is known without fetching, and soon.
    let start = Instant::now();
    let looked = sources.look_plugins(&wanted, &first.pins).await.expect("looked");
    println!("a look at the plugins of two repositories: {} ms", start.elapsed().as_millis());
    assert_eq!(looked, first.pins);
    let json = serde_json::to_string(&first.pins).expect("json");
    assert_eq!(serde_json::from_str::<Vec<Pin>>(&json).expect("back"), first.pins);

    // Both move on. What is pinned stays; without pins it is the newest.
    let own = world.own.commit(&[("commands/own.md", "Say more")]);
    let looked = sources.look_plugins(&wanted, &first.pins).await.expect("looked");
    assert_ne!(looked, first.pins);
    assert!(looked.iter().any(|pin| pin.revision == own));
    let market = world.market.commit(&[("plugins/inside/commands/hi.md", "Say hello")]);
    let looked = sources.look_plugins(&wanted, &first.pins).await.expect("looked");
    assert!(looked.iter().any(|pin| pin.plugin.is_none() && pin.revision == market));
    assert_eq!(sources.plugins(&wanted, &first.pins).await.expect("in the cache"), first);
    let second = sources.plugins(&wanted, &[]).await.expect("fetched");
    assert!(names(&second).contains(&("market", "own", own.to_string())));
    assert!(names(&second).contains(&("market", "inside", market.to_string())));
    assert!(names(&second).contains(&("market", "sub", mono.to_string())), "its commit stands in the list");
    assert_eq!(sources.look_plugins(&wanted, &second.pins).await.expect("looked"), second.pins);

    // A pin of another place is none.
    let mut other: Vec<Pin> = first.pins.clone();
    other.iter_mut().for_each(|pin| pin.source.push_str("#other"));
    assert_eq!(sources.plugins(&wanted, &other).await.expect("fetched"), second);
}

#[tokio::test]
async fn a_cache_that_is_gone_changes_nothing() {
    let world = World::new();
    let sources = world.site.sources();
    let wanted = world.configuration(&sources).await.plugins;
    let first = sources.plugins(&wanted, &[]).await.expect("fetched");
    std::fs::remove_dir_all(world.site.path("cache")).expect("removed");
    assert_eq!(sources.look_plugins(&wanted, &first.pins).await.expect("looked"), first.pins);
    assert_eq!(sources.plugins(&wanted, &first.pins).await.expect("fetched"), first);
}

#[tokio::test]
async fn all_plugins_that_cannot_be_had_are_named() {
    let world = World::new();
    let sources = world.site.sources();
    let mut wanted = world.configuration(&sources).await.plugins;
    let market = wanted.iter().find(|it| it.marketplace == "market").expect("there").clone();
    for plugin in ["npm", "insid"] {
        wanted.push(holdpoint_sources::WantedPlugin { plugin: plugin.into(), ..market.clone() });
    }
    let problems = sources.plugins(&wanted, &[]).await.expect_err("two");
    let all = format!("{problems:?}");
    assert_eq!(problems.len(), 2, "{all}");
    assert!(all.contains("a plugin by `npm` cannot be pinned") && all.contains("there are: inside"), "{all}");
    std::fs::remove_file(world.market.path.join(".claude-plugin/marketplace.json")).expect("removed");
    world.market.commit(&[]);
    let problems = sources.plugins(&wanted, &[]).await.expect_err("no marketplace");
    assert!(format!("{problems:?}").contains("no such folder"), "{problems:?}");
}
