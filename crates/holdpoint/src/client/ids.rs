//! Ids as people type them: whole, or any beginning or end that means one thing only. Ids that were
//! made at about the same time begin alike, so the short form that is shown is the end.

use crate::{
    client::{
        Api,
        types::{Execution, HoldItem, items},
    },
    failure::{Exit, Failure},
};

/// How many characters are shown where there is little room.
pub const SHORT: usize = 8;

/// Pages of conversations that are looked through for a shortened id.
const PAGES: usize = 10;

/// An id, short enough to type.
#[must_use]
pub fn short(id: &str) -> &str {
    let cut = id.char_indices().rev().nth(SHORT - 1).map_or(0, |(at, _)| at);
    &id[cut..]
}

/// The hold that is meant, with what is known of it. Only open ones can be shortened.
///
/// # Errors
/// When there is none, or more than one.
pub async fn hold(api: &Api, typed: &str) -> anyhow::Result<HoldItem> {
    if typed.parse::<holdpoint_model::HoldId>().is_ok() {
        let value = api.get(&format!("/v1/holds/{typed}")).await?;
        return Ok(serde_json::from_value(value)?);
    }
    let holds: Vec<HoldItem> = items(&api.get("/v1/holds?status=open&limit=200").await?);
    let ids: Vec<&str> = holds.iter().map(|hold| hold.id.as_str()).collect();
    let id = one("open hold", typed, &ids, "holdpoint inbox")?.to_owned();
    let found = holds.into_iter().find(|hold| hold.id == id);
    Ok(found.unwrap_or_default())
}

/// The execution that is meant.
///
/// # Errors
/// When there is none, or more than one.
pub async fn execution(api: &Api, typed: &str) -> anyhow::Result<String> {
    if typed.parse::<holdpoint_model::ExecutionId>().is_ok() {
        return Ok(typed.to_owned());
    }
    let mut ids = Vec::new();
    let mut cursor = String::new();
    for _ in 0..PAGES {
        let page = api.get(&format!("/v1/executions?limit=200{cursor}")).await?;
        ids.extend(items::<Execution>(&page).into_iter().map(|execution| execution.id));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    Ok(one("conversation", typed, &ids, "holdpoint list")?.to_owned())
}

pub(crate) fn one<'a>(what: &str, typed: &str, ids: &[&'a str], list: &str) -> Result<&'a str, Failure> {
    let typed = typed.trim().to_lowercase();
    let none = || Failure::new(format!("there is no {what} {typed:?}")).exit(Exit::NotFound).next(list);
    if typed.is_empty() {
        return Err(none());
    }
    let fits: Vec<&str> =
        ids.iter().copied().filter(|id| id.ends_with(&typed) || id.starts_with(&typed)).collect();
    match fits.as_slice() {
        [] => Err(none()),
        [one] => Ok(one),
        several => Err(Failure::new(format!("{typed:?} means more than one {what}"))
            .exit(Exit::Usage)
            .why(several.iter().take(5).copied().collect::<Vec<_>>().join("\n"))
            .next("type more of it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_be_shortened_as_long_as_it_means_one_thing() {
        let ids = ["01aa-1111beef", "01aa-2222beef", "01bb-3333cafe"];
        assert_eq!(one("hold", "cafe", &ids, "l"), Ok(ids[2]));
        assert_eq!(one("hold", "1111BEEF", &ids, "l"), Ok(ids[0]));
        assert_eq!(one("hold", "01bb", &ids, "l"), Ok(ids[2]));
        assert_eq!(one("hold", "beef", &ids, "l").expect_err("two").exit, Exit::Usage);
        assert_eq!(one("hold", "dead", &ids, "l").expect_err("none").exit, Exit::NotFound);
        assert_eq!(one("hold", " ", &ids, "l").expect_err("empty").exit, Exit::NotFound);
        assert_eq!(short(ids[0]), "1111beef");
        assert_eq!(short("abc"), "abc");
    }
}
