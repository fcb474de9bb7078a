//! Moving over: what a checkout of the template that Holdpoint replaces says, as `holdpoint.toml`, and what of it
//! somebody has to look at.
//!
//! [`read`] takes the few files that matter out of a folder, bounded and without following links. [`import`] is
//! pure: texts in, an [`Imported`] out. Nothing is dropped in silence: whatever was read and not taken over is a
//! [`Finding`] with its place.
//!
//! No value of a secret comes out. A secret is known by the name that it stands under or by its shape; values that are
//! written into `holdpoint.toml` are parsed first (a repository, an image, a number), and in the end everything is
//! searched for the secrets that were met. The decisions are in `docs/decisions/0025`.

mod address;
mod agent;
mod apps;
mod checkout;
mod claude_folder;
mod deploy;
mod differences;
mod dockerfile;
mod dotenv;
mod draft;
mod expand;
mod facts;
mod finding;
mod gather;
mod names;
mod picture;
mod secret;
mod shown;
mod sources;
mod yaml;

pub use checkout::{Checkout, Unread, Why, read};
pub use finding::{Finding, Kind, Place};

/// What came of a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The text of `holdpoint.toml`.
    pub toml: String,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// The names of its agents.
    pub agents: Vec<String>,
}

impl Imported {
    /// How many findings of a kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }
}

/// Reads a checkout's texts. `prefix` leads from where `holdpoint.toml` will be to the checkout: empty, or a folder's path.
#[must_use]
pub fn import(checkout: &Checkout, prefix: &str) -> Imported {
    let mut facts = gather::gather(checkout);
    let mut draft = draft::Draft::default();
    differences::find(&mut facts);
    sources::master_and_project(checkout, &mut facts, &mut draft, prefix);
    deploy::registry(&mut facts, &mut draft);
    deploy::gateway(&mut facts, &mut draft);
    deploy::panel(&mut facts, &mut draft);
    agent::agents(checkout, &mut facts, &mut draft, prefix);
    names::the_rest(&mut facts);
    facts.finish(&draft)
}
