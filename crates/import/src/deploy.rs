//! Where images go, where the model is, where the panel listens.

use crate::{
    Kind, Place,
    apps::{IMAGE, PORT},
    draft::{Draft, Entry, quoted},
    facts::{Facts, From},
    picture, secret,
};

/// The model endpoint where none is named.
const ANTHROPIC: &str = "https://api.anthropic.com";

/// The panel's port where none is named; the same as it was.
const PANEL_PORT: u16 = 3370;

/// Variables that name a user of a registry, and those that hold the password that goes with it.
const REGISTRY_USERS: [&str; 4] =
    ["REGISTRY_USER", "REGISTRY_USERNAME", "DOCKER_USERNAME", "GITHUB_USERNAME"];
const REGISTRY_PASSWORDS: [&str; 4] =
    ["REGISTRY_TOKEN", "REGISTRY_PASSWORD", "DOCKER_PASSWORD", "GITHUB_TOKEN"];

/// `[deploy]`
pub(crate) fn registry(facts: &mut Facts, draft: &mut Draft) {
    let image = facts.first(&[IMAGE]);
    let user = facts.first(&["GITHUB_USERNAME"]);
    let places: Vec<Place> = facts.every(IMAGE).into_iter().map(|said| said.place).collect();
    let found = match (&image, &user) {
        (Some(said), _) => {
            let picture = said.value.as_deref().and_then(picture::parse);
            if picture.is_none() && !said.value.as_deref().is_some_and(secret::is_placeholder) {
                let what = "this is no name of an image, so that no registry was taken over";
                facts.found(Kind::Error, vec![said.place.clone()], what, "write host/owner/name@sha256:…");
            }
            picture.map(|picture| (picture.repository, said.place.clone()))
        }
        // The build of the template made the name of the user's.
        (None, Some(said)) => {
            // Before it is written small, in which nobody would find a secret again.
            let user = said.value.as_deref().filter(|user| !facts.known.are_in(user));
            let user = user.unwrap_or_default().to_lowercase();
            picture::parse(&format!("ghcr.io/{user}/claude-hitl-worker"))
                .filter(|_| !secret::is_placeholder(&user))
                .map(|picture| (picture.repository, said.place.clone()))
        }
        (None, None) => None,
    };
    if !places.is_empty() {
        facts.found(
            Kind::NotTaken,
            places,
            "the image itself: it holds Ray, and the next one is built on Holdpoint's base; its digest is in holdpoint.lock, in no other file",
            "",
        );
    }
    let Some((repository, place)) = found else {
        if !draft.master.is_empty() || !draft.project.is_empty() {
            draft.deploy.push(Entry::text("registry", "registry.example.org/team/agents", None).offered());
            facts.found(
                Kind::ToDo,
                Vec::new(),
                "nothing says which registry images go to",
                "name it in [deploy]: registry = \"host/owner/name\"",
            );
        }
        return;
    };
    draft.deploy.push(Entry::text("registry", &repository, Some(&place)));
    facts.taken(&place, "[deploy] registry");
    let is_github = repository.starts_with("ghcr.io/");
    let fits = |name: &&str| is_github || !name.starts_with("GITHUB_");
    let user = REGISTRY_USERS.into_iter().filter(fits).find(|name| facts.has(name));
    let password = REGISTRY_PASSWORDS.into_iter().filter(fits).find(|name| facts.has(name));
    if let (Some(user), Some(password)) = (user, password) {
        let value =
            format!("{{ user = {{ env = {} }}, password = {{ env = {} }} }}", quoted(user), quoted(password));
        let of_password = facts.every(password).first().map(|said| said.place.clone());
        draft.deploy.push(Entry::toml("credentials", value, of_password.as_ref()));
        facts.every(user);
        if let Some(place) = of_password {
            facts.taken(&place, format!("[deploy] credentials, by the names of `{user}` and `{password}`"));
        }
    }
}

