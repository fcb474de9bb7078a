//! The wanted plugins: which commit each is at, and its files there.

use std::collections::BTreeMap;

use futures::{StreamExt as _, future::BoxFuture, stream};
use holdpoint_model::{problem::Problem, tree::Tree};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    marketplace::{Entry, MANIFEST, Manifest, MarketplaceFrom, PluginFrom, WantedPlugin},
    revision::Revision,
    source::{Location, Source},
    sources::{Fetched, Sources},
};

/// How many repositories are asked at a time.
const AT_A_TIME: usize = 8;

/// A plugin of a marketplace, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// What the settings call its marketplace.
    pub marketplace: String,
    /// Its name there.
    pub plugin: String,
    /// What its files are at: the marketplace's revision, or that of its own repository.
    pub revision: Revision,
    /// Its files.
    pub tree: Tree,
    /// What the marketplace says of it, without where it is.
    pub entry: Map<String, Value>,
}

/// All that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugins {
    /// By marketplace and name.
    pub plugins: Vec<Plugin>,
    /// For the lock: what they were at.
    pub pins: Vec<Pin>,
    /// What was left out of them, and why.
    pub notes: Vec<String>,
}

/// What a marketplace, or a plugin with a repository of its own, is to stay at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pin {
    /// What the settings call the marketplace.
    pub marketplace: String,
    /// The plugin; none for the marketplace itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Where it is: a pin is only for the place and branch that it was made of.
    pub source: String,
    /// What it is at.
    pub revision: Revision,
}

/// A marketplace at a revision.
enum Opened<'a> {
    /// Read as it is needed: it may be large.
    Commit(&'a Source, Revision),
    /// All of it, as it was at one moment.
    Files(Tree, Revision),
}

/// A marketplace, and the plugins that are wanted of it.
struct Group<'a> {
    name: &'a str,
    from: &'a MarketplaceFrom,
    wanted: Vec<&'a WantedPlugin>,
}

fn groups(wanted: &[WantedPlugin]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for plugin in wanted {
        let name = plugin.marketplace.as_str();
        let group = groups.entry(name).or_insert(Group { name, from: &plugin.from, wanted: Vec::new() });
        group.wanted.push(plugin);
    }
    groups.into_values().collect()
}

impl Group<'_> {
    /// What stands in a pin for its place.
    fn source(&self) -> String {
        match self.from {
            MarketplaceFrom::Source { source, .. } => source.to_string(),
            MarketplaceFrom::Given { .. } => "a folder of the configuration".to_owned(),
        }
    }

    fn manifest(&self) -> &str {
        match self.from {
            MarketplaceFrom::Source { manifest: Some(path), .. } => path,
            _ => MANIFEST,
        }
    }

    /// The folder that paths of plugins are from: the one that `.claude-plugin` is in.
    fn root(&self) -> Option<&str> {
        self.manifest()
            .strip_suffix(MANIFEST)
            .map(|root| root.trim_end_matches('/'))
            .filter(|root| !root.is_empty())
    }

    fn pin(&self, plugin: Option<&str>, source: String, revision: Revision) -> Pin {
        Pin { marketplace: self.name.to_owned(), plugin: plugin.map(str::to_owned), source, revision }
    }
}

/// What a place is pinned to.
fn pinned(pins: &[Pin], marketplace: &str, plugin: Option<&str>, source: &str) -> Option<Revision> {
    let is = |pin: &&Pin| {
        pin.marketplace == marketplace && pin.plugin.as_deref() == plugin && pin.source == source
    };
    pins.iter().find(is).map(|pin| pin.revision.clone())
}

/// Folders one in another.
fn joined(a: Option<&str>, b: Option<&str>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(format!("{a}/{b}")),
        (a, b) => a.or(b).map(str::to_owned),
    }
}

/// Waits for all of them, some at a time. Boxed one by one, in loops: that a stream of borrowing closures may move between
/// threads is more than the compiler proves.
async fn all_of<T>(asked: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    stream::iter(asked).buffered(AT_A_TIME).collect().await
}

