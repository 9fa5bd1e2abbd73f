//! Instants as people write and read them: RFC 3339 in UTC, Unix milliseconds, or a distance from now.

use seawall_domain::UnixMs;
use seawall_domain::ports::Clock as _;

use crate::clock::SystemClock;

const DAY_MS: u64 = 86_400_000;

/// Reads `2026-11-22T09:00:00Z`, Unix milliseconds, or `+7d`, `-2h`, `+30m`, `+90s` from now.
///
/// # Errors
/// What is expected, as a sentence.
pub fn instant(text: &str) -> Result<UnixMs, String> {
    parse(text, SystemClock.now_at()).ok_or_else(|| {
        "expected 2026-11-22T09:00:00Z, Unix milliseconds, or a distance such as +7d, -2h, +30m, +90s".into()
    })
}

fn parse(text: &str, now_at: UnixMs) -> Option<UnixMs> {
    if let Some(distance) = text.strip_prefix('+') {
        return now_at.checked_add(distance_ms(distance)?);
    }
    if let Some(distance) = text.strip_prefix('-') {
        return now_at.checked_sub(distance_ms(distance)?);
    }
    text.parse().ok().or_else(|| rfc3339(text))
}

fn distance_ms(text: &str) -> Option<u64> {
    let unit_ms = match text.chars().last()? {
        's' => 1000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => DAY_MS,
        _ => return None,
    };
    text.get(..text.len() - 1)?.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// `YYYY-MM-DDTHH:MM:SSZ`, with a space allowed for the `T`.
fn rfc3339(text: &str) -> Option<UnixMs> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once(['T', ' '])?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let at = days_to(year, month, day) * DAY_MS + (hour * 3600 + minute * 60 + second) * 1000;
    // A day that the month does not have would print as another one.
    (show(at).get(..10) == Some(date)).then_some(at)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let parts: Vec<u64> = text.split(separator).map(str::parse).collect::<Result<_, _>>().ok()?;
    parts.try_into().ok()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, with years that begin in March so that the leap day is
/// the last of its year.
fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let day_of_year = (153 * since_march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// `2026-11-22T09:00:00.123Z`, without the fraction when it is zero.
#[must_use]
pub fn show(at: UnixMs) -> String {
    let (days, rest_ms) = (at / DAY_MS + 719_468, at % DAY_MS);
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * since_march + 2) / 5 + 1;
    let month = if since_march < 10 {
        since_march + 3
    } else {
        since_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (seconds, ms) = (rest_ms / 1000, rest_ms % 1000);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_both_ways() {
        for (text, at) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696_000),
            ("2026-11-22T09:14:03Z", 1_795_338_843_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ] {
            assert_eq!(show(at), text);
            assert_eq!(parse(text, 0), Some(at), "{text}");
        }
        assert_eq!(show(1001), "1970-01-01T00:00:01.001Z");
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097 {
            let at = day * DAY_MS;
            assert_eq!(parse(&show(at), 1), Some(at));
        }
    }

    #[test]
    fn distances_and_nonsense() {
        assert_eq!(parse("+7d", 1000), Some(1000 + 7 * DAY_MS));
        assert_eq!(parse("-1s", 5000), Some(4000));
        assert_eq!(parse("-1d", 5000), None);
        assert_eq!(parse("1795338843000", 0), Some(1_795_338_843_000));
        for bad in [
            "",
            "7d",
            "+d",
            "+7w",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22",
            "2026-11-22T25:00:00Z",
        ] {
            assert_eq!(parse(bad, 0), None, "{bad}");
        }
    }
}
