//! Short texts: tokens, links, session keys, ids, cursors, addresses, dates, emails, phones, tags.

use crate::choice;
use shared::auth::Presented;
use shared::cursor;
use shared::model::{
    BucketId, Email, Object, SignUp, Timestamp, TokenId, Version, Whitelist, depth_exceeds, quote,
};
use shared::secret::{Link, SessionKey, Token};
use std::net::IpAddr;

/// Runs one input: the first byte says what text the rest is.
pub fn run(data: &[u8]) {
    let Some((kind, rest)) = choice(data, 12) else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match kind {
        0 => token(text),
        1 => link(text),
        2 => session_key(text),
        3 => ids(text),
        4 => cursors(text),
        5 => whitelist(text),
        6 => date(text),
        7 => {
            if let Some(email) = Email::parse(text) {
                crate::sign_up::email(&email);
            }
            assert_eq!(Email::key_of(&Email::key_of(text)), Email::key_of(text));
        }
        8 => phone(text),
        9 => tags(text),
        10 => quoted(text),
        _ => nested(rest),
    }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token's text by the contract's words, checksum included, computed bit by bit.
fn is_token(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != 43 || !text.starts_with("wbcs_") || !bytes[5..].iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let mut crc = u32::MAX;
    for byte in &bytes[..37] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let sum = bytes[37..]
        .iter()
        .try_fold(0u64, |sum, byte| Some(sum * 62 + BASE62.iter().position(|digit| digit == byte)? as u64));
    sum == Some(u64::from(!crc))
}

fn token(text: &str) {
    let read = Token::parse(text);
    assert_eq!(read.is_some(), is_token(text), "{text}");
    assert_eq!(Presented::read(Some(text)).is_ok(), is_token(text));
    if let Some(token) = read {
        assert_eq!(token.expose(), text);
        assert!(token.digest().matches(token.digest().as_bytes()));
        assert!(!token.digest().token_id().as_str().contains(&text[5..13]));
        assert_eq!(token.hint(), format!("{}…", &text[..9]));
        assert!(!format!("{token:?}{:?}", token.digest()).contains(&text[..9]));
    }
}

fn link(text: &str) {
    let Some(link) = Link::parse(text) else { return };
    assert_eq!(link.expose(), text.to_ascii_lowercase());
    assert!(text.len() == 36 && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
    assert_eq!(Link::parse(&link.expose()), Some(link));
}

fn session_key(text: &str) {
    let expected = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    assert_eq!(SessionKey::parse(text).is_some(), expected);
    // The same out of a cookie: under its own name alone.
    let mut context = lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext::default();
    context.domain_name = Some("api.example.com".to_owned());
    let header = format!("a={text}; __Host-wbcs-session={text}");
    let Ok(header) = lambda_http::http::HeaderValue::from_str(&header) else { return };
    let request =
        lambda_http::http::Request::builder().header("cookie", header).body(lambda_http::Body::Empty);
    let request = lambda_http::RequestExt::with_request_context(
        request.expect("a request"),
        lambda_http::request::RequestContext::ApiGatewayV2(context),
    );
    if expected {
        assert_eq!(shared::session::key(&request), SessionKey::parse(text));
    }
}

fn ids(text: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let bucket = (1..=128).contains(&text.len()) && text.bytes().all(plain);
    assert_eq!(BucketId::parse(text).map(|id| id.to_string()), bucket.then(|| text.to_owned()));
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let token = text.len() == 32 && text.bytes().all(hex);
    assert_eq!(TokenId::parse(text).map(|id| id.to_string()), token.then(|| text.to_owned()));
}

fn cursors(text: &str) {
    assert_eq!(cursor::open(b"a list", text), None, "an invented cursor");
    let place = text.chars().take(40).collect::<String>();
    let sealed = cursor::seal(b"a list", &place);
    let opened = cursor::open(b"a list", &sealed);
    assert_eq!(opened.as_ref(), Some(&place).filter(|place| !place.is_empty()));
    assert_eq!(cursor::open(b"another", &sealed), None);
    assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    for at in 0..sealed.len() {
        let mut damaged = sealed.clone().into_bytes();
        damaged[at] ^= 1 + (text.len() % 7) as u8;
        let damaged = String::from_utf8_lossy(&damaged);
        assert_eq!(cursor::open(b"a list", &damaged), None);
        assert_eq!(cursor::open(b"a list", &sealed[..at]), None);
    }
}

/// Bits of an address, and how many an address of its family has. One that is an IPv4 address written as IPv6
/// is the IPv4 address.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u32::from(address).into(), 32),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => (u32::from(address).into(), 32),
            None => (address.into(), 128),
        },
    }
}

