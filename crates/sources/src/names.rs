//! Names that are nearly the one that was asked for.

/// How many are told.
const MAX_NEAR: usize = 5;

/// The names nearest to one that is not there, nearest first; all of them if they are few.
pub(crate) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut ranked: Vec<(f64, &str)> = names.map(|it| (strsim::jaro_winkler(name, it), it)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.dedup_by(|a, b| a.1 == b.1);
    ranked.into_iter().take(MAX_NEAR).map(|(_, name)| name).collect()
}

/// Those names as a sentence to go on with.
pub(crate) fn near_text<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    match near(name, names).as_slice() {
        [] => "there are none".to_owned(),
        near => format!("there are: {}", near.join(", ")),
    }
}
