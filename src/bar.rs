//! A line of progress that fits the terminal: nothing is cut off at its edge, what matters least is left out.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal;

/// Columns where the terminal does not say how many it has.
const COLUMNS: usize = 80;
/// Columns of the label where there is room, so that bars of several steps begin below each other.
const LABEL: usize = 24;
/// The widest and the narrowest bar.
const WIDEST: usize = 24;
const NARROWEST: usize = 8;

/// A part of a line, and its rank: of a line that is too long the parts with the highest rank go first.
pub(crate) type Part = (u8, String);

/// The parts, all of them.
pub(crate) fn join(parts: &[Part]) -> String {
    let texts: Vec<&str> = parts.iter().map(|(_, text)| text.as_str()).collect();
    texts.join(", ")
}

/// A bar that shows lines of [`line()`].
pub(crate) fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A line for the terminal of standard error: `label`, a bar of the share that is done where that is known, as many of `parts` as fit.
pub(crate) fn line(label: &str, share: Option<f64>, parts: Vec<Part>) -> String {
    // The last column stays free: some terminals break the line there.
    let columns = terminal::error_columns().unwrap_or(COLUMNS) - 1;
    fitted(columns, label, share, parts)
}

fn fitted(columns: usize, label: &str, share: Option<f64>, mut parts: Vec<Part>) -> String {
    let label_width = label.chars().count();
    let room = columns.saturating_sub(label_width + 1);
    let long = |parts: &[Part]| join(parts).chars().count() > room;
    while parts.len() > 1 && long(&parts) {
        let ranks = parts.iter().enumerate().map(|(at, (rank, _))| (*rank, at));
        if let Some((_, last)) = ranks.max() {
            parts.remove(last);
        }
    }
    let text = match share.filter(|_| long(&parts)) {
        Some(share) => format!("{:.0} %", share * 100.0),
        None => join(&parts),
    };
    let left = room.saturating_sub(text.chars().count());
    let label = match left > NARROWEST + 2 {
        true => format!(
            "{label:>width$}",
            width = LABEL.min(label_width + left - NARROWEST - 3)
        ),
        false => label.to_owned(),
    };
    let left = columns.saturating_sub(label.chars().count() + text.chars().count() + 2);
    let line = match share {
        Some(share) if left >= NARROWEST + 2 => {
            format!("{label} {} {text}", drawn((left - 2).min(WIDEST), share))
        }
        _ => format!("{label} {text}"),
    };
    line.chars().take(columns).collect()
}

/// `[=====>    ]`
fn drawn(width: usize, share: f64) -> String {
    let done = (share.clamp(0.0, 1.0) * width as f64) as usize;
    let head = if done < width { ">" } else { "" };
    let rest = width - done - head.len();
    format!("[{}{head}{}]", "=".repeat(done), " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        let part = |rank, text: &str| (rank, text.to_owned());
        vec![
            part(0, "1 of 4 tasks"),
            part(2, "3,000 images, 30/s"),
            part(3, "12 faces"),
            part(1, "1:40 left"),
        ]
    }

    #[test]
    fn a_line_never_reaches_over_the_edge_and_keeps_what_matters() {
        for columns in 19..140 {
            let line = fitted(columns, "4/13 generate-portraits", Some(0.5), parts());
            assert!(line.chars().count() <= columns, "{columns}: {line}");
            assert!(
                line.starts_with("4/13 generate-port") || line.starts_with(' '),
                "{line}"
            );
        }
        let at = |columns| fitted(columns, "4/13 generate-portraits", Some(0.5), parts());
        assert_eq!(
            at(119),
            " 4/13 generate-portraits [============>           ] 1 of 4 tasks, 3,000 images, 30/s, 12 faces, 1:40 left"
        );
        assert_eq!(
            at(79),
            "4/13 generate-portraits 1 of 4 tasks, 3,000 images, 30/s, 12 faces, 1:40 left"
        );
        assert_eq!(
            at(59),
            " 4/13 generate-portraits [====>   ] 1 of 4 tasks, 1:40 left"
        );
        assert_eq!(at(39), "4/13 generate-portraits 1 of 4 tasks");
        assert_eq!(at(29), "4/13 generate-portraits 50 %");
    }

    #[test]
    fn a_bar_is_empty_at_first_and_full_at_the_end() {
        assert_eq!(drawn(4, 0.0), "[>   ]");
        assert_eq!(drawn(4, 0.5), "[==> ]");
        assert_eq!(drawn(4, 1.0), "[====]");
        assert_eq!(
            fitted(60, "download", None, parts()),
            "download 1 of 4 tasks, 3,000 images, 30/s, 1:40 left"
        );
    }
}
