//! Builds `web/` in: its modules as one script and its style sheets as one sheet, in a folder that is named by all
//! files, and index.html with the name of that folder.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use assets::{Table, bundle};
use std::error::Error;
use std::path::PathBuf;

const INDEX: &str = "index.html";
/// What the page names besides what is joined.
const SINGLE: [&str; 2] = ["theme.js", "icon.svg"];

fn main() -> Result<(), Box<dyn Error>> {
    let web = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("web");
    let tree = assets::tree(&web)?;
    let digest = assets::digest(&tree);
    let mut files = Table::new()?;
    files.add("main.js", assets::SCRIPT, bundle::script(&tree, "main.js")?.as_bytes())?;
    files.add("style.css", assets::STYLE, bundle::style(&tree, "style.css")?.as_bytes())?;
    for name in SINGLE {
        files.add(name, assets::content_type(name)?, tree.get(name).ok_or(format!("web/ has no {name}"))?)?;
    }
    files.write()?;
    let index = std::str::from_utf8(tree.get(INDEX).ok_or("web/ has no index.html")?)?;
    for placeholder in ["{assets}", "{emails}"] {
        if !index.contains(placeholder) {
            return Err(format!("web/{INDEX} does not say where {placeholder} goes").into());
        }
    }
    let shell = index.replace("{assets}", &format!("/console/assets/{digest}"));
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join(INDEX), shell)?;
    println!("cargo::rustc-env=ASSETS_DIGEST={digest}");
    Ok(())
}
