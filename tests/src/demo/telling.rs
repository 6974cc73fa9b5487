//! How the demo speaks: steps with a tick, what happened in a line, amounts to the right. Colours only where a person
//! looks (`NO_COLOR` is respected).

use std::io::IsTerminal as _;

/// Where the amounts end.
const WIDTH: usize = 112;

/// The demo's voice.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    colours: bool,
}

impl Voice {
    /// Speaks to standard output.
    #[must_use]
    pub fn new() -> Self {
        Self { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The headline.
    pub fn title(self, text: &str, below: &str) {
        println!("\n{}\n{}\n", self.paint("1", text), self.paint("2", below));
    }

    /// A scene of the day.
    pub fn scene(self, text: &str) {
        println!("{}", self.paint("1", text));
    }

    /// Something went as it should; `right` stands at the right edge.
    pub fn good(self, text: &str, right: &str) {
        let mark = self.paint("32", "✔");
        if right.is_empty() {
            println!("  {mark} {text}");
            return;
        }
        let gap = WIDTH.saturating_sub(4 + text.chars().count() + right.chars().count()).max(1);
        println!("  {mark} {text}{}{right}", " ".repeat(gap));
    }

    /// Something went wrong, on purpose.
    pub fn trouble(self, text: &str) {
        println!("  {} {text}", self.paint("33", "⚡"));
    }

    /// What a program printed, or a remark.
    pub fn aside(self, text: &str) {
        for line in text.lines() {
            println!("      {}", self.paint("2", line));
        }
    }

    /// A line as it is.
    pub fn line(self, text: &str) {
        println!("  {text}");
    }

    /// The demo failed.
    pub fn failed(self, error: &anyhow::Error) {
        println!("  {} {error:#}", self.paint("31", "✘"));
    }

    /// An empty line.
    pub fn pause(self) {
        println!();
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self::new()
    }
}
