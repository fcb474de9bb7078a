//! Whole checkouts, as they are in use, and as somebody would make them who means harm.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use holdpoint_import::{Checkout, Imported, Kind, import, read};
use proptest::prelude::*;

const ENV: &str = r#"# Authentication
ANTHROPIC_API_KEY=sk-ant-api03-live0123456789
export GITHUB_TOKEN="ghp_live0123456789abcdef"   # packages:write
GITHUB_USERNAME=Example-Org

MASTER_CONFIG_REPO=https://${GITHUB_TOKEN}@github.com/example-org/master.git
PROJECT_CONFIG_REPO='git@github.com:example-org/project.git'
PROJECT_CONFIG_BRANCH=release
CONTAINER_IMAGE_URI=ghcr.io/example-org/worker@sha256:1111111111111111111111111111111111111111111111111111111111111111
CONTAINER_IMAGE_URI=ghcr.io/example-org/worker@sha256:2222222222222222222222222222222222222222222222222222222222222222
KODO_ADMIN_PASSWORD=Correct7Horse
KODO_APP_SERVER=http://localhost:3380
RAY_ADDRESS=${CLUSTER}/x
MAX_TURNS=50
"#;

const ONE: &str = r#"name: claude_hitl_template
route_prefix: /claude-hitl
import_path: claude_hitl_template.query:fast_app
runtime_env:
  env_vars:
    CONTAINER_IMAGE_URI: "ghcr.io/example-org/worker@sha256:3333333333333333333333333333333333333333333333333333333333333333"
    ANTHROPIC_API_KEY: "sk-ant-api03-older0123456789"
    CLAUDE_MODEL: sonnet
num_replicas: 1
max_concurrent_queries: 10
color: blue
"#;

const ALL: &str = r#"proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 8001
applications:
  - name: Research Desk
    route_prefix: /research
    import_path: research.query:fast_app
    runtime_env:
      image_uri: ghcr.io/example-org/worker:v1.0.6
      env_vars:
        ANTHROPIC_API_KEY: ${ANTHROPIC_API_KEY}
        BRAVE_API_KEY: "Brave7Secret8"
        MCP_ENDPOINT: https://mcp.example.org?x
        CLAUDE_ACTOR_CPUS: "2"
        CLAUDE_ACTOR_MEMORY_GB: "1.5"
  - name: claude_hitl_template
    import_path: claude_hitl_template.query:other_app
    deployments:
      - name: X
        num_replicas: 2
"#;

const SERVER: &str = "http_options:\n  port: 8000\ngrpc_options:\n  port: 9001\n";

const DOCKERFILE: &str = r#"FROM docker.io/rayproject/ray:2.51.1-py312
ARG MASTER_CONFIG_PATH=template_user/.claude
ARG PROJECT_CONFIG_BRANCH=main \
    EXTRA=${NOWHERE}
RUN npm install -g @anthropic-ai/claude-code && \
    pip install --no-cache-dir pandas
RUN git clone https://bot:Clone7Secret@git.example.org/x.git
ENV HOME=/app/template_user LANGFUSE_SECRET_KEY=Lang7Fuse8Secret
"#;

const QUERY: &str = "from x import F\n\nprompt_form = F.Model(\n    F.InputArea(name=\"prompt\"),\n)\n";

const SETTINGS: &str = r#"{
	"permissions": {"allow": ["WebSearch"], "deny": []},
	"env": {"STATISTA_API_KEY": "Stat7Secret8"}
}
"#;

/// Every secret of the checkout.
const SECRETS: [&str; 9] = [
    "sk-ant-api03-live0123456789",
    "ghp_live0123456789abcdef",
    "Correct7Horse",
    "sk-ant-api03-older0123456789",
    "Brave7Secret8",
    "Clone7Secret",
    "Lang7Fuse8Secret",
    "Stat7Secret8",
    "Skill7Secret8",
];

fn put(folder: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    fs::write(path, text).expect("file");
}

fn whole() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for (path, text) in [
        (".env", ENV),
        ("data/config/claude_hitl_template.yaml", ONE),
        ("data/config/all_apps.yaml", ALL),
        ("data/config/config.yaml", SERVER),
        ("data/config/claude_hitl_template.yaml.example", "name: no\n"),
        ("Dockerfile", DOCKERFILE),
        ("claude_hitl_template/query.py", QUERY),
        (".claude/settings.json", SETTINGS),
        (
            ".claude/skills/search/SKILL.md",
            "Use the key sk-proj-Skill7Secret8x.\nhttps://u:Skill7Secret8@h/x\n",
        ),
        (".claude/CLAUDE.md", "# Hello\n"),
        ("dependencies/requirements.txt", "pandas\n"),
    ] {
        put(folder.path(), path, text);
    }
    folder
}

