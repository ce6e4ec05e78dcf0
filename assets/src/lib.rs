//! For build scripts of functions that serve files: reads the files, joins them, compresses them, gives them
//! entity tags and content types, and writes the table that `shared::files` serves from.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

pub mod bundle;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Content type of HTML.
pub const HTML: &str = "text/html; charset=utf-8";
/// Content type of JSON.
pub const JSON: &str = "application/json";
/// Content type of scripts.
pub const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Content type of style sheets.
pub const STYLE: &str = "text/css; charset=utf-8";

/// Files by their paths below a folder.
pub type Tree = BTreeMap<String, Vec<u8>>;

/// The content type of a file by its extension.
///
/// # Errors
/// None is known.
pub fn content_type(name: &str) -> Result<&'static str, Box<dyn Error>> {
    Ok(match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => STYLE,
        Some("html") => HTML,
        Some("js") => SCRIPT,
        Some("json") => JSON,
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => return Err(format!("{name} is of no type that is known here").into()),
    })
}

/// A file's bytes; the build script runs again when they change.
///
/// # Errors
/// The file can't be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    watch(path);
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// All files of a folder and of those in it, but hidden ones; the build script runs again when one of them
/// changes, comes or goes.
///
/// # Errors
/// A file can't be read, or its name is none that can stand in a URL as it is.
pub fn tree(folder: &Path) -> Result<Tree, Box<dyn Error>> {
    let mut tree = Tree::new();
    grow(&mut tree, folder, "")?;
    Ok(tree)
}

fn grow(tree: &mut Tree, folder: &Path, prefix: &str) -> Result<(), Box<dyn Error>> {
    watch(folder);
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(
                format!("{} has a name with other than letters, digits and -_.", path.display()).into()
            );
        }
        if path.is_dir() {
            grow(tree, &path, &format!("{prefix}{name}/"))?;
        } else {
            tree.insert(format!("{prefix}{name}"), read(&path)?);
        }
    }
    Ok(())
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// A name for these files, by what they are called and what is in them.
pub fn digest(tree: &Tree) -> String {
    let mut digest = Sha256::new();
    for part in tree.iter().flat_map(|(name, bytes)| [name.as_bytes(), bytes]) {
        // With its length, so that nothing can move from one part to the next.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    URL_SAFE_NO_PAD.encode(digest.finalize())[..16].to_owned()
}

/// The files that a function builds in.
#[derive(Debug)]
pub struct Table {
    out: PathBuf,
    rows: Vec<String>,
}

impl Table {
    /// A table in the build script's own directory.
    ///
    /// # Errors
    /// No build script runs.
    pub fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self { out: std::env::var("OUT_DIR")?.into(), rows: Vec::new() })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub fn add(&mut self, name: &str, content_type: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let file = format!("file-{}", self.rows.len());
        // No time and no name in it: the same files make the same bootstrap.
        let mut compressed = GzBuilder::new().write(Vec::new(), Compression::best());
        compressed.write_all(bytes)?;
        std::fs::write(self.out.join(&file), compressed.finish()?)?;
        // Weak: it stands for the compressed form and the plain one alike.
        let tag = format!("W/\"{}\"", &URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))[..22]);
        let mut row = String::new();
        write!(
            row,
            "    File::built_in({name:?}, {content_type:?}, {tag:?}, \
             include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))),"
        )?;
        self.rows.push(row);
        Ok(())
    }

    /// Writes the table as `files.rs`: an expression, `&[File]`.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub fn write(self) -> Result<(), Box<dyn Error>> {
        Ok(std::fs::write(self.out.join("files.rs"), format!("&[\n{}\n]\n", self.rows.join("\n")))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(files: &[(&str, &str)]) -> Tree {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_tree_has_the_files_of_all_folders_and_no_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("pages/parts")).unwrap();
        std::fs::create_dir(folder.path().join(".hidden")).unwrap();
        for name in ["main.js", "pages/parts/a.css", ".hidden/b.js", ".main.js.swp"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        assert_eq!(
            tree(folder.path()).unwrap(),
            tree_of(&[("main.js", "main.js"), ("pages/parts/a.css", "pages/parts/a.css")])
        );
        for name in ["a b.js", "é.js", "a\"b.js"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            assert!(tree(folder.path()).is_err(), "{name}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_digest_is_of_names_and_of_contents() {
        let trees: [&[(&str, &str)]; 6] = [
            &[],
            &[("a.js", "1")],
            &[("a.js", "2")],
            &[("b.js", "1")],
            &[("a.js", "1"), ("b.js", "")],
            &[("a.js1", ""), ("b.js", "")],
        ];
        let digests: std::collections::BTreeSet<_> =
            trees.iter().map(|files| digest(&tree_of(files))).collect();
        assert_eq!(digests.len(), trees.len());
        let plain =
            |text: &String| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        assert!(digests.iter().all(|digest| digest.len() == 16 && plain(digest)), "{digests:?}");
    }

    #[test]
    fn a_content_type_is_that_of_the_extension() {
        assert_eq!(content_type("pages/a.css.js").unwrap(), SCRIPT);
        assert_eq!(content_type("icon.svg").unwrap(), "image/svg+xml");
        for name in ["README", "main.ts", "js", ""] {
            assert!(content_type(name).is_err(), "{name}");
        }
    }
}
