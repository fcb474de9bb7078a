use super::*;
use crate::env::Named;

/// What a person sees for this text of `holdpoint.toml`.
fn complaint(text: &str) -> String {
    let diagnostics = parse(text, Path::new("/project")).expect_err("should be refused");
    diagnostic::failure(Path::new("holdpoint.toml"), text, &diagnostics).to_string()
}

fn load(text: &str, environment: &Environment, overrides: &Overrides) -> Result<Config, Failure> {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join(FILE_NAME);
    std::fs::write(&file, text).expect("file");
    let data = DataDir::locate(Some(&dir.path().join("data")), environment).expect("data");
    Config::load(Some(&file), &data, environment, overrides)
}

#[test]
fn errors_say_where_what_and_what_is_expected() {
    let cases = [
        ("an unknown key", "port = 3370\nprot = 3371\n"),
        ("an unknown table", "[claud]\ncli = \"path\"\n"),
        ("a key of an agent", "[agents.mine]\ntitel = \"Mine\"\n"),
        ("nothing near", "[gateway]\nzzz = 1\n"),
        ("a secret", "[gateway]\napi_key = \"sk-…\"\n"),
        ("a wrong type", "port = \"3370\"\n"),
        ("out of range", "port = 70000\n"),
        ("not an address", "host = \"localhost\"\n"),
        ("not TOML", "[agents.mine\ntitle = \"Mine\"\n"),
        ("an open string", "log = \"info\nport = 1\n"),
        ("twice", "port = 1\nport = 2\n"),
        ("a length of time", "[agents.mine]\nlinger = \"soon\"\n"),
        ("a choice", "[agents.mine]\ncompletion = \"persn\"\n"),
        ("a rule", "[agents.mine.policy]\nallow = [\"Bash(git status\"]\n"),
        ("a field's type", "[agents.mine]\nform = [{ name = \"a\", type = \"textt\" }]\n"),
        (
            "several values",
            "max_sessions = 0\nbase_url = \"example.org\"\n[gateway]\nupstream = \"ftp://x\"\n",
        ),
        ("an agent's name", "[agents.\"My Agent\"]\ntitle = \"Mine\"\n"),
        (
            "missing files",
            "[rehearsal]\nscript = \"nowhere.yaml\"\n[claude]\ncli = \"bin/claude\"\n[agents.a]\nclaude_folder = \".claude\"\nplugins = [\"one\"]\n",
        ),
        (
            "a form",
            "[agents.a]\nprompt = \"Do {{taks}}\"\nform = [\n  { name = \"task\", type = \"select\" },\n  { name = \"task\" },\n]\n",
        ),
        (
            "the gateway",
            "[gateway]\nupstream = \"https://a.example\"\nconcurrent_calls = 0\nbudget_per_person_per_day_usd = -1.0\nupstreams = [\n  { name = \"a\", url = \"a.example\", key = { env = \"sk-ant-1\" } },\n  { name = \"a\", url = \"https://a.example\", key = { env = \"A\" }, models = [] },\n]\n",
        ),
        (
            "a key in the file",
            "[gateway]\nupstreams = [{ name = \"a\", url = \"https://a.example\", key = \"sk-ant-1\" }]\n",
        ),
        ("budgets", "[agents.a.limits]\nbudget_per_day_usd = 0.0\nbudget_per_month_usd = nan\n"),
        ("a log filter", "log = \"info,a=b=c\"\n"),
        (
            "a secret of a channel",
            "[notify]\nntfy = { url = \"https://ntfy.example/t\", token = \"tk_x\" }\n",
        ),
        (
            "a container engine that is none, and a mirror that is no address",
            "[container]\nengine = \"podman\"\nmirror = \"deb.debian.org\"\n",
        ),
        (
            "proxies and a certificate",
            "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\", \"everybody\"]\n[server.tls]\ncert = \"none.pem\"\nkey = \"none.key\"\n",
        ),
        ("a webhook without a secret", "[notify]\nwebhook = { url = \"https://hooks.example\" }\n"),
        (
            "addresses and names of channels",
            "[notify]\nwebhook = { url = \"hooks.example\", secret = { env = \"whsec_/x=\" } }\nntfy = { url = \"https://ntfy.example/\" }\n",
        ),
        (
            "reminders",
            "[agents.a.limits]\nhold = \"1d\"\nremind = [\"1h\", \"1d\", \"0s\"]\n[agents.b.limits]\nremind = [\"1h\", \"2h\", \"3h\", \"4h\", \"5h\", \"6h\", \"7h\", \"8h\", \"9h\"]\n",
        ),
    ];
    let all: Vec<String> =
        cases.iter().map(|(what, text)| format!("## {what}\n{}\n", complaint(text))).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = load("", &Environment::default(), &Overrides::default()).expect("defaults");
    assert_eq!((config.port, config.host.to_string()), (DEFAULT_PORT, "127.0.0.1".to_owned()));
    assert_eq!(config.gateway.upstream, DEFAULT_UPSTREAM);
    assert_eq!(config.claude, Claude { cli: CliSource::Installed, any_version: false });
    assert_eq!(config.agents[BUILTIN_AGENT], AgentDef::builtin());
    assert!(config.max_sessions >= 1);
}

