//! DATEADD, DATEDIFF, DATEPART, DATENAME, and dates as text.

use crate::tds::error::ServerError;
use crate::tds::wire::kind::Kind;
use crate::tds::wire::temporal::{Moment, TICKS_PER_SECOND, days_of};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

fn moment(text: &str) -> Result<Moment, ServerError> {
    Moment::parse(text).ok_or_else(|| {
        let text = "Conversion failed when converting date and/or time from character string.";
        ServerError::new(241, 16, text)
    })
}

/// Parts of a fixed length, in ticks.
fn ticks(part: &str) -> Option<i128> {
    let second = i128::from(TICKS_PER_SECOND);
    Some(match part {
        "week" | "wk" | "ww" => 7 * 86_400 * second,
        "day" | "dd" | "d" | "dayofyear" | "dy" | "weekday" | "dw" => 86_400 * second,
        "hour" | "hh" => 3_600 * second,
        "minute" | "mi" | "n" => 60 * second,
        "second" | "ss" | "s" => second,
        "millisecond" | "ms" => second / 1_000,
        "microsecond" | "mcs" => second / 1_000_000,
        _ => return None,
    })
}

/// Parts of months.
fn months(part: &str) -> Option<i64> {
    Some(match part {
        "year" | "yy" | "yyyy" => 12,
        "quarter" | "qq" | "q" => 3,
        "month" | "mm" | "m" => 1,
        _ => return None,
    })
}

fn unknown(part: &str) -> ServerError {
    ServerError::new(
        155,
        15,
        format!("'{part}' is not a recognized datepart option."),
    )
}

pub(super) fn add(part: &str, count: f64, date: &str) -> Result<String, ServerError> {
    let moment = moment(date)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "DATEADD cuts a fraction off"
    )]
    let count = count.trunc() as i64;
    let moved = if let Some(months) = months(part) {
        moment.plus_months(count.saturating_mul(months))
    } else {
        let ticks = ticks(part).ok_or_else(|| unknown(part))?;
        moment.plus(ticks * i128::from(count))
    };
    // With an offset if there was one; the caller converts to the type that it wants.
    let kind = if moment.offset == 0 {
        Kind::DateTime2(7)
    } else {
        Kind::DateTimeOffset(7)
    };
    moved.and_then(|moved| moved.text(kind)).ok_or_else(|| {
        ServerError::new(
            517,
            16,
            "Adding a value to a date column caused an overflow.",
        )
    })
}

pub(super) fn difference(part: &str, from: &str, to: &str) -> Result<i64, ServerError> {
    let (from, to) = (moment(from)?, moment(to)?);
    if let Some(unit) = months(part) {
        let index = |moment: Moment| {
            let (year, month, _) = moment.civil();
            (i64::from(year) * 12 + i64::from(month) - 1).div_euclid(unit)
        };
        return Ok(index(to) - index(from));
    }
    let unit = ticks(part).ok_or_else(|| unknown(part))?;
    // Boundaries crossed, not time passed.
    let index = |moment: Moment| {
        let day = i128::from(moment.days) * 86_400 * i128::from(TICKS_PER_SECOND);
        let all = day + i128::from(moment.ticks);
        // Weeks begin on Sunday; 0001-01-01 was a Monday.
        let shift = if unit == 7 * 86_400 * i128::from(TICKS_PER_SECOND) {
            86_400 * i128::from(TICKS_PER_SECOND)
        } else {
            0
        };
        (all + shift).div_euclid(unit)
    };
    i64::try_from(index(to) - index(from)).map_err(|_| {
        let text = "The datediff function resulted in an overflow.";
        ServerError::new(535, 16, text)
    })
}

pub(super) fn part(part: &str, date: &str) -> Result<i64, ServerError> {
    let moment = moment(date)?;
    let (year, month, day) = moment.civil();
    let second = moment.ticks / TICKS_PER_SECOND;
    let fraction = moment.ticks % TICKS_PER_SECOND;
    let number = |value: u64| i64::try_from(value).unwrap_or(0);
    Ok(match part {
        "year" | "yy" | "yyyy" => year.into(),
        "quarter" | "qq" | "q" => i64::from((month - 1) / 3 + 1),
        "month" | "mm" | "m" => month.into(),
        "day" | "dd" | "d" => day.into(),
        "dayofyear" | "dy" => i64::from(moment.days - days_of(year, 1, 1).unwrap_or(0)) + 1,
        // DATEFIRST 7: Sunday is 1.
        "weekday" | "dw" => i64::from((moment.days + 1).rem_euclid(7)) + 1,
        "hour" | "hh" => number(second / 3_600),
        "minute" | "mi" | "n" => number(second / 60 % 60),
        "second" | "ss" | "s" => number(second % 60),
        "millisecond" | "ms" => number(fraction / 10_000),
        "microsecond" | "mcs" => number(fraction / 10),
        "nanosecond" | "ns" => number(fraction * 100),
        "tzoffset" | "tz" => moment.offset.into(),
        _ => return Err(unknown(part)),
    })
}

pub(super) fn name(part: &str, date: &str) -> Result<String, ServerError> {
    let named = moment(date)?;
    let (_, month, _) = named.civil();
    let at = |names: &[&str], index: i64| {
        let name = usize::try_from(index)
            .ok()
            .and_then(|index| names.get(index));
        name.map_or_else(String::new, |name| (*name).to_owned())
    };
    match part {
        "month" | "mm" | "m" => Ok(at(&MONTHS, i64::from(month) - 1)),
        "weekday" | "dw" => Ok(at(&WEEKDAYS, i64::from(named.days.rem_euclid(7)))),
        _ => self::part(part, date).map(|number| number.to_string()),
    }
}

/// A date or time as CONVERT to text shows it.
pub(super) fn shown(text: &str, kind: Kind, style: Option<i64>) -> Result<String, ServerError> {
    let is_old = matches!(kind, Kind::DateTime | Kind::SmallDateTime);
    let moment = moment(text)?;
    let (year, month, day) = moment.civil();
    let second = moment.ticks / TICKS_PER_SECOND;
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    match style {
        None | Some(0 | 100) if is_old => {
            let name = MONTHS.get(month as usize - 1).map_or("", |name| &name[..3]);
            let half = if hour < 12 { "AM" } else { "PM" };
            let hour = (hour + 11) % 12 + 1;
            Ok(format!(
                "{name} {day:>2} {year} {hour:>2}:{minute:02}{half}"
            ))
        }
        Some(112) => Ok(format!("{year:04}{month:02}{day:02}")),
        Some(23) => Ok(format!("{year:04}-{month:02}-{day:02}")),
        Some(101) => Ok(format!("{month:02}/{day:02}/{year:04}")),
        Some(103) => Ok(format!("{day:02}/{month:02}/{year:04}")),
        Some(104) => Ok(format!("{day:02}.{month:02}.{year:04}")),
        Some(108 | 8) => Ok(format!("{hour:02}:{minute:02}:{:02}", second % 60)),
        Some(120 | 20) => Ok(text.split('.').next().unwrap_or(text).to_owned()),
        Some(126 | 127) => Ok(text.replacen(' ', "T", 1)),
        None | Some(121 | 21 | 25) => Ok(text.to_owned()),
        Some(style) => {
            let text = format!("CONVERT with style {style}");
            Err(ServerError::unsupported(&text))
        }
    }
}
