//! Charts, drawn here: pictures that need no script, with colours from the style sheet. Whoever cannot see one has
//! its title, and the table behind it.

use maud::{Markup, html};

/// The picture's own units; it is as wide as its place on the page.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 200.0;
/// Room below the columns for days, and above for the highest value.
const BELOW: f64 = 22.0;
const ABOVE: f64 = 18.0;
/// A row of a bar chart, its name's and its value's room, and rows at most: the table has the others.
const ROW: f64 = 28.0;
const NAME: f64 = 180.0;
const VALUE: f64 = 150.0;
const MAX_ROWS: usize = 12;
/// Characters of a name that have room.
const NAME_CHARS: usize = 24;

/// A column: when, in words, and one value for each of the series.
pub(in crate::panel) struct Column {
    pub(in crate::panel) label: String,
    pub(in crate::panel) values: Vec<f64>,
}

/// Columns side by side, each of its series on top of each other.
#[allow(clippy::cast_precision_loss)]
pub(in crate::panel) fn columns(title: &str, series: &[&str], columns: &[Column]) -> Markup {
    let highest = columns.iter().map(|column| column.values.iter().sum()).fold(0.0, f64::max);
    let step = WIDTH / columns.len().max(1) as f64;
    let gap = if step > 6.0 { step * 0.2 } else { 0.0 };
    let room = HEIGHT - BELOW - ABOVE;
    let scale = if highest > 0.0 { room / highest } else { 0.0 };
    html! {
        // Wider than a phone: with the keyboard, too, one gets to its end.
        figure.chart tabindex="0" {
            figcaption.legend {
                @for (n, name) in series.iter().enumerate() { span { i class={ "swatch s" (n) } {} (name) } }
            }
            svg role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } {
                title { (title) }
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT - BELOW) y2=(HEIGHT - BELOW) {}
                text.tick x="0" y="12" { (highest) }
                @for (at, column) in columns.iter().enumerate() {
                    g {
                        title { (column.label) @for (name, value) in series.iter().zip(&column.values) { ", " (name) " " (value) } }
                        @for (n, y, height) in stacked(&column.values, scale) {
                            rect class={ "s" (n) } x=(tenths(at as f64 * step + gap / 2.0)) y=(tenths(y))
                                width=(tenths(step - gap)) height=(tenths(height)) {}
                        }
                    }
                }
                @if let (Some(first), Some(last)) = (columns.first(), columns.last()) {
                    text.tick x="0" y=(HEIGHT - 5.0) { (first.label) }
                    @if columns.len() > 1 {
                        text.tick text-anchor="end" x=(WIDTH) y=(HEIGHT - 5.0) { (last.label) }
                    }
                }
            }
        }
    }
}

/// Which series, where it begins from above, and how high it is; what is nothing is left out.
fn stacked(values: &[f64], scale: f64) -> Vec<(usize, f64, f64)> {
    let mut top = HEIGHT - BELOW;
    let mut parts = Vec::with_capacity(values.len());
    for (n, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let height = value * scale;
        top -= height;
        parts.push((n, top, height));
    }
    parts
}

/// A bar: its name, how long it is and how far its paler part reaches, and its value in words.
pub(in crate::panel) struct Bar {
    pub(in crate::panel) name: String,
    pub(in crate::panel) value: f64,
    pub(in crate::panel) reaches: f64,
    pub(in crate::panel) words: String,
}

/// Bars one below the other.
#[allow(clippy::cast_precision_loss)]
pub(in crate::panel) fn bars(title: &str, bars: &[Bar]) -> Markup {
    let shown = &bars[..bars.len().min(MAX_ROWS)];
    let longest = shown.iter().map(|bar| bar.value.max(bar.reaches)).fold(0.0, f64::max);
    let scale = if longest > 0.0 { (WIDTH - NAME - VALUE) / longest } else { 0.0 };
    html! {
        figure.chart tabindex="0" {
            svg role="img" viewBox={ "0 0 " (WIDTH) " " (shown.len().max(1) as f64 * ROW) } {
                title { (title) }
                @for (at, bar) in shown.iter().enumerate() {
                    @let y = at as f64 * ROW;
                    @let end = NAME + bar.value.max(bar.reaches) * scale;
                    g {
                        title { (bar.name) ": " (bar.words) }
                        text.name x="0" y=(y + 18.0) { (short(&bar.name)) }
                        @if bar.reaches > bar.value {
                            rect.pale x=(NAME) y=(y + 6.0) width=(tenths(bar.reaches * scale)) height=(ROW - 12.0) {}
                        }
                        rect.s0 x=(NAME) y=(y + 6.0) width=(tenths((bar.value * scale).max(1.0))) height=(ROW - 12.0) {}
                        text.tick x=(tenths(end + 8.0)) y=(y + 18.0) { (bar.words) }
                    }
                }
            }
            @if bars.len() > MAX_ROWS { figcaption.quiet { (bars.len() - MAX_ROWS) " more are in the table." } }
        }
    }
}

fn short(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS {
        return name.to_owned();
    }
    name.chars().take(NAME_CHARS - 1).chain(['…']).collect()
}

/// Nobody sees more digits than that.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_on_each_other() {
        assert_eq!(stacked(&[1.0, 0.0, 3.0], 10.0), [(0, 168.0, 10.0), (2, 138.0, 30.0)]);
        assert_eq!(stacked(&[], 10.0), []);
    }

    #[test]
    fn nothing_is_a_picture_too() {
        let empty = columns("Runs", &["started"], &[]).into_string();
        assert!(empty.contains("<title>Runs</title>"), "{empty}");
        assert!(bars("Costs", &[]).into_string().contains("role=\"img\""));
    }

    #[test]
    fn names_are_words_and_never_markup() {
        let bar = Bar { name: "<script>x</script>".into(), value: 1.0, reaches: 0.0, words: "1".into() };
        let drawn = bars("Costs", &[bar]).into_string();
        assert!(!drawn.contains("<script") && drawn.contains("&lt;script"), "{drawn}");
        assert_eq!(short(&"x".repeat(40)).chars().count(), NAME_CHARS);
    }
}
