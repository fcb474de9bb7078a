//! `[agents.NAME]`: one of each application.

use std::collections::BTreeMap;

use crate::{
    Checkout, Kind, Place, claude_folder,
    draft::{Agent, Draft, Entry},
    facts::{Facts, From, Said},
    shown::shown,
    sources,
};

/// The longest name of an agent.
const MAX_NAME: usize = 64;

/// The agent that is there without being written.
const BUILT_IN: &str = "claude";

/// Names under which the settings of an agent are said. Two agents may have two values of them.
pub(crate) const OF_AN_AGENT: [&str; 6] = [
    "CLAUDE_MODEL",
    "ANTHROPIC_MODEL",
    "COMPLETION_MODE",
    "CLAUDE_ACTOR_CPUS",
    "CLAUDE_ACTOR_MEMORY_GB",
    "MAX_TURNS",
];

/// Makes all agents.
pub(crate) fn agents(checkout: &Checkout, facts: &mut Facts, draft: &mut Draft, prefix: &str) {
    // The folder is the agents' where no repository is.
    let own_folder = sources::has(checkout, ".claude") && facts.every("PROJECT_CONFIG_REPO").is_empty();
    let rules = own_folder.then(|| claude_folder::rules(checkout, facts));
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut order = Vec::new();
    for (i, app) in facts.apps.iter().enumerate() {
        let numbers = by_name.entry(app.name.clone()).or_default();
        if numbers.is_empty() {
            order.push(app.name.clone());
        }
        numbers.push(i);
    }
    for raw in order {
        let numbers = by_name.remove(&raw).unwrap_or_default();
        if let Some(first) = numbers.first().copied() {
            let agent = of_app(checkout, facts, draft, &raw, first, &numbers);
            draft.agents.push(agent);
        }
    }
    if draft.agents.is_empty() && own_folder {
        draft.agents.push(Agent { name: BUILT_IN.to_owned(), ..Agent::default() });
    }
    for agent in &mut draft.agents {
        if own_folder {
            let folder = sources::join(prefix, ".claude");
            agent.entries.push(Entry::text("claude_folder", &folder, Some(&Place::file(".claude"))));
        }
        if let Some(rules) = &rules {
            agent.policy.clone_from(rules);
        }
    }
    if own_folder {
        facts.taken(&Place::file(".claude"), "`claude_folder` of each agent");
    }
}

fn of_app(
    checkout: &Checkout,
    facts: &mut Facts,
    draft: &Draft,
    raw: &str,
    first: usize,
    all: &[usize],
) -> Agent {
    let app = facts.apps[first].clone();
    let name = name_of(facts, draft, raw);
    let mut agent = Agent { name: name.clone(), ..Agent::default() };
    agent.entries.push(Entry::text("title", &title_of(&name), Some(&app.place)));
    if name == raw {
        facts.taken(&app.place, format!("[agents.{name}]"));
    } else {
        facts.taken(&app.place, format!("[agents.{name}], which was called `{}`", shown(raw)));
    }
    same_everywhere(facts, all);
    form(checkout, facts, &app, &name);
    if let Some((_, place)) = &app.route_prefix {
        let what = format!(
            "the address of `{name}`: clients of Kodosumi's panel find it among the flows of Holdpoint's"
        );
        facts.found(Kind::NotTaken, vec![place.clone()], what, "");
    }
    let mut setting = |names: &[&str]| of_agent(facts, names, all);
    let (model, completion) = (setting(&["CLAUDE_MODEL", "ANTHROPIC_MODEL"]), setting(&["COMPLETION_MODE"]));
    let (cpus, memory) = (setting(&["CLAUDE_ACTOR_CPUS"]), setting(&["CLAUDE_ACTOR_MEMORY_GB"]));
    let turns = setting(&["MAX_TURNS"]);
    if let Some(said) = model {
        let is_model = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]/@".contains(c))
        };
        take(facts, &mut agent.entries, &said, "model", &name, |value| {
            is_model(value).then(|| crate::draft::quoted(value))
        });
    }
    if let Some(said) = completion {
        take(facts, &mut agent.entries, &said, "completion", &name, |value| match value {
            "auto-complete" | "auto" => Some("\"auto\"".to_owned()),
            "continuous" => Some("\"person\"".to_owned()),
            _ => None,
        });
    }
    if let Some(said) = cpus {
        take(facts, &mut agent.container, &said, "cpus", &name, |value| {
            let cpus = value.parse::<f64>().ok().filter(|cpus| (0.1..=1024.0).contains(cpus))?;
            Some(format!("{cpus:?}"))
        });
    }
    if let Some(said) = memory {
        take(facts, &mut agent.container, &said, "memory", &name, |value| {
            let gib = value.parse::<f64>().ok().filter(|gib| (0.25..=4096.0).contains(gib))?;
            Some(format!("\"{}MiB\"", (gib * 1024.0).round()))
        });
    }
    if let Some(said) = turns {
        facts.found(
            Kind::ToDo,
            vec![said.place],
            "`MAX_TURNS` counted a conversation's replies, which nothing bounds here",
            format!("bound its cost: [agents.{name}.limits] budget_usd = 5.0, or model calls for one message: turns = 50"),
        );
    }
    agent
}

