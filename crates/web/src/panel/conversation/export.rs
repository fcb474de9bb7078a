//! `/executions/{id}/export.md` and `export.html`: a conversation to take along, whole, in one file, without a
//! script and without anything that would be fetched.

use std::sync::LazyLock;

use axum::{body::Body, extract::State, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::fold;
use crate::{
    auth::{Act, Caller, Visitor, execution},
    body::Path,
    encode, markdown,
    panel::{PageError, timeline::Section},
    problem::Problem,
    state::WebState,
};

const STYLE: &str = include_str!("export.css");

/// What the file itself allows, wherever it is opened: our style and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
});

pub(crate) async fn as_markdown(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let (name, _, sections) = sections(&state, &caller, &id).await?;
    let text: Vec<String> =
        sections.into_iter().map(|section| section.markdown.trim_end().to_owned()).collect();
    Ok(file(&format!("{name}.md"), "text/markdown; charset=utf-8", text.join("\n\n") + "\n"))
}

pub(crate) async fn as_html(
    State(state): State<WebState>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let (name, title, sections) = sections(&state, &caller, &id).await?;
    let document = document(&title, &sections).into_string();
    Ok(file(&format!("{name}.html"), "text/html; charset=utf-8", document))
}

/// What the file is called, the conversation's title, and all of it.
async fn sections(
    state: &WebState,
    caller: &Caller,
    id: &str,
) -> Result<(String, String, Vec<Section>), Problem> {
    let known = execution(state, caller, id, Act::See).await?;
    let timeline = fold(state, known.id, known.seq).await?;
    let execution = timeline.execution().unwrap_or(&known);
    let url = format!("{}/executions/{}", state.base_url, known.id);
    let name = format!("{}-{}", known.agent, known.id);
    Ok((name, known.title.clone(), timeline.transcript(execution, &url, state.now())))
}

fn document(title: &str, sections: &[Section]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(*POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    @for section in sections {
                        section class=(section.class) id=[section.seq.map(|seq| format!("e-{seq}"))] {
                            (markdown::render(&section.markdown))
                        }
                    }
                }
            }
        }
    }
}

fn file(name: &str, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // A download; and if a browser shows it all the same, it is nobody's page.
    let policy = format!("{}; sandbox; frame-ancestors 'none'", *POLICY);
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    let disposition = format!("attachment; filename*=UTF-8''{}", encode(name));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment")),
    );
    response
}
