//! Emails, phones, dates, tokens, cursors and JSON texts.

use super::cases;
use crate::cursor;
use crate::model::{Email, SignUp, Timestamp, quote};
use crate::secret::Token;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The phone of a sign-up with this one, or the message.
fn phone(text: &str) -> Result<String, String> {
    let mut body = br#"{"email":"a@example.com","firstName":"A","phone":"#.to_vec();
    quote(text, &mut body);
    body.push(b'}');
    SignUp::parse(&body).map(|given| given.phone).map_err(|error| error.to_string())
}

/// Characters of phones, those that are dropped above all, and what has none of them.
fn phone_part() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => (0..10u8).prop_map(|digit| digit.to_string()),
        6 => select(vec![" ", ".", "-", "(", ")", "\t", "\u{a0}", "\u{202f}", "–"]).prop_map(str::to_owned),
        1 => select(vec!["+", "x", "/", "٣", "９", "\u{200b}", ",", "#", "\u{2060}"]).prop_map(str::to_owned),
    ]
}

/// Days before a date, counted year by year and month by month.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    years + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The base62 CRC-32 of a token's text, computed by its polynomial.
fn checksum(body: &str) -> String {
    let mut crc = u32::MAX;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let (mut rest, mut digits) = (!crc, Vec::new());
    for _ in 0..6 {
        digits.push(char::from(BASE62[(rest % 62) as usize]));
        rest /= 62;
    }
    digits.into_iter().rev().collect()
}

