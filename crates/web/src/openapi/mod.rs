//! The OpenAPI document of the API, made of the routes themselves: what a handler takes and gives is read off its
//! types, so that neither changes without the document. What types do not say, the endpoint's [`Doc`] does.

mod describe;
mod document;
mod operation;
mod places;

pub(crate) use describe::{Described, Gives, Takes};
pub(crate) use document::DOCUMENT;
pub(crate) use operation::{Doc, Group, Operation};

use axum::handler::Handler;

use crate::{
    routes::{self, Endpoint, Methods},
    state::WebState,
};

/// The document as text, as it is checked in.
#[must_use]
pub fn document() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default();
    text.push('\n');
    text
}

/// Handlers of the API, each with what the document says of it.
macro_rules! methods {
    ($($method:ident),*) => {
        $(pub(crate) fn $method<H, T>(handler: H, doc: &'static Doc) -> Methods
        where
            H: Handler<T, WebState> + Described<T>,
            T: 'static,
        {
            routes::$method(handler).described(Endpoint { doc, types: <H as Described<T>>::describe })
        })*
    };
}

methods!(get, post, put, patch, delete);
