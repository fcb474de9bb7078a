//! The frame of every page.

use axum::response::{Html, IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use crate::{assets, auth::Caller, problem::Problem};

/// What a page says about itself.
pub(super) struct Page<'a> {
    /// For the window and the bookmark.
    pub(super) title: &'a str,
    /// `data-page`.
    pub(super) name: &'static str,
    /// Who looks; None before signing in.
    pub(super) caller: Option<&'a Caller>,
    /// Holds that wait for this person.
    pub(super) open_holds: Option<usize>,
}

impl Page<'_> {
    /// The whole document. `body` brings its own `main`.
    pub(super) fn show(&self, body: &Markup) -> Response {
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { @if let Some(open) = self.waiting() { "(" (open) ") " } (self.title) " · Holdpoint" }
                    link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                    link rel="stylesheet" href=(assets::url("app.css"));
                    script type="module" src=(assets::url("app.js")) {}
                }
                body data-page=(self.name) {
                    a.skip href="#main" { "Skip to the content" }
                    (self.header())
                    (body)
                    div #announce .unseen aria-live="polite" {}
                    @if self.caller.is_some() { (help()) }
                }
            }
        };
        Html(document.into_string()).into_response()
    }

    /// How many holds wait, in the title of pages that keep it fresh.
    fn waiting(&self) -> Option<usize> {
        self.open_holds
            .filter(|open| *open > 0 && matches!(self.name, "inbox" | "list" | "home" | "operations"))
    }

    fn header(&self) -> Markup {
        let here = |name: &str| (self.name == name).then_some("page");
        html! {
            header.top {
                a.brand href="/" { (mark()) span { "Holdpoint" } }
                @if let Some(caller) = self.caller {
                    nav aria-label="Main" {
                        a href="/inbox" aria-current=[here("inbox")] {
                            "Inbox " (inbox_count(self.open_holds.unwrap_or_default()))
                        }
                        a href="/executions" aria-current=[here("list")] { "Timeline" }
                        a href="/analytics" aria-current=[here("analytics")] { "Analytics" }
                        @if caller.role.may_start() {
                            a href="/" aria-current=[here("home")] { "New" }
                        }
                    }
                    details.account {
                        summary title="Account" { span { (caller.name) } }
                        div.menu {
                            p { "Signed in as " strong { (caller.name) } ", " (caller.role) }
                            a href="/account" aria-current=[here("account")] { "Your account" }
                            a href="/files" aria-current=[here("files")] { "Files" }
                            @if caller.is_operator() {
                                a href="/operations" aria-current=[here("operations")] { "Operations" }
                            }
                            @if caller.role.may_administer() {
                                a href="/people" aria-current=[here("people")] { "People" }
                            }
                            a href="/api" aria-current=[here("api")] { "API" }
                            form method="post" action="/logout" { button type="submit" { "Sign out" } }
                        }
                    }
                }
            }
        }
    }
}

/// How many holds wait; refreshed by the page's script.
fn inbox_count(open: usize) -> Markup {
    html! {
        span #inbox-count data-refresh {
            @if open > 0 {
                span.count { (open) span.unseen { " waiting" } }
            }
        }
    }
}

/// The brand's mark: a line that stops at a point.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M3 12h9" {}
            circle cx="16.5" cy="12" r="4.5" {}
        }
    }
}

fn help() -> Markup {
    let keys = [
        ("j / k", "next / previous hold or row"),
        ("Enter", "open the row"),
        ("a", "allow, approve or answer the chosen hold"),
        ("d", "deny or send back, with a reason"),
        ("e", "edit, then allow"),
        ("r", "write a reply"),
        ("t / s", "take the chosen hold / snooze it"),
        ("x / X", "select the chosen hold / all"),
        ("A / D", "allow / deny what is selected"),
        ("Ctrl + Enter", "send what is being written"),
        ("i / c / n", "inbox / timeline / new"),
        ("?", "this list"),
    ];
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keys" }
            dl {
                @for (key, what) in keys { dt { kbd { (key) } } dd { (what) } }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// A failure as a page.
pub(crate) fn error_page(caller: Option<&Caller>, problem: &Problem) -> Response {
    error_page_back(caller, problem, "/")
}

/// A failure as a page, with the way back to where it happened.
pub(super) fn error_page_back(caller: Option<&Caller>, problem: &Problem, back: &str) -> Response {
    let body = html! {
        main #main .narrow {
            section.card data-problem=(problem.code) {
                p.eyebrow { (problem.status.as_u16()) }
                h1 { (capitalised(&problem.title)) }
                p role="alert" { (capitalised(&problem.detail)) "." }
                p { a.button href=(back) { @if back == "/" { "To the start" } @else { "Back" } } }
            }
        }
    };
    let page = Page { title: &capitalised(&problem.title), name: "error", caller, open_holds: None };
    let mut response = page.show(&body);
    *response.status_mut() = problem.status;
    problem.apply_headers(&mut response);
    response
}

/// Sends a browser that came from another site once more, from our own page: then it brings its
/// strict cookie.
pub(crate) fn bounce(path: &str) -> Response {
    let path = super::safe_next(path);
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content={ "0;url=" (path) };
                title { "Holdpoint" }
                link rel="stylesheet" href=(assets::url("app.css"));
            }
            body { main #main .narrow { p { a href=(path) { "Go on to Holdpoint" } } } }
        }
    };
    Html(document.into_string()).into_response()
}

/// With a capital first letter.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