fn as_text(imported: &Imported) -> String {
    let findings = imported.findings.iter().map(|finding| {
        let places: Vec<String> = finding.places.iter().map(ToString::to_string).collect();
        let next =
            if finding.next.is_empty() { String::new() } else { format!("\n    → {}", finding.next) };
        format!("{}: {}\n    {}{next}\n", finding.kind, places.join(", "), finding.what)
    });
    format!("{}\n{}", findings.collect::<String>(), imported.toml)
}

#[test]
fn a_whole_checkout() {
    let folder = whole();
    let imported = import(&read(folder.path()).expect("read"), "");
    let text = as_text(&imported);
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn from_elsewhere_the_checkout_is_named_by_its_path() {
    let mut checkout = Checkout::default();
    checkout.files.insert(".claude/CLAUDE.md".into(), "hello".into());
    let imported = import(&checkout, "/srv/checkout");
    assert!(imported.toml.contains("folder = \"/srv/checkout\""), "{}", imported.toml);
    assert!(imported.toml.contains("claude_folder = \"/srv/checkout/.claude\""), "{}", imported.toml);
}

#[test]
fn what_is_made_to_do_harm_does_none() {
    let folder = tempfile::tempdir().expect("folder");
    let outside = tempfile::tempdir().expect("folder");
    put(outside.path(), "secret.yaml", "name: outside\nimport_path: a:b\n");
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        laughs.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", ")));
    }
    put(folder.path(), "data/config/laughs.yaml", laughs);
    put(folder.path(), "data/config/binary.yaml", [0_u8, 159, 146, 150]);
    put(folder.path(), "data/config/deep.yaml", "[".repeat(100_000));
    put(folder.path(), "data/config/long.yaml", "a: b\n".repeat(1_000_000));
    put(folder.path(), ".claude/huge.md", vec![b'x'; 4 << 20]);
    let growing: String = (1..40).map(|i| format!("A{i}=${{A{}}}${{A{}}}\n", i - 1, i - 1)).collect();
    put(folder.path(), ".env", format!("A0=xxxxxxxx\n{growing}"));
    symlink(outside.path().join("secret.yaml"), folder.path().join("data/config/link.yaml")).expect("link");
    symlink(outside.path(), folder.path().join("dependencies")).expect("link");
    symlink("loop", folder.path().join("loop")).expect("link");
    let status =
        std::process::Command::new("mkfifo").arg(folder.path().join("Dockerfile")).status().expect("mkfifo");
    assert!(status.success());
    let begun = Instant::now();
    let imported = import(&read(folder.path()).expect("read"), "");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let text = as_text(&imported);
    for file in ["laughs", "binary", "deep", "long", "link"] {
        let place = format!("data/config/{file}.yaml");
        let is_told = |finding: &&holdpoint_import::Finding| {
            finding.kind == Kind::Error && finding.places.iter().any(|at| at.file == place)
        };
        assert!(imported.findings.iter().any(|finding| is_told(&finding)), "{file}\n{text}");
    }
    assert!(imported.agents.is_empty() && !text.contains("outside"), "{text}");
    assert!(text.contains("Dockerfile") && text.contains("too long with its variables"), "{text}");
}

#[test]
fn as_many_names_and_secrets_as_fit_take_no_time() {
    let lines = |line: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for i in 0.. {
            let next = line(i);
            if text.len() + next.len() > 256 * 1024 {
                break;
            }
            text.push_str(&next);
        }
        text
    };
    let env = lines(&|i| format!("K{i}_KEY=Secret{i:05}\n"));
    let docker = lines(&|i| format!("ENV K{i}_KEY=Other{i:06}\n"));
    let apps: String = (0..1000).map(|i| format!("- {{name: a{i}, import_path: b:c}}\n")).collect();
    let files =
        [(".env", env), ("Dockerfile", docker), ("data/config/a.yaml", format!("applications:\n{apps}"))];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    let begun = Instant::now();
    let imported = import(&Checkout { files, unread: Vec::new() }, "");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(imported.findings.len() < 700 && !as_text(&imported).contains("Secret000"));
    println!("{:?} for {} findings", begun.elapsed(), imported.findings.len());
}

