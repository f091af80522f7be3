//! Time zones: one database of them, inside the program, for everything that is asked by the clock.
//!
//! Postgres is never asked for a zone. It gets the beginnings of days and the offsets of hours as numbers, so that it cannot disagree about
//! a day on which clocks change, whichever zone data it came with.

use domain::record::BusinessDay;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

/// How far beyond the days that are asked for offsets are known: clocks of tills are wrong sometimes.
const AROUND: SignedDuration = SignedDuration::from_hours(400 * 24);

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

/// From when on which offset holds, in milliseconds; the first holds before, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) from_ms: Vec<i64>,
    pub(super) offset_ms: Vec<i64>,
}

impl Zone {
    /// The zone of a name such as `Europe/Berlin`, whichever way it is capitalised.
    pub fn new(name: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Some(Self { name, zone })
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// Its name, such as `Europe/Berlin`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Local date and time, as a till prints it.
    pub fn local(&self, unix_ms: u64) -> String {
        instant(unix_ms.cast_signed()).to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// The first moment of a day, Unix milliseconds: midnight, or what follows it when clocks skip it. The days of a question
    /// are within what both calendars have.
    pub fn day_start_ms(&self, day: BusinessDay) -> i64 {
        let date = day.to_date().unwrap_or(if day.0 < 0 { Date::MIN } else { Date::MAX });
        date.to_zoned(self.zone.clone()).map_or(i64::MAX, |midnight| midnight.timestamp().as_millisecond())
    }

    /// The beginnings of the days `from` to `to` and of the day after, in order.
    pub(super) fn day_starts_ms(&self, from: BusinessDay, to: BusinessDay) -> Vec<i64> {
        (from.0..=to.0.saturating_add(1)).map(|day| self.day_start_ms(BusinessDay(day))).collect()
    }

    /// The offsets that hold around the days `from` to `to`.
    pub(super) fn offsets(&self, from: BusinessDay, to: BusinessDay) -> Offsets {
        let begin = instant(self.day_start_ms(from)).saturating_sub(AROUND).unwrap_or(Timestamp::MIN);
        let end = instant(self.day_start_ms(to)).saturating_add(AROUND).unwrap_or(Timestamp::MAX);
        let offset = |at: Timestamp| i64::from(self.zone.to_offset(at).seconds()) * 1_000;
        let mut offsets = Offsets { from_ms: vec![begin.as_millisecond()], offset_ms: vec![offset(begin)] };
        for change in self.zone.following(begin).take_while(|change| change.timestamp() < end) {
            offsets.from_ms.push(change.timestamp().as_millisecond());
            offsets.offset_ms.push(i64::from(change.offset().seconds()) * 1_000);
        }
        offsets
    }
}

fn instant(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap_or(if unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> BusinessDay {
        BusinessDay::from_date(text.parse().expect("a day"))
    }

    fn hours(zone: &str, of: &str) -> i64 {
        let starts = Zone::new(zone).expect("a zone").day_starts_ms(day(of), day(of));
        (starts[1] - starts[0]) / 3_600_000
    }

    #[test]
    fn days_have_the_hours_that_clocks_give_them() {
        for (zone, of, expected) in [
            ("UTC", "2026-03-29", 24),
            ("Europe/Berlin", "2026-03-28", 24),
            ("Europe/Berlin", "2026-03-29", 23),
            ("Europe/Berlin", "2026-10-25", 25),
            ("America/New_York", "2026-03-08", 23),
            ("America/New_York", "2026-11-01", 25),
            ("Asia/Seoul", "2026-03-29", 24),
            // The day that Samoa left out.
            ("Pacific/Apia", "2011-12-30", 0),
            // Midnight itself is skipped.
            ("America/Asuncion", "2024-10-06", 23),
        ] {
            assert_eq!(hours(zone, of), expected, "{zone} {of}");
        }
    }

    #[test]
    fn a_zone_is_known_by_its_name_alone() {
        assert_eq!(Zone::new("europe/berlin").expect("a zone").name(), "Europe/Berlin");
        for none in ["", "Berlin", "Europe/Nowhere", "+01:00", "../etc/passwd", "Europe/Berlin'"] {
            assert_eq!(Zone::new(none), None, "{none:?}");
        }
        assert_eq!(Zone::new("Europe/London").expect("a zone").local(1_772_461_980_000), "2026-03-02 14:33");
    }

    #[test]
    fn offsets_change_when_clocks_do() {
        let zone = Zone::new("Europe/Berlin").expect("a zone");
        let offsets = zone.offsets(day("2026-03-29"), day("2026-03-29"));
        let change = 1_774_746_000_000; // 2026-03-29 01:00 UTC
        let at = offsets.from_ms.iter().position(|ms| *ms == change).expect("the change of that day");
        assert_eq!(offsets.offset_ms[at - 1..=at], [3_600_000, 7_200_000]);
        assert!(offsets.from_ms.is_sorted() && offsets.from_ms.len() <= 6, "{offsets:?}");
        assert_eq!(Zone::utc().offsets(day("1900-01-01"), day("9999-12-31")).offset_ms, [0]);
    }
}