#[test]
fn the_command_line_comes_before_the_environment_before_the_file() {
    let environment = Environment {
        anthropic_base_url: Some("http://127.0.0.1:9/".into()),
        anthropic_api_key: Some("sk-secret".to_owned().into()),
        ..Environment::default()
    };
    let overrides = Overrides { port: Some(1), ..Overrides::default() };
    let text = "port = 2\nlog = \"debug\"\n[gateway]\nupstream = \"http://127.0.0.1:8\"\n";
    let config = load(text, &environment, &overrides).expect("fits");
    assert_eq!((config.port, config.log.as_str()), (1, "debug"));
    assert_eq!(config.gateway.upstream, "http://127.0.0.1:9");
    assert!(!format!("{config:?}").contains("sk-secret"));
    let environment = Environment { port: Some("3".into()), ..environment };
    assert_eq!(load(text, &environment, &overrides).expect("fits").port, 1);
    assert_eq!(load(text, &environment, &Overrides::default()).expect("fits").port, 3);
    let environment = Environment { port: Some("http".into()), ..environment };
    let failure = load(text, &environment, &Overrides::default()).expect_err("no port").to_string();
    assert!(failure.contains("HOLDPOINT_PORT is \"http\""), "{failure}");
}

#[test]
fn a_proxy_is_for_a_model_that_is_elsewhere() {
    let mut environment = Environment::default();
    environment.proxies.all = Some("http://proxy.example:1".to_owned().into());
    let proxy = |text: &str, environment: &Environment| {
        load(text, environment, &Overrides::default()).expect("fits").gateway.proxy.is_some()
    };
    assert!(!proxy("", &environment), "nothing is sent without a key");
    environment.anthropic_api_key = Some("sk-secret".to_owned().into());
    assert!(proxy("", &environment));
    assert!(!proxy("[gateway]\nupstream = \"http://127.0.0.1:8\"\n", &environment));
}

#[test]
fn each_upstream_has_its_key_from_the_variable_that_is_named() {
    let text = "[gateway]\nconcurrent_calls = 3\nbudget_per_person_per_day_usd = 2.0\nupstreams = [\n  { name = \"one\", url = \"https://one.example/\", key = { env = \"ONE\" } },\n  { name = \"two\", url = \"https://two.example\", key = { env = \"TWO\" }, models = [\"claude-*\"] },\n]\n";
    let environment = Environment {
        named: Named(|name| (name == "ONE").then(|| "sk-hunter2".to_owned().into())),
        ..Environment::default()
    };
    let config = load(text, &environment, &Overrides::default()).expect("fits");
    assert!(!format!("{config:?}").contains("hunter2"));
    let gateway = &config.gateway;
    assert!(gateway.has_model() && gateway.api_key.is_none());
    let [one, two] = gateway.upstreams.as_slice() else { panic!("{gateway:?}") };
    assert_eq!(
        (one.url.as_str(), &one.models[..], &two.models[..]),
        ("https://one.example", &["*".to_owned()][..], &["claude-*".to_owned()][..])
    );
    assert!(one.api_key().is_ok());
    let missing = two.api_key().expect_err("not set");
    assert_eq!(missing.exit, Exit::Config);
    assert!(missing.to_string().contains("TWO is not set"), "{missing}");
    assert_eq!(gateway.rates.concurrent_calls, Some(3));
    assert_ne!(gateway.budgets, holdpoint_model::Budgets::default());
}

