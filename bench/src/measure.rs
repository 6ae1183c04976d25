//! Samples of a duration and the tables they are printed in.

use std::time::{Duration, Instant};

/// Durations of one measured thing.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one duration.
    pub fn push(&mut self, one: Duration) {
        self.0.push(one);
    }

    /// Adds all of `more`.
    pub fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value below which `share` (0.0 to 1.0) of the samples lie, in milliseconds; `None` without samples.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        sorted.get(at).map(|d| d.as_secs_f64() * 1e3)
    }

    /// The median in milliseconds.
    pub fn median_ms(&self) -> Option<f64> {
        self.quantile_ms(0.5)
    }

    /// The 99th percentile in milliseconds; with fewer than 100 samples, the slowest.
    pub fn p99_ms(&self) -> Option<f64> {
        self.quantile_ms(0.99)
    }

    /// `median (p99)`, for a cell of a table.
    pub fn cell(&self) -> String {
        match (self.median_ms(), self.p99_ms()) {
            (Some(median), Some(p99)) => format!("{} ({})", ms(median), ms(p99)),
            _ => "—".to_owned(),
        }
    }
}

/// What was done in a window of time.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// How often.
    pub count: u64,
    /// How long all of it took.
    pub took: Duration,
    /// How long each took, where that is known.
    pub latencies: Samples,
}

impl Done {
    /// How often per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }
}

/// The middle one.
pub fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// A number of milliseconds with as many digits as it deserves.
pub fn ms(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 0.1 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// Runs `work` and says how long it took.
///
/// # Errors
/// Those of `work`.
pub fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed()))
}

/// Calls `one` `count` times, `pause` apart, and collects the durations it returns.
///
/// # Errors
/// The first error of `one`.
pub fn repeat<E>(
    count: usize,
    pause: Duration,
    mut one: impl FnMut(usize) -> Result<Duration, E>,
) -> Result<Samples, E> {
    let mut samples = Samples::default();
    for index in 0..count {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        samples.push(one(index)?);
    }
    Ok(samples)
}

/// What a table's figures depend on: kernel, processors, and how busy the machine is now (run queue over one minute).
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = load.split(' ').next().unwrap_or("?");
    format!("Linux {}, {cpus} processors, load {load}", kernel.trim())
}

/// A table with a title, printed as Markdown or as JSON.
#[derive(Clone, Debug)]
pub struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub fn new(title: &str, head: &[&str]) -> Self {
        let head = head.iter().map(|&h| h.to_owned()).collect();
        Self { title: title.to_owned(), head, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row; missing cells stay empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a line below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The table as Markdown, columns aligned.
    pub fn to_markdown(&self) -> String {
        let width = |col: usize| {
            let cells = self.rows.iter().filter_map(|r| r.get(col)).chain(self.head.get(col));
            cells.map(|c| c.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = widths.iter().enumerate().map(|(col, &wide)| {
                let cell = cells.get(col).map_or("", String::as_str);
                format!("{cell}{}", " ".repeat(wide - cell.chars().count()))
            });
            format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
        };
        let mut out = format!("## {}\n\n{}", self.title, line(&self.head));
        let rule: Vec<String> = widths.iter().map(|&w| "-".repeat(w)).collect();
        out.push_str(&line(&rule));
        self.rows.iter().for_each(|row| out.push_str(&line(row)));
        self.notes.iter().for_each(|note| out.push_str(&format!("\n{note}\n")));
        out
    }

    /// The table as one JSON object: `title`, `rows` (an object per row, keyed by the head), `notes`.
    pub fn to_json(&self) -> serde_json::Value {
        let rows: Vec<serde_json::Value> = self
            .rows
            .iter()
            .map(|row| self.head.iter().cloned().zip(row.iter().cloned().map(serde_json::Value::from)).collect())
            .collect();
        serde_json::json!({ "title": self.title, "rows": rows, "notes": self.notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_99th_percentile_are_taken_from_the_sorted_samples() {
        let mut samples = Samples::default();
        (1..=101).rev().for_each(|n| samples.push(Duration::from_millis(n)));
        assert_eq!(samples.median_ms(), Some(51.0));
        assert_eq!(samples.p99_ms(), Some(100.0));
        assert_eq!(Samples::default().median_ms(), None);
    }
}
