//! Lengths of time as people write them: `30s`, `10min`, `1h30m`.
//!
//! Used by the shapes of `shape` and by `render`. Whole milliseconds only, so that what is
//! rendered reads back as the same value.

use std::time::Duration;

/// From the largest; the first name of a length is the one that is written.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Why a text is not a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpanError {
    /// A bare number.
    #[error("has no unit")]
    NoUnit,
    /// Something that is not `<digits><unit>...`.
    #[error("is not a length of time")]
    NotASpan,
    /// More than 2^64 milliseconds.
    #[error("is too long")]
    TooLong,
}

/// Reads one or more `<digits><unit>`, e.g. `1h30m`.
pub(super) fn parse_span(text: &str) -> Result<Duration, SpanError> {
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(SpanError::NotASpan);
    }
    while !rest.is_empty() {
        let (digits, tail) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, tail) = split_where(tail, |c| c.is_ascii_digit());
        if digits.is_empty() {
            return Err(SpanError::NotASpan);
        }
        if unit.is_empty() {
            return Err(SpanError::NoUnit);
        }
        let (_, length) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(SpanError::NotASpan)?;
        let count: u64 = digits.parse().map_err(|_| SpanError::TooLong)?;
        total = count
            .checked_mul(*length)
            .and_then(|part| total.checked_add(part))
            .ok_or(SpanError::TooLong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a length of time in the largest unit that divides it.
pub(super) fn format_span(span: Duration) -> String {
    let millis = span.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, length)| millis.is_multiple_of(u128::from(*length)))
        .map_or_else(
            || format!("{millis}ms"),
            |(name, length)| format!("{}{name}", millis / u128::from(*length)),
        )
}

fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let table = [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("10min", 600_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1s500ms", 1_500),
        ];
        for (text, millis) in table {
            assert_eq!(
                parse_span(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_the_rest() {
        let table = [
            ("", SpanError::NotASpan),
            ("30", SpanError::NoUnit),
            ("1h30", SpanError::NoUnit),
            ("s", SpanError::NotASpan),
            ("-1s", SpanError::NotASpan),
            ("1.5s", SpanError::NotASpan),
            ("1 s", SpanError::NotASpan),
            ("1S", SpanError::NotASpan),
            ("2w", SpanError::NotASpan),
            ("99999999999999999999s", SpanError::TooLong),
            ("18446744073709551615d", SpanError::TooLong),
        ];
        for (text, error) in table {
            assert_eq!(parse_span(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let table = [
            (0, "0s"),
            (100, "100ms"),
            (1_000, "1s"),
            (90_000, "90s"),
            (600_000, "10min"),
            (3_600_000, "1h"),
            (604_800_000, "7d"),
        ];
        for (millis, text) in table {
            let span = Duration::from_millis(millis);
            assert_eq!(format_span(span), text);
            assert_eq!(parse_span(text), Ok(span));
        }
    }
}
