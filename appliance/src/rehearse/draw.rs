//! The curve as text: offered load against what was answered in time, and how long checks took.

use super::knee::{Knee, whole};
use super::step::Step;

/// Narrowest drawing, in columns.
const WIDTH_MIN: usize = 40;
/// Widest drawing, in columns.
const WIDTH_MAX: usize = 120;
const HEIGHT: usize = 12;
const LABEL_WIDTH: usize = 10;
const GOODPUT: char = '●';
const IDEAL: char = '·';
const KNEE: char = '┊';

/// Draws the steps for a terminal of so many columns.
#[must_use]
pub fn draw(steps: &[Step], knee: &Knee, columns: usize) -> String {
    let width = columns.clamp(WIDTH_MIN, WIDTH_MAX);
    if steps.iter().all(|step| step.is_void) {
        return table(steps, knee, width);
    }
    let mut out = curve(steps, knee, width - LABEL_WIDTH - 2);
    out.push('\n');
    out.push_str(&table(steps, knee, width));
    out
}

struct Grid {
    cells: Vec<Vec<char>>,
    width: usize,
}

impl Grid {
    fn new(width: usize) -> Self {
        Self {
            cells: vec![vec![' '; width]; HEIGHT],
            width,
        }
    }

    /// Puts a mark; a place of 0 is left and at the bottom, of 1 right and at the top.
    fn put(&mut self, x: f64, y: f64, mark: char, over: bool) {
        let place = |share: f64, count: usize| (share.clamp(0.0, 1.0) * (count - 1) as f64).round() as usize;
        let (column, row) = (place(x, self.width), HEIGHT - 1 - place(y, HEIGHT));
        if let Some(cell) = self.cells.get_mut(row).and_then(|line| line.get_mut(column))
            && (over || *cell == ' ')
        {
            *cell = mark;
        }
    }
}

fn curve(steps: &[Step], knee: &Knee, width: usize) -> String {
    let most_offered = steps.iter().map(|step| step.offered_units_per_s).fold(1.0, f64::max);
    let most = knee.peak_units_per_s.max(1.0) * 1.1;
    let mut grid = Grid::new(width);
    for column in 0..width {
        let x = column as f64 / (width - 1) as f64;
        let ideal = x * most_offered / most;
        if ideal <= 1.0 {
            grid.put(x, ideal, IDEAL, false);
        }
    }
    if let Some(step) = knee.place.and_then(|place| steps.get(place)) {
        for row in 0..HEIGHT {
            grid.put(
                step.offered_units_per_s / most_offered,
                row as f64 / (HEIGHT - 1) as f64,
                KNEE,
                true,
            );
        }
    }
    let points: Vec<(f64, f64)> = steps
        .iter()
        .filter(|step| !step.is_void)
        .map(|step| (step.offered_units_per_s / most_offered, step.goodput_units_per_s / most))
        .collect();
    for (from, to) in points.iter().zip(points.iter().skip(1)) {
        for part in 1..width {
            let share = part as f64 / width as f64;
            grid.put(
                from.0 + (to.0 - from.0) * share,
                from.1 + (to.1 - from.1) * share,
                '-',
                false,
            );
        }
    }
    for (x, y) in points {
        grid.put(x, y, GOODPUT, true);
    }
    let mut out = String::from("work units a second answered in time\n");
    for (row, line) in grid.cells.iter().enumerate() {
        let value = most * (HEIGHT - 1 - row) as f64 / (HEIGHT - 1) as f64;
        let label = if row % 3 == 2 { whole(value) } else { String::new() };
        let line: String = line.iter().collect();
        out.push_str(&format!("{label:>LABEL_WIDTH$} │{}\n", line.trim_end()));
    }
    let right = whole(most_offered);
    out.push_str(&format!("{:>LABEL_WIDTH$} └{}\n", "0", "─".repeat(width)));
    out.push_str(&format!("{:>LABEL_WIDTH$}  0{right:>room$}\n", "", room = width - 1));
    out.push_str(&format!(
        "{:LABEL_WIDTH$}  offered, units a second; {GOODPUT} a step, {IDEAL} all in time, {KNEE} the knee\n",
        ""
    ));
    out
}

fn table(steps: &[Step], knee: &Knee, width: usize) -> String {
    let headings = [
        "STEP",
        "OFFERED/S",
        "IN TIME/S",
        "SHARE",
        "PLAYERS/S",
        "CHECK P99",
        "REPEATS",
        "EXTRA LOGINS",
    ];
    let rows = steps.iter().enumerate().map(|(place, step)| {
        let mark = match (step.is_void, knee.place == Some(place)) {
            (true, _) => " loader late",
            (false, true) => " knee",
            (false, false) => "",
        };
        [
            format!("{}x{mark}", step.factor),
            whole(step.offered_units_per_s),
            whole(step.goodput_units_per_s),
            format!("{:.0} %", step.in_time_share * 100.0),
            whole(step.players_per_s),
            step.p99_ms().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms")),
            format!("{:.2}", step.amplification),
            whole(step.extra_logins as f64),
        ]
    });
    let lines: Vec<_> = std::iter::once(headings.map(str::to_owned)).chain(rows).collect();
    let longest = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(longest).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, cell_width)) in line.iter().zip(&widths).enumerate() {
            // What does not fit is left out rather than broken: the answer for programs has it all.
            if column > 0 && text.chars().count() + cell_width > width {
                break;
            }
            text.push_str(&match column {
                0 => format!("{cell:cell_width$}  "),
                _ => format!("{cell:>cell_width$}  "),
            });
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

/// Columns of the terminal; 100 where there is none.
#[must_use]
pub fn columns() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || {
        rustix::termios::tcgetwinsize(std::io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col))
    };
    told.or_else(asked).filter(|columns| *columns > 0).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::super::knee::knee;
    use super::super::knee::tests::step;
    use super::*;

    fn steps() -> Vec<Step> {
        vec![
            step(0.5, 4_000.0, 3_990.0),
            step(1.0, 8_000.0, 7_900.0),
            step(3.0, 24_000.0, 5_000.0),
        ]
    }

    #[test]
    fn the_drawing_fits_its_width() {
        let steps = steps();
        let found = knee(&steps);
        for columns in [0, 40, 80, 100, 500] {
            let text = draw(&steps, &found, columns);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            let room = columns.clamp(WIDTH_MIN, WIDTH_MAX).max(72);
            assert!(widest <= room, "{columns}: {widest}\n{text}");
        }
    }

    #[test]
    fn steps_knee_and_ideal_are_drawn_in_their_places() {
        let steps = steps();
        let text = draw(&steps, &knee(&steps), 80);
        assert_eq!(text.matches(GOODPUT).count(), 3 + 1, "one in the legend\n{text}");
        assert!(text.contains("1x knee") && text.contains("24,000"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str, mark: char| line.chars().position(|c| c == mark);
        // The knee's step stands on the knee's line, above the last step.
        let knee_column = lines.iter().find_map(|line| column(line, KNEE)).unwrap();
        let tops: Vec<usize> = lines
            .iter()
            .take(HEIGHT + 1)
            .filter_map(|line| column(line, GOODPUT))
            .collect();
        assert!(tops.contains(&knee_column), "{text}");
        assert!(tops[0] == knee_column, "the best step is the highest\n{text}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let late = [Step {
            is_void: true,
            ..step(1.0, 10.0, 10.0)
        }];
        for steps in [&[][..], &late] {
            let text = draw(steps, &knee(steps), 80);
            assert!(!text.contains(GOODPUT) && text.starts_with("STEP"), "{text}");
        }
    }
}
