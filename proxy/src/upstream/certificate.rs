//! What a certificate says of itself, for people: whom it is for, who issued it, from when to when.
//!
//! Reads just enough DER for that (X.690; RFC 5280 4.1) and verifies nothing: rustls does.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A certificate in words. Fields that can't be read are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    /// The subject's common name, or its organisation if it has none.
    pub subject: String,
    /// The issuer's.
    pub issuer: String,
    /// From when it is valid.
    pub not_before: Option<SystemTime>,
    /// Until when.
    pub not_after: Option<SystemTime>,
    /// The issuer's whole name in DER, to be compared with a root's.
    pub(super) issuer_der: Vec<u8>,
}

impl Certificate {
    /// Reads as much as there is to be read.
    #[must_use]
    pub fn read(der: &[u8]) -> Self {
        read(der).unwrap_or_default()
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} issued by {:?}", self.subject, self.issuer)
    }
}

/// Days from March 1st of the year 0 to 1970-01-01.
const BEFORE_1970: u64 = 719_468;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const OBJECT_ID: u8 = 0x06;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

fn read(der: &[u8]) -> Option<Certificate> {
    let mut outer = Der(der).expect(SEQUENCE)?;
    let mut inner = outer.expect(SEQUENCE)?;
    if inner.peek() == Some(VERSION) {
        inner.next()?;
    }
    inner.expect(INTEGER)?;
    inner.expect(SEQUENCE)?;
    let issuer = inner.expect(SEQUENCE)?;
    let mut validity = inner.expect(SEQUENCE)?;
    let subject = inner.expect(SEQUENCE)?;
    Some(Certificate {
        subject: name(subject.0),
        issuer: name(issuer.0),
        not_before: validity.time(),
        not_after: validity.time(),
        issuer_der: issuer.0.to_vec(),
    })
}

/// A Name without its outer SEQUENCE, in words: what a trust anchor keeps of its subject.
pub(super) fn name(der: &[u8]) -> String {
    let mut organisation = String::new();
    let mut sets = Der(der);
    while let Some((_, set)) = sets.next() {
        let mut attributes = Der(set);
        while let Some(mut attribute) = attributes.expect(SEQUENCE) {
            let Some(kind) = attribute.expect(OBJECT_ID) else {
                continue;
            };
            let Some((_, value)) = attribute.next() else {
                continue;
            };
            if kind.0 == COMMON_NAME {
                return printable(value);
            }
            if kind.0 == ORGANISATION {
                organisation = printable(value);
            }
        }
    }
    organisation
}

/// A server chooses its names: nothing in them may reach a terminal as it is.
fn printable(value: &[u8]) -> String {
    const LONGEST: usize = 100;
    String::from_utf8_lossy(value)
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(LONGEST)
        .collect()
}

/// Values, one behind the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its tag and contents.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            let digits = rest.get(..count).filter(|_| (1..=3).contains(&count))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest.get(count..)?)
        };
        let value = rest.get(..length)?;
        self.0 = rest.get(length..)?;
        Some((tag, value))
    }

    /// The next value, if it is of this kind.
    fn expect(&mut self, tag: u8) -> Option<Self> {
        if self.peek()? != tag {
            return None;
        }
        self.next().map(|(_, value)| Self(value))
    }

    fn time(&mut self) -> Option<SystemTime> {
        let (tag, value) = self.next()?;
        let text = std::str::from_utf8(value).ok()?;
        match tag {
            UTC_TIME => {
                let year: u64 = text.get(..2)?.parse().ok()?;
                // RFC 5280 4.1.2.5.1.
                let century = if year < 50 { 2000 } else { 1900 };
                moment(century + year, text.get(2..)?)
            }
            GENERALIZED_TIME => moment(text.get(..4)?.parse().ok()?, text.get(4..)?),
            _ => None,
        }
    }
}

/// A moment for people: RFC 3339, to the second.
#[must_use]
pub fn utc(at: SystemTime) -> String {
    let seconds = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (day, clock) = (seconds / 86_400, seconds % 86_400);
    // The inverse of `days`, by eras of 400 years.
    let since = day + BEFORE_1970;
    let (era, day) = (since / 146_097, since % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    let (hours, minutes, seconds) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
}

/// `MMDDHHMMSSZ` of a year.
fn moment(year: u64, text: &str) -> Option<SystemTime> {
    let part = |at: usize| text.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    let clock = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + clock;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Days since 1970-01-01 in the Gregorian calendar, for years from 1970 on. Years begin in March
/// here, so that a leap day is the last of its year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year / 4 - year / 100 + year / 400;
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - BEFORE_1970
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn made() -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["db.example.com".to_owned()]).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "db\u{1b}[31m");
        params.not_before = date_time_ymd(2024, 2, 29);
        params.not_after = date_time_ymd(2051, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_read() {
        let read = Certificate::read(&made());
        assert_eq!(read.subject, "db?[31m", "no escape reaches a terminal");
        assert_eq!(read.issuer, read.subject);
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(read.not_before, at(1_709_164_800));
        assert_eq!(read.not_after, at(2_556_144_000), "a GeneralizedTime");
        assert!(!read.issuer_der.is_empty());
    }

    #[test]
    fn days_are_counted() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29), 11_016);
        assert_eq!(days(2000, 3, 1), 11_017);
        assert_eq!(days(2026, 11, 25), 20_782);
    }

    #[test]
    fn moments_are_shown() {
        let shown = |seconds| utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(shown(1_700_003_600), "2023-11-14T23:13:20Z");
        for day in (0..60_000).step_by(17) {
            let text = shown(day * 86_400);
            let part = |from, to| text[from..to].parse().unwrap();
            assert_eq!(days(part(0, 4), part(5, 7), part(8, 10)), day, "{text}");
        }
    }

    #[test]
    fn whatever_comes_nothing_panics() {
        let made = made();
        for end in 0..made.len() {
            let _ = Certificate::read(&made[..end]);
        }
        for at in 0..made.len().min(300) {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bent = made.clone();
                bent[at] = byte;
                let _ = Certificate::read(&bent);
            }
        }
    }
}