impl Sources {
    /// The wanted plugins. What a pin names stays at it, as long as it is the same place; without pins all is at its
    /// newest. Local folders are as they are now: they keep nothing of before.
    ///
    /// # Errors
    /// All that cannot be had.
    pub async fn plugins(&self, wanted: &[WantedPlugin], pins: &[Pin]) -> Result<Plugins, Vec<Problem>> {
        let groups = groups(wanted);
        let mut asked: Vec<BoxFuture<'_, _>> = Vec::new();
        for group in &groups {
            asked.push(Box::pin(self.group(group, pins)));
        }
        let results = all_of(asked).await;
        let mut all = Plugins::default();
        let mut problems = Vec::new();
        for result in results {
            match result {
                Ok(Plugins { plugins, pins, notes }) => {
                    all.plugins.extend(plugins);
                    all.pins.extend(pins);
                    all.notes.extend(notes);
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        all.pins.sort();
        if problems.is_empty() { Ok(all) } else { Err(problems) }
    }

    /// What the wanted plugins would be at without pins, without fetching any: the same as [`Plugins::pins`] if nothing
    /// has changed. Each repository is asked once, all at the same time. Of a marketplace that has changed, plugins with
    /// a repository of their own may be missing: its list is not known yet.
    ///
    /// # Errors
    /// All that cannot be asked.
    pub async fn look_plugins(
        &self,
        wanted: &[WantedPlugin],
        pins: &[Pin],
    ) -> Result<Vec<Pin>, Vec<Problem>> {
        let groups = groups(wanted);
        let mut asked = BTreeMap::new();
        for group in &groups {
            if let MarketplaceFrom::Source { source, .. } = group.from {
                asked.insert(source.to_string(), source.clone());
            }
        }
        // Those of the pins are most likely those of now: they are asked in the same go.
        let mut likely: Vec<BoxFuture<'_, _>> = Vec::new();
        for group in &groups {
            likely.push(Box::pin(self.likely(group, pins)));
        }
        let likely = all_of(likely).await;
        for (_, source) in likely.into_iter().flatten() {
            asked.insert(source.to_string(), source);
        }
        let mut known = self.look_all(asked).await?;

        let mut all = Vec::new();
        let mut later: Vec<(&Group<'_>, String, Source)> = Vec::new();
        let mut problems = Vec::new();
        for group in &groups {
            let source = group.source();
            let revision = match group.from {
                MarketplaceFrom::Given { files } => Revision::Tree(files.digest()),
                MarketplaceFrom::Source { .. } => match known.get(&source) {
                    Some(revision) => revision.clone(),
                    None => continue,
                },
            };
            let was = pinned(pins, group.name, None, &source);
            all.push(group.pin(None, source, revision.clone()));
            let knowable = match group.from {
                MarketplaceFrom::Source { source, .. } if matches!(source.from, Location::Git(_)) => {
                    was.as_ref() == Some(&revision) || self.has(source, &revision)
                }
                _ => true,
            };
            if !knowable {
                continue;
            }
            match self.own(group, &revision).await {
                Ok(own) => later.extend(own.into_iter().map(|(plugin, source)| (group, plugin, source))),
                Err(wrong) => problems.extend(wrong),
            }
        }
        let unknown = later.iter().filter(|(_, _, source)| !known.contains_key(&source.to_string()));
        let asked = unknown.map(|(_, _, source)| (source.to_string(), source.clone())).collect();
        known.extend(self.look_all(asked).await?);
        for (group, plugin, source) in later {
            let source = source.to_string();
            if let Some(revision) = known.get(&source) {
                all.push(group.pin(Some(&plugin), source, revision.clone()));
            }
        }
        all.sort();
        if problems.is_empty() { Ok(all) } else { Err(problems) }
    }

    async fn look_all(
        &self,
        asked: BTreeMap<String, Source>,
    ) -> Result<BTreeMap<String, Revision>, Vec<Problem>> {
        let mut looks: Vec<BoxFuture<'_, Result<_, Problem>>> = Vec::new();
        for (name, source) in asked {
            looks.push(Box::pin(async move { Ok((name, self.look(&source).await?)) }));
        }
        let looks = all_of(looks).await;
        let mut known = BTreeMap::new();
        let mut problems = Vec::new();
        for look in looks {
            match look {
                Ok((name, revision)) => drop(known.insert(name, revision)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(known) } else { Err(problems) }
    }

    /// The plugins with repositories of their own, by the list at the pinned commit, if that is in the cache.
    async fn likely(&self, group: &Group<'_>, pins: &[Pin]) -> Vec<(String, Source)> {
        let MarketplaceFrom::Source { source, .. } = group.from else { return Vec::new() };
        let was = pinned(pins, group.name, None, &group.source());
        let Some(was) = was.filter(|was| self.has(source, was)) else { return Vec::new() };
        // What is wrong with it is told when it is asked for the revision of now.
        self.own(group, &was).await.unwrap_or_default()
    }

    /// The plugins with repositories of their own, by the list at a revision.
    async fn own(&self, group: &Group<'_>, at: &Revision) -> Result<Vec<(String, Source)>, Vec<Problem>> {
        let opened = self.open(group, Some(at.clone())).await.map_err(|problem| vec![problem])?;
        let manifest = self.manifest(group, &opened).await.map_err(|problem| vec![problem])?;
        let mut own = Vec::new();
        let mut problems = Vec::new();
        for wanted in &group.wanted {
            match manifest.entry(&wanted.plugin, &wanted.said_by) {
                Ok(Entry { from: PluginFrom::Own(source), .. }) => own.push((wanted.plugin.clone(), source)),
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(own) } else { Err(problems) }
    }

    async fn group(&self, group: &Group<'_>, pins: &[Pin]) -> Result<Plugins, Vec<Problem>> {
        let was = pinned(pins, group.name, None, &group.source());
        let opened = self.open(group, was).await.map_err(|problem| vec![problem])?;
        let manifest = self.manifest(group, &opened).await.map_err(|problem| vec![problem])?;
        let revision = match &opened {
            Opened::Commit(_, revision) | Opened::Files(_, revision) => revision.clone(),
        };
        let mut all = Plugins { pins: vec![group.pin(None, group.source(), revision)], ..Plugins::default() };
        let mut problems = Vec::new();
        let mut asked: Vec<BoxFuture<'_, _>> = Vec::new();
        for wanted in &group.wanted {
            let entry = manifest.entry(&wanted.plugin, &wanted.said_by);
            asked.push(Box::pin(self.plugin(group, &opened, wanted.plugin.clone(), entry, pins)));
        }
        let results = all_of(asked).await;
        for result in results {
            match result {
                Ok((plugin, pin, notes)) => {
                    let said =
                        notes.into_iter().map(|note| format!("{}@{}: {note}", plugin.plugin, group.name));
                    all.notes.extend(said);
                    all.plugins.push(plugin);
                    all.pins.extend(pin);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(all) } else { Err(problems) }
    }

    async fn plugin(
        &self,
        group: &Group<'_>,
        opened: &Opened<'_>,
        plugin: String,
        entry: Result<Entry, Problem>,
        pins: &[Pin],
    ) -> Result<(Plugin, Option<Pin>, Vec<String>), Problem> {
        let Entry { from, says } = entry?;
        let (fetched, pin) = match from {
            PluginFrom::Within(folder) => {
                (self.below(opened, joined(group.root(), folder.as_deref())).await?, None)
            }
            PluginFrom::Own(source) => {
                let place = source.to_string();
                let was = pinned(pins, group.name, Some(&plugin), &place);
                let revision = self.revision(&source, was).await?;
                let pin = group.pin(Some(&plugin), place, revision.clone());
                (self.files(&source, &revision).await?, Some(pin))
            }
        };
        let Fetched { revision, tree, notes } = fetched;
        if tree.is_empty() {
            let what = format!("failed to use the plugin \"{plugin}@{}\"", group.name);
            return Err(Problem::new(what, format!("there is no file in its folder at {revision}")));
        }
        let marketplace = group.name.to_owned();
        Ok((Plugin { marketplace, plugin, revision, tree, entry: says }, pin, notes))
    }

    /// The commit that a source names itself, or is pinned to, or is at now.
    async fn revision(&self, source: &Source, was: Option<Revision>) -> Result<Revision, Problem> {
        match (source.commit(), was) {
            (Some(commit), _) => Ok(Revision::Commit(commit)),
            (None, Some(was @ Revision::Commit(_))) => Ok(was),
            _ => self.look(source).await,
        }
    }

    async fn open<'a>(&self, group: &Group<'a>, was: Option<Revision>) -> Result<Opened<'a>, Problem> {
        match group.from {
            MarketplaceFrom::Given { files } => {
                Ok(Opened::Files(files.clone(), Revision::Tree(files.digest())))
            }
            MarketplaceFrom::Source { source, .. } => match source.from {
                Location::Git(_) => Ok(Opened::Commit(source, self.revision(source, was).await?)),
                Location::Folder(_) => {
                    let revision = self.look(source).await?;
                    let Fetched { tree, .. } = self.files(source, &revision).await?;
                    Ok(Opened::Files(tree, revision))
                }
            },
        }
    }

    async fn below(&self, opened: &Opened<'_>, folder: Option<String>) -> Result<Fetched, Problem> {
        match opened {
            Opened::Commit(source, revision) => {
                let folder = joined(source.folder.as_deref(), folder.as_deref());
                self.files(&Source::clone(source).within(folder), revision).await
            }
            Opened::Files(files, revision) => {
                let tree = folder.map_or_else(|| files.clone(), |folder| files.folder(&folder));
                Ok(Fetched { revision: revision.clone(), tree, notes: Vec::new() })
            }
        }
    }

    async fn manifest(&self, group: &Group<'_>, opened: &Opened<'_>) -> Result<Manifest, Problem> {
        let path = group.manifest();
        let (folder, name) = match path.rsplit_once('/') {
            Some((folder, name)) => (Some(folder.to_owned()), name),
            None => (None, path),
        };
        let none = |problem: Problem| Problem {
            what: format!("failed to read the marketplace {:?}", group.name),
            why: format!("{}: {}", problem.what, problem.why),
            ..problem
        };
        let fetched = self.below(opened, folder).await.map_err(none)?;
        let Some(file) = fetched.tree.get(name) else {
            let what = format!("failed to read the marketplace {:?}", group.name);
            let why = format!("{} has no {path}: it is no marketplace", group.source());
            return Err(Problem::new(what, why).next("see whether the address is right, and the branch"));
        };
        Manifest::parse(group.name, path, &file.bytes)
    }
}