#[test]
fn secrets_of_channels_come_from_the_variables_that_are_named() {
    const SECRET: &str = "whsec_aG9sZHBvaW50LXRlc3Qtc2VjcmV0LTMyLWJ5dGVzISE=";
    let text = "[notify]\nwebhook = { url = \"https://hooks.example/hunter2\", secret = { env = \"HOOK\" } }\nntfy = { url = \"https://ntfy.example/hunter2\", token = { env = \"NTFY\" } }\n";
    let mut environment = Environment::default();
    let load = |environment: &Environment| load(text, environment, &Overrides::default()).expect("fits");
    let channels = |environment: &Environment| {
        let notify = load(environment).notify;
        notify
            .channels()
            .map(|all| all.iter().map(|one| format!("{} {}", one.name(), one.place())).collect::<Vec<_>>())
    };
    // Whatever needs no secret works without one.
    let missing = channels(&environment).expect_err("no secret");
    assert_eq!(missing.exit, Exit::Config);
    assert!(missing.to_string().contains("HOOK is not set"), "{missing}");
    environment.named = Named(|name| match name {
        "HOOK" => Some(SECRET.to_owned().into()),
        "NTFY" => Some("tk_hunter2".to_owned().into()),
        _ => None,
    });
    assert_eq!(channels(&environment).expect("both"), ["webhook hooks.example", "ntfy ntfy.example"]);
    let shown = format!("{:?}", load(&environment));
    assert!(!shown.contains("hunter2") && !shown.contains("aG9s"), "{shown}");
    environment.named = Named(|_| Some("hunter2".to_owned().into()));
    let wrong = channels(&environment).expect_err("no such secret").to_string();
    assert!(wrong.contains("whsec_") && !wrong.contains("hunter2"), "{wrong}");
    assert_eq!(Notify::default().channels().expect("none").len(), 0);
}

#[test]
fn what_is_built_in_needs_no_file() {
    let data = DataDir::locate(Some(Path::new("/nowhere")), &Environment::default()).expect("data");
    assert_eq!(Config::built_in(&data).expect("always").port, DEFAULT_PORT);
}

#[test]
fn paths_are_relative_to_the_file_and_the_builtin_agent_can_be_changed() {
    let dir = tempfile::tempdir().expect("dir");
    std::fs::create_dir(dir.path().join(".claude")).expect("folder");
    std::fs::write(dir.path().join("script.yaml"), "").expect("script");
    let file = dir.path().join(FILE_NAME);
    std::fs::write(
        &file,
        "[rehearsal]\nscript = \"script.yaml\"\n[agents.claude]\nmodel = \"opus\"\nclaude_folder = \".claude\"\n[agents.b]\n",
    )
    .expect("file");
    let environment = Environment::default();
    let data = DataDir::locate(Some(dir.path()), &environment).expect("data");
    // Found in the data folder without being asked for.
    let config = Config::load(None, &data, &environment, &Overrides::default()).expect("fits");
    assert_eq!(config.rehearsal, Some(dir.path().join("script.yaml")));
    let claude = &config.agents[BUILTIN_AGENT];
    assert_eq!((claude.model.as_str(), claude.title.as_str()), ("opus", "Claude"));
    assert_eq!(claude.claude_folder, Some(dir.path().join(".claude")));
    assert_eq!(config.agents["b"].title, "b");
}

#[test]
fn the_example_is_a_configuration_and_the_schema_in_docs_is_current() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let example = std::fs::read_to_string(docs.join("holdpoint.example.toml")).expect("example");
    assert_eq!(example, EXAMPLE);
    parse(&example, &docs).unwrap_or_else(|errors| panic!("{errors:#?}"));
    // Also what is commented out must fit, once it is commented in.
    let all: String = example
        .lines()
        .map(|line| line.strip_prefix("#: ").map_or(line, |setting| setting.trim_start()))
        .map(|line| format!("{line}\n"))
        .collect();
    let dir = tempfile::tempdir().expect("dir");
    for file in ["rehearsal.yaml", "claude", "cert.pem", "key.pem"] {
        std::fs::write(dir.path().join(file), "").expect("file");
    }
    for folder in [".claude", "plugins/review", "reference"] {
        std::fs::create_dir_all(dir.path().join(folder)).expect("folder");
    }
    let file = parse(&all, dir.path()).unwrap_or_else(|errors| {
        panic!("{}", diagnostic::failure(Path::new("example"), &all, &errors));
    });
    assert!(file.notify.webhook.is_some() && file.notify.ntfy.is_some_and(|ntfy| ntfy.token.is_some()));
    assert!(file.agents.len() >= 2 && file.claude.cli.is_some() && file.rehearsal.script.is_some());

    let current = schema();
    let path = docs.join("holdpoint.schema.json");
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == current,
        "docs/holdpoint.schema.json is old: holdpoint config schema > docs/holdpoint.schema.json"
    );
}
