//! Forms as browsers send them, plain or with files.

use axum::{
    extract::{FromRequest, Multipart, Request},
    response::Response,
};
use bytes::Bytes;
use holdpoint_control::Attachment;
use http::StatusCode;

use crate::{
    auth::check_origin,
    body::{check_attachments, media_type, read},
    limits,
    problem::Problem,
    state::WebState,
};

/// Fields and files in the order they came. Taken only from our own pages (see `check_origin`).
#[derive(Debug, Default)]
pub(crate) struct FormData {
    pub(crate) fields: Vec<(String, String)>,
    /// Each with the name of its control.
    files: Vec<(String, Attachment)>,
}

impl FormData {
    /// The first field of this name; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Every field of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The files, whichever control they come from.
    pub(super) fn take_files(&mut self) -> Vec<Attachment> {
        self.take_named_files().into_iter().map(|(_, file)| file).collect()
    }

    /// The files, each with the name of its control.
    pub(super) fn take_named_files(&mut self) -> Vec<(String, Attachment)> {
        std::mem::take(&mut self.files)
    }

    /// Every field whose name begins so: the rest of its name, and its value.
    pub(super) fn prefixed<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// A text as it was before the browser made every line end CR LF.
    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).replace("\r\n", "\n")
    }
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_form", "the form did not arrive whole", detail)
}

/// A form that anybody may send, signed in or not: short.
#[derive(Debug)]
pub(crate) struct ShortForm(pub(crate) FormData);

impl FromRequest<WebState> for FormData {
    type Rejection = Response;
    async fn from_request(request: Request, state: &WebState) -> Result<Self, Response> {
        form(request, state, limits::MAX_UPLOAD_BYTES).await
    }
}

impl FromRequest<WebState> for ShortForm {
    type Rejection = Response;
    async fn from_request(request: Request, state: &WebState) -> Result<Self, Response> {
        form(request, state, limits::MAX_ANONYMOUS_BYTES).await.map(Self)
    }
}

/// The form, or why not, for whom it is that sent it.
async fn form(request: Request, state: &WebState, limit: usize) -> Result<FormData, Response> {
    let headers = request.headers().clone();
    parse(request, state, limit).await.map_err(|problem| super::refuse(&headers, problem))
}

/// The form, or why not.
pub(crate) async fn parse(request: Request, state: &WebState, limit: usize) -> Result<FormData, Problem> {
    check_origin(state, request.method(), request.headers())?;
    let is_multipart = media_type(request.headers()) == "multipart/form-data";
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    let bytes = read(whole, limit).await?;
    let form = if is_multipart {
        let request = Request::from_parts(parts, bytes.into());
        let multipart = Multipart::from_request(request, state)
            .await
            .map_err(|rejection| malformed(rejection.body_text()))?;
        multipart_form(multipart).await?
    } else {
        plain_form(&bytes)?
    };
    if form.fields.len() > limits::MAX_FORM_FIELDS {
        return Err(Problem::invalid("the form has too many fields"));
    }
    check_attachments(form.files.iter().map(|(_, file)| file))?;
    Ok(form)
}

fn plain_form(bytes: &Bytes) -> Result<FormData, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
    Ok(FormData { fields: decode(text), files: Vec::new() })
}

/// `application/x-www-form-urlencoded`, as the URL standard reads it: total, never refuses.
fn decode(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(key), percent_decoded(value))
        })
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: &u8| char::from(*digit).to_digit(16);
        match (first, after) {
            (b'%', [high, low, tail @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                let byte = hex(high).unwrap_or_default() * 16 + hex(low).unwrap_or_default();
                bytes.push(u8::try_from(byte).unwrap_or_default());
                rest = tail;
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn multipart_form(mut multipart: Multipart) -> Result<FormData, Problem> {
    let mut form = FormData::default();
    loop {
        let field = multipart.next_field().await.map_err(|error| malformed(error.body_text()))?;
        let Some(field) = field else { return Ok(form) };
        let name = field.name().unwrap_or_default().to_owned();
        match field.file_name().map(str::to_owned) {
            Some(file_name) => {
                let bytes = field.bytes().await.map_err(|error| malformed(error.body_text()))?;
                // An empty file control sends one nameless, empty file.
                if !file_name.is_empty() {
                    form.files.push((name, Attachment { name: file_name, bytes }));
                }
            }
            None => {
                let text = field.text().await.map_err(|error| malformed(error.body_text()))?;
                form.fields.push((name, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_forms_are_read_as_browsers_write_them() {
        let fields = decode("a=1+2&b=%C3%BC%0D%0A&a=3&c&=x&bad=%zz%4");
        let form = FormData { fields, files: Vec::new() };
        assert_eq!(form.get("a"), "1 2");
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1 2", "3"]);
        assert_eq!(form.text("b"), "ü\n");
        assert_eq!(form.get("c"), "");
        assert_eq!(form.get("bad"), "%zz%4");
        assert_eq!(form.get("missing"), "");
    }
}
