//! Instants as old platforms write them: Unix seconds or milliseconds, `2021-03-04 05:06:07` in UTC, or RFC 3339.

use crate::ids::UnixMs;

/// Numbers from here on are milliseconds; as seconds they would lie beyond the year 5000.
const MS_FROM: u64 = 100_000_000_000;
/// Latest instant accepted: the year 9999.
const LATEST_MS: u64 = 253_402_300_800_000;

/// Reads an instant. `Ok(None)` for what means "never": empty, zero, `0000-00-00 00:00:00`.
pub(super) fn parse(text: &str) -> Result<Option<UnixMs>, &'static str> {
    const WHAT: &str = "is no time: Unix seconds or ms, 2021-03-04 05:06:07 (UTC), or RFC 3339";
    let text = text.trim();
    if text.is_empty() || text.starts_with("0000-00-00") {
        return Ok(None);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let number: u64 = text.parse().map_err(|_| WHAT)?;
        let ms = if number < MS_FROM { number * 1000 } else { number };
        return if ms > LATEST_MS {
            Err(WHAT)
        } else {
            Ok((ms > 0).then_some(ms))
        };
    }
    civil(text).map(Some).ok_or(WHAT)
}

/// `YYYY-MM-DD`, then optionally a time after a space or `T`, fractions of a second, and `Z` or an offset.
fn civil(text: &str) -> Option<UnixMs> {
    let digits = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let mark = |place: usize, allowed: &[u8]| text.as_bytes().get(place).is_some_and(|b| allowed.contains(b));
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    if !mark(4, b"-/") || !mark(7, b"-/") || !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if text.len() == 10 {
        return u64::try_from(days * 86_400_000).ok();
    }
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    if !mark(10, b" T") || !mark(13, b":") || !mark(16, b":") || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset_minutes = offset(text.get(19..)?)?;
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    u64::try_from(seconds * 1000).ok()
}

/// Minutes east of UTC of what follows the seconds.
fn offset(rest: &str) -> Option<i64> {
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = zone.chars().skip(1).filter(|c| *c != ':').collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (digits.len() == 4 && (0..=14).contains(&hours) && (0..60).contains(&minutes))
        .then_some(sign * (hours * 60 + minutes))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar: years counted from March, so that the leap day is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read() {
        for (text, ms) in [
            ("1614834367", 1_614_834_367_000),
            ("1614834367123", 1_614_834_367_123),
            ("2021-03-04 05:06:07", 1_614_834_367_000),
            ("2021/03/04 05:06:07", 1_614_834_367_000),
            ("2021-03-04T05:06:07Z", 1_614_834_367_000),
            ("2021-03-04T13:06:07+08:00", 1_614_834_367_000),
            ("2021-03-04T05:06:07.123456Z", 1_614_834_367_000),
            ("2020-02-29", 1_582_934_400_000),
            ("1970-01-01 00:00:01", 1_000),
        ] {
            assert_eq!(parse(text), Ok(Some(ms)), "{text}");
        }
    }

    #[test]
    fn never_is_told_from_nonsense() {
        for never in ["", " ", "0", "0000-00-00 00:00:00", "0000-00-00"] {
            assert_eq!(parse(never), Ok(None), "{never}");
        }
        for bad in [
            "yesterday",
            "2021-13-01",
            "2021-03-04 25:00:00",
            "2021-03-04X05:06:07",
            "-5",
            "99999999999999999999",
            "2021-03-04T05:06:07+99:00",
            "1960-01-01",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn days_rise_by_one(days in 0i64..200_000) {
            // Walks the calendar the slow way.
            let (mut year, mut rest) = (1970, days);
            let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
            while rest >= 365 + i64::from(leap(year)) {
                rest -= 365 + i64::from(leap(year));
                year += 1;
            }
            let mut month = 1;
            for length in [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
                if rest < length {
                    break;
                }
                rest -= length;
                month += 1;
            }
            prop_assert_eq!(days_from_civil(year, month, rest + 1), days);
        }
    }
}