/// Addresses up to the longest there are, of letters whose small form is another, or several.
fn addresses() -> impl Strategy<Value = (String, Email)> {
    let parts = ("[a-zäöüßİıΣςσKéñЖ0-9]{1,64}", "[a-zäöüİ]{1,50}", "[a-zİ]{1,63}", 0..4usize);
    parts.prop_filter_map("no address", |(user, domain, more, times)| {
        let text = format!("{user}@{domain}.{}com", format!("{more}.").repeat(times));
        Email::parse(&text).map(|email| (text, email))
    })
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn phones_are_5_to_15_digits_behind_an_optional_plus(
        plus in any::<bool>(), parts in vec(phone_part(), 0..24), blanks in select(vec!["", " ", "\t"]),
    ) {
        let text = format!("{blanks}{}{}{blanks}", if plus { "+" } else { "" }, parts.concat());
        let kept: String = text.chars().filter(|c| !" \t\u{a0}\u{202f}.-–()".contains(*c)).collect();
        let digits = kept.strip_prefix('+').unwrap_or(&kept);
        let valid = digits.chars().all(|c| c.is_ascii_digit()) && (5..=15).contains(&digits.chars().count());
        let expected = if text.trim().is_empty() {
            Err("Email, phone and first name are required".to_owned())
        } else if valid {
            Ok(kept.clone())
        } else {
            Err("phone must have 5 to 15 digits and an optional leading +".to_owned())
        };
        prop_assert_eq!(phone(&text), expected, "{:?}", text);
    }

    #[test]
    fn emails_of_valid_form_are_one_in_every_spelling(
        words in vec("[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}", 1..4),
        labels in vec("[a-zA-Z0-9]([a-zA-Z0-9-]{0,10}[a-zA-Z0-9])?", 1..4),
        top in "[a-zA-Z]{2,10}",
        upper in any::<u64>(),
        wrong in select(vec![' ', '\t', '\n', '\0', '\u{a0}', '"', '<', '>', '(', '@', ',', ';', ':', '\\']),
        at in any::<prop::sample::Index>(),
    ) {
        let text = format!("{}@{}.{top}", words.join("."), labels.join("."));
        let email = Email::parse(&text).unwrap_or_else(|| panic!("{text}"));
        prop_assert_eq!(email.as_str(), &text);
        let other: String = text
            .chars()
            .enumerate()
            .map(|(at, c)| if upper >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect();
        let other = Email::parse(&format!(" {other}\t")).unwrap_or_else(|| panic!("{other}"));
        prop_assert_eq!(other.key(), email.key());
        prop_assert_eq!(email.key(), text.to_lowercase());
        // In the middle of either part, no such character is one of an address.
        let mut damaged = text.clone();
        damaged.insert(1 + at.index(text.len() - 1), wrong);
        prop_assert_eq!(Email::parse(&damaged), None, "{:?}", damaged);
    }

    #[test]
    fn every_valid_email_is_found_by_its_key((text, email) in addresses()) {
        prop_assert_eq!(&Email::key_of(email.key()), email.key());
        prop_assert_eq!(&Email::key_of(&text.to_lowercase()), email.key());
        // Look-ups leave out what is longer than an address can be.
        prop_assert!(email.key().chars().count() <= Email::KEY_MAX_CHARS, "{}", text);
    }

    #[test]
    fn dates_are_read_as_the_calendar_counts_them(
        (year, month, day) in (1960..2300i64, 0..14i64, 0..33i64),
        (hour, minute, second, millis) in (0..26i64, 0..62i64, 0..60i64, 0..1000i64),
        (east, offset) in (any::<bool>(), 0..14 * 60i64),
        form in 0..5,
    ) {
        let date = format!("{year:04}-{month:02}-{day:02}");
        let clock = format!("{hour:02}:{minute:02}:{second:02}");
        let zone = format!("{}{:02}:{:02}", if east { '+' } else { '-' }, offset / 60, offset % 60);
        let (text, parts) = match form {
            0 => (date, (0, 0, 0, 0, 0)),
            1 => (format!("{date}T{clock}Z"), (hour, minute, second, 0, 0)),
            2 => (format!("{date}T{clock}.{millis:03}"), (hour, minute, second, millis, 0)),
            3 => (format!("{date}T{clock}{zone}"), (hour, minute, second, 0, if east { offset } else { -offset })),
            _ => {
                let east = if east { offset } else { -offset };
                (format!("{date}T{clock}.{millis:03}{zone}"), (hour, minute, second, millis, east))
            }
        };
        let (hour, minute, second, millis, offset) = parts;
        // The end of a day that is written as 24 hours: a reader may take or leave it.
        prop_assume!(hour != 24);
        let exists = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
        let moment = (exists && hour < 24 && minute < 60 && year >= 1970).then(|| {
            let minutes = days_before(year, month, day) * 1440 + hour * 60 + minute - offset;
            (minutes * 60 + second) * 1000 + millis
        });
        // A year before 1970 can be in 1970 by its offset; the fuzz target counts those as well.
        prop_assume!(!(year == 1969 && month == 12 && day == 31));
        let expected = moment.and_then(Timestamp::from_millis);
        prop_assert_eq!(Timestamp::parse_iso(&text), expected, "{}", text);
        if let Some(expected) = expected {
            prop_assert_eq!(Timestamp::parse_iso(&expected.to_string()), Some(expected));
        }
    }

    #[test]
    fn tokens_are_known_by_their_checksum(
        random in "[0-9A-Za-z]{32}", at in 0..43usize, other in any::<prop::sample::Index>(),
    ) {
        let text = format!("wbcs_{random}{}", checksum(&format!("wbcs_{random}")));
        let token = Token::parse(&text).unwrap_or_else(|| panic!("{text}"));
        prop_assert_eq!(token.expose(), &text);
        let shown = format!("{token:?} {:?}", token.digest());
        prop_assert!(!shown.contains(&random[..4]));
        // Mistyped in one place, or two neighbours changed round.
        let mut changed = text.clone().into_bytes();
        changed[at] = BASE62[other.index(62)];
        let mut swapped = text.clone().into_bytes();
        swapped.swap(at, (at + 1) % 43);
        for other in [changed, swapped] {
            let other = String::from_utf8(other).expect("ASCII");
            prop_assert!(other == text || Token::parse(&other).is_none(), "{} {}", text, other);
        }
        for other in [format!("Bearer {text}"), format!("{text} "), text[..at].to_owned(), text.to_uppercase()] {
            prop_assert_eq!(Token::parse(&other), None, "{}", other);
        }
    }

    #[test]
    fn cursors_open_for_their_own_search_and_nothing_else_does(
        place in "\\PC{1,60}", search in vec(any::<u8>(), 0..40), invented in "[A-Za-z0-9_-]{0,80}",
        at in any::<prop::sample::Index>(), bit in 0..7u8,
    ) {
        let text = cursor::seal(&search, &place);
        prop_assert_eq!(cursor::open(&search, &text), Some(place.clone()));
        let mut other = search.clone();
        other.push(0);
        prop_assert_eq!(cursor::open(&other, &text), None);
        let mut damaged = text.clone().into_bytes();
        let at = at.index(damaged.len());
        damaged[at] ^= 1 << bit;
        prop_assert_eq!(cursor::open(&search, &String::from_utf8_lossy(&damaged)), None);
        prop_assert_eq!(cursor::open(&search, &text[..at]), None);
        prop_assert_eq!(cursor::open(&search, &invented), None);
        // It needs no secret, so whoever reads this source can seal a place; an empty one is no place.
        prop_assert_eq!(cursor::open(&search, &cursor::seal(&search, "")), None);
    }

    #[test]
    fn texts_are_quoted_as_json_has_them(
        text in vec(prop_oneof![any::<char>(), (0..=0x7fu8).prop_map(char::from)], 0..4),
        before in "[a-z]{0,3}",
    ) {
        let text = String::from_iter(text);
        let mut quoted = before.clone().into_bytes();
        quote(&text, &mut quoted);
        let expected = format!("{before}{}", serde_json::Value::from(text));
        prop_assert_eq!(String::from_utf8(quoted), Ok(expected));
    }
}
