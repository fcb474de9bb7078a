//! What is run in a container to make a layer of dependencies. Pure.
//!
//! It comes with its files in one folder, which it removes at its end: nothing of it is in the layer, least of all
//! the addresses and passwords of mirrors and proxies.

use std::path::Path;

use holdpoint_model::image::{AGENT_UID, CLI_PATH, PROGRAM_PATH};

use super::{
    inputs::{AgentsInputs, Dependencies},
    plan::LayerKind,
};
use crate::{
    layer::{Content, Entry, Layer, Node},
    sources::{Source, sources},
};

/// Where the files of a build are while it runs.
pub(super) const FOLDER: &str = "holdpoint-build";

/// What the script says where a package would replace what sessions are run with.
pub(super) const REPLACED: &str = "holdpoint: a package replaces";

/// What pip needs. Without build tools: who needs those names them.
const FOR_PYTHON: &[&str] = &["python3-pip"];

/// What npm packages need. Not Debian's npm: it comes in 350 packages, which took minutes where disks are busy.
const FOR_NPM: &[&str] = &["nodejs"];

/// The npm that installs: of those that Debian's Node runs (18.17 and later), the newest line.
pub(super) const NPM: &str = "10.9.4";

/// The SHA-512 of its archive, as npm's registry has had it since it was published.
const NPM_SHA512: &str = "3a7506f37e85c1ba1021baad79f0cd9724748131f321fc117c4dc3ba235ec01be7327584a41d15117c01945560aa9373220628fcc1e1dddd877a5fe9b336a900";

/// Debian's packages that the dependencies ask for and need, sorted, each once.
pub(super) fn system_packages(dependencies: &Dependencies) -> Vec<String> {
    let mut packages = dependencies.system.clone();
    let mut needs = |are_needed: bool, names: &[&str]| {
        if are_needed {
            // A version that was asked for stays.
            let is_asked_for = |name: &str| {
                dependencies.system.iter().any(|line| line.split(['=', ':']).next() == Some(name))
            };
            packages.extend(names.iter().filter(|name| !is_asked_for(name)).map(|name| (*name).to_owned()));
        }
    };
    needs(dependencies.requirements.is_some(), FOR_PYTHON);
    needs(dependencies.package_json.is_some(), FOR_NPM);
    packages.sort();
    packages.dedup();
    packages
}

/// The folder with the script and its files.
pub(super) fn files(inputs: &AgentsInputs, kind: LayerKind) -> Layer {
    let mut layer = Layer::default();
    // For root alone: an address may have a password.
    let folder = || Entry { node: Node::Folder, mode: 0o700, uid: 0, gid: 0, mtime: 0 };
    layer.put(FOLDER, folder());
    layer.put(format!("{FOLDER}/home"), folder());
    let mut put = |name: &str, text: &[u8]| {
        layer.put(format!("{FOLDER}/{name}"), Entry::file(Content::Bytes(text.to_vec()), 0o600, 0));
    };
    let sources = sources(inputs.mirrors.apt.as_deref(), Path::new("/etc/apt"));
    put("run.sh", script(inputs, kind, &sources).as_bytes());
    put("env.sh", env(inputs).as_bytes());
    if let Some(certificates) = &inputs.certificates {
        put("certificates.pem", certificates);
    }
    let dependencies = &inputs.dependencies;
    let texts = match kind {
        LayerKind::System => {
            let lines: String = sources.iter().map(|source| source.line() + "\n").collect();
            vec![("sources.list", Some(lines))]
        }
        LayerKind::Python => vec![
            ("requirements.txt", dependencies.requirements.clone()),
            ("constraints.txt", dependencies.constraints.clone()),
        ],
        LayerKind::Npm => vec![("package.json", dependencies.package_json.clone())],
        LayerKind::Configuration => Vec::new(),
    };
    for (name, text) in texts {
        if let Some(text) = text {
            put(name, text.as_bytes());
        }
    }
    layer
}

