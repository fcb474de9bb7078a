//! Routes that know themselves: the router and the list of what it answers are made of the same lines, so that
//! a test over all of it (who may do what) cannot miss one.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter},
};
use http::Method;

use crate::state::WebState;

/// The handlers of one address.
pub(crate) struct Methods {
    router: MethodRouter<WebState>,
    listed: Vec<Method>,
}

impl Methods {
    fn with<H: Handler<T, WebState>, T: 'static>(
        mut self,
        filter: MethodFilter,
        method: Method,
        handler: H,
    ) -> Self {
        self.listed.push(method);
        Self { router: self.router.on(filter, handler), ..self }
    }

    pub(crate) fn post<H: Handler<T, WebState>, T: 'static>(self, handler: H) -> Self {
        self.with(MethodFilter::POST, Method::POST, handler)
    }

    pub(crate) fn put<H: Handler<T, WebState>, T: 'static>(self, handler: H) -> Self {
        self.with(MethodFilter::PUT, Method::PUT, handler)
    }

    pub(crate) fn patch<H: Handler<T, WebState>, T: 'static>(self, handler: H) -> Self {
        self.with(MethodFilter::PATCH, Method::PATCH, handler)
    }

    pub(crate) fn delete<H: Handler<T, WebState>, T: 'static>(self, handler: H) -> Self {
        self.with(MethodFilter::DELETE, Method::DELETE, handler)
    }
}

fn none() -> Methods {
    Methods { router: MethodRouter::new(), listed: Vec::new() }
}

pub(crate) fn get<H: Handler<T, WebState>, T: 'static>(handler: H) -> Methods {
    none().with(MethodFilter::GET, Method::GET, handler)
}

pub(crate) fn post<H: Handler<T, WebState>, T: 'static>(handler: H) -> Methods {
    none().post(handler)
}

pub(crate) fn delete<H: Handler<T, WebState>, T: 'static>(handler: H) -> Methods {
    none().delete(handler)
}

/// Addresses and their handlers.
#[derive(Default)]
pub(crate) struct Routes {
    router: Router<WebState>,
    listed: Vec<(Method, &'static str)>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn route(mut self, path: &'static str, methods: Methods) -> Self {
        self.listed.extend(methods.listed.into_iter().map(|method| (method, path)));
        Self { router: self.router.route(path, methods.router), ..self }
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.listed.extend(other.listed);
        Self { router: self.router.merge(other.router), ..self }
    }

    /// With something around all handlers there are.
    pub(crate) fn around(self, around: impl FnOnce(Router<WebState>) -> Router<WebState>) -> Self {
        Self { router: around(self.router), ..self }
    }

    pub(crate) fn into_parts(self) -> (Router<WebState>, Vec<(Method, &'static str)>) {
        (self.router, self.listed)
    }
}
