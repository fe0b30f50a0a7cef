//! Dates and times: days, ticks of 100 ns, and the texts that the store keeps.

use super::kind::Kind;

pub(in crate::tds) const TICKS_PER_SECOND: u64 = 10_000_000;
const TICKS_PER_DAY: u64 = 86_400 * TICKS_PER_SECOND;
/// 1900-01-01, in days since 0001-01-01.
pub(in crate::tds) const DAY_1900: i32 = 693_595;
/// 9999-12-31.
const LAST_DAY: i32 = 3_652_058;

/// A point in time as a clock on a wall shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) struct Moment {
    /// Since 0001-01-01.
    pub(in crate::tds) days: i32,
    /// 100 ns since midnight.
    pub(in crate::tds) ticks: u64,
    /// Minutes ahead of UTC.
    pub(in crate::tds) offset: i16,
}

impl Moment {
    /// Of a time since 1970, UTC.
    pub(in crate::tds) fn since_1970(time: std::time::Duration) -> Self {
        let days = i32::try_from(time.as_secs() / 86_400).unwrap_or(0) + 719_162;
        let second = time.as_secs() % 86_400;
        Self {
            days,
            ticks: second * TICKS_PER_SECOND + u64::from(time.subsec_nanos()) / 100,
            offset: 0,
        }
    }

    /// Moves by so many ticks. `None`: out of the years 1 to 9999.
    pub(in crate::tds) fn plus(self, ticks: i128) -> Option<Self> {
        let all =
            i128::from(self.days) * i128::from(TICKS_PER_DAY) + i128::from(self.ticks) + ticks;
        let day = i128::from(TICKS_PER_DAY);
        let days = i32::try_from(all.div_euclid(day)).ok()?;
        (0..=LAST_DAY).contains(&days).then_some(())?;
        Some(Self {
            days,
            ticks: u64::try_from(all.rem_euclid(day)).ok()?,
            ..self
        })
    }

    /// Moves by so many months, to the last day of a month that is shorter.
    pub(in crate::tds) fn plus_months(self, months: i64) -> Option<Self> {
        let (year, month, day) = civil(self.days);
        let all = i64::from(year) * 12 + i64::from(month) - 1 + months;
        let (year, month) = (all.div_euclid(12), all.rem_euclid(12) + 1);
        let (year, month) = (i32::try_from(year).ok()?, u32::try_from(month).ok()?);
        let day = day.min(days_in(year, month));
        Some(Self {
            days: days_of(year, month, day)?,
            ..self
        })
    }

    /// Year, month, day.
    pub(in crate::tds) fn civil(self) -> (i32, u32, u32) {
        civil(self.days)
    }

    /// Rounded to so many digits of a second.
    fn rounded(self, digits: u8) -> Self {
        let unit = 10_u64.pow(7 - u32::from(digits.min(7)));
        let ticks = (self.ticks + unit / 2) / unit * unit;
        self.carried(ticks)
    }

    /// Rounded to 1/300 s, which is then shown in whole milliseconds.
    fn rounded_to_datetime(self) -> Self {
        let parts = (self.ticks * 3 + 50_000) / 100_000;
        let ticks = (parts * 10 + 1) / 3 * 10_000;
        self.carried(ticks)
    }

    fn carried(self, ticks: u64) -> Self {
        Self {
            days: self.days + i32::from(ticks >= TICKS_PER_DAY),
            ticks: ticks % TICKS_PER_DAY,
            ..self
        }
    }

    /// The text that the store keeps for this kind. `None`: out of its range, or no time at all.
    pub(in crate::tds) fn text(self, kind: Kind) -> Option<String> {
        let date = |moment: Self| {
            let (year, month, day) = civil(moment.days);
            (0..=LAST_DAY)
                .contains(&moment.days)
                .then(|| format!("{year:04}-{month:02}-{day:02}"))
        };
        match kind {
            Kind::Date => date(self),
            Kind::Time(scale) => {
                let moment = self.rounded(scale);
                Some(clock(moment.ticks, scale))
            }
            Kind::SmallDateTime => {
                let minute = 60 * TICKS_PER_SECOND;
                let moment = self.carried((self.ticks + minute / 2) / minute * minute);
                let in_range = (DAY_1900..=DAY_1900 + 65_535).contains(&moment.days);
                in_range.then_some(())?;
                Some(format!("{} {}", date(moment)?, clock(moment.ticks, 0)))
            }
            Kind::DateTime => {
                let moment = self.rounded_to_datetime();
                // datetime begins with the Gregorian calendar in England.
                (moment.days >= 639_905).then_some(())?;
                Some(format!("{} {}", date(moment)?, clock(moment.ticks, 3)))
            }
            Kind::DateTime2(scale) => {
                let moment = self.rounded(scale);
                Some(format!("{} {}", date(moment)?, clock(moment.ticks, scale)))
            }
            Kind::DateTimeOffset(scale) => {
                let moment = self.rounded(scale);
                let sign = if moment.offset < 0 { '-' } else { '+' };
                let minutes = moment.offset.unsigned_abs();
                Some(format!(
                    "{} {} {sign}{:02}:{:02}",
                    date(moment)?,
                    clock(moment.ticks, scale),
                    minutes / 60,
                    minutes % 60
                ))
            }
            _ => None,
        }
    }

