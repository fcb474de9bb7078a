//! Every file into facts.

use std::collections::BTreeMap;

use crate::{
    Checkout, Kind, Place, Unread, Why, apps, checkout, claude_folder, dockerfile, dotenv, expand,
    facts::{Facts, From, Said},
    secret,
    shown::shown,
    yaml,
};

/// Variables that the base image or the builder gives to a Dockerfile.
const GIVEN_TO_BUILDS: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "TARGETPLATFORM",
    "TARGETARCH",
    "TARGETOS",
    "BUILDPLATFORM",
    "HTTP_PROXY",
    "HTTPS_PROXY",
];

/// Why a secret is worse where it stands than in the environment.
const ROTATE: &str =
    "whoever has this file has it: make a new one where it came from, and set it in the environment";

/// Reads all of them.
pub(crate) fn gather(checkout: &Checkout) -> Facts {
    let mut facts = Facts::default();
    // All secrets are known before anything is said about any file.
    for text in checkout.files.values() {
        facts.known.learn_shapes(text);
    }
    for unread in &checkout.unread {
        not_read(&mut facts, unread);
    }
    if let Some(text) = checkout.files.get(".env") {
        dot_env(&mut facts, text);
    }
    for (path, text) in &checkout.files {
        if checkout::is_serve_file(path) {
            serve_file(&mut facts, path, text);
        } else if path == "Dockerfile" || path == "Containerfile" {
            build_file(&mut facts, path, text);
        } else if path != ".env" {
            if claude_folder::is_settings(path) {
                claude_folder::secrets(&mut facts, path, text);
            }
            literals(&mut facts, path, text, "");
        }
    }
    facts
}

fn not_read(facts: &mut Facts, unread: &Unread) {
    let path = unread.path.as_str();
    let matters = path == ".env" || path == "Dockerfile" || path.starts_with("data/config");
    let (why, next) = match unread.why {
        Why::NotAFile => {
            ("it is a link, or no file at all, and none is followed", "put the file itself in its place")
        }
        Why::TooLong => ("it is longer than such a file ever is", "see what is in it"),
        Why::NotText => ("it is no text", "see what is in it"),
        Why::Refused => ("this user may not", "ls -la shows whose it is"),
        Why::TooMany => ("there is more in it than is looked at", "see what is in it"),
    };
    let (kind, next) = if matters { (Kind::Error, next) } else { (Kind::NotTaken, "") };
    facts.found(kind, vec![Place::file(path)], format!("this was not read: {why}"), next);
}

fn dot_env(facts: &mut Facts, text: &str) {
    const FILE: &str = ".env";
    let parsed = dotenv::parse(text);
    for (line, why) in parsed.bad {
        facts.found(
            Kind::Error,
            vec![Place::line(FILE, line)],
            why,
            "write NAME=value, in quotes if it holds spaces",
        );
    }
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut lines: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for entry in parsed.entries {
        let place = Place::line(FILE, entry.line);
        let value = if entry.expands {
            match expand::expand(&entry.value, |name| values.get(name).cloned()) {
                Ok(value) => Some(value),
                Err(missing) => {
                    for name in &missing {
                        let what = format!(
                            "`${{{}}}` in `{}`: no line above sets it",
                            shown(name),
                            shown(&entry.name)
                        );
                        let next = "write the value in its place, or set the variable above this line";
                        facts.found(Kind::Error, vec![place.clone()], what, next);
                    }
                    if missing.is_empty() {
                        let what =
                            format!("`{}` is too long with its variables filled in", shown(&entry.name));
                        facts.found(Kind::Error, vec![place.clone()], what, "write the value in its place");
                    }
                    None
                }
            }
        } else {
            let is_literal = expand::variables(&entry.value).is_empty();
            if !is_literal {
                facts.unexpanded(
                    &entry.name,
                    &entry.value,
                    &place,
                    "single quotes and \\$ keep it from being expanded",
                );
            }
            is_literal.then(|| entry.value.clone())
        };
        if let Some((line, written)) = lines.insert(entry.name.clone(), (entry.line, entry.value.clone()))
            && written != entry.value
        {
            facts.found(
                Kind::Differs,
                vec![Place::line(FILE, line), place.clone()],
                format!("`{}` is set twice, to different values; the last one counts", shown(&entry.name)),
                "remove the one that is old",
            );
        }
        if let Some(value) = &value {
            values.insert(entry.name.clone(), value.clone());
        }
        facts.say(&entry.name, &entry.value, value, place, From::Env);
    }
    // Of a name that is set again, the last line is all that counts.
    let is_last = |said: &Said| {
        said.from != From::Env || lines.get(&said.name).is_none_or(|(line, _)| said.place.line == Some(*line))
    };
    facts.said.retain(is_last);
}

