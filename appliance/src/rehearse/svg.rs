//! The curve as a picture that needs nothing but a browser: offered load against goodput, and the time of checks below.

use std::fmt::Write as _;

use super::knee::{Knee, whole};
use super::step::Step;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 40.0;
const TOP: f64 = 16.0;
const RIGHT: f64 = 16.0;
/// Lines across the picture.
const LINES: u32 = 4;

/// One curve over the offered load.
struct Curve<'a> {
    title: &'a str,
    most_x: f64,
    most_y: f64,
    points: Vec<(f64, f64)>,
    unit: &'a str,
}

impl Curve<'_> {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value / self.most_x).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - (value / self.most_y).clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
    }

    fn drawn(&self, knee_x: Option<f64>, has_ideal: bool) -> String {
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>",
            self.title
        );
        for line in 0..=LINES {
            let value = self.most_y * f64::from(line) / f64::from(LINES);
            let y = self.y(value);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/><text class=\"left\" x=\"{:.1}\" y=\"{:.1}\">{}{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                whole(value),
                self.unit
            );
        }
        if has_ideal {
            let end = self.most_x.min(self.most_y);
            let _ = write!(
                out,
                "<line class=\"ideal\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
                self.x(0.0),
                self.y(0.0),
                self.x(end),
                self.y(end)
            );
        }
        if let Some(at) = knee_x {
            let x = self.x(at);
            let _ = write!(
                out,
                "<line class=\"knee\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\">knee</text>",
                HEIGHT - BOTTOM,
                x + 5.0,
                TOP + 10.0
            );
        }
        let points: Vec<String> = self
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)))
            .collect();
        let _ = write!(out, "<polyline class=\"curve\" points=\"{}\"/>", points.join(" "));
        for (x, y) in &self.points {
            let _ = write!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                self.x(*x),
                self.y(*y)
            );
        }
        let _ = write!(
            out,
            "<text x=\"{LEFT}\" y=\"{:.1}\">0</text><text class=\"left\" x=\"{:.1}\" y=\"{:.1}\">{} units/s offered</text></svg>",
            HEIGHT - BOTTOM + 20.0,
            WIDTH - RIGHT,
            HEIGHT - BOTTOM + 20.0,
            whole(self.most_x)
        );
        out
    }
}

/// Both pictures.
#[must_use]
pub fn pictures(steps: &[Step], knee: &Knee) -> [String; 2] {
    let told: Vec<&Step> = steps.iter().filter(|step| !step.is_void).collect();
    let most_x = told.iter().map(|step| step.offered_units_per_s).fold(1.0, f64::max);
    let knee_x = knee
        .place
        .and_then(|place| steps.get(place))
        .map(|step| step.offered_units_per_s);
    let goodput = Curve {
        title: "Work units a second answered in time, by offered load",
        most_x,
        most_y: knee.peak_units_per_s.max(1.0) * 1.15,
        points: told
            .iter()
            .map(|step| (step.offered_units_per_s, step.goodput_units_per_s))
            .collect(),
        unit: "",
    };
    let times: Vec<(f64, f64)> = told
        .iter()
        .filter_map(|step| Some((step.offered_units_per_s, step.p99_ms()?)))
        .collect();
    let most_ms = times.iter().map(|(_, ms)| *ms).fold(1.0, f64::max);
    let p99 = Curve {
        title: "99th of a hundred of the token checks, by offered load",
        most_x,
        most_y: most_ms * 1.15,
        points: times,
        unit: " ms",
    };
    [goodput.drawn(knee_x, true), p99.drawn(knee_x, false)]
}

#[cfg(test)]
mod tests {
    use super::super::knee::knee;
    use super::super::knee::tests::step;
    use super::*;

    #[test]
    fn every_step_is_a_point_within_the_picture() {
        let steps = [
            step(0.5, 4_000.0, 3_990.0),
            step(1.0, 8_000.0, 7_900.0),
            step(3.0, 24_000.0, 5_000.0),
        ];
        for picture in pictures(&steps, &knee(&steps)) {
            assert_eq!(picture.matches("<circle").count(), 3, "{picture}");
            assert!(picture.contains("class=\"knee\"") && picture.ends_with("</svg>"));
            let places = picture
                .split("cx=\"")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().parse::<f64>().unwrap());
            assert!(places.into_iter().all(|x| (LEFT..=WIDTH).contains(&x)));
        }
        assert!(pictures(&[], &knee(&[]))[0].ends_with("</svg>"));
    }
}
