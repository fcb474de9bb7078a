//! What the types of a handler say of its endpoint: one trait for what it takes, one for what it gives.

use axum::{Json, body::Body, extract::State, response::NoContent};
use http::HeaderMap;
use schemars::JsonSchema;

use super::Operation;
use crate::{problem::Problem, state::WebState};

/// Something a handler takes out of a request.
pub(crate) trait Takes {
    /// Adds what it looks for, and what it refuses.
    fn describe(operation: &mut Operation<'_>);
}

/// Something a handler answers with.
pub(crate) trait Gives {
    /// Adds its statuses, headers and bodies.
    fn describe(operation: &mut Operation<'_>);
}

/// A handler all of whose types describe themselves. `T` is axum's word for the arguments.
pub(crate) trait Described<T> {
    /// Adds everything that its types say.
    fn describe(operation: &mut Operation<'_>);
}

macro_rules! described {
    ($($taken:ident),*) => {
        impl<H, M, Answer, Given, $($taken),*> Described<(M, $($taken,)*)> for H
        where
            H: FnOnce($($taken),*) -> Answer,
            Answer: Future<Output = Given>,
            Given: Gives,
            $($taken: Takes,)*
        {
            fn describe(operation: &mut Operation<'_>) {
                $($taken::describe(operation);)*
                Given::describe(operation);
            }
        }
    };
}

described!();
described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);
described!(A, B, C, D, E);
described!(A, B, C, D, E, F);

impl Takes for State<WebState> {
    fn describe(_: &mut Operation<'_>) {}
}

/// Headers that matter are taken by extractors of their own; these are for content negotiation.
impl Takes for HeaderMap {
    fn describe(_: &mut Operation<'_>) {}
}

/// Bytes as they come.
impl Takes for Body {
    fn describe(operation: &mut Operation<'_>) {
        operation.bytes_body();
    }
}

impl<T: JsonSchema> Gives for Json<T> {
    fn describe(operation: &mut Operation<'_>) {
        let schema = operation.schema_of::<T>();
        operation.answer(200, "Done.", Some(("application/json", schema)));
    }
}

impl Gives for NoContent {
    fn describe(operation: &mut Operation<'_>) {
        operation.answer(204, "Done; there is nothing to tell.", None);
    }
}

impl<T: Gives> Gives for Result<T, Problem> {
    fn describe(operation: &mut Operation<'_>) {
        T::describe(operation);
        operation.problem(500, "internal");
        operation.problem(503, "closing");
    }
}
