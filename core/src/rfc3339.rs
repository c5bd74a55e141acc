//! The form of a time in an audit event, one rule for who writes events and who takes them.
//!
//! Implements `date-time` of RFC 3339 §5.6. It makes no time of it.

/// Whether `text` is a `date-time` of RFC 3339 §5.6, with a day that its month has.
#[must_use]
pub fn is_rfc3339(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else { return false };
    is_date(date) && is_time_with_offset(time)
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let (Some(year), Some(month), Some(day), None) =
        (digits(year, 4), digits(month, 2), digits(day, 2), parts.next())
    else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u16::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_time_with_offset(text: &str) -> bool {
    let Some(sign) = text.find(['Z', 'z', '+', '-']) else { return false };
    let (time, offset) = text.split_at(sign);
    let offset_holds = match offset.strip_prefix(['+', '-']) {
        Some(offset) => is_clock(offset, &[23, 59]),
        None => offset.len() == 1,
    };
    let (whole, fraction) = time.split_once('.').map_or((time, "0"), |(whole, fraction)| (whole, fraction));
    let fraction_holds = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    // A leap second is the second 60.
    offset_holds && fraction_holds && is_clock(whole, &[23, 59, 60])
}

/// Whether `text` is as many pairs of digits joined by colons, none above its largest.
fn is_clock(text: &str, largest: &[u16]) -> bool {
    let mut parts = text.split(':');
    let fits = |largest: &u16| digits(parts.next(), 2).is_some_and(|part| part <= *largest);
    largest.iter().all(fits) && parts.next().is_none()
}

fn digits(text: Option<&str>, length: usize) -> Option<u16> {
    let text = text.filter(|text| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        for good in [
            "2026-11-22T08:00:00Z",
            "2024-02-29t23:59:60z",
            "2000-02-29T00:00:00.1+05:30",
            "1985-04-12T23:20:50.52-00:00",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "",
            "T",
            "2026-11-22",
            "2026-11-22 08:00:00Z",
            "2026-11-22T08:00:00",
            "2026-11-22T08:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T08:00:61Z",
            "2026-11-22T08:00:00.Z",
            "2026-11-22T08:00:00+0530",
            "2026-11-22T08:00:00ZZ",
            "2026-13-01T08:00:00Z",
            "2026-00-01T08:00:00Z",
            "1900-02-29T08:00:00Z",
            "2026-1-01T08:00:00Z",
            "+026-01-01T08:00:00Z",
            "2026-11-22T08:00:00Z ",
            "２026-11-22T08:00:00Z",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }
}
