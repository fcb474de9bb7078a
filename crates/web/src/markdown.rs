//! What a model or a person wrote, as sanitised HTML (invariant 17).
//!
//! Two nets, so that a hole in one is not a hole in the page: comrak shows raw HTML as text, and
//! ammonia lets through a short list of tags without a single attribute that could load or run
//! something. Images become links: nothing remote is fetched by looking at a page.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use ammonia::{Builder, UrlRelative};
use comrak::{
    Arena, Options, format_commonmark, format_html,
    nodes::{NodeLink, NodeValue},
    parse_document,
};
use maud::{Markup, PreEscaped, html};

/// Longer texts are shown as they are: laying out megabytes of Markdown helps nobody.
const MAX_MARKDOWN_BYTES: usize = 512 * 1024;

/// Deeper nesting than this is shown as it is: nobody writes it to be read.
const MAX_NESTING: usize = 60;

static SANITISER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder
        .tags(HashSet::from([
            "a",
            "b",
            "blockquote",
            "br",
            "code",
            "del",
            "em",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "i",
            "li",
            "ol",
            "p",
            "pre",
            "small",
            "strong",
            "sub",
            "sup",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "u",
            "ul",
        ]))
        .clean_content_tags(HashSet::from(["script", "style"]))
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title"])),
            ("ol", HashSet::from(["start"])),
            ("td", HashSet::from(["align"])),
            ("th", HashSet::from(["align"])),
        ]))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        // A relative address would point into the panel itself.
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"));
    builder
});

fn options(hard_breaks: bool) -> Options<'static> {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.autolink = true;
    options.render.escape = true;
    options.render.hardbreaks = hard_breaks;
    options
}

/// HTML of whoever wrote a form: the same short list of tags is let through.
#[must_use]
pub fn clean_html(text: &str) -> String {
    SANITISER.clean(text).to_string()
}

/// The text of a model.
#[must_use]
pub fn render(text: &str) -> Markup {
    markdown(text, false)
}

/// The text of a person: a line break is meant as one.
#[must_use]
pub fn render_typed(text: &str) -> Markup {
    markdown(text, true)
}

fn markdown(text: &str, hard_breaks: bool) -> Markup {
    if text.len() > MAX_MARKDOWN_BYTES || looks_nested(text) {
        return html! { pre.plain { (text) } };
    }
    let arena = Arena::new();
    let options = options(hard_breaks);
    let root = parse_document(&arena, text, &options);
    for node in root.descendants() {
        let mut data = node.data.borrow_mut();
        match &mut data.value {
            // The alternative text is the link's text already: both are made of the children.
            NodeValue::Image(link) => data.value = NodeValue::Link(link.clone()),
            NodeValue::Text(text) => {
                let is_item = node.previous_sibling().is_none()
                    && node
                        .parent()
                        .and_then(|parent| parent.parent())
                        .is_some_and(|item| matches!(item.data.borrow().value, NodeValue::Item(_)));
                if is_item {
                    for (mark, sign) in [("[ ] ", "☐ "), ("[x] ", "☑ "), ("[X] ", "☑ ")] {
                        if let Some(rest) = text.strip_prefix(mark) {
                            *text = format!("{sign}{rest}").into();
                            break;
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let mut raw = String::new();
    if format_html(root, &options, &mut raw).is_err() {
        return html! { pre.plain { (text) } };
    }
    PreEscaped(SANITISER.clean(&raw).to_string())
}

/// Markdown of others for a file that is opened somewhere else: no HTML, no address but of the web, no picture, and
/// headings that stand below those of the file. `hard_breaks` as in [`render_typed`].
#[must_use]
pub fn portable(text: &str, hard_breaks: bool) -> String {
    if text.len() > MAX_MARKDOWN_BYTES || looks_nested(text) {
        return fenced(text, "");
    }
    let arena = Arena::new();
    // Where every break is a hard one, the writer leaves out the mark that makes it one elsewhere.
    let mut options = options(false);
    options.render.prefer_fenced = true;
    let root = parse_document(&arena, text, &options);
    for node in root.descendants() {
        let mut data = node.data.borrow_mut();
        match &mut data.value {
            NodeValue::Image(link) => data.value = NodeValue::Link(web_only(link.as_ref().clone())),
            NodeValue::Link(link) => **link = *web_only(link.as_ref().clone()),
            NodeValue::Heading(heading) => heading.level = (heading.level + 3).min(6),
            NodeValue::HtmlBlock(block) => block.literal = escaped(&block.literal),
            NodeValue::HtmlInline(html) => *html = escaped(html),
            NodeValue::SoftBreak if hard_breaks => data.value = NodeValue::LineBreak,
            _ => {}
        }
    }
    let mut portable = String::new();
    match format_commonmark(root, &options, &mut portable) {
        Ok(()) => portable.trim_end().to_owned(),
        Err(_) => fenced(text, ""),
    }
}

fn web_only(mut link: NodeLink) -> Box<NodeLink> {
    let scheme = link.url.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https" | "mailto") {
        link.url.clear();
    }
    Box::new(link)
}

fn escaped(html: &str) -> String {
    html.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A text as a block of code that it cannot end by itself.
#[must_use]
pub fn fenced(text: &str, language: &str) -> String {
    let fence = "`".repeat((longest_run(text, '`') + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// The most of a character that stand one after another.
pub(crate) fn longest_run(text: &str, of: char) -> usize {
    let (longest, _) = text.chars().fold((0, 0), |(longest, run): (usize, usize), c| {
        let run = if c == of { run + 1 } else { 0 };
        (longest.max(run), run)
    });
    longest
}

/// Whether some line opens more nested blocks than a reader could follow; parsers of nested blocks
/// are where hostile text costs the most.
fn looks_nested(text: &str) -> bool {
    text.lines().any(|line| {
        let indent = line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let markers = line
            .bytes()
            .take(4 * MAX_NESTING)
            .filter(|byte| matches!(byte, b'>' | b'[' | b'*' | b'_'))
            .count();
        let list_markers = line.split_ascii_whitespace().take_while(|word| is_list_marker(word)).count();
        (indent > 4 * MAX_NESTING && line.trim_start().starts_with(['-', '*', '+', '>']))
            || (markers > 2 * MAX_NESTING && line.bytes().filter(u8::is_ascii_alphanumeric).count() < markers)
            || list_markers > MAX_NESTING
    })
}

fn is_list_marker(word: &str) -> bool {
    matches!(word, "-" | "*" | "+" | ">")
        || word
            .strip_suffix(['.', ')'])
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
