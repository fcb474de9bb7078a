//! Through the front door: requests to the whole router, with a real store.

mod support;

mod analytics;
mod api;
mod events;
mod files;
mod inbox;
mod inside;
mod link;
mod matrix;
mod openapi;
mod panel;
mod past;
mod people;
mod release_pages;
mod releases;
mod retention;
mod roles;
mod sign_in;
mod tail;
mod timeline;