fn serve_file(facts: &mut Facts, path: &str, text: &str) {
    let node = match yaml::parse(text) {
        Ok(node) => node,
        Err(unreadable) => {
            let place = unreadable.line.map_or_else(|| Place::file(path), |line| Place::line(path, line));
            facts.found(
                Kind::Error,
                vec![place],
                "this is no YAML of one document, or too much of it, so that nothing of this file was taken over",
                "put it right, and run it again",
            );
            return literals(facts, path, text, "");
        }
    };
    let mut twice = Vec::new();
    node.each_twice(&mut |name, first, second| twice.push((shown(name), first, second)));
    for (name, first, second) in twice {
        let places = vec![Place::line(path, first), Place::line(path, second)];
        facts.found(Kind::Error, places, format!("`{name}` stands twice in one table"), "remove one of them");
    }
    let mut scalars = Vec::new();
    node.each("", &mut |key, text, line| scalars.push((key.to_owned(), text.to_owned(), line)));
    for (key, value, line) in scalars {
        let place = Place::line(path, line);
        facts.unexpanded(&key, &value, &place, "Ray Serve expands nothing in its files");
        if secret::is_secret_name(&key) && expand::variables(&value).is_empty() {
            facts.known.learn(&value);
            if secret::is_placeholder(&value) {
                let next = format!("export {}=…", variable(&key));
                facts.found(Kind::ToDo, vec![place], format!("`{}` was never filled in", shown(&key)), next);
            } else if !secret::is_plain(&value) {
                let next = format!("{ROTATE}: export {}=…", variable(&key));
                facts.found(
                    Kind::Danger,
                    vec![place],
                    format!("the secret of `{}` stands here literally", shown(&key)),
                    next,
                );
            }
        } else {
            literal(facts, place, &value, &format!("in `{}`", shown(&key)));
        }
    }
    apps::read(facts, path, &node);
}

fn build_file(facts: &mut Facts, path: &str, text: &str) {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for instruction in dockerfile::parse(text) {
        let place = Place::line(path, instruction.line);
        match instruction.word.as_str() {
            "ARG" | "ENV" => {
                for pair in dockerfile::pairs(&instruction) {
                    let place = Place::line(path, pair.line);
                    let Some(written) = pair.value else { continue };
                    let value = expand::expand(&written, |name| {
                        // What is given to every build is there, whatever it is.
                        values.get(name).cloned().or_else(|| GIVEN_TO_BUILDS.contains(&name).then(String::new))
                    });
                    if let Err(missing) = &value {
                        for name in missing {
                            let what = format!("`${{{}}}` in `{}`: no ARG or ENV above declares it, so that it is empty", shown(name), shown(&pair.name));
                            facts.found(Kind::Error, vec![place.clone()], what, "declare it above (ARG NAME), or write the value in its place");
                        }
                    }
                    let value = value.ok();
                    let is_secret = secret::is_secret_name(&pair.name) && expand::variables(&written).is_empty();
                    if is_secret && !secret::is_plain(&written) && !secret::is_placeholder(&written) {
                        let what = format!("the secret of `{}` stands here literally, and in every image that was built of it", shown(&pair.name));
                        let next = format!("{ROTATE}: export {}=…", variable(&pair.name));
                        facts.found(Kind::Danger, vec![place.clone()], what, next);
                    } else if !is_secret {
                        literal(facts, place.clone(), &written, &format!("in `{}`", shown(&pair.name)));
                    }
                    values.insert(pair.name.clone(), value.clone().unwrap_or_default());
                    facts.say(&pair.name, &written, value, place, From::Dockerfile);
                }
            }
            "FROM" => facts.found(
                Kind::NotTaken,
                vec![place],
                "the base image: images are built on Holdpoint's own, which has no Ray and the Claude CLI in a tested version",
                "",
            ),
            _ => {
                run(facts, path, &instruction);
                for (i, line) in instruction.rest.lines().enumerate() {
                    literal(facts, Place::line(path, instruction.line + i), line, "");
                }
            }
        }
    }
}

/// What `RUN` installs has to go somewhere else.
fn run(facts: &mut Facts, path: &str, instruction: &dockerfile::Instruction) {
    if instruction.word != "RUN" {
        return;
    }
    let installs = [
        ("apt-get install", "dependencies/system-packages.txt"),
        ("apt install", "dependencies/system-packages.txt"),
        ("pip install", "dependencies/requirements.txt"),
        ("npm install -g", "dependencies/package.json"),
    ];
    for (i, line) in instruction.rest.lines().enumerate() {
        for (command, file) in installs.iter().filter(|(command, _)| line.contains(command)) {
            let place = Place::line(path, instruction.line + i);
            if line.contains("@anthropic-ai/claude-code") {
                facts.found(
                    Kind::NotTaken,
                    vec![place],
                    "the Claude CLI: Holdpoint brings the version that it was tested with",
                    "",
                );
                continue;
            }
            // The files of dependencies themselves are read by the build.
            if ["-r ", "--requirement", "xargs", "\"$pkg\"", "-e "].iter().any(|word| line.contains(word)) {
                continue;
            }
            let next = format!("name what agents need in {file} of the project's configuration repository");
            facts.found(
                Kind::ToDo,
                vec![place],
                format!("`{command}` in the image's build is not taken over"),
                next,
            );
        }
    }
}

/// Tells of secrets that are known by their shape, in a whole text.
fn literals(facts: &mut Facts, path: &str, text: &str, around: &str) {
    for (i, line) in text.lines().enumerate() {
        literal(facts, Place::line(path, i + 1), line, around);
    }
}

fn literal(facts: &mut Facts, place: Place, text: &str, around: &str) {
    let mut told = Vec::new();
    for (what, value) in secret::shapes(text) {
        if secret::is_placeholder(value) || told.contains(&what) {
            continue;
        }
        told.push(what);
        let what = format!("{what} stands here literally {around}");
        facts.found(Kind::Danger, vec![place.clone()], what.trim_end(), ROTATE);
    }
}

/// The name of a variable for what stands under this key.
fn variable(key: &str) -> String {
    key.chars()
        .take(80)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}
