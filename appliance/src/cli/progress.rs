//! How far a long verb has come: a bar on a terminal, a line every few seconds elsewhere. Always on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar or lines.
pub struct Progress {
    bar: Option<ProgressBar>,
    total_bytes: u64,
    begun: Instant,
    resumed_bytes: u64,
    spoken: Instant,
}

impl Progress {
    /// Begins.
    #[must_use]
    pub fn start(total_bytes: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(total_bytes));
        let now = Instant::now();
        Self {
            bar,
            total_bytes,
            begun: now,
            resumed_bytes: 0,
            spoken: now,
        }
    }

    /// Part of it was done by an earlier run.
    pub fn resume(&mut self, done_bytes: u64) {
        self.resumed_bytes = done_bytes;
        if done_bytes > 0 {
            let _ = writeln!(
                std::io::stderr(),
                "resuming at {} of {}",
                HumanBytes(done_bytes),
                HumanBytes(self.total_bytes)
            );
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done_bytes);
            bar.reset_eta();
        }
    }

    /// So much is done.
    pub fn set(&mut self, done_bytes: u64, lines: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done_bytes);
            bar.set_message(format!("{lines} accounts"));
        } else if self.spoken.elapsed() >= LINE_EVERY {
            self.spoken = Instant::now();
            let _ = writeln!(
                std::io::stderr(),
                "{}",
                self.line(done_bytes, lines, self.begun.elapsed())
            );
        }
    }

    fn line(&self, done_bytes: u64, lines: u64, elapsed: Duration) -> String {
        let mine = done_bytes.saturating_sub(self.resumed_bytes);
        let left_bytes = self.total_bytes.saturating_sub(done_bytes);
        let percent = done_bytes
            .saturating_mul(100)
            .checked_div(self.total_bytes)
            .unwrap_or(100);
        let per_s = mine.saturating_mul(1000) / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let left_s = left_bytes
            .checked_div(per_s)
            .map_or_else(|| "?".into(), |seconds| seconds.to_string());
        format!(
            "{percent} %, {lines} accounts, {}/s, {left_s} s left",
            HumanBytes(per_s)
        )
    }

    /// Done.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

fn bar(total_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent} %  {msg}  {bytes_per_sec}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_rate_and_time_left_of_this_run() {
        let now = Instant::now();
        let progress = Progress {
            bar: None,
            total_bytes: 100 << 20,
            begun: now,
            resumed_bytes: 50 << 20,
            spoken: now,
        };
        assert_eq!(
            progress.line(60 << 20, 7, Duration::from_secs(2)),
            "60 %, 7 accounts, 5.00 MiB/s, 8 s left"
        );
        assert_eq!(
            progress.line(50 << 20, 0, Duration::ZERO),
            "50 %, 0 accounts, 0 B/s, ? s left"
        );
    }
}
