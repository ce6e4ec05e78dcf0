//! Files that a function has built in: compressed and tagged when it is built (the crate `assets`), or when it
//! starts.

use crate::error::ApiError;
use crate::http::Answer;
use crate::store::StoreError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use lambda_http::http::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, IF_NONE_MATCH};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::io::{Read, Write};

/// A file, ready to be served.
#[derive(Clone, Debug)]
pub struct File {
    name: &'static str,
    content_type: &'static str,
    tag: Cow<'static, str>,
    compressed: Cow<'static, [u8]>,
}

impl File {
    /// A file as `assets` writes it down.
    pub const fn built_in(
        name: &'static str,
        content_type: &'static str,
        tag: &'static str,
        compressed: &'static [u8],
    ) -> Self {
        Self { name, content_type, tag: Cow::Borrowed(tag), compressed: Cow::Borrowed(compressed) }
    }

    /// A file that depends on the function's settings.
    ///
    /// # Errors
    /// None: memory takes all that is written to it.
    pub fn made(name: &'static str, content_type: &'static str, bytes: &[u8]) -> std::io::Result<Self> {
        let mut compressed = GzBuilder::new().write(Vec::new(), Compression::best());
        compressed.write_all(bytes)?;
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        let tag = format!("W/\"{}\"", digest.get(..22).unwrap_or_default()).into();
        Ok(Self { name, content_type, tag, compressed: compressed.finish()?.into() })
    }

    /// The file of this name.
    pub fn find(files: &'static [Self], name: &str) -> Option<&'static Self> {
        files.iter().find(|file| file.name == name)
    }

    /// What the table calls it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The file as it was before it was compressed.
    ///
    /// # Errors
    /// It is damaged; what was built in is not.
    pub fn plain(&self) -> Result<Vec<u8>, ApiError> {
        let mut plain = Vec::new();
        let read = GzDecoder::new(&*self.compressed).read_to_end(&mut plain);
        read.map_err(|_| StoreError::malformed("file"))?;
        Ok(plain)
    }

    /// The file as the request's headers want it: compressed or plain, or 304 where the caller has it.
    ///
    /// # Errors
    /// As [`File::plain`].
    pub fn answer(&self, headers: &HeaderMap) -> Result<Answer, ApiError> {
        let answer = if is_named(headers, &self.tag) {
            Answer::unchanged()
        } else if accepts_gzip(headers) {
            Answer::bytes(200, self.content_type, self.compressed.to_vec()).header("content-encoding", "gzip")
        } else {
            Answer::bytes(200, self.content_type, self.plain()?)
        };
        Ok(answer.header("etag", &self.tag).header("vary", "accept-encoding"))
    }
}

fn is_named(headers: &HeaderMap, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    elements(headers, &IF_NONE_MATCH).any(|listed| listed == "*" || bare(listed) == bare(tag))
}

/// A header's comma-separated elements.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// RFC 9110, section 12.5.3: by its own weight, or by that of `*` where it is not listed itself.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let is_gzip = |coding: &str| ["gzip", "x-gzip"].iter().any(|name| coding.eq_ignore_ascii_case(name));
    let codings = || elements(headers, &ACCEPT_ENCODING).map(weighted);
    let listed = codings().find(|(coding, _)| is_gzip(coding));
    let any = || codings().find(|(coding, _)| *coding == "*");
    listed.or_else(any).is_some_and(|(_, is_wanted)| is_wanted)
}

/// A coding, and whether its weight is above zero, as it is where none is given.
fn weighted(element: &str) -> (&str, bool) {
    let (coding, weight) = element.split_once(';').unwrap_or((element, "q=1"));
    let weight = weight.trim().split_once('=').and_then(|(_, weight)| weight.trim().parse::<f32>().ok());
    (coding.trim(), weight.is_none_or(|weight| weight > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_where_it_is_listed_with_a_weight_above_zero() {
        for (listed, expected) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("gzip; Q=1.0", true),
            ("x-gzip", true),
            ("*", true),
            ("br, deflate;q=0.1, gzip;q=0.001", true),
            ("*;q=0, gzip", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("gzip;q=0, *", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("br", false),
            ("gzipped", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, listed.parse().unwrap())]);
            assert_eq!(accepts_gzip(&headers), expected, "{listed}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_file_that_is_made_has_a_tag_by_what_is_in_it() {
        let [one, other] =
            ["one", "other"].map(|text| File::made("f", "text/plain", text.as_bytes()).unwrap());
        assert_eq!(one.plain().unwrap(), b"one");
        assert_ne!(one.tag, other.tag);
        assert!(one.tag.starts_with("W/\"") && one.tag.len() == 26, "{}", one.tag);
    }
}
