//! date, time, datetime2 and datetimeoffset (2.2.5.5.1.8) as text, as servers give them to clients
//! that don't know them.

/// One of the types, with the digits of a second's fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Date,
    Time(u8),
    DateTime(u8),
    Offset(u8),
}

const DATE: u8 = 0x28;
const TIME: u8 = 0x29;
const DATETIME2: u8 = 0x2a;
const DATETIMEOFFSET: u8 = 0x2b;
const MOST_DIGITS: u8 = 7;

const SECONDS_A_DAY: i64 = 86_400;
/// From 0001-01-01 to 9999-12-31.
const DAYS: i64 = 3_652_059;

impl Moment {
    /// The type of this byte; `digits` is what follows it, if anything.
    pub(super) fn of(kind: u8, digits: u8) -> Option<Self> {
        let moment = match kind {
            DATE => return Some(Self::Date),
            TIME => Self::Time(digits),
            DATETIME2 => Self::DateTime(digits),
            DATETIMEOFFSET => Self::Offset(digits),
            _ => return None,
        };
        (digits <= MOST_DIGITS).then_some(moment)
    }

    /// Whether it is one of the types.
    pub(super) fn is(kind: u8) -> bool {
        (DATE..=DATETIMEOFFSET).contains(&kind)
    }

    /// Bytes of its text in UTF-16.
    pub(super) fn length(self) -> u16 {
        let time = |digits: u8| match digits {
            0 => 8,
            digits => 9 + u16::from(digits),
        };
        2 * match self {
            Self::Date => 10,
            Self::Time(digits) => time(digits),
            Self::DateTime(digits) => 11 + time(digits),
            Self::Offset(digits) => 18 + time(digits),
        }
    }

    /// The text of a value; `None` for bytes that are none.
    pub(super) fn text(self, value: &[u8]) -> Option<String> {
        match self {
            Self::Date => {
                let days = number(value, 3)?;
                (value.len() == 3 && days < DAYS).then(|| date(days))
            }
            Self::Time(digits) => {
                let ticks = ticks(value, digits)?;
                (value.len() == width(digits)).then(|| time(ticks, digits))
            }
            Self::DateTime(digits) => {
                let ticks = ticks(value, digits)?;
                let days = number(value.get(width(digits)..)?, 3)?;
                let fits = value.len() == width(digits) + 3 && days < DAYS;
                fits.then(|| format!("{} {}", date(days), time(ticks, digits)))
            }
            Self::Offset(digits) => offset(value, digits),
        }
    }
}

/// The value is in UTC, its text is not.
fn offset(value: &[u8], digits: u8) -> Option<String> {
    let ticks = ticks(value, digits)?;
    let (days, minutes) = value.get(width(digits)..)?.split_at_checked(3)?;
    let days = number(days, 3)?;
    let minutes = i64::from(i16::from_le_bytes(minutes.try_into().ok()?));
    let day = SECONDS_A_DAY * scale(digits);
    let local = days * day + ticks + minutes * 60 * scale(digits);
    let days = local.div_euclid(day);
    if !(0..DAYS).contains(&days) {
        return None;
    }
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    Some(format!(
        "{} {} {sign}{:02}:{:02}",
        date(days),
        time(local.rem_euclid(day), digits),
        minutes / 60,
        minutes % 60
    ))
}

