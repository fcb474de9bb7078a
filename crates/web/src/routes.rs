//! Routes that know themselves: the router and the list of what it answers are made of the same lines, so that
//! a test over all of it (who may do what) cannot miss one.

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter},
};
use http::Method;

use crate::{
    openapi::{Doc, Operation},
    state::WebState,
};

/// What the API's document says of an endpoint: in words, and by its handler's types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) doc: &'static Doc,
    pub(crate) types: fn(&mut Operation<'_>),
}

/// The handlers of one address.
pub(crate) struct Methods {
    router: MethodRouter<WebState>,
    listed: Vec<(Method, Option<Endpoint>)>,
}

impl Methods {
    fn with<H: Handler<T, WebState>, T: 'static>(
        mut self,
        filter: MethodFilter,
        method: Method,
        handler: H,
    ) -> Self {
        self.listed.push((method, None));
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

    /// With what the document says of the method that was added last.
    pub(crate) fn described(mut self, endpoint: Endpoint) -> Self {
        if let Some((_, described)) = self.listed.last_mut() {
            *described = Some(endpoint);
        }
        self
    }

    /// With other methods of the same address.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.listed.extend(others.listed);
        Self { router: self.router.merge(others.router), ..self }
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

pub(crate) fn put<H: Handler<T, WebState>, T: 'static>(handler: H) -> Methods {
    none().put(handler)
}

pub(crate) fn patch<H: Handler<T, WebState>, T: 'static>(handler: H) -> Methods {
    none().patch(handler)
}

pub(crate) fn delete<H: Handler<T, WebState>, T: 'static>(handler: H) -> Methods {
    none().delete(handler)
}

/// Addresses and their handlers.
#[derive(Default)]
pub(crate) struct Routes {
    router: Router<WebState>,
    listed: Vec<(Method, &'static str, Option<Endpoint>)>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn route(mut self, path: &'static str, methods: Methods) -> Self {
        let listed = methods.listed.into_iter().map(|(method, endpoint)| (method, path, endpoint));
        self.listed.extend(listed);
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
        let listed = self.listed.into_iter().map(|(method, path, _)| (method, path)).collect();
        (self.router, listed)
    }

    /// Those that the API's document has.
    pub(crate) fn into_endpoints(self) -> impl Iterator<Item = (Method, &'static str, Endpoint)> {
        self.listed.into_iter().filter_map(|(method, path, endpoint)| Some((method, path, endpoint?)))
    }
}
