//! Builds `web/` in: its files as they are, in a folder that is named by all of them, and index.html with the
//! names of that folder and of the scripts.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use assets::{Table, Tree};
use std::error::Error;
use std::path::PathBuf;

const INDEX: &str = "index.html";

fn main() -> Result<(), Box<dyn Error>> {
    let web = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("web");
    let mut tree = assets::tree(&web)?;
    let digest = assets::digest(&tree);
    let index = tree.remove(INDEX).ok_or("web/ has no index.html")?;
    let mut files = Table::new()?;
    for (name, bytes) in &tree {
        files.add(name, assets::content_type(name)?, bytes)?;
    }
    files.write()?;
    let shell = shell(&String::from_utf8(index)?, &format!("/console/assets/{digest}"), &tree)?;
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join(INDEX), shell)?;
    println!("cargo::rustc-env=ASSETS_DIGEST={digest}");
    Ok(())
}

/// The page that all others begin as. A browser would find modules out one after the other, each in the one
/// that imports it: the page names them all.
fn shell(index: &str, folder: &str, files: &Tree) -> Result<String, Box<dyn Error>> {
    for placeholder in ["{assets}", "{preload}", "{emails}"] {
        if !index.contains(placeholder) {
            return Err(format!("web/{INDEX} does not say where {placeholder} goes").into());
        }
    }
    // One that is no module is not preloaded as one.
    let is_classic = |name: &str| index.contains(&format!("<script src=\"{{assets}}/{name}\">"));
    let scripts = || files.keys().filter(|name| name.ends_with(".js") && !is_classic(name));
    let mut lines = Vec::new();
    for line in index.lines() {
        if line.contains("{preload}") {
            lines.extend(
                scripts().map(|name| format!("<link rel=\"modulepreload\" href=\"{folder}/{name}\">")),
            );
        } else {
            lines.push(line.replace("{assets}", folder));
        }
    }
    Ok(lines.join("\n") + "\n")
}
