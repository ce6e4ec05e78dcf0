//! Compresses what the function serves, and gives it entity tags, when it is built: the OpenAPI documents,
//! and Swagger UI's files, which a crate of the registry carries.

use assets::{HTML, JSON, SCRIPT, STYLE, Table, read};
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::error::Error;
use std::io::Read;
use std::path::PathBuf;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

fn main() -> Result<(), Box<dyn Error>> {
    let package = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let page = read(&package.join("src/page.html"))?;
    let mut files = Table::new()?;
    for (name, document) in [("page", "/docs/openapi.json"), ("admin", "/docs/openapi-admin.json")] {
        let page = String::from_utf8(page.clone())?.replace("{document}", document);
        files.add(name, HTML, page.as_bytes())?;
    }
    // What is served is the partners' view, unless the admin view is asked for.
    files.add("openapi.json", JSON, &read(&package.join("../../docs/openapi-partner.json"))?)?;
    files.add("openapi-admin.json", JSON, &read(&package.join("../../docs/openapi.json"))?)?;
    files.add("assets/page.js", SCRIPT, &read(&package.join("src/page.js"))?)?;
    files.add("assets/page.css", STYLE, &read(&package.join("src/page.css"))?)?;
    for (name, content_type) in [("swagger-ui-bundle.js", SCRIPT), ("swagger-ui.css", STYLE)] {
        files.add(&format!("assets/{name}"), content_type, &unzip(SWAGGER_UI_VENDORED, name)?)?;
    }
    files.write()
}

/// A file of the archive's `dist` folder, whose name has a version. The archive is one that we know: it
/// is not encrypted, and has no part above 4 GB.
fn unzip(archive: &[u8], name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = |at: usize, length: usize| archive.get(at..at + length).ok_or("the archive is cut off");
    let number = |at: usize, length: usize| {
        let number = bytes(at, length)?.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
        Ok::<_, &str>(number)
    };
    let end = archive.windows(4).rposition(|four| four == b"PK\x05\x06").ok_or("no zip archive")?;
    let (mut at, entries) = (number(end + 16, 4)?, number(end + 10, 2)?);
    for _ in 0..entries {
        let (name_length, more) = (number(at + 28, 2)?, number(at + 30, 2)? + number(at + 32, 2)?);
        let path = std::str::from_utf8(bytes(at + 46, name_length)?)?;
        if path.split_once('/').is_some_and(|(_, rest)| rest == format!("dist/{name}")) {
            let (digest, length, header) = (number(at + 16, 4)?, number(at + 20, 4)?, number(at + 42, 4)?);
            let start = header + 30 + number(header + 26, 2)? + number(header + 28, 2)?;
            let (mut plain, mut check) = (Vec::new(), Crc::new());
            DeflateDecoder::new(bytes(start, length)?).read_to_end(&mut plain)?;
            check.update(&plain);
            return if usize::try_from(check.sum())? == digest {
                Ok(plain)
            } else {
                Err(format!("{name} is damaged").into())
            };
        }
        at += 46 + name_length + more;
    }
    Err(format!("no {name} in the archive").into())
}
