//! Cron patterns in a time zone: when a schedule is due next.

use croner::parser::{CronParser, Seconds, Year};
use deputy_declaration::nearest;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::types::Schedule;
use crate::time::Time;

/// A schedule that was understood.
pub struct Timetable {
    cron: croner::Cron,
    zone: TimeZone,
}

impl Timetable {
    pub fn new(schedule: &Schedule) -> Result<Self, String> {
        let zone = zone(&schedule.zone).map_err(|_| format!("there is no time zone `{}`", schedule.zone))?;
        Ok(Self { cron: cron(&schedule.cron)?, zone })
    }

    /// The first time after this one; none where the pattern holds no further day. A local time that a clock change
    /// skips is due right behind the gap.
    pub fn after(&self, time: Time) -> Option<Time> {
        let from = Timestamp::from_millisecond(time.as_ms()).ok()?.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(Time(next.timestamp().as_millisecond()))
    }
}

/// Or why it is no pattern.
pub(super) fn check_cron(pattern: &str) -> Result<(), String> {
    let cron = cron(pattern)?;
    // Such as the 31st of February: a search finds nothing.
    let start = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match cron.find_next_occurrence(&start, false) {
        Ok(_) => Ok(()),
        Err(_) => Err("this time never comes".to_owned()),
    }
}

fn cron(pattern: &str) -> Result<croner::Cron, String> {
    let fields = pattern.split_whitespace().count();
    if !pattern.starts_with('@') && !(5..=6).contains(&fields) {
        return Err(format!("a cron pattern has five fields, or six with seconds first; this has {fields}"));
    }
    if pattern.len() > 200 || !pattern.is_ascii() {
        return Err("this is no cron pattern".to_owned());
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(pattern).map_err(|error| match error {
        croner::errors::CronError::InvalidPattern(text)
        | croner::errors::CronError::IllegalCharacters(text)
        | croner::errors::CronError::ComponentError(text) => {
            format!("this is no cron pattern: {}", text.trim_end_matches('.'))
        }
        other => format!("this is no cron pattern: {other}"),
    })
}

/// Or the name that was probably meant.
pub(super) fn check_zone(name: &str) -> Result<(), Option<String>> {
    zone(name).map(|_| ())
}

fn zone(name: &str) -> Result<TimeZone, Option<String>> {
    // Names only: no offsets, and nothing that is a path.
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-/".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(letters) {
        return Err(None);
    }
    let database = jiff::tz::db();
    database.get(name).map_err(|_| {
        let known: Vec<String> = database.available().map(|name| name.to_string()).collect();
        nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        Time(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn due(cron: &str, zone: &str, after: &str) -> String {
        let schedule = Schedule { cron: cron.to_owned(), zone: zone.to_owned() };
        Timetable::new(&schedule).unwrap().after(time(after)).unwrap().to_string()
    }

    #[test]
    fn a_schedule_follows_its_zone_and_not_utc() {
        assert_eq!(due("0 9 * * 1-5", "Europe/Berlin", "2026-11-20T12:00:00Z"), "2026-11-23T08:00:00Z");
        assert_eq!(due("0 9 * * 1-5", "Europe/Berlin", "2026-07-17T12:00:00Z"), "2026-07-20T07:00:00Z");
        assert_eq!(due("0 9 * * *", "America/New_York", "2026-11-20T12:00:00Z"), "2026-11-20T14:00:00Z");
    }

    #[test]
    fn a_time_is_strictly_later_and_seconds_may_lead() {
        assert_eq!(due("0 9 * * *", "UTC", "2026-11-20T09:00:00Z"), "2026-11-21T09:00:00Z");
        assert_eq!(due("*/10 * * * * *", "UTC", "2026-11-20T09:00:00Z"), "2026-11-20T09:00:10Z");
        assert_eq!(due("@daily", "UTC", "2026-11-20T09:00:00Z"), "2026-11-21T00:00:00Z");
    }

    /// 02:30 does not exist on 29 March 2026 in Berlin, and exists twice on 25 October.
    #[test]
    fn clock_changes_neither_skip_nor_repeat_a_daily_run() {
        let table = Timetable::new(&Schedule { cron: "30 2 * * *".into(), zone: "Europe/Berlin".into() }).unwrap();
        for (start, days) in [("2026-03-28T12:00:00Z", 3), ("2026-10-24T12:00:00Z", 3)] {
            let mut at = time(start);
            let mut seen = Vec::new();
            for _ in 0..days {
                at = table.after(at).unwrap();
                seen.push(at.to_string()[..10].to_owned());
            }
            let unique: std::collections::BTreeSet<_> = seen.iter().collect();
            assert_eq!(unique.len(), days, "{seen:?}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in ["", "* * * *", "61 * * * *", "0 9 * * 1-5 * *", "a b c d e", "0 0 31 2 *", "* * * * é"] {
            assert!(check_cron(bad).is_err(), "{bad}");
        }
        assert_eq!(check_zone("Europe/Berln"), Err(Some("Europe/Berlin".to_owned())));
        for bad in ["", "../etc/passwd", "+02:00", "Middle/Earth"] {
            assert!(check_zone(bad).is_err(), "{bad}");
        }
    }
}
