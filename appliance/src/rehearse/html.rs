//! The report: one page that needs nothing from elsewhere and no script, readable in light and dark.

use std::fmt::Write as _;

use serde_json::Value;

use super::findings::Findings;
use super::knee::{self, whole};
use super::step::Step;
use super::svg;

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--line:#d5d9de;--paper:#fff;--mark:#0b6bcb;--bend:#b3521b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa3ad;--line:#3a4048;--paper:#15181c;--mark:#6cb2ff;--bend:#ffa366}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600}.wide{overflow-x:auto}
.carries{font-size:1.15rem;border-left:4px solid var(--mark);padding-left:.8rem}.alarm{border-left:4px solid #d33;padding-left:.8rem}
svg{width:100%;height:auto}svg text{fill:var(--soft);font-size:12px}svg .left{text-anchor:end}
.grid{stroke:var(--line)}.ideal{stroke:var(--soft);stroke-dasharray:2 4}.knee{stroke:var(--bend);stroke-dasharray:6 4}
.curve{fill:none;stroke:var(--mark);stroke-width:2}circle{fill:var(--mark)}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{overflow-x:auto;border:1px solid var(--line);padding:.8rem}
";

/// The page.
#[must_use]
pub fn page(found: &Findings) -> String {
    let mut out = String::with_capacity(32 << 10);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Rehearsal of {0}</title><style>{STYLE}</style></head><body>\n<h1>Rehearsal of {0}</h1>\n<p>{1}</p>\n<p class=\"carries\">{2}</p>\n",
        escaped(&found.at),
        escaped(&found.whom),
        escaped(&found.sentence())
    );
    if found.false_invalids > 0 {
        let _ = writeln!(
            out,
            "<p class=\"alarm\">{} good tokens or right passwords were called bad. That must never be; please report it.</p>",
            found.false_invalids
        );
    }
    list(&mut out, &found.remarks);
    let [goodput, p99] = svg::pictures(&found.steps, &found.knee);
    let _ = write!(
        out,
        "<h2>Answered in time</h2>{goodput}<p>The dotted line: all of it in time. How the knee is found: {}.</p>",
        escaped(knee::RULE)
    );
    let _ = write!(out, "<h2>How long a check takes, 99th of a hundred</h2>{p99}");
    steps(&mut out, found);
    calls(&mut out, &found.steps);
    proposals(&mut out, found);
    let _ = write!(
        out,
        "<h2>Settings used</h2><p>Those of this host; what is not listed had its default.</p>"
    );
    list(&mut out, &found.differs);
    let cells = found
        .settings
        .iter()
        .map(|(key, value)| vec![key.clone(), value.clone()]);
    table(&mut out, &["setting", "value"], cells);
    let _ = write!(out, "<h2>Machine and plan</h2>");
    let facts = [&found.machine, &found.plan].into_iter().flat_map(facts);
    table(&mut out, &["", ""], facts);
    out.push_str("</body></html>\n");
    out
}

fn steps(out: &mut String, found: &Findings) {
    let _ = write!(out, "<h2>Steps</h2>");
    let ms = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    let share = |share: f64| format!("{:.0} %", share * 100.0);
    let rows = found.steps.iter().enumerate().map(|(place, step)| {
        let mark = match (step.is_void, found.knee.place == Some(place)) {
            (true, _) => format!("void: the loader was late by {:.0} ms", step.loader_late_ms),
            (false, true) => "knee".to_owned(),
            (false, false) => String::new(),
        };
        let seen = step.admission.clone().unwrap_or_default();
        vec![
            format!("{}x", step.factor),
            whole(step.offered_visits_per_s),
            whole(step.offered_units_per_s),
            whole(step.goodput_units_per_s),
            share(step.in_time_share),
            whole(step.players_per_s),
            ms(step.way_in_p99_ms),
            format!("{:.2}", step.amplification),
            format!("{} / {}", step.needed_logins, step.extra_logins),
            step.false_invalids.to_string(),
            format!("{} / {}", step.proofs.asked, step.proofs.solved),
            step.server_cpu_share.map_or_else(|| "-".to_owned(), share),
            format!("{} / {}", seen.refused, seen.would_be_refused),
            mark,
        ]
    });
    let headings = [
        "step",
        "visits/s",
        "units/s offered",
        "units/s in time",
        "in time",
        "players/s in",
        "way in p99",
        "requests for each first",
        "logins needed / extra",
        "false invalids",
        "proofs of work asked / done",
        "server's processors",
        "refused / would be",
        "",
    ];
    table(out, &headings, rows);
}

