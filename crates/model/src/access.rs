//! Who may do what: the rules that every page, endpoint and list asks.

use std::{collections::BTreeSet, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Role;

/// What somebody wants with an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Look at it, and at its files.
    See,
    /// Answer its holds.
    Decide,
    /// Send messages, interrupt, cancel, finish.
    Steer,
    /// Say with whom it is shared.
    Share,
}

impl Act {
    /// All acts.
    pub const ALL: [Self; 4] = [Self::See, Self::Decide, Self::Steer, Self::Share];

    /// What a token needs for it.
    #[must_use]
    pub fn scope(self) -> TokenScope {
        match self {
            Self::See => TokenScope::Read,
            Self::Decide => TokenScope::Decide,
            Self::Steer | Self::Share => TokenScope::Start,
        }
    }
}

/// What somebody was given with an execution of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// They may look.
    Look,
    /// They may also answer its holds.
    Answer,
}

impl Share {
    /// The name as it is sent and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Answer => "answer",
        }
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Look, Self::Answer]
            .into_iter()
            .find(|share| share.as_str() == text)
            .ok_or_else(|| format!("unknown share {text:?}: one of look, answer"))
    }
}

/// How somebody stands to an execution, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It is another's.
    Stranger,
    /// It is another's, who shares it with them.
    Shared(Share),
    /// It is theirs.
    Owner,
}

impl Role {
    /// Whether this role may do this to an execution.
    ///
    /// Sharing widens what askers may do and nothing else: operators and approvers may do as much with
    /// every conversation, and viewers change nothing, whatever they are given.
    #[must_use]
    pub fn may(self, act: Act, standing: Standing) -> bool {
        match act {
            Act::See => self != Self::Asker || standing > Standing::Stranger,
            Act::Decide => match self {
                Self::Admin | Self::Operator | Self::Approver => true,
                Self::Asker => standing >= Standing::Shared(Share::Answer),
                Self::Viewer => false,
            },
            Act::Steer | Act::Share => match self {
                Self::Admin | Self::Operator => true,
                Self::Approver | Self::Asker => standing == Standing::Owner,
                Self::Viewer => false,
            },
        }
    }

    /// May start an execution.
    #[must_use]
    pub fn may_start(self) -> bool {
        self != Self::Viewer
    }

    /// May look inside of sessions, and at what concerns everybody's conversations.
    #[must_use]
    pub fn may_operate(self) -> bool {
        matches!(self, Self::Admin | Self::Operator)
    }

    /// May make users and tokens for others, and read the audit log.
    #[must_use]
    pub fn may_administer(self) -> bool {
        self == Self::Admin
    }

    /// What a token of somebody in this role can be good for.
    #[must_use]
    pub fn scopes(self) -> Scopes {
        let mut scopes = Scopes::of([TokenScope::Read]);
        if self.may_start() {
            scopes.0.extend([TokenScope::Start, TokenScope::Decide]);
        }
        if self.may_operate() {
            scopes.0.insert(TokenScope::Operate);
        }
        if self.may_administer() {
            scopes.0.insert(TokenScope::Admin);
        }
        scopes
    }
}

/// One thing that a token may be used for, as far as its owner may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenScope {
    /// Look at conversations. Every token may.
    Read,
    /// Start conversations, and steer and share them.
    Start,
    /// Answer holds.
    Decide,
    /// Look inside of sessions, and at what concerns everybody's conversations.
    Operate,
    /// Make users and tokens, and read the audit log.
    Admin,
}

impl TokenScope {
    /// All of them, from least to most.
    pub const ALL: [Self; 5] = [Self::Read, Self::Start, Self::Decide, Self::Operate, Self::Admin];

    /// The name as stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Start => "start",
            Self::Decide => "decide",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenScope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("unknown scope {text:?}: one of read, start, decide, operate, admin"))
    }
}

/// What a token may be used for; at least `read`. As text: the names with spaces between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "BTreeSet<TokenScope>", into = "BTreeSet<TokenScope>")]
pub struct Scopes(BTreeSet<TokenScope>);

