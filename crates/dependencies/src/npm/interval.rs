//! A stretch of versions, and the pre-releases in it that npm lets in.

use std::{cmp::Ordering, fmt};

use nodejs_semver::{Range, Version};

/// Where a stretch ends.
#[derive(Clone, Debug)]
struct End {
    version: Version,
    included: bool,
}

/// Versions from one to another. A pre-release is in it only if one of the ends is a pre-release of the same
/// version, as npm has it: `>=1.0.0-beta.2` takes `1.0.0-rc.1`, and not `1.1.0-rc.1`.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    lower: Option<End>,
    upper: Option<End>,
}

/// Major, minor, patch: what a pre-release is one of.
type Release = (u64, u64, u64);

fn release(version: &Version) -> Release {
    (version.major(), version.minor(), version.patch())
}

/// Below all other pre-releases of it.
fn first_pre_release((major, minor, patch): Release) -> Version {
    Version::from((major, minor, patch, 0))
}

impl Interval {
    pub(super) const ANY: Self = Self { lower: None, upper: None };

    /// Reads one comparator. The library is given one alone: of several, it lets pass what it does not know,
    /// takes `>2 <1` for `>2 || <1`, and knows no `1 - x`.
    pub(super) fn parse(comparator: &str) -> Option<Self> {
        let plain = Range::parse(comparator).ok()?.to_string();
        let mut all = Self::ANY;
        for part in plain.split_whitespace() {
            let at = part.find(|c: char| c.is_ascii_digit() || c == '*').unwrap_or(part.len());
            let (operator, version) = part.split_at(at);
            if version == "*" {
                continue;
            }
            let version = Version::parse(version.split('+').next()?).ok()?;
            let end = |included| Some(End { version: version.clone(), included });
            let one = match operator {
                ">=" => Self { lower: end(true), upper: None },
                ">" => Self { lower: end(false), upper: None },
                "<=" => Self { lower: None, upper: end(true) },
                "<" => Self { lower: None, upper: end(false) },
                "" => Self { lower: end(true), upper: end(true) },
                _ => return None,
            };
            all = Self { lower: one.lower.or(all.lower), upper: one.upper.or(all.upper) };
        }
        Some(all.without_largest().without_zero())
    }

    /// `<=1` is `<=1.9….9…` to the library; npm reads `<2.0.0-0`.
    fn without_largest(mut self) -> Self {
        if let Some(upper) = &mut self.upper {
            let (major, minor, patch) = release(&upper.version);
            if patch >= nodejs_semver::MAX_SAFE_INTEGER && upper.included {
                let next = if minor >= nodejs_semver::MAX_SAFE_INTEGER {
                    (major + 1, 0, 0)
                } else {
                    (major, minor + 1, 0)
                };
                *upper = End { version: first_pre_release(next), included: false };
            }
        }
        self
    }

    /// `>=0.0.0` is nothing to npm, where `0.x` comes to it, too: `0.x <0.0.0-rc.1` lets in `0.0.0-beta`.
    fn without_zero(mut self) -> Self {
        let zero = Version::from((0, 0, 0));
        self.lower = self.lower.filter(|it| !it.included || it.version != zero);
        self
    }

    /// What is between the ends of both, as npm reads comparators of one range: a pre-release that either
    /// names is let in.
    pub(super) fn within(&self, other: &Self) -> Self {
        Self {
            lower: tighter(&self.lower, &other.lower, Ordering::Greater),
            upper: tighter(&self.upper, &other.upper, Ordering::Less),
        }
    }

    /// What is in both; `None` if no version is.
    pub(super) fn meet(&self, other: &Self) -> Option<Self> {
        let mut met = self.within(other);
        // An end may not let in pre-releases that one of the two keeps out.
        let both = |at: Release| self.lets_in(at) && other.lets_in(at);
        if let Some(lower) = met.lower.as_mut().filter(|it| it.version.is_prerelease()) {
            let at = release(&lower.version);
            if !both(at) {
                *lower = End { version: Version::from(at), included: true };
            }
        }
        if let Some(upper) = met.upper.as_mut().filter(|it| it.version.is_prerelease()) {
            let at = release(&upper.version);
            if !both(at) {
                *upper = End { version: first_pre_release(at), included: false };
            }
        }
        Some(met.without_zero()).filter(Self::has_any)
    }

