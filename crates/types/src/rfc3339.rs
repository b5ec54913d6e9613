//! Times as text, in labels and documents (RFC 3339, section 5.6).

use std::time::{Duration, SystemTime};

/// The moment that a text names; nothing when it names none.
#[must_use]
pub fn parse(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let number = |at: usize, length: usize| -> Option<i64> {
        let digits = bytes.get(at..at + length)?;
        digits.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
    };
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|b| wanted.contains(b));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    // A leap second is the next minute's first.
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(bytes.get(19..)?)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(rest)?;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = SystemTime::UNIX_EPOCH;
    let moment = if seconds < 0 { base.checked_sub(whole) } else { base.checked_add(whole) };
    moment?.checked_add(Duration::from_nanos(nanos))
}

/// A moment as text, in whole seconds of universal time; one before 1970 is 1970's first second.
#[must_use]
pub fn format(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// The date so many days after 1970-01-01: the inverse of [`days`].
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// Nanoseconds, and what follows them.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some((b'.' | b',', digits)) = text.split_first() else { return Some((0, text)) };
    let length = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(length)?;
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = padded.fold(0, |sum, b| sum * 10 + u64::from(b - b'0'));
    (length > 0).then_some((nanos, rest))
}

/// Seconds east of Greenwich.
fn offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h, hh, b':', m, mm] if [h, hh, m, mm].iter().all(u8::is_ascii_digit) => {
            let two = |ten: u8, one: u8| i64::from(ten - b'0') * 10 + i64::from(one - b'0');
            let (hours, minutes) = (two(h, hh), two(m, mm));
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// Days from 1970-01-01, in the proleptic Gregorian calendar whose years begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let at = |seconds: u64, nanos: u32| Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
        assert_eq!(parse("1970-01-01T00:00:00Z"), at(0, 0));
        assert_eq!(parse("2001-09-09T01:46:40Z"), at(1_000_000_000, 0));
        assert_eq!(parse("2001-09-09T03:46:40.25+02:00"), at(1_000_000_000, 250_000_000));
        assert_eq!(parse("2000-02-29t23:59:60-00:30"), at(951_870_600, 0));
        assert_eq!(parse("1969-12-31T23:59:59Z"), Some(SystemTime::UNIX_EPOCH - Duration::from_secs(1)));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 951_782_399, 951_782_400, 1_000_000_000, 4_102_444_799] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse(&format(at)), Some(at));
        }
        assert_eq!(format(SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_400)), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn everything_else_is_none() {
        for text in [
            "",
            "now",
            "2001-09-09",
            "2001-09-09T01:46:40",
            "2001-13-09T01:46:40Z",
            "2001-09-09T24:46:40Z",
            "2001-09-09T01:46:40.Z",
            "2001-09-09T01:46:40+0200",
            "2001-09-09T01:46:40Zx",
            "20010909T014640Z",
            "é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