/// A whitelist's entry by the contract's words: its leading bits, how many count, and its family.
fn entry(text: &str) -> Option<(u128, u32, u32)> {
    let text = text.trim();
    let Some((address, prefix)) = text.split_once('/') else {
        let (bits, width) = bits(text.parse().ok()?);
        return Some((bits, width, width));
    };
    let address: IpAddr = address.parse().ok()?;
    let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_number && (prefix.len() == 1 || !prefix.starts_with('0'));
    let length: u32 = prefix.parse().ok().filter(|_| is_plain)?;
    let (bits, width) = bits(address);
    let own_width = if address.is_ipv4() { 32 } else { 128 };
    if own_width != width {
        // A block of IPv4 addresses written as IPv6 is none; a single one is the address.
        return (length == 128).then_some((bits, 32, 32));
    }
    (length <= width).then_some((bits, length, width))
}

fn covers((block, length, width): (u128, u32, u32), address: IpAddr) -> bool {
    let (address, own_width) = bits(address);
    own_width == width && (0..length).all(|bit| (block ^ address) >> (width - 1 - bit) & 1 == 0)
}

/// Entries, and an address behind the last line.
fn whitelist(text: &str) {
    let (entries, address) = text.rsplit_once('\n').unwrap_or((text, ""));
    let entries: Vec<&str> = entries.split('\n').take(Whitelist::MAX + 1).collect();
    let expected: Option<Vec<_>> = entries.iter().map(|text| entry(text)).collect();
    let read = Whitelist::parse(&entries);
    let expected = expected.filter(|list| list.len() <= Whitelist::MAX);
    assert_eq!(read.is_ok(), expected.is_some(), "{entries:?} {read:?}");
    let (list, blocks) = match (read, expected) {
        (Ok(list), Some(blocks)) => (list, blocks),
        (Err(error), _) => {
            let message = error.to_string();
            if let Some(at) = crate::position(&message) {
                assert_eq!(message, format!("whitelist[{at}] must be an IP address or CIDR block"));
                assert_eq!(entry(entries[at]), None);
            } else {
                assert_eq!(message, "whitelist must have at most 100 entries");
            }
            return;
        }
        _ => return,
    };
    assert_eq!(Whitelist::parse(list.entries()).as_ref(), Ok(&list));
    // The address, and the first and last of each block with their neighbours.
    let mut addresses: Vec<IpAddr> = address.trim().parse().into_iter().collect();
    for (block, length, width) in &blocks {
        let rest = if *length == 0 { u128::MAX } else { (1u128 << (width - length)).wrapping_sub(1) };
        let all = if *width == 32 { u128::from(u32::MAX) } else { u128::MAX };
        let (first, last) = (block & !rest & all, (block | rest) & all);
        for bits in [first, last, first.wrapping_sub(1) & all, last.wrapping_add(1) & all] {
            addresses.push(if *width == 32 {
                IpAddr::V4((bits as u32).into())
            } else {
                IpAddr::V6(bits.into())
            });
        }
    }
    for address in addresses {
        let within = blocks.iter().any(|block| covers(*block, address));
        assert_eq!(list.allows(Some(address)), within, "{entries:?} {address}");
        if let IpAddr::V4(address) = address {
            assert_eq!(list.allows(Some(address.to_ipv6_mapped().into())), within, "{entries:?} {address}");
        }
    }
}

/// Dates in the forms that the contract's examples have, by counting days one by one; what it makes of others
/// has to be itself again.
fn date(text: &str) {
    let read = Timestamp::parse_iso(text);
    if let Some(moment) = read {
        assert_eq!(Timestamp::parse_iso(&moment.to_string()), Some(moment));
        let library = jiff::Timestamp::from_millisecond(moment.millis()).expect("a moment");
        assert_eq!(moment.to_string(), format!("{library:.3}"));
        assert!(
            text.bytes().any(|byte| byte.is_ascii_digit()) && !text.contains(['[', ' ']) && text.len() <= 40
        );
    }
    if let Some(expected) = plain_date(text) {
        assert_eq!(read.map(Timestamp::millis), expected, "{text}");
    }
}

