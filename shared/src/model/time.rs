use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fmt;

/// A moment, in milliseconds since 1970 (UTC), from 1970 to the year 2286, so that it always has
/// at most thirteen digits. Shown as `YYYY-MM-DDTHH:MM:SS.mmmZ` (CONTRACT.md, section 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(0);
    /// 2286-11-20T17:46:39.999Z.
    pub const MAX: Self = Self(9_999_999_999_999);

    /// The clock's time.
    pub fn now() -> Self {
        Self::clamped(jiff::Timestamp::now().as_millisecond())
    }

    /// Milliseconds since 1970; `None` outside the range.
    pub fn from_millis(millis: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&millis).then_some(Self(millis))
    }

    /// Milliseconds since 1970, moved to the nearer end where outside the range.
    pub fn clamped(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Reads an ISO 8601 date or date-time; one without an offset is UTC. `None` for anything
    /// else, or for a moment outside the range.
    pub fn parse_iso(text: &str) -> Option<Self> {
        Self::from_millis(iso_millis(text)?)
    }
}

/// Whether the text is an ISO 8601 date or date-time, of any year.
pub(super) fn is_iso(text: &str) -> bool {
    iso_millis(text).is_some()
}

fn iso_millis(text: &str) -> Option<i64> {
    // The library also takes a time zone's name in brackets, which ISO 8601 does not have.
    if text.len() > 40 || text.contains('[') || text.contains(' ') {
        return None;
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(moment.as_millisecond());
    }
    let local: DateTime = text.parse().ok()?;
    Some(TimeZone::UTC.to_timestamp(local).ok()?.as_millisecond())
}

impl Timestamp {
    /// As it is shown, in ASCII.
    pub fn text(self) -> [u8; 24] {
        // Days to a civil date after Howard Hinnant's published method; the library's general
        // formatter costs several times as much, and a page formats up to 10,000 times.
        let (days, millis) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        let (second, millis) = (millis / 1000 % 60, millis % 1000);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, width, mut value) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, hour),
            (14, 2, minute),
            (17, 2, second),
            (20, 3, millis),
        ] {
            for digit in text[at..at + width].iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_the_contract_shows() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_609_459_200_000, "2021-01-01T00:00:00.000Z"),
            (1_676_172_330_450, "2023-02-12T03:25:30.450Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (9_999_999_999_999, "2286-11-20T17:46:39.999Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), text);
            assert_eq!(Timestamp::parse_iso(text), Some(Timestamp(millis)));
        }
    }

    #[test]
    fn agrees_with_the_library_over_the_whole_range() {
        let mut millis = 0;
        while millis <= Timestamp::MAX.0 {
            let library = jiff::Timestamp::from_millisecond(millis).unwrap();
            assert_eq!(Timestamp(millis).to_string(), format!("{library:.3}"));
            millis += 86_400_000 * 3 + 12_345_677;
        }
    }

    #[test]
    fn reads_iso_8601_and_nothing_else() {
        for (text, millis) in [
            ("2021-01-01", Some(1_609_459_200_000)),
            ("2021-01-01T02:00:00+02:00", Some(1_609_459_200_000)),
            ("2021-01-01T00:00:00", Some(1_609_459_200_000)),
            ("2021-01-01T00:00Z", Some(1_609_459_200_000)),
            ("1969-12-31", None),
            ("2021-13-01", None),
            ("2021-02-30", None),
            ("yesterday", None),
            ("", None),
            ("1609459200000", None),
            ("2021-01-01T00:00:00+01:00[Europe/Paris]", None),
        ] {
            assert_eq!(Timestamp::parse_iso(text), Timestamp::from_millis(millis.unwrap_or(-1)), "{text}");
        }
        assert!(is_iso("1949-05-23"));
    }
}