/// `[gateway]`
pub(crate) fn gateway(facts: &mut Facts, draft: &mut Draft) {
    let key = facts.first(&["ANTHROPIC_API_KEY"]);
    let everywhere = facts.every("ANTHROPIC_API_KEY");
    let base = facts.first(&["ANTHROPIC_BASE_URL"]);
    let mut url = (ANTHROPIC.to_owned(), None);
    if let Some(said) = base {
        match said.value.as_deref().map(str::trim).filter(|value| is_server(value)) {
            Some(value) => {
                facts.taken(&said.place, "the model endpoint: the `url` of the first of [gateway] upstreams");
                url = (value.trim_end_matches('/').to_owned(), Some(said.place));
            }
            None => facts.found(
                Kind::Error,
                vec![said.place],
                "`ANTHROPIC_BASE_URL` is no plain address of a server, so that it was not taken over",
                "write https://host, without a user, password or query",
            ),
        }
    }
    // A key that is only said where nothing expands it is still the variable that was meant.
    if let Some(said) = key.as_ref().or_else(|| everywhere.first()) {
        let upstream = format!(
            "[{{ name = \"anthropic\", url = {}, key = {{ env = \"ANTHROPIC_API_KEY\" }} }}]",
            quoted(&url.0)
        );
        draft.gateway.push(Entry::toml("upstreams", upstream, url.1.as_ref().or(Some(&said.place))));
        facts.taken(&said.place, "the key of the model, by its name: { env = \"ANTHROPIC_API_KEY\" }");
        if key.as_ref().and_then(|key| key.value.as_deref()).is_none_or(secret::is_placeholder) {
            facts.found(
                Kind::ToDo,
                vec![said.place.clone()],
                "the key itself is not there",
                "export ANTHROPIC_API_KEY=…",
            );
        } else if said.from == From::Env {
            facts.found(
                Kind::ToDo,
                Vec::new(),
                "holdpoint.toml names variables, and nothing of Holdpoint reads `.env`: set them where `holdpoint up` is typed",
                "set -a; . ./.env; set +a",
            );
        }
    } else {
        facts.found(
            Kind::ToDo,
            Vec::new(),
            "no key of a model was found; without one a script answers",
            "export ANTHROPIC_API_KEY=…",
        );
    }
    for name in [
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "ANTHROPIC_FOUNDRY_BASE_URL",
        "CLAUDE_USE_AZURE_FOUNDRY",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
    ] {
        let places: Vec<Place> = facts.every(name).into_iter().map(|said| said.place).collect();
        if !places.is_empty() {
            facts.found(
                Kind::ToDo,
                places,
                format!("`{name}`: Holdpoint's gateway speaks to endpoints of the Messages API with an `x-api-key`"),
                "if yours takes one, name it: [gateway] upstreams = [{ name = …, url = …, key = { env = … } }]",
            );
        }
    }
}

fn is_server(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric())
            && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._/:".contains(c))
            && rest
                .split('/')
                .next()
                .and_then(|host| host.split_once(':'))
                .is_none_or(|(_, port)| port.parse::<u16>().is_ok())
    })
}

/// Where the panel listens.
pub(crate) fn panel(facts: &mut Facts, draft: &mut Draft) {
    if let Some(said) = facts.first(&["KODO_APP_SERVER", "APP_SERVER"]) {
        let port = said.value.as_deref().and_then(|value| {
            let authority = value.split_once("://").map_or(value, |(_, rest)| rest).split('/').next()?;
            authority.rsplit_once(':')?.1.parse::<u16>().ok()
        });
        match port {
            Some(PANEL_PORT) => facts.taken(&said.place, "the panel's port, which is the same here"),
            Some(port) => {
                draft.top.push(Entry::toml("port", port.to_string(), Some(&said.place)));
                facts.taken(&said.place, "the panel's port");
            }
            None => facts.found(
                Kind::ToDo,
                vec![said.place],
                "no port could be read out of the panel's address",
                "holdpoint.toml: port = 3370, and base_url where others reach it by another name",
            ),
        }
    }
    let places: Vec<Place> = facts.every(PORT).into_iter().map(|said| said.place).collect();
    if !places.is_empty() {
        facts.found(
            Kind::NotTaken,
            places,
            "the port of Ray Serve: agents and panel are at one address, the panel's",
            "",
        );
    }
}
