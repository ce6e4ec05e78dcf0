//! HTML pages for people (CONTRACT.md, section 4): one layout, no external resources, and a
//! Content-Security-Policy that lets nothing in but the page's own style and script, by their
//! digests.

use crate::http::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Colours have a contrast of 4.5 to 1 or more in both themes.
const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ground:#eef1f5;--ink:#17202b;--soft:#52606f;--line:#d5dbe3;--act:#1554c0;--on-act:#fff}\
@media(prefers-color-scheme:dark){:root{--paper:#1b232d;--ground:#10151b;--ink:#eef2f6;--soft:#a8b4c1;--line:#313c49;--act:#8ab6ff;--on-act:#0d1a30}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;min-height:100dvh;display:grid;place-items:center;padding:1.25rem;background:var(--ground);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\
main{width:100%;max-width:28rem;padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:.9rem}\
h1{margin:0 0 .6rem;font-size:1.5rem;line-height:1.25;overflow-wrap:anywhere}\
p{margin:0 0 1rem;color:var(--soft);overflow-wrap:anywhere}\
dl{margin:0 0 1.5rem;border-top:1px solid var(--line)}\
dl div{display:flex;flex-wrap:wrap;gap:.1rem 1rem;justify-content:space-between;padding:.6rem 0;border-bottom:1px solid var(--line)}\
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere;min-width:0}\
form{margin:1.5rem 0 0}\
button,.button{display:block;width:100%;min-height:3rem;padding:.7rem 1rem;border:0;border-radius:.6rem;background:var(--act);color:var(--on-act);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}\
button:focus-visible,.button:focus-visible{outline:3px solid var(--act);outline-offset:3px}\
";

/// A page under way. All text is escaped.
#[derive(Debug)]
pub struct Page {
    title: String,
    body: String,
    script: Option<&'static str>,
    form_origin: Option<String>,
}

impl Page {
    /// A page with this title and heading.
    pub fn new(title: &str) -> Self {
        let title = escaped(title);
        Self { body: format!("<h1>{title}</h1>"), title, script: None, form_origin: None }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn paragraph(mut self, text: &str) -> Self {
        let _ = write!(self.body, "<p>{}</p>", escaped(text));
        self
    }

    /// Adds a list of names and values.
    #[must_use]
    pub fn details(mut self, pairs: &[(&str, &str)]) -> Self {
        self.body.push_str("<dl>");
        for (name, value) in pairs {
            let _ = write!(
                self.body,
                "<div><dt>{}</dt><dd dir=\"auto\">{}</dd></div>",
                escaped(name),
                escaped(value)
            );
        }
        self.body.push_str("</dl>");
        self
    }

    /// Adds a link that looks like a button.
    #[must_use]
    pub fn link(mut self, text: &str, href: &str) -> Self {
        let _ = write!(self.body, "<a class=\"button\" href=\"{}\">{}</a>", escaped(href), escaped(text));
        self
    }

    /// Adds a form of one button that posts to `action`; `None`: to the page's own address, so that
    /// the page does not hold it.
    #[must_use]
    pub fn button(mut self, text: &str, action: Option<&str>) -> Self {
        let action = action.map(|to| format!(" action=\"{}\"", escaped(to))).unwrap_or_default();
        let _ = write!(
            self.body,
            "<form method=\"post\"{action}><button type=\"submit\">{}</button></form>",
            escaped(text)
        );
        self
    }

    /// Lets the page's form be answered with a redirect to another origin.
    #[must_use]
    pub fn form_leads_to(mut self, origin: Option<&str>) -> Self {
        self.form_origin = origin.map(str::to_owned);
        self
    }

    /// Sets the page's script.
    #[must_use]
    pub fn script(mut self, script: &'static str) -> Self {
        self.script = Some(script);
        self
    }

    /// The page as an answer that no cache keeps and that tells no other site its address.
    pub fn answer(self, status: u16) -> Answer {
        let script = self.script.map(|script| format!("<script>{script}</script>")).unwrap_or_default();
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\"><title>{}</title><style>{STYLE}</style></head>\
             <body><main>{}</main>{script}</body></html>\n",
            self.title, self.body
        );
        let script_src = self.script.map_or_else(|| "'none'".to_owned(), source);
        let form_origin = self.form_origin.map(|origin| format!(" {origin}")).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {script_src}; form-action 'self'{form_origin}; \
             base-uri 'none'; frame-ancestors 'none'",
            source(STYLE)
        );
        Answer::html(status, html).header("content-security-policy", policy).private()
    }
}

/// A Content-Security-Policy source: an inline text by its digest.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// Text for HTML, in elements and in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // Bidirectional overrides could turn the text around them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            other if other.is_control() => html.push(' '),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_neither_be_markup_nor_turn_the_page_around() {
        assert_eq!(
            escaped("<img src=x onerror='a()'>&\""),
            "&lt;img src=x onerror=&#39;a()&#39;&gt;&amp;&quot;"
        );
        assert_eq!(escaped("a\u{202e}b\u{2066}c\r\nd\0"), "abc  d ");
        assert_eq!(escaped("Zoë 🙂 שלום"), "Zoë 🙂 שלום");
    }
}
