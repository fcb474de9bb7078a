//! The style sheet and the scripts: embedded, addressed by a hash over all of them, kept by
//! browsers for ever. One hash for all, so that a script's `import "./other.js"` stays in the same
//! version.

use std::sync::LazyLock;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use crate::{api, body::Path, problem::Problem};

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Assets::iter().collect();
    names.sort_unstable();
    let mut hasher = Sha256::new();
    for name in names {
        hasher.update(name.as_bytes());
        if let Some(file) = Assets::get(&name) {
            hasher.update(&file.data);
        }
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

/// The address of an asset.
pub(crate) fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *HASH)
}

/// `GET /assets/{hash}/{name}`.
pub(crate) async fn asset(Path((hash, name)): Path<(String, String)>) -> Response {
    let Some(file) = Assets::get(&name) else {
        return Problem::not_found("asset").into_response();
    };
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return api::unknown_route(&name).into_response(),
    };
    // An old page asks a new server: it gets what there is, and does not keep it.
    let cache = if hash == *HASH { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = Response::new(Body::from(file.data.into_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A browser says nothing about a brace that is missing: it leaves out what comes after it.
    #[test]
    fn the_style_sheet_closes_what_it_opens() {
        let sheet = Assets::get("app.css").expect("the style sheet").data;
        let mut open: Vec<usize> = Vec::new();
        for (line, text) in (1..).zip(String::from_utf8_lossy(&sheet).lines()) {
            if text.starts_with("/* ") {
                assert!(open.is_empty(), "a part begins at line {line} while these lines are open: {open:?}");
            }
            for brace in text.chars() {
                match brace {
                    '{' => open.push(line),
                    '}' => assert!(open.pop().is_some(), "line {line} closes what nothing opened"),
                    _ => {}
                }
            }
        }
        assert!(open.is_empty(), "these lines are never closed: {open:?}");
    }
}
