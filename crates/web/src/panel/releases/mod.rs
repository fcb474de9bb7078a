//! `/releases`: what new conversations run on, and did; for operators. Images are built by whoever deploys.

mod list;
mod one;

use holdpoint_model::lock::{ImageLock, short};
use maud::{Markup, html};

use super::parts::text;

pub(super) use list::page as list;
pub(super) use one::{activate, page as one};

/// An image as people tell one from another.
fn image(image: &ImageLock) -> Markup {
    let whole = image.reference.as_deref().unwrap_or(&image.id);
    html! { code title=(whole) { (text::visible(&short(whole))) } }
}