/// The moment of `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS[.mmm][Z|+HH:MM]`; the outer `None` is another form.
fn plain_date(text: &str) -> Option<Option<i64>> {
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let numbers = |text: &str, widths: &[usize], between: char| -> Option<Vec<i64>> {
        let parts: Vec<&str> = text.split(between).collect();
        let fit = parts.len() == widths.len()
            && parts
                .iter()
                .zip(widths)
                .all(|(part, width)| part.len() == *width && part.bytes().all(|byte| byte.is_ascii_digit()));
        fit.then(|| parts.iter().map(|part| part.parse().unwrap_or(0)).collect())
    };
    let day = numbers(day, &[4, 2, 2], '-')?;
    let (mut clock, mut millis, mut offset) = (vec![0, 0, 0], 0, 0);
    if let Some(time) = time {
        let (time, zone) = match time.find(['Z', '+', '-']) {
            Some(at) => time.split_at(at),
            None => (time, "Z"),
        };
        if zone != "Z" {
            let parts = numbers(zone.strip_prefix(['+', '-'])?, &[2, 2], ':')?;
            // Offsets of more hours than a day has are none, and of which exactly is the library's to say.
            if parts[0] > 14 || parts[1] > 59 {
                return None;
            }
            offset = (parts[0] * 60 + parts[1]) * if zone.starts_with('-') { -1 } else { 1 };
        }
        let (time, fraction) = time.split_once('.').unwrap_or((time, "000"));
        clock = numbers(time, &[2, 2, 2], ':')?;
        millis = numbers(fraction, &[3], '.')?[0];
    }
    let (year, month, day) = (day[0], day[1], day[2]);
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    // A leap second, and the end of a day written as 24 hours, are what a reader may take or leave.
    if clock[2] == 60 || clock[0] == 24 {
        return None;
    }
    let in_range = (1..=12).contains(&month) && (1..=lengths[(month as usize - 1).min(11)]).contains(&day);
    if !in_range || clock[0] > 23 || clock[1] > 59 || clock[2] > 60 {
        return Some(None);
    }
    let years: i64 = if year >= 1970 {
        (1970..year).map(|year| 365 + i64::from(leap(year))).sum()
    } else {
        -(year..1970).map(|year| 365 + i64::from(leap(year))).sum::<i64>()
    };
    let days = years + lengths[..month as usize - 1].iter().sum::<i64>() + day - 1;
    let minutes = days * 1440 + clock[0] * 60 + clock[1] - offset;
    let moment = (minutes * 60 + clock[2]) * 1000 + millis;
    Some((0..=9_999_999_999_999).contains(&moment).then_some(moment))
}

/// Phones by the contract's words.
fn phone(text: &str) {
    let body = serde_json::json!({ "email": "a@example.com", "phone": text, "firstName": "A" }).to_string();
    let read = SignUp::parse(body.as_bytes());
    let dropped = ['.', '(', ')', ' ', '\t', '\u{a0}', '\u{202f}', '\u{205f}', '\u{3000}', '-', '\u{2212}'];
    let is_dropped = |c: char| {
        dropped.contains(&c)
            || (0x2000..=0x200a).contains(&u32::from(c))
            || (0x2010..=0x2015).contains(&u32::from(c))
    };
    let kept = text.trim().replace(is_dropped, "");
    let digits = kept.strip_prefix('+').unwrap_or(&kept);
    let valid = (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    match read {
        Ok(given) => assert!(valid && given.phone == kept, "{text:?}"),
        Err(error) => {
            let expected = match text.trim().is_empty() {
                true => "Email, phone and first name are required",
                false if text.chars().count() > 1024 => "phone must have at most 1024 characters",
                false => "phone must have 5 to 15 digits and an optional leading +",
            };
            assert!(
                error.to_string() == expected && (!valid || text.chars().count() > 1024),
                "{text:?} {error}"
            );
        }
    }
}

fn tags(text: &str) {
    let none = Version::default();
    let named = text.split(',').map(str::trim).any(|tag| tag == "*" || tag == "\"0\"");
    assert_eq!(none.matches(text), named);
    let own = Version::stored(Some(text));
    assert_eq!(Version::stored(own.as_str()), own);
}

fn quoted(text: &str) {
    let mut quoted = Vec::new();
    quote(text, &mut quoted);
    assert_eq!(String::from_utf8(quoted).ok(), serde_json::to_string(text).ok());
}

/// Nesting, counted by a reader of JSON.
fn nested(body: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let depth = crate::depth(&value);
    for limit in [depth.saturating_sub(1), depth, depth + 1] {
        assert_eq!(depth_exceeds(body, limit), depth > limit);
    }
    assert!(depth <= 32 || Object::parse(body).is_err());
}