    /// ISO forms and `MM/DD/YYYY`; a date alone, a time alone, or both, with an offset or without.
    pub(in crate::tds) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (date, rest) = match text.find(['T', ' ']) {
            Some(at) => (&text[..at], text[at + 1..].trim()),
            None if text.contains(':') => ("", text),
            None => (text, ""),
        };
        let (date, rest) = if date.contains(':') {
            ("", text)
        } else {
            (date, rest)
        };
        let days = if date.is_empty() {
            DAY_1900
        } else {
            parse_date(date)?
        };
        let (time, offset) = split_offset(rest)?;
        let ticks = if time.is_empty() {
            0
        } else {
            parse_time(time)?
        };
        Some(Self {
            days,
            ticks,
            offset,
        })
    }
}

fn clock(ticks: u64, scale: u8) -> String {
    let seconds = ticks / TICKS_PER_SECOND;
    let fraction = format!("{:07}", ticks % TICKS_PER_SECOND);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let digits = fraction.get(..scale.into()).unwrap_or(&fraction);
    let point = if scale == 0 { "" } else { "." };
    format!("{hour:02}:{minute:02}:{second:02}{point}{digits}")
}

fn parse_date(text: &str) -> Option<i32> {
    let numbers: Option<Vec<u32>> = if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
        let parts = [&text[..4], &text[4..6], &text[6..]];
        parts.into_iter().map(|part| part.parse().ok()).collect()
    } else {
        text.split(['-', '/', '.'])
            .map(|part| part.parse().ok())
            .collect()
    };
    let (year, month, day) = match *numbers?.as_slice() {
        [year, month, day] if year > 31 => (year, month, day),
        [month, day, year] => (year, month, day),
        _ => return None,
    };
    days_of(i32::try_from(year).ok()?, month, day)
}

fn parse_time(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let (digits, afternoon) = match (upper.strip_suffix("PM"), upper.strip_suffix("AM")) {
        (Some(digits), _) => (digits.trim(), Some(true)),
        (_, Some(digits)) => (digits.trim(), Some(false)),
        _ => (upper.as_str(), None),
    };
    let mut parts = digits.splitn(3, ':');
    let hour: u64 = parts.next()?.parse().ok()?;
    let minute: u64 = parts.next()?.parse().ok()?;
    let seconds = parts.next().unwrap_or("0");
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let second: u64 = second.parse().ok()?;
    let padded = format!("{fraction:0<7}");
    let fraction: u64 = padded.get(..7)?.parse().ok()?;
    let hour = match afternoon {
        Some(true) if hour < 12 => hour + 12,
        Some(false) if hour == 12 => 0,
        _ => hour,
    };
    let in_range = hour < 24 && minute < 60 && second < 60;
    in_range.then_some((hour * 3600 + minute * 60 + second) * TICKS_PER_SECOND + fraction)
}

/// The time without its offset, and the offset in minutes.
fn split_offset(text: &str) -> Option<(&str, i16)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time.trim(), 0));
    }
    let Some(at) = text.find(['+', '-']) else {
        return Some((text, 0));
    };
    let (hours, minutes) = text[at + 1..].split_once(':')?;
    let minutes = hours.parse::<i16>().ok()? * 60 + minutes.parse::<i16>().ok()?;
    (minutes <= 14 * 60).then_some(())?;
    let sign = if text[at..].starts_with('-') { -1 } else { 1 };
    Some((text[..at].trim(), sign * minutes))
}

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 0001-01-01. `None`: there is no such day.
pub(in crate::tds) fn days_of(year: i32, month: u32, day: u32) -> Option<i32> {
    let exists = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day);
    exists.then_some(())?;
    let before = year - 1;
    let months: u32 = (1..month).map(|month| days_in(year, month)).sum();
    let in_year = i32::try_from(months + day).ok()? - 1;
    Some(before * 365 + before / 4 - before / 100 + before / 400 + in_year)
}

/// Year, month, day of days since 0001-01-01.
fn civil(days: i32) -> (i32, u32, u32) {
    let mut year = days / 366 + 1;
    while days_of(year + 1, 1, 1).is_some_and(|next| next <= days) {
        year += 1;
    }
    let mut rest = u32::try_from(days - days_of(year, 1, 1).unwrap_or(0)).unwrap_or(0);
    let mut month = 1;
    while month < 12 && rest >= days_in(year, month) {
        rest -= days_in(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_texts_agree() {
        assert_eq!(days_of(1900, 1, 1), Some(DAY_1900));
        assert_eq!(days_of(9999, 12, 31), Some(LAST_DAY));
        assert_eq!(days_of(2023, 2, 29), None);
        for days in [0, 58, 59, 364, 365, DAY_1900, 738_000, LAST_DAY] {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), Some(days));
        }
        for (text, kind, expected) in [
            ("2024-02-29", Kind::Date, "2024-02-29"),
            (
                "20240229 13:14:15.1234567",
                Kind::DateTime2(7),
                "2024-02-29 13:14:15.1234567",
            ),
            (
                "2024-02-29T23:59:59.9999",
                Kind::DateTime2(0),
                "2024-03-01 00:00:00",
            ),
            (
                "2024-02-29 01:02:03.005",
                Kind::DateTime,
                "2024-02-29 01:02:03.007",
            ),
            ("1:02 PM", Kind::Time(0), "13:02:00"),
            (
                "2024-02-29 10:00 +02:00",
                Kind::DateTimeOffset(0),
                "2024-02-29 10:00:00 +02:00",
            ),
        ] {
            let text = Moment::parse(text).and_then(|moment| moment.text(kind));
            assert_eq!(text.as_deref(), Some(expected));
        }
        for text in ["", "2024-13-01", "24:00", "abc", "2024-02-30"] {
            let parsed = Moment::parse(text);
            assert!(parsed.is_none() || text.is_empty(), "{text}");
        }
    }
}