/// Where a secret may stand, with `@` in its place.
const HOLES: [(&str, &str); 16] = [
    (".env", "SOME_TOKEN=@\n"),
    (".env", "DB_PASSWORD='@' # x\nCLAUDE_MODEL=@\n"),
    (".env", "MASTER_CONFIG_REPO=https://@:x@@git.example.org/o/r.git\n"),
    (".env", "A_SECRET=@\nB=${A_SECRET}\nCONTAINER_IMAGE_URI=${B}/x\nMASTER_CONFIG_BRANCH=${B}\n"),
    (".env", "A_SECRET=@\n@=1\n"),
    ("Dockerfile", "ENV API_KEY=@\nARG PROJECT_CONFIG_REPO=https://user:@@h/o/r\n"),
    ("Dockerfile", "RUN git clone \\\n https://u:@@h/x\nENV SECRET @\n"),
    ("data/config/a.yaml", "name: \"@\"\nimport_path: \"@.b:c\"\nruntime_env: {env_vars: {A_KEY: \"@\"}}\n"),
    (
        "data/config/a.yaml",
        "applications:\n- name: a\n  runtime_env: {env_vars: {A_KEY: \"@\", CLAUDE_MODEL: \"@\"}}\n\"@\": 1\n",
    ),
    ("data/config/a.yaml", "http_options: {port: \"@\"}\ntoken: \"@\"\n"),
    ("data/config/a.yaml", "a: [\"https://x:@@h/y\", 1\n"),
    ("data/config/a.yaml", "password: \"@\"\npassword: \"${@}\"\n"),
    (
        ".claude/settings.json",
        "{\"env\": {\"X_API_KEY\": \"@\"}, \"permissions\": {\"deny\": [\"Bash(@)\", \"Read(@)\"]}}",
    ),
    (".claude/settings.json", "{\"token\": \"@\", \"permissions\": {\"allow\": [\"Bash(curl -H @:*)\"]}}"),
    (".claude/a.md", "https://user:@@h/x"),
    (".env", "A_TOKEN=@\nA_TOKEN=@x\n ${@} \nGITHUB_USERNAME=@\n"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_comes_out_wherever_it_stands(
        // A digit and a capital: what is nothing but a word is not looked for in other places.
        secret in "[A-Za-z]{4,8}7X[A-Za-z0-9_-]{3,24}",
        holes in prop::collection::vec(0..HOLES.len(), 1..6),
    ) {
        let mut checkout = Checkout::default();
        for hole in holes {
            let (path, text) = HOLES[hole];
            // `@@` is a hole and the sign itself.
            let text = text.replace("@@", "@\u{1}").replace('@', &secret).replace('\u{1}', "@");
            checkout.files.entry(path.to_owned()).or_default().push_str(&text);
        }
        let imported = import(&checkout, "");
        let text = as_text(&imported);
        prop_assert!(!text.contains(&secret), "{secret} is in\n{text}");
        prop_assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret} is in\n{text}");
        prop_assert!(toml::from_str::<toml::Table>(&imported.toml).is_ok(), "{}", imported.toml);
    }

    #[test]
    fn any_text_is_read_to_its_end(
        env in any::<String>(), docker in any::<String>(), yaml in any::<String>(), json in any::<String>(),
    ) {
        check(&env, &docker, &yaml, &json)?;
    }

    #[test]
    fn texts_of_the_right_signs_are_read_to_their_end(
        env in "(([A-Z_]{0,3}|export |#)=?[\"'\\\\\\$\\{\\}a-z :@/\n]{0,8}){0,20}",
        docker in "((ARG|ENV|RUN|FROM) [A-Z]{0,2}[=<\\\\\"' \\$\\{\\}a-z\n#]{0,10}){0,20}",
        yaml in "((name|applications|runtime_env|env_vars|http_options|import_path|port|- a)?[:\\-\\[\\]\\{\\}&\\*!|> \n\"'a-z]{0,6}){0,20}",
        json in "[\\{\\}\\[\\]:,\"a-z\n\t ]{0,60}",
    ) {
        check(&env, &docker, &yaml, &json)?;
    }
}

fn check(env: &str, docker: &str, yaml: &str, json: &str) -> Result<(), TestCaseError> {
    let files = [
        (".env", env),
        ("Dockerfile", docker),
        ("data/config/a.yaml", yaml),
        (".claude/settings.json", json),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    let imported = import(&Checkout { files, unread: Vec::new() }, "");
    prop_assert!(toml::from_str::<toml::Table>(&imported.toml).is_ok(), "{}", imported.toml);
    for finding in &imported.findings {
        prop_assert!(!finding.what.is_empty() && !finding.what.contains(char::is_control), "{finding:?}");
    }
    Ok(())
}