impl Scopes {
    /// These, and `read`.
    #[must_use]
    pub fn of(scopes: impl IntoIterator<Item = TokenScope>) -> Self {
        scopes.into_iter().collect::<BTreeSet<_>>().into()
    }

    /// Whatever the owner may do.
    #[must_use]
    pub fn all() -> Self {
        Self::of(TokenScope::ALL)
    }

    /// Whether this is among them.
    #[must_use]
    pub fn has(&self, scope: TokenScope) -> bool {
        self.0.contains(&scope)
    }

    /// Those of them that are not among `allowed`.
    #[must_use]
    pub fn beyond(&self, allowed: &Self) -> Vec<TokenScope> {
        self.0.difference(&allowed.0).copied().collect()
    }
}

impl From<BTreeSet<TokenScope>> for Scopes {
    fn from(mut scopes: BTreeSet<TokenScope>) -> Self {
        scopes.insert(TokenScope::Read);
        Self(scopes)
    }
}

impl From<Scopes> for BTreeSet<TokenScope> {
    fn from(scopes: Scopes) -> Self {
        scopes.0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&names.join(" "))
    }
}

impl FromStr for Scopes {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scopes = text.split_whitespace().map(str::parse).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(scopes.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const STANDINGS: [Standing; 4] =
        [Standing::Stranger, Standing::Shared(Share::Look), Standing::Shared(Share::Answer), Standing::Owner];

    /// By standing, from stranger to owner: see, decide, steer, share.
    #[rstest]
    #[case(Role::Admin, ["sdtx", "sdtx", "sdtx", "sdtx"])]
    #[case(Role::Operator, ["sdtx", "sdtx", "sdtx", "sdtx"])]
    #[case(Role::Approver, ["sd", "sd", "sd", "sdtx"])]
    #[case(Role::Asker, ["", "s", "sd", "sdtx"])]
    #[case(Role::Viewer, ["s", "s", "s", "s"])]
    fn who_may_do_what(#[case] role: Role, #[case] expected: [&str; 4]) {
        for (standing, expected) in STANDINGS.into_iter().zip(expected) {
            let may: String = Act::ALL
                .into_iter()
                .zip("sdtx".chars())
                .filter(|(act, _)| role.may(*act, standing))
                .map(|(_, letter)| letter)
                .collect();
            assert_eq!(may, expected, "{role} {standing:?}");
        }
    }

    #[test]
    fn a_nearer_standing_takes_nothing_away_and_nobody_acts_on_what_they_do_not_see() {
        for role in Role::ALL {
            for act in Act::ALL {
                for pair in STANDINGS.windows(2) {
                    assert!(role.may(act, pair[1]) || !role.may(act, pair[0]), "{role} {act:?} {pair:?}");
                }
                for standing in STANDINGS {
                    assert!(role.may(Act::See, standing) || !role.may(act, standing), "{role} {act:?}");
                    let scopes = role.scopes();
                    assert!(scopes.has(act.scope()) || !role.may(act, standing), "{role} {act:?}");
                }
            }
        }
        for pair in Role::ALL.windows(2) {
            assert_eq!(pair[1].scopes().beyond(&pair[0].scopes()), [], "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn scopes_survive_being_written(wanted in prop::collection::btree_set(prop::sample::select(&TokenScope::ALL[..]), 0..5)) {
            let scopes = Scopes::of(wanted);
            prop_assert!(scopes.has(TokenScope::Read));
            prop_assert_eq!(scopes.to_string().parse::<Scopes>(), Ok(scopes.clone()));
            let json = serde_json::to_string(&scopes).expect("json");
            prop_assert_eq!(serde_json::from_str::<Scopes>(&json).expect("scopes"), scopes);
        }
    }

    #[test]
    fn unknown_words_are_named() {
        let error = "read fly".parse::<Scopes>().expect_err("unknown");
        assert!(error.contains("\"fly\"") && error.contains("operate"), "{error}");
        assert!("see".parse::<Share>().expect_err("unknown").contains("look, answer"));
    }
}
