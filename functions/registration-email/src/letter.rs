//! The registration email's words and form. What came from the sign-up is the receiver's address
//! and, in the greeting, a first name: neither can become a header, markup or a link.

use crate::{Mail, MailError};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use shared::config::{self, ConfigError};
use shared::model::{ClientId, Email};
use shared::page::escaped;
use shared::store::keys;

/// A longer name is cut off.
const NAME_MAX_CHARS: usize = 60;

/// What all registration emails have in common.
#[derive(Clone, Debug)]
pub struct Letter {
    from: Mailbox,
    brand: String,
    link: String,
}

impl Letter {
    /// Reads the settings.
    ///
    /// # Errors
    /// The sender or the brand is missing, or the sender is no address.
    pub fn new(settings: &config::Mail) -> Result<Self, ConfigError> {
        for (variable, value) in [("MAIL_FROM", &settings.from), ("MAIL_BRAND", &settings.brand)] {
            if value.is_empty() {
                return Err(ConfigError::new(variable, "is not set"));
            }
        }
        let from = Email::parse(&settings.from).and_then(|from| from.as_str().parse::<Address>().ok());
        let from = from.ok_or(ConfigError::new("MAIL_FROM", "must be an email address"))?;
        let brand = plain(&settings.brand);
        Ok(Self { from: Mailbox::new(Some(brand.clone()), from), brand, link: settings.link.clone() })
    }

    /// The email to a new client.
    ///
    /// # Errors
    /// No mail service takes the address.
    pub fn to(&self, id: &ClientId, email: &str, first_name: &str) -> Result<Mail, MailError> {
        let undeliverable = || MailError::Refused("address is not deliverable".into());
        let to = Email::parse(email).and_then(|email| email.to_ascii()).ok_or_else(undeliverable)?;
        let to: Address = to.parse().map_err(|_| undeliverable())?;
        let key = key(id);
        let subject = format!("Welcome to {}", self.brand);
        let name = greetable(first_name);
        let parts = MultiPart::alternative_plain_html(self.text(name.as_deref()), self.html(name.as_deref()));
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(subject)
            .message_id(Some(format!("<registration-{key}@{}>", self.from.email.domain())))
            .date_now()
            .multipart(parts)
            .map_err(|_| MailError::Refused("message could not be built".into()))?;
        // Keeps holiday notices from answering (RFC 3834).
        message.headers_mut().insert_raw(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
        Ok(Mail { key, to: to.to_string(), message: message.formatted() })
    }

    fn text(&self, name: Option<&str>) -> String {
        let Self { brand, link, .. } = self;
        let greeting = name.map_or("Hello,".to_owned(), |name| format!("Hello {name},"));
        let button = if link.is_empty() { String::new() } else { format!("Go to your account:\n{link}\n\n") };
        format!(
            "{greeting}\n\nWelcome to {brand}. Your registration is complete.\n\n{button}\
             -- \nYou receive this email because this address was registered with {brand}.\n\
             If it was not you who did that, you can ignore this email.\n"
        )
    }

    fn html(&self, name: Option<&str>) -> String {
        let brand = escaped(&self.brand);
        let heading = name.map_or("Welcome".to_owned(), |name| format!("Welcome, {}", escaped(name)));
        let button = match self.link.as_str() {
            "" => String::new(),
            link => format!(
                "<tr><td style=\"padding:8px 32px 28px\">\
                 <a href=\"{}\" style=\"display:inline-block;padding:13px 26px;border-radius:9px;background:#1554c0;\
                 color:#ffffff;font:600 16px/1.3 {FONTS};text-decoration:none\">Go to your account</a></td></tr>",
                escaped(link)
            ),
        };
        // Tables and styles in place: mail programs know little more.
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light\"><title>Welcome to {brand}</title></head>\n\
             <body style=\"margin:0;padding:0;background:#eef1f5\">\n\
             <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"background:#eef1f5\">\
             <tr><td align=\"center\" style=\"padding:24px 12px\">\n\
             <table role=\"presentation\" width=\"100%\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" \
             style=\"max-width:560px;background:#ffffff;border:1px solid #d5dbe3;border-radius:14px\">\n\
             <tr><td style=\"padding:28px 32px 0;color:#1554c0;font:600 15px/1.4 {FONTS}\">{brand}</td></tr>\n\
             <tr><td style=\"padding:10px 32px 0;color:#17202b;font:600 24px/1.3 {FONTS};overflow-wrap:anywhere\" dir=\"auto\">{heading}</td></tr>\n\
             <tr><td style=\"padding:12px 32px 20px;color:#3d4a58;font:16px/1.55 {FONTS}\">Your registration is complete.</td></tr>\n\
             {button}\n</table>\n\
             <p style=\"max-width:500px;margin:18px auto 0;color:#52606f;font:13px/1.5 {FONTS}\">\
             You receive this email because this address was registered with {brand}. \
             If it was not you who did that, you can ignore this email.</p>\n\
             </td></tr></table>\n</body></html>\n"
        )
    }
}