    /// Whether pre-releases of that version are let in.
    fn lets_in(&self, at: Release) -> bool {
        let names = |end: &Option<End>| {
            end.as_ref().is_some_and(|it| it.version.is_prerelease() && release(&it.version) == at)
        };
        names(&self.lower) || names(&self.upper)
    }

    fn between(&self, version: &Version) -> bool {
        let above = self.lower.as_ref().is_none_or(|it| match version.cmp(&it.version) {
            Ordering::Greater => true,
            Ordering::Equal => it.included,
            Ordering::Less => false,
        });
        above
            && self.upper.as_ref().is_none_or(|it| match version.cmp(&it.version) {
                Ordering::Less => true,
                Ordering::Equal => it.included,
                Ordering::Greater => false,
            })
    }

    /// Whether any version is in it. Releases follow one another, so nothing is between `>1.2.3` and `<1.2.4`.
    pub(super) fn has_any(&self) -> bool {
        let Some(lower) = &self.lower else {
            let zero = Version::from((0, 0, 0));
            return self.between(&zero) || self.first_of_upper().is_some_and(|it| self.between(&it));
        };
        let (major, minor, patch) = release(&lower.version);
        let next = if lower.version.is_prerelease() || lower.included { patch } else { patch + 1 };
        if self.between(&Version::from((major, minor, next))) {
            return true;
        }
        let after_lower = lower.version.is_prerelease().then(|| {
            if lower.included {
                return lower.version.clone();
            }
            let mut parts = lower.version.clone().into_parts();
            parts.pre_release.push(nodejs_semver::Identifier::Numeric(0));
            Version::new(major, minor, patch, parts.pre_release, Vec::new())
        });
        after_lower.is_some_and(|it| self.between(&it))
            || self.first_of_upper().is_some_and(|it| self.between(&it))
    }

    fn first_of_upper(&self) -> Option<Version> {
        let upper = self.upper.as_ref().filter(|it| it.version.is_prerelease())?;
        Some(first_pre_release(release(&upper.version)))
    }

    /// Whether all that is in the other is in this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.meet(other).is_some_and(|met| met.same(other))
    }

    /// Whether both have the same ends.
    pub(super) fn same(&self, other: &Self) -> bool {
        let same = |a: &Option<End>, b: &Option<End>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a.version == b.version && a.included == b.included,
            _ => false,
        };
        same(&self.lower, &other.lower) && same(&self.upper, &other.upper)
    }
}

/// The end that leaves less, where `less` is the way in which an end moves to leave less.
fn tighter(a: &Option<End>, b: &Option<End>, less: Ordering) -> Option<End> {
    let (Some(a), Some(b)) = (a, b) else { return a.clone().or_else(|| b.clone()) };
    let chosen = match a.version.cmp(&b.version) {
        Ordering::Equal if a.included => b,
        Ordering::Equal => a,
        order if order == less => a,
        _ => b,
    };
    Some(chosen.clone())
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_equal = |end: &End| if end.included { "=" } else { "" };
        match (&self.lower, &self.upper) {
            (None, None) => f.write_str("*"),
            (Some(at), None) => write!(f, ">{}{}", or_equal(at), at.version),
            (None, Some(to)) => write!(f, "<{}{}", or_equal(to), to.version),
            (Some(at), Some(to)) if at.version == to.version => write!(f, "{}", at.version),
            (Some(at), Some(to)) => {
                write!(f, ">{}{} <{}{}", or_equal(at), at.version, or_equal(to), to.version)
            }
        }
    }
}
