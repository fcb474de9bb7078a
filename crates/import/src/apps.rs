//! Files of Ray Serve: applications and the server they run on.

use crate::{
    Kind, Place,
    facts::{Facts, From},
    shown::shown,
    yaml::{Node, Value},
};

/// An application: what an agent is made of.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// Its name.
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) place: Place,
    /// The Python module with its form, as in `package.query:app`, and where that is said.
    pub(crate) import_path: Option<(String, Place)>,
    /// The address it had, and where that is said.
    pub(crate) route_prefix: Option<(String, Place)>,
}

/// The name that an image has among facts, wherever it is said.
pub(crate) const IMAGE: &str = "CONTAINER_IMAGE_URI";

/// The name that the server's port has among facts.
pub(crate) const PORT: &str = "http_options.port";

/// The most applications that are taken over.
const MAX_APPS: usize = 100;

/// Keys that have no counterpart, and why that is no loss.
const PASSED_OVER: [(&str, &str); 12] = [
    ("proxy_location", "there is no proxy of Ray's in front of Holdpoint"),
    ("grpc_options", "Holdpoint speaks HTTP"),
    ("logging_config", "`log` in holdpoint.toml says what is logged"),
    ("deployments", "sessions are started as they are needed: `max_sessions` bounds how many"),
    ("num_replicas", "sessions are started as they are needed: `max_sessions` bounds how many"),
    ("max_concurrent_queries", "`max_sessions` bounds how many sessions run; more wait in line"),
    ("max_ongoing_requests", "`max_sessions` bounds how many sessions run; more wait in line"),
    ("autoscaling_config", "sessions are started as they are needed: `max_sessions` bounds how many"),
    ("ray_actor_options", "what a session gets is in [agents.NAME.container]"),
    ("args", "an agent has no arguments in Python"),
    ("external_scaler_enabled", "nothing scales Holdpoint from outside"),
    ("target_capacity", "sessions are started as they are needed: `max_sessions` bounds how many"),
];

/// Reads a file.
pub(crate) fn read(facts: &mut Facts, path: &str, node: &Node) {
    let is_app = node.get("import_path").is_some();
    if is_app {
        return app(facts, path, node);
    }
    if !matches!(node.value, Value::Table(_) | Value::Null) {
        let what = "a file of Ray Serve is a table, and this is none: nothing of it was taken over";
        return facts.found(Kind::Error, vec![Place::line(path, node.line)], what, "see what is in it");
    }
    for (key, value) in node.entries() {
        let place = Place::line(path, key.line);
        match key.name.as_str() {
            "applications" => {
                for item in value.items() {
                    app(facts, path, item);
                }
                if value.items().is_empty() {
                    facts.found(Kind::NotTaken, vec![place], "`applications` lists none", "");
                }
            }
            "http_options" => http_options(facts, path, value),
            name => passed_over(facts, name, place),
        }
    }
}

fn http_options(facts: &mut Facts, path: &str, node: &Node) {
    for (key, value) in node.entries() {
        let place = Place::line(path, value.line);
        match (key.name.as_str(), value.text()) {
            ("port", Some(port)) => facts.say(PORT, port, Some(port.to_owned()), place, From::Serve),
            ("host", Some(host)) if host != "127.0.0.1" && host != "localhost" => facts.found(
                Kind::ToDo,
                vec![place],
                "Ray Serve listens for other machines; Holdpoint listens for this one alone unless it is told otherwise",
                "for others, set [server] tls or a proxy in front: `holdpoint config example` shows how",
            ),
            ("host", _) => {}
            (name, _) => passed_over(facts, &format!("http_options.{name}"), place),
        }
    }
}

fn app(facts: &mut Facts, path: &str, node: &Node) {
    let place = Place::line(path, node.line);
    if !matches!(node.value, Value::Table(_)) {
        return facts.found(
            Kind::Error,
            vec![place],
            "an application is a table, and this is none",
            "see what is in it",
        );
    }
    let said = |name: &str| {
        let node = node.get(name)?;
        Some((node.text()?.to_owned(), Place::line(path, node.line)))
    };
    let number = facts.apps.len();
    if number >= MAX_APPS {
        let what = format!("more than {MAX_APPS} applications: this one was not taken over");
        return facts.found(Kind::Error, vec![place], what, "move over some of them at a time");
    }
    let stem = path.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map_or(path, |(stem, _)| stem);
    let (name, place) = said("name").unwrap_or_else(|| (stem.to_owned(), place));
    let app = App { name, place, import_path: said("import_path"), route_prefix: said("route_prefix") };
    facts.apps.push(app);
    for (key, value) in node.entries() {
        match key.name.as_str() {
            "name" | "import_path" | "route_prefix" => {}
            "runtime_env" => runtime_env(facts, path, value, number),
            name => passed_over(facts, name, Place::line(path, key.line)),
        }
    }
}

fn runtime_env(facts: &mut Facts, path: &str, node: &Node, number: usize) {
    let say = |facts: &mut Facts, name: &str, node: &Node| {
        let place = Place::line(path, node.line);
        match &node.value {
            Value::Text(text) => {
                let value = crate::expand::variables(text).is_empty().then(|| text.clone());
                facts.say(name, text, value, place, From::App(number));
            }
            Value::Null => {}
            _ => {
                let what = format!("the variable `{}` is no text", shown(name));
                facts.found(Kind::Error, vec![place], what, "write its value on one line, in quotes");
            }
        }
    };
    for (key, value) in node.entries() {
        match key.name.as_str() {
            "env_vars" => {
                for (key, value) in value.entries() {
                    say(facts, &key.name, value);
                }
            }
            "image_uri" => say(facts, IMAGE, value),
            "container" => {
                for (key, value) in value.entries() {
                    if key.name == "image" {
                        say(facts, IMAGE, value);
                    } else {
                        passed_over(facts, &format!("runtime_env.container.{}", key.name), Place::line(path, key.line));
                    }
                }
            }
            "pip" | "conda" | "uv" => facts.found(
                Kind::ToDo,
                vec![Place::line(path, key.line)],
                format!("packages that Ray installs (`{}`) are not taken over", key.name),
                "name what agents need in dependencies/requirements.txt of the project's configuration repository",
            ),
            name => passed_over(facts, &format!("runtime_env.{name}"), Place::line(path, key.line)),
        }
    }
}

fn passed_over(facts: &mut Facts, name: &str, place: Place) {
    let known = PASSED_OVER.iter().find(|(known, _)| *known == name);
    let what = match known {
        Some((_, why)) => format!("`{name}`: {why}"),
        None => format!("`{}` has no counterpart in holdpoint.toml that this program knows of", shown(name)),
    };
    let next = if known.is_some() { "" } else { "see whether it matters" };
    facts.found(Kind::NotTaken, vec![place], what, next);
}
