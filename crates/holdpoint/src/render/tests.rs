use super::*;

#[test]
fn nothing_that_a_terminal_would_obey_is_shown() {
    assert_eq!(clean("a\u{1b}[31mred\u{7}\r\nb\tc\u{202e}x"), "a[31mred\nb\tcx");
    assert_eq!(visible("a\u{1b}[31mred\u{7}\r\nb\tc\u{202e}x\u{200b}"), "a␛[31mred␇\nb\tc<U+202E>x<U+200B>");
    assert_eq!(one_line("  many\n  words   here ", 40), "many words here");
    assert_eq!(one_line("a long line of text", 8), "a long …");
}