/// The setting of an agent: of its own application, else of `.env`.
fn of_agent(facts: &mut Facts, names: &[&str], apps: &[usize]) -> Option<Said> {
    let all: Vec<Said> =
        names.iter().flat_map(|name| facts.every(name)).filter(|said| said.value.is_some()).collect();
    let own = all.iter().find(|said| matches!(said.from, From::App(i) if apps.contains(&i)));
    own.or_else(|| all.iter().rev().find(|said| said.from == From::Env))
        .or_else(|| all.iter().find(|said| said.from == From::Dockerfile))
        .cloned()
}

fn take(
    facts: &mut Facts,
    table: &mut Vec<Entry>,
    said: &Said,
    key: &str,
    agent: &str,
    convert: impl Fn(&str) -> Option<String>,
) {
    match said.value.as_deref().map(str::trim).and_then(convert) {
        Some(value) => {
            table.push(Entry::toml(key, value, Some(&said.place)));
            facts.taken(&said.place, format!("`{key}` of [agents.{agent}]"));
        }
        None => facts.found(
            Kind::Error,
            vec![said.place.clone()],
            format!("`{}` has a value that says nothing as `{key}` of an agent", shown(&said.name)),
            format!("`holdpoint config example` shows what `{key}` may be"),
        ),
    }
}

/// One application in several files should be the same one.
fn same_everywhere(facts: &mut Facts, all: &[usize]) {
    let apps: Vec<_> = all.iter().map(|i| facts.apps[*i].clone()).collect();
    let places: Vec<Place> = apps.iter().map(|app| app.place.clone()).collect();
    let differs = apps.iter().any(|app| {
        let module = |app: &crate::apps::App| app.import_path.as_ref().map(|(path, _)| path.clone());
        let route = |app: &crate::apps::App| app.route_prefix.as_ref().map(|(path, _)| path.clone());
        module(app) != module(&apps[0]) || route(app) != route(&apps[0])
    });
    if differs {
        let what = format!(
            "`{}` is another application in each of these files; the first one counts",
            shown(&apps[0].name)
        );
        facts.found(Kind::Differs, places, what, "see which one runs");
    }
}

fn form(checkout: &Checkout, facts: &mut Facts, app: &crate::apps::App, agent: &str) {
    let Some((path, place)) = &app.import_path else {
        facts.found(
            Kind::ToDo,
            vec![app.place.clone()],
            "nothing says where its form is",
            format!("holdpoint.toml: [agents.{agent}] form = […]"),
        );
        return;
    };
    let module = path.split(':').next().unwrap_or_default().replace('.', "/");
    let files = [format!("{module}.py"), format!("{module}/__init__.py")];
    let found = files.iter().find_map(|file| Some((file, checkout.files.get(file)?)));
    let place = found.map_or(place.clone(), |(file, text)| {
        let begins = |line: &str| line.contains("F.Model(") || line.contains("forms.Model(");
        text.lines().position(begins).map_or_else(|| Place::file(file), |i| Place::line(file, i + 1))
    });
    facts.found(
        Kind::ToDo,
        vec![place],
        format!("the entry form of `{agent}` is a program in Python, which is not read: without a form there is one field, the prompt"),
        format!("write it as [agents.{agent}] form = […]; `holdpoint config example` has every field there is"),
    );
}

/// A name that scripts can write: small letters, digits, `-` and `_`.
fn name_of(facts: &Facts, draft: &Draft, raw: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let slug: String = raw
        .to_lowercase()
        .chars()
        .map(|c| if fits(c) || c == '_' { c } else { '-' })
        .take(MAX_NAME - 4)
        .collect();
    let slug = slug.trim_matches(|c| !fits(c));
    let is_secret = facts.known.are_in(raw) || facts.known.are_in(slug);
    let slug = if slug.is_empty() || is_secret { "agent" } else { slug };
    let is_free = |name: &str| draft.agents.iter().all(|agent| agent.name != name);
    if is_free(slug) {
        return slug.to_owned();
    }
    (2..).map(|i: u32| format!("{slug}-{i}")).find(|name| is_free(name)).unwrap_or_else(|| slug.to_owned())
}

fn title_of(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
