//! Durations as Go writes them: `100ms`, `1m30s`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A duration, written with its units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(std::time::Duration);

impl Duration {
    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// As everybody else has it.
    #[must_use]
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

/// The units and their nanoseconds, longer names first where one begins with another.
const UNITS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is no duration: wanted numbers with units, such as \"100ms\" or \"1m30s\"");
        let (mut rest, mut nanos) = (text, 0.0);
        if matches!(text, "0" | "") {
            return Ok(Self::default());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
            let (number, after) = rest.split_at(digits);
            let number: f64 = number.parse().map_err(|_| refused())?;
            let (unit, factor) = UNITS.iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(refused)?;
            nanos += number * factor;
            rest = after.strip_prefix(unit).ok_or_else(refused)?;
        }
        std::time::Duration::try_from_secs_f64(nanos / 1e9).map(Self).map_err(|_| refused())
    }
}

impl TryFrom<String> for Duration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_nanos() {
            nanos if nanos % 1_000_000_000 == 0 => write!(f, "{}s", self.0.as_secs()),
            nanos if nanos % 1_000_000 == 0 => write!(f, "{}ms", self.0.as_millis()),
            nanos => write!(f, "{nanos}ns"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn go_s_durations_are_read() {
        for (text, millis) in
            [("100ms", 100), ("0s", 0), ("0", 0), ("", 0), ("1.5s", 1500), ("1m30s", 90_000), ("2h", 7_200_000)]
        {
            assert_eq!(text.parse::<Duration>().unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["1", "s", "1 s", "-1s", "1x", "1e300h", "ms100", "1..5s"] {
            assert!(text.parse::<Duration>().is_err(), "{text} was taken");
        }
        assert_eq!(Duration::from_millis(1500).to_string(), "1500ms");
    }
}