/// Single quotes, because they stand in attributes.
const FONTS: &str = "system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif";

/// Ids that sign-ups make are plain already.
fn key(id: &ClientId) -> String {
    let id = id.as_str();
    let is_plain =
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain { id.to_owned() } else { keys::text_digest(id).replace('_', "-") }
}

/// Text without control characters and without marks that turn the text around them.
fn plain(text: &str) -> String {
    let is_turn = |c: &char| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain: String = text
        .chars()
        .filter(is_turn)
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        .collect();
    plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A first name to greet by. Whoever signs an address up that is not theirs chooses the name:
/// nothing that a mail program would make a link of gets in.
fn greetable(first_name: &str) -> Option<String> {
    let name = plain(first_name);
    let lower = name.to_lowercase();
    let top_level = |part: &str| part.chars().take_while(|c| c.is_alphabetic()).count() >= 2;
    let has_domain = lower.split(['.', '。']).skip(1).any(top_level);
    if name.is_empty() || has_domain || lower.contains("www.") || lower.contains(['@', '/', '\\', ':']) {
        return None;
    }
    Some(match name.char_indices().nth(NAME_MAX_CHARS) {
        Some((end, _)) => format!("{}…", name[..end].trim_end()),
        None => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders};

    fn letter(brand: &str, link: &str) -> Letter {
        let from = "no-reply@example.com".to_owned();
        Letter::new(&config::Mail { from, brand: brand.into(), link: link.into(), endpoint: None }).unwrap()
    }

    fn parts(mail: &Mail) -> (String, String) {
        let message = MessageParser::new().parse(&mail.message).unwrap();
        let parts: Vec<_> = message.parts.iter().filter(|part| part.is_text()).collect();
        assert_eq!(parts.len(), 2);
        let kind = |at: usize| parts[at].content_type().unwrap().subtype().unwrap().to_owned();
        assert_eq!((kind(0).as_str(), kind(1).as_str()), ("plain", "html"));
        (message.body_text(0).unwrap().into_owned(), message.body_html(0).unwrap().into_owned())
    }

    #[test]
    fn the_message_has_both_parts_and_the_headers_that_mail_programs_need() {
        let id = ClientId::new("6f1a2b3c-0000-4000-8000-000000000000");
        let mail = letter("Zürich Börse, \"FX\"", "https://trade.example.com/in?a=1&b=2")
            .to(&id, "Jane.Doe@Example.com", "Jané")
            .unwrap();
        assert_eq!((mail.key.as_str(), mail.to.as_str()), (id.as_str(), "Jane.Doe@example.com"));
        let message = MessageParser::new().parse(&mail.message).unwrap();
        let from = message.from().unwrap().first().unwrap();
        assert_eq!(from.name(), Some("Zürich Börse, \"FX\""));
        assert_eq!(from.address(), Some("no-reply@example.com"));
        assert_eq!(message.to().unwrap().iter().count(), 1);
        assert_eq!(message.to().unwrap().first().unwrap().address(), Some("Jane.Doe@example.com"));
        assert_eq!(message.subject(), Some("Welcome to Zürich Börse, \"FX\""));
        assert_eq!(
            message.message_id(),
            Some("registration-6f1a2b3c-0000-4000-8000-000000000000@example.com")
        );
        assert!(message.date().is_some());
        assert_eq!(message.header_raw("Auto-Submitted").unwrap().trim(), "auto-generated");
        assert!(mail.message.is_ascii(), "everything outside ASCII is encoded");
        assert!(mail.message.split(|byte| *byte == b'\n').all(|line| line.len() <= 998));
        let (text, html) = parts(&mail);
        assert!(text.starts_with("Hello Jané,"), "{text}");
        assert!(
            text.contains("\nhttps://trade.example.com/in?a=1&b=2\r\n")
                || text.contains("\nhttps://trade.example.com/in?a=1&b=2\n")
        );
        assert!(html.contains("Welcome, Jané</td>"), "{html}");
        assert!(html.contains("<a href=\"https://trade.example.com/in?a=1&amp;b=2\""), "{html}");
        assert!(html.contains("Zürich Börse, &quot;FX&quot;</td>"), "{html}");
    }

    #[test]
    fn without_a_link_there_is_no_button() {
        let (text, html) = parts(&letter("B", "").to(&ClientId::new("1"), "a@b.example", "Jane").unwrap());
        assert!(!text.contains("http") && !html.contains("<a "));
    }

    #[test]
    fn names_become_neither_headers_nor_markup_nor_links() {
        let letter = letter("B", "https://trade.example.com/");
        for name in [
            "Jane\r\nBcc: evil@evil.example",
            "Jane\n\n<script>alert(1)</script>",
            "=?utf-8?B?QmNjOiBldmlsQGV2aWwuZXhhbXBsZQ==?=",
            "<img src=x onerror=alert(1)>",
            "</td><a href=//evil.example>",
            "visit evil.example now",
            "WWW.evil",
            "http://evil",
            "\u{202e}enaJ\u{2066}",
            "a\0b",
            "",
            " . ",
        ] {
            let mail = letter.to(&ClientId::new("1"), "user@example.com", name).unwrap();
            let message = MessageParser::new().parse(&mail.message).unwrap();
            let names: Vec<_> = message.headers().iter().map(|header| header.name()).collect();
            assert_eq!(
                names,
                [
                    "From",
                    "To",
                    "Subject",
                    "Message-ID",
                    "Date",
                    "MIME-Version",
                    "Auto-Submitted",
                    "Content-Type"
                ],
                "{name:?}"
            );
            assert_eq!(message.to().unwrap().iter().count(), 1);
            let (text, html) = parts(&mail);
            assert!(!html.contains("<script") && !html.contains("<img"), "{name:?}: {html}");
            assert_eq!(html.matches("<a ").count(), 1, "{name:?}");
            for part in [&text, &html] {
                assert!(!part.contains("evil.example") && !part.contains("http://"), "{name:?}: {part}");
                assert!(!part.contains(['\u{202e}', '\u{2066}', '\0']), "{name:?}");
            }
        }
    }

    #[test]
    fn people_are_greeted_by_their_names() {
        for (name, greeted) in [
            ("Jane", Some("Jane")),
            ("  Anne\tMarie ", Some("Anne Marie")),
            ("J. R.", Some("J. R.")),
            ("Dr. Who", Some("Dr. Who")),
            ("O'Brien-Smith", Some("O'Brien-Smith")),
            ("Ольга", Some("Ольга")),
            ("<b>", Some("<b>")),
            ("evil.example", None),
            ("evil。example", None),
            ("a@b", None),
            ("a/b", None),
            ("", None),
        ] {
            assert_eq!(greetable(name).as_deref(), greeted, "{name:?}");
        }
        let long = greetable(&"é".repeat(1000)).unwrap();
        assert_eq!(long, format!("{}…", "é".repeat(60)));
    }

    #[test]
    fn addresses_are_written_as_mail_services_take_them() {
        let write = |email: &str| letter("B", "").to(&ClientId::new("1"), email, "Jane").map(|mail| mail.to);
        assert_eq!(write("user+tag@example.com").as_deref(), Ok("user+tag@example.com"));
        assert_eq!(write("user@bücher.example").as_deref(), Ok("user@xn--bcher-kva.example"));
        for email in [
            "jösé@example.com",
            "a@b.example, c@d.example",
            "\"a b\"@example.com",
            "a@b.example\r\nBcc: c@d.example",
            "nobody",
            "",
        ] {
            assert_eq!(write(email), Err(MailError::Refused("address is not deliverable".into())), "{email}");
        }
    }

    #[test]
    fn ids_become_plain_keys() {
        assert_eq!(key(&ClientId::new("a-1")), "a-1");
        for id in ["../../etc/passwd", "a b", "", &"x".repeat(65)] {
            let key = key(&ClientId::new(id));
            assert!(
                key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
                "{key}"
            );
        }
    }

    #[test]
    fn the_sender_and_the_brand_are_needed() {
        let read = |from: &str, brand: &str| {
            let settings = config::Mail { from: from.into(), brand: brand.into(), ..config::Mail::default() };
            Letter::new(&settings).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(read("a@b.example", "B"), Ok(()));
        assert_eq!(read("", "B"), Err("environment variable MAIL_FROM is not set".into()));
        assert_eq!(read("a@b.example", ""), Err("environment variable MAIL_BRAND is not set".into()));
        for from in ["nobody", "A <a@b.example>", "a@b.example\r\nBcc: c@d.example"] {
            assert_eq!(
                read(from, "B"),
                Err("environment variable MAIL_FROM must be an email address".into())
            );
        }
    }
}
