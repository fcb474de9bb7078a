//! Which layers an image of agents needs, and which of them are there. Pure.

use std::fmt;

use super::{
    inputs::{AgentsInputs, Dependencies},
    look::Known,
    script,
};
use crate::layer::digest_bytes;

/// Counts up when the same inputs come to make another layer.
const FORMAT: u32 = 1;

/// A layer above the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LayerKind {
    /// Debian's packages, and what the layers above need to install theirs.
    System,
    /// Python packages.
    Python,
    /// npm packages.
    Npm,
    /// Settings, plugins and the manifest.
    Configuration,
}

impl LayerKind {
    /// As history and errors name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system packages",
            Self::Python => "Python packages",
            Self::Npm => "npm packages",
            Self::Configuration => "configuration",
        }
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A layer of dependencies, as it will be made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLayer {
    /// What it is.
    pub kind: LayerKind,
    /// A digest of what it is made of and what is below it, in hexadecimal.
    pub key: String,
    /// Whether it need not be made.
    pub cached: bool,
}

/// The layers of dependencies that an image needs, from the bottom. The configuration comes on top of them each
/// time; that takes seconds.
#[must_use]
pub fn plan_layers(inputs: &AgentsInputs, known: &Known) -> Vec<PlannedLayer> {
    let mut below = digest_bytes(format!("{FORMAT} {:?}", known.base_layers).as_bytes()).sha256;
    let mut layers = Vec::new();
    for (kind, made_of) in made_of(inputs) {
        let text = format!("{below}\n{}\n{:?}\n{made_of}", kind.name(), inputs.mirrors);
        let key = digest_bytes(text.as_bytes()).sha256;
        below.clone_from(&key);
        layers.push(PlannedLayer { kind, key, cached: false });
    }
    // What lies below a kept layer is in it.
    let kept = layers.iter().rposition(|layer| !inputs.fresh && known.kept.contains_key(&layer.key));
    for layer in layers.iter_mut().take(kept.map_or(0, |at| at + 1)) {
        layer.cached = true;
    }
    layers
}

/// What each layer that is needed is made of.
fn made_of(inputs: &AgentsInputs) -> Vec<(LayerKind, String)> {
    let Dependencies { requirements, constraints, package_json, .. } = &inputs.dependencies;
    let system = script::system_packages(&inputs.dependencies);
    [
        (LayerKind::System, (!system.is_empty()).then(|| system.join("\n"))),
        (LayerKind::Python, requirements.as_ref().map(|text| format!("{text:?} {constraints:?}"))),
        (LayerKind::Npm, package_json.as_ref().map(|text| format!("{}\n{text}", script::NPM))),
    ]
    .into_iter()
    .filter_map(|(kind, made_of)| Some((kind, made_of?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use holdpoint_model::{Tree, TreeFile};

    use super::*;
    use crate::agents::Mirrors;

    fn inputs(requirements: &str, package_json: &str, system: &[&str]) -> AgentsInputs {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        AgentsInputs {
            base: "sha256:base".into(),
            user_claude: Tree::default(),
            project_claude: Tree::default(),
            plugins: Tree::default(),
            dependencies: Dependencies {
                requirements: text(requirements),
                constraints: None,
                package_json: text(package_json),
                system: system.iter().map(|name| (*name).to_owned()).collect(),
            },
            sources: Vec::new(),
            name: "localhost/x:1".into(),
            labels: BTreeMap::new(),
            created: jiff::Timestamp::UNIX_EPOCH,
            env: BTreeMap::new(),
            certificates: None,
            mirrors: Mirrors::default(),
            network: None,
            cache: "/tmp".into(),
            fresh: false,
        }
    }

    fn known(keys: &[&PlannedLayer]) -> Known {
        let kept = keys.iter().map(|layer| (layer.key.clone(), "id".to_owned())).collect();
        Known { base_layers: vec!["sha256:a".into()], kept }
    }

    fn cached(inputs: &AgentsInputs, known: &Known) -> Vec<bool> {
        plan_layers(inputs, known).iter().map(|layer| layer.cached).collect()
    }

    #[test]
    fn a_layer_is_needed_only_for_what_is_asked_for() {
        let kinds = |inputs: &AgentsInputs| {
            plan_layers(inputs, &known(&[])).iter().map(|layer| layer.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&inputs("", "", &[])), []);
        assert_eq!(kinds(&inputs("", "", &["tree"])), [LayerKind::System]);
        assert_eq!(kinds(&inputs("six", "", &[])), [LayerKind::System, LayerKind::Python], "pip is Debian's");
        assert_eq!(kinds(&inputs("", "{}", &[])), [LayerKind::System, LayerKind::Npm]);
    }

    #[test]
    fn settings_cost_no_layer_and_a_change_costs_those_from_it_upwards() {
        let before = inputs("six", "{}", &["tree"]);
        let layers = plan_layers(&before, &known(&[]));
        let all = known(&layers.iter().collect::<Vec<_>>());
        let mut settings = before.clone();
        let file = TreeFile { bytes: b"{}".to_vec(), executable: false };
        settings.project_claude.insert("settings.json", file).expect("fits");
        settings.env.insert("http_proxy".into(), "http://proxy.example".into());
        assert_eq!(cached(&settings, &all), [true, true, true]);
        assert_eq!(cached(&inputs("six", "{ }", &["tree"]), &all), [true, true, false]);
        assert_eq!(cached(&inputs("six==1", "{}", &["tree"]), &all), [true, false, false]);
        assert_eq!(cached(&inputs("six", "{}", &["jq"]), &all), [false, false, false]);
        assert_eq!(cached(&inputs("six", "{}", &["tree", "tree"]), &all), [true, true, true], "a set");
        assert_eq!(cached(&before, &known(&[&layers[2]])), [true, true, true], "those below are in it");
        assert_eq!(cached(&AgentsInputs { fresh: true, ..before.clone() }, &all), [false, false, false]);
        let other = Known { base_layers: vec!["sha256:b".into()], ..all };
        assert_eq!(cached(&before, &other), [false, false, false]);
    }
}