fn calls(out: &mut String, steps: &[Step]) {
    let _ = write!(out, "<h2>Calls</h2>");
    let ms = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
    let rows = steps.iter().flat_map(|step| {
        step.calls.iter().map(move |(name, call)| {
            let refusals: Vec<String> = call
                .refusals
                .iter()
                .map(|(code, count)| format!("{code} {count}"))
                .collect();
            vec![
                format!("{}x", step.factor),
                (*name).to_owned(),
                call.sent.to_string(),
                call.ok.to_string(),
                call.in_time.to_string(),
                ms(call.p50_ms),
                ms(call.p99_ms),
                refusals.join(", "),
            ]
        })
    });
    let headings = [
        "step",
        "call",
        "sent",
        "right",
        "in time",
        "p50 ms",
        "p99 ms",
        "refused by code",
    ];
    table(out, &headings, rows);
    let examples: Vec<String> = steps.iter().flat_map(|step| step.examples.clone()).take(5).collect();
    if !examples.is_empty() {
        let _ = write!(out, "<p>Some of what came instead:</p>");
        list(out, &examples);
    }
}

fn proposals(out: &mut String, found: &Findings) {
    let _ = write!(out, "<h2>Proposed settings</h2>");
    let rows = found.proposals.iter().map(|own| {
        vec![
            own.key.to_owned(),
            own.value.to_string(),
            own.now.clone(),
            own.why.clone(),
        ]
    });
    table(out, &["setting", "proposed", "now", "why"], rows);
    let _ = write!(out, "<pre>{}</pre>", escaped(&found.fragment()));
}

fn list(out: &mut String, lines: &[String]) {
    out.push_str("<ul>");
    for line in lines {
        let _ = write!(out, "<li>{}</li>", escaped(line));
    }
    out.push_str("</ul>\n");
}

fn table(out: &mut String, headings: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    out.push_str("<div class=\"wide\"><table><thead><tr>");
    for heading in headings {
        let _ = write!(out, "<th>{}</th>", escaped(heading));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escaped(&cell));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>\n");
}

fn facts(value: &Value) -> Vec<Vec<String>> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            vec![name.replace('_', " "), text]
        })
        .collect()
}

/// Text as it stands in a page, also within quotes.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::findings::tests::findings;
    use super::*;

    #[test]
    fn every_value_is_escaped() {
        assert_eq!(
            escaped("<a href='x'>\"&\"\u{1b}"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;\u{fffd}"
        );
        let page = page(&findings());
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        assert!(
            page.contains("a copy of &lt;data&gt;")
                && page.contains("&lt;cpu&gt;")
                && page.contains("server &amp; loader")
        );
        assert!(page.contains("1 &lt; 2"));
    }

    #[test]
    fn the_page_loads_nothing_and_is_whole() {
        let page = page(&findings());
        for outside in ["http://", "https://", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert!(page.contains("prefers-color-scheme:dark") && page.matches("<svg").count() == 2);
        for tag in ["table", "tr", "ul", "svg", "pre"] {
            let (open, close) = (
                page.matches(&format!("<{tag}")).count(),
                page.matches(&format!("</{tag}>")).count(),
            );
            assert_eq!(open, close, "{tag}");
        }
    }

    #[test]
    fn an_alarm_is_shown() {
        let mut found = findings();
        assert!(!page(&found).contains("called bad"));
        found.false_invalids = 2;
        assert!(page(&found).contains("2 good tokens or right passwords were called bad"));
    }
}