/// Bytes of a time.
fn width(digits: u8) -> usize {
    match digits {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}

/// A second in units of the last digit.
fn scale(digits: u8) -> i64 {
    10_i64.pow(u32::from(digits.min(MOST_DIGITS)))
}

fn number(bytes: &[u8], count: usize) -> Option<i64> {
    let mut whole = [0; 8];
    let bytes = bytes.get(..count)?;
    whole.get_mut(..count)?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// A time in units of its last digit; less than a day.
fn ticks(value: &[u8], digits: u8) -> Option<i64> {
    let ticks = number(value, width(digits))?;
    (ticks < SECONDS_A_DAY * scale(digits)).then_some(ticks)
}

fn time(ticks: i64, digits: u8) -> String {
    let (seconds, fraction) = (ticks / scale(digits), ticks % scale(digits));
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let seconds = seconds % 60;
    match digits {
        0 => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        digits => {
            let digits = usize::from(digits);
            format!("{hours:02}:{minutes:02}:{seconds:02}.{fraction:0digits$}")
        }
    }
}

/// A day of the Gregorian calendar, counted from 0001-01-01.
fn date(days: i64) -> String {
    const FOUR_CENTURIES: i64 = 146_097;
    const CENTURY: i64 = 36_524;
    const FOUR_YEARS: i64 = 1461;
    let mut rest = days;
    let mut years_of = |days: i64, years: i64, most: i64| {
        let count = (rest / days).min(most);
        rest -= count * days;
        count * years
    };
    // The last century of four, and the last year of four, have a day more than the others.
    let year = 1
        + years_of(FOUR_CENTURIES, 400, i64::MAX)
        + years_of(CENTURY, 100, 3)
        + years_of(FOUR_YEARS, 4, 24)
        + years_of(365, 1, 3);
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leaps { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_sorts_of_years() {
        for (days, text) in [
            (0, "0001-01-01"),
            (58, "0001-02-28"),
            (59, "0001-03-01"),
            (364, "0001-12-31"),
            (1460, "0004-12-31"),
            (36_523, "0100-12-31"),
            (146_096, "0400-12-31"),
            (146_097, "0401-01-01"),
            (719_162, "1970-01-01"),
            (730_178, "2000-02-29"),
            (738_214, "2022-03-01"),
            (3_652_058, "9999-12-31"),
        ] {
            assert_eq!(date(days), text);
        }
        // Each day is the one after the day before.
        let mut last = date(0);
        for day in 1..DAYS {
            let text = date(day);
            assert!(text > last, "{text} after {last}");
            last = text;
        }
    }

    #[test]
    fn values_are_as_servers_write_them() {
        let date = Moment::Date;
        assert_eq!(
            date.text(&[0xa6, 0x43, 0x0b]).as_deref(),
            Some("2022-03-01")
        );
        assert_eq!(date.text(&[0xdb, 0xb9, 0x37]), None);
        assert_eq!(date.text(&[0xda, 0x43]), None);
        let noon = 12 * 36_000_000_000_i64 + 1;
        let noon = &noon.to_le_bytes()[..5];
        assert_eq!(
            Moment::Time(7).text(noon).as_deref(),
            Some("12:00:00.0000001")
        );
        assert_eq!(
            Moment::Time(0).text(&[0x7f, 0x51, 1]).as_deref(),
            Some("23:59:59")
        );
        assert_eq!(Moment::Time(0).text(&[0x80, 0x51, 1]), None);
        assert_eq!(Moment::Time(2).text(noon), None);
        let mut both = noon.to_vec();
        both.extend([0xa6, 0x43, 0x0b]);
        assert_eq!(
            Moment::DateTime(7).text(&both).as_deref(),
            Some("2022-03-01 12:00:00.0000001")
        );
        for (minutes, text) in [
            (-720_i16, "2022-03-01 00:00:00.0000001 -12:00"),
            (-721, "2022-02-28 23:59:00.0000001 -12:01"),
            (330, "2022-03-01 17:30:00.0000001 +05:30"),
            (840, "2022-03-02 02:00:00.0000001 +14:00"),
        ] {
            let mut value = both.clone();
            value.extend(minutes.to_le_bytes());
            assert_eq!(Moment::Offset(7).text(&value).as_deref(), Some(text));
        }
    }

    #[test]
    fn texts_are_as_long_as_said() {
        for kind in DATE..=DATETIMEOFFSET {
            for digits in 0..=MOST_DIGITS {
                let moment = Moment::of(kind, digits).unwrap();
                let length = match moment {
                    Moment::Date => 3,
                    Moment::Time(_) => width(digits),
                    Moment::DateTime(_) => width(digits) + 3,
                    Moment::Offset(_) => width(digits) + 5,
                };
                let text = moment.text(&vec![0; length]).unwrap();
                assert_eq!(2 * text.len(), usize::from(moment.length()), "{text}");
            }
            assert_eq!(Moment::of(kind, 8).is_some(), kind == DATE);
        }
    }
}