/// The variables, as lines of a shell.
fn env(inputs: &AgentsInputs) -> String {
    let home = format!("/{FOLDER}/home");
    let mut variables: Vec<(&str, &str)> = vec![
        ("PATH", holdpoint_model::container::PATH),
        ("HOME", &home),
        ("LC_ALL", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("npm_config_update_notifier", "false"),
        // No address of a mirror in what stays.
        ("npm_config_omit_lockfile_registry_resolved", "true"),
    ];
    let certificates = format!("/{FOLDER}/certificates.pem");
    if inputs.certificates.is_some() {
        // Each tool has a variable of its own.
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "PIP_CERT",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "npm_config_cafile",
        ] {
            variables.push((name, &certificates));
        }
    }
    variables.extend(inputs.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    variables.extend(inputs.mirrors.pip.as_deref().map(|url| ("PIP_INDEX_URL", url)));
    variables.extend(inputs.mirrors.npm.as_deref().map(|url| ("npm_config_registry", url)));
    variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn script(inputs: &AgentsInputs, kind: LayerKind, sources: &[Source]) -> String {
    let does = match kind {
        LayerKind::System => system(inputs, sources),
        LayerKind::Python => PYTHON.to_owned(),
        LayerKind::Npm => npm(),
        LayerKind::Configuration => String::new(),
    };
    format!(
        "set -eu\n\
         umask 022\n\
         cd /{FOLDER}\n\
         . ./env.sh\n\
         exec 2>&1\n\
         sha256sum {CLI_PATH} {PROGRAM_PATH} > ours\n\
         {does}\
         cd /{FOLDER}\n\
         sha256sum --check --quiet ours || {{ echo '{REPLACED} {CLI_PATH} or {PROGRAM_PATH}'; exit 1; }}\n\
         cd /\n\
         rm -rf /{FOLDER} /tmp/* /var/tmp/*\n"
    )
}

fn system(inputs: &AgentsInputs, sources: &[Source]) -> String {
    let mut options = vec![
        format!("Dir::Etc::SourceList=/{FOLDER}/sources.list"),
        "Dir::Etc::SourceParts=/dev/null".into(),
        "APT::Get::Show-Versions=false".into(),
        "Dpkg::Use-Pty=false".into(),
        // Not to disk after each of thousands of files: a layer counts only once the engine has put it away, and
        // on a busy disk it is minutes.
        "Dpkg::Options::=--force-unsafe-io".into(),
        "Acquire::Retries=3".into(),
        // The folder is root's alone.
        "APT::Sandbox::User=root".into(),
    ];
    if inputs.certificates.is_some() {
        options.push(format!("Acquire::https::CAInfo=/{FOLDER}/certificates.pem"));
    }
    if sources.iter().any(Source::is_snapshot) {
        options.push("Acquire::Check-Valid-Until=false".into());
    }
    let options: String = options.iter().map(|option| format!(" -o {option}")).collect();
    let packages = system_packages(&inputs.dependencies).join(" ");
    format!(
        "apt-get{options} update -q\n\
         apt-get{options} install -y -q --no-install-recommends -- {packages}\n\
         apt-get clean\n\
         rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache\n\
         find /var/log -type f -delete\n"
    )
}

/// Beside Debian's own packages, where Python looks by itself: the image is for one agent, and nobody else uses its
/// Python.
const PYTHON: &str = "python3 -m pip install --break-system-packages --no-input --no-cache-dir --progress-bar off \
                      --disable-pip-version-check --root-user-action=ignore --requirement requirements.txt\n";

/// By npm of a version and digest that are known, unless a package of Debian's brought one. Into `/app`, where `require` and `import` find them from below; the link lets them be found from anywhere, since
/// that is where Node looks last. Programs go where the PATH leads, but never in the place of another.
fn npm() -> String {
    format!(
        "mkdir -p /app\n\
         cp package.json /app/package.json\n\
         chmod 644 /app/package.json\n\
         command -v npm >/dev/null || {{\n\
         \x20   registry=${{npm_config_registry:-https://registry.npmjs.org}}\n\
         \x20   curl -fsSL --retry 3 -o npm.tgz \"${{registry%/}}/npm/-/npm-{NPM}.tgz\"\n\
         \x20   echo '{NPM_SHA512}  npm.tgz' | sha512sum --check --quiet\n\
         \x20   mkdir -p /usr/local/lib/node_modules/npm\n\
         \x20   tar -xzf npm.tgz -C /usr/local/lib/node_modules/npm --strip-components=1 --no-same-owner\n\
         \x20   ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm\n\
         \x20   ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx\n\
         }}\n\
         cd /app\n\
         npm install --omit=dev --no-audit --no-fund --cache /{FOLDER}/npm-cache\n\
         mkdir -p /app/node_modules\n\
         [ -e /node_modules ] || ln -s /app/node_modules /node_modules\n\
         for program in /app/node_modules/.bin/*; do\n\
         \x20   name=$(basename \"$program\")\n\
         \x20   command -v \"$name\" >/dev/null || [ ! -e \"$program\" ] || ln -s \"$program\" \"/usr/local/bin/$name\"\n\
         done\n\
         chown -R --no-dereference {AGENT_UID}:{AGENT_UID} /app\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_holds_is_one_word_to_a_shell() {
        let dir = tempfile::tempdir().expect("dir");
        for value in ["plain", "it's", "$(touch x)", "`x`", "a\nb", "\\", "'", ""] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(value))])
                .current_dir(dir.path())
                .output()
                .expect("sh");
            assert_eq!(String::from_utf8_lossy(&output.stdout), value);
        }
    }

    #[test]
    fn what_packages_need_to_be_installed_is_installed_once() {
        let dependencies = Dependencies {
            requirements: Some("six".into()),
            system: vec!["tree".into(), "nodejs=18.20".into(), "tree".into()],
            package_json: Some("{}".into()),
            constraints: None,
        };
        assert_eq!(system_packages(&dependencies), ["nodejs=18.20", "python3-pip", "tree"]);
    }
}
