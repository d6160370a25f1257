//! What a person or a program reads: text with colours where a terminal wants them, or one JSON object.

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::deputy::Error;

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();

pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The result of a command: the value as JSON, or the text.
    pub fn emit<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), Error> {
        let text = if self.json {
            serde_json::to_string(value).map_err(|error| Error::new("output_failed", error.to_string()))?
        } else {
            text()
        };
        self.line(text.trim_end_matches('\n'))
    }

    /// One line, or several, on standard output.
    pub fn line(&self, text: &str) -> Result<(), Error> {
        let mut out = anstream::stdout();
        match writeln!(out, "{text}").and_then(|()| out.flush()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| stdout_failed(&error)),
        }
    }

    /// Progress and advice: standard error, and only for people.
    pub fn note(&self, text: &str) {
        if !self.json {
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    pub fn error(&self, error: &Error) {
        if self.json {
            let _ = self.line(&serde_json::json!({ "error": error }).to_string());
            return;
        }
        let mut out = anstream::stderr();
        let _ = writeln!(out, "{BAD}error{BAD:#}: {}", printable(&error.message));
        let _ = write!(out, "{}", details(error));
    }
}

/// What an error says beyond its message: places, candidates and the next step, each on a line.
pub fn details(error: &Error) -> String {
    let mut text = String::new();
    for problem in &error.problems {
        let place = match problem.line {
            0 => problem.file.clone(),
            line => format!("{}:{line}:{}", problem.file, problem.column),
        };
        text.push_str(&format!("  {BOLD}{}{BOLD:#}: {}\n", printable(&place), printable(&problem.message)));
        if let Some(help) = &problem.help {
            text.push_str(&format!("    {DIM}help:{DIM:#} {}\n", printable(help)));
        }
    }
    for candidate in &error.candidates {
        text.push_str(&format!("  {}\n", printable(candidate)));
    }
    if let Some(fix) = &error.fix {
        text.push_str(&format!("{GOOD}fix{GOOD:#}: {}\n", printable(fix)));
    }
    text
}

/// Text of a step, an app or a provider must not steer the terminal; its further lines are set in.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' && c != '\n' { '\u{fffd}' } else { c })
        .collect::<String>()
        .replace('\n', "\n  ")
}

pub fn stdout_failed(error: &std::io::Error) -> Error {
    Error::new("output_failed", format!("cannot write to standard output: {error}"))
}

/// Rows under headings, each column as wide as its widest cell; the last column runs free.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    });
    let line = |cells: [&str; N]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| match column + 1 == N {
            true => (*cell).to_owned(),
            false => format!("{cell:<width$}", width = widths[column]),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = format!("{DIM}{}{DIM:#}\n", line(headings));
    for row in rows {
        text.push_str(&line(std::array::from_fn(|column| row[column].as_str())));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "first".to_owned()], ["longer".to_owned(), "x".to_owned()]];
        let text = anstream::adapter::strip_str(&table(["id", "what"], &rows)).to_string();
        assert_eq!(text, "id      what\na       first\nlonger  x\n");
    }
}
