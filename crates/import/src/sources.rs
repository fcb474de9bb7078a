//! `[deploy.master]` and `[deploy.project]`: where the configurations come from.

use crate::{
    Checkout, Kind, Place, address,
    address::Source,
    draft::{Draft, Entry},
    facts::{Facts, From, Said},
    shown::shown,
};

/// The names under which one of the two is said.
struct Names {
    what: &'static str,
    repository: &'static str,
    reference: [&'static str; 4],
    folder: &'static str,
}

const MASTER: Names = Names {
    what: "master",
    repository: "MASTER_CONFIG_REPO",
    reference: ["MASTER_CONFIG_BRANCH", "MASTER_CONFIG_REF", "MASTER_CONFIG_TAG", "MASTER_BRANCH"],
    folder: "MASTER_CONFIG_PATH",
};

const PROJECT: Names = Names {
    what: "project",
    repository: "PROJECT_CONFIG_REPO",
    reference: ["PROJECT_CONFIG_BRANCH", "PROJECT_CONFIG_REF", "PROJECT_CONFIG_TAG", "PROJECT_BRANCH"],
    folder: "PROJECT_CONFIG_PATH",
};

/// Every name that is read here, for whoever compares values.
pub(crate) fn is_read_here(name: &str) -> bool {
    [MASTER, PROJECT]
        .iter()
        .any(|names| name == names.repository || name == names.folder || names.reference.contains(&name))
}

/// Makes both tables.
pub(crate) fn master_and_project(checkout: &Checkout, facts: &mut Facts, draft: &mut Draft, prefix: &str) {
    draft.master = one(checkout, facts, &MASTER, prefix);
    draft.project = one(checkout, facts, &PROJECT, prefix);
    let own = has(checkout, ".claude") || has(checkout, "dependencies");
    if draft.project.is_empty() && own {
        let place = Place::file(if has(checkout, ".claude") { ".claude" } else { "dependencies" });
        let folder = if prefix.is_empty() { "." } else { prefix };
        draft.project = vec![Entry::text("folder", folder, Some(&place))];
        facts.taken(&place, "the checkout is the project's configuration: [deploy.project] folder");
    } else if own {
        facts.found(
            Kind::NotTaken,
            vec![Place::file(if has(checkout, ".claude") { ".claude" } else { "dependencies" })],
            "this folder of the checkout stays with who develops in it: agents get theirs from [deploy.project]",
            "",
        );
    }
    if draft.master.is_empty() && has(checkout, "template_user") {
        let place = Place::file("template_user");
        draft.master = vec![Entry::text("folder", &join(prefix, "template_user"), Some(&place))];
        facts.taken(&place, "[deploy.master] folder");
    }
}

fn one(checkout: &Checkout, facts: &mut Facts, names: &Names, prefix: &str) -> Vec<Entry> {
    let reference = facts.first(&names.reference);
    let folder = facts.first(&[names.folder]);
    let all = facts.every(names.repository);
    let of_env = all.iter().rev().find(|said| said.from == From::Env);
    let Some(said) = of_env.or_else(|| all.first()) else {
        return folder.map(|said| of_folder(checkout, facts, names, &said, prefix)).unwrap_or_default();
    };
    if let Some(folder) = folder {
        let what = format!("`{}`: the build reads the repository itself", names.folder);
        facts.found(Kind::NotTaken, vec![folder.place], what, "");
    }
    // Where only a token in it is not known, the rest still is.
    let text = said.value.clone().or_else(|| address::without_user(&said.written)).unwrap_or_default();
    match address::parse(&text) {
        Some(Source::Folder(folder)) => {
            let folder = if folder.starts_with('/') { folder } else { join(prefix, &folder) };
            facts.taken(&said.place, format!("[deploy.{}] folder", names.what));
            vec![Entry::text("folder", &folder, Some(&said.place))]
        }
        Some(Source::Git(address)) => {
            let mut table = vec![Entry::text("git", &address.git, Some(&said.place))];
            table.push(match reference.as_ref().and_then(|said| Some((said, reference_of(said)?))) {
                Some((said, reference)) => {
                    facts.taken(&said.place, format!("[deploy.{}] ref", names.what));
                    Entry::text("ref", reference, Some(&said.place))
                }
                // Nothing said which: the default branch was cloned.
                None => Entry::text("ref", "main", None).offered(),
            });
            token(facts, said, &address, &mut table);
            facts.taken(&said.place, format!("[deploy.{}] git", names.what));
            table
        }
        None => {
            if said.value.is_some() {
                let what = format!("`{}` is no address of a git repository", names.repository);
                let next =
                    "write it as git@host:owner/name.git or https://host/owner/name.git, without a query";
                facts.found(Kind::Error, vec![said.place.clone()], what, next);
            }
            Vec::new()
        }
    }
}

fn reference_of(said: &Said) -> Option<&str> {
    let text = said.value.as_deref()?.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./+".contains(c);
    (!text.is_empty() && text.len() <= 200 && !text.starts_with('-') && text.chars().all(fits))
        .then_some(text)
}

fn token(facts: &mut Facts, said: &Said, address: &address::Address, table: &mut Vec<Entry>) {
    let written = address::variable_of(&said.written);
    if address.had_secret && written.is_none() && said.from == From::Env {
        facts.found(
            Kind::Danger,
            vec![said.place.clone()],
            format!("a user, password or token stands in the address of `{}`", shown(&said.name)),
            "git keeps it in every clone: make a new one, and set it alone: export GITHUB_TOKEN=…",
        );
    }
    if !address.is_https {
        return;
    }
    let variable = written.or_else(|| {
        let known = ["GITHUB_TOKEN", "GITLAB_TOKEN", "GIT_TOKEN"].into_iter().find(|name| facts.has(name));
        known.or(address.had_secret.then_some("GITHUB_TOKEN")).map(str::to_owned)
    });
    if let Some(variable) = variable {
        table.push(Entry::secret("token", &variable, Some(&said.place)));
        facts.every(&variable);
    }
}

fn of_folder(checkout: &Checkout, facts: &mut Facts, names: &Names, said: &Said, prefix: &str) -> Vec<Entry> {
    let path = said.value.as_deref().unwrap_or_default().trim().trim_end_matches('/');
    let Some(folder) =
        path.strip_suffix("/.claude").filter(|folder| has(checkout, &format!("{folder}/.claude")))
    else {
        let what = format!("`{}` names no folder of this checkout", names.folder);
        let next = format!("name its repository or folder in [deploy.{}]", names.what);
        facts.found(Kind::ToDo, vec![said.place.clone()], what, next);
        return Vec::new();
    };
    facts.taken(&said.place, format!("[deploy.{}] folder", names.what));
    vec![Entry::text("folder", &join(prefix, folder), Some(&said.place))]
}

/// Whether something was read below a folder.
pub(crate) fn has(checkout: &Checkout, folder: &str) -> bool {
    checkout.files.keys().any(|path| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// A path of the checkout, from where `holdpoint.toml` will be.
pub(crate) fn join(prefix: &str, path: &str) -> String {
    if prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", prefix.trim_end_matches('/')) }
}
