//! Joins modules into one script, and style sheets into one sheet. Each file that a page names is a request, and
//! each request an invocation: a page of forty modules would start forty instances at once.
//!
//! It knows the forms that the sources are written in, and refuses others: imports and exports that begin a line,
//! `import { a, b as c } from "./x.js";`, `import "./x.js";`, and `export` before a `const`, a `function` or a
//! `class`.

use crate::Tree;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

/// One script of a module and all that it imports: each module a function that gives what it exports, in an order in
/// which every one comes after those that it imports.
///
/// # Errors
/// A module is missing, has a form that is not known here, or imports itself by way of others.
pub fn script(tree: &Tree, main: &str) -> Result<String, Box<dyn Error>> {
    let mut bundle = Bundle { tree, places: BTreeMap::new(), text: String::new() };
    bundle.add(main)?;
    Ok(bundle.text)
}

/// One sheet of a style sheet and all that it imports, `@import "x.css";`, in that order.
///
/// # Errors
/// A sheet is missing.
pub fn style(tree: &Tree, main: &str) -> Result<String, Box<dyn Error>> {
    let mut all = String::new();
    for line in text(tree, main)?.lines() {
        match between(line, "@import \"", "\";") {
            Some(path) => all.push_str(&style(tree, &resolved(main, path))?),
            None => writeln!(all, "{line}")?,
        }
    }
    Ok(all)
}

struct Bundle<'a> {
    tree: &'a Tree,
    /// Modules by their paths: `None` while what they import is added, then their number.
    places: BTreeMap<String, Option<usize>>,
    text: String,
}

impl Bundle<'_> {
    fn add(&mut self, path: &str) -> Result<usize, Box<dyn Error>> {
        match self.places.get(path) {
            Some(Some(place)) => return Ok(*place),
            Some(None) => return Err(format!("{path} imports itself").into()),
            None => {}
        }
        self.places.insert(path.to_owned(), None);
        let source = text(self.tree, path)?;
        let (mut imports, mut exports, mut body) = (String::new(), Vec::new(), String::new());
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("import ") {
                let mut statement = line.to_owned();
                while !statement.ends_with(';') {
                    statement.push_str(lines.next().ok_or_else(|| unknown(path, line))?);
                }
                let (names, from) = import(&statement).ok_or_else(|| unknown(path, &statement))?;
                let place = self.add(&resolved(path, from))?;
                if let Some(names) = names {
                    writeln!(imports, "const {{{}}} = m{place};", names.replace(" as ", ": "))?;
                }
            } else if let Some(declaration) = line.strip_prefix("export ") {
                exports.push(exported(declaration).ok_or_else(|| unknown(path, line))?);
                writeln!(body, "{declaration}")?;
            } else if line.contains("import(") || line.contains("import.meta") || line.starts_with("await ") {
                return Err(unknown(path, line));
            } else {
                writeln!(body, "{line}")?;
            }
        }
        let place = self.places.values().flatten().count();
        self.places.insert(path.to_owned(), Some(place));
        let exports = exports.join(", ");
        write!(
            self.text,
            "// {path}\nconst m{place} = (() => {{\n{imports}{body}return {{ {exports} }};\n}})();\n"
        )?;
        Ok(place)
    }
}

/// The names between the braces, where there are any, and the path.
fn import(statement: &str) -> Option<(Option<&str>, &str)> {
    if let Some(path) = between(statement, "import \"", "\";") {
        return Some((None, path));
    }
    let (names, path) = between(statement, "import {", "\";")?.split_once("} from \"")?;
    Some((Some(names), path))
}

/// The name that a declaration gives.
fn exported(declaration: &str) -> Option<&str> {
    let forms = ["const ", "class ", "function ", "async function "];
    let rest = forms.iter().find_map(|form| declaration.strip_prefix(form))?;
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"_$".contains(letter))?;
    Some(&rest[..end]).filter(|name| !name.is_empty())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.strip_suffix(end)
}

fn text<'a>(tree: &'a Tree, path: &str) -> Result<&'a str, Box<dyn Error>> {
    let bytes = tree.get(path).ok_or_else(|| format!("there is no {path}"))?;
    Ok(std::str::from_utf8(bytes)?)
}

/// A path that is relative to a file, as one from the root.
fn resolved(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn unknown(path: &str, line: &str) -> Box<dyn Error> {
    format!("{path}: this form can't be joined: {line}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn modules_come_after_what_they_import_and_each_once() {
        let tree = tree(&[
            ("main.js", "import { b } from \"./lib/b.js\";\nimport \"./lib/a.js\";\nb();\n"),
            ("lib/a.js", "export const a = 1;\nexport class A extends B {}\n"),
            (
                "lib/b.js",
                "import {\n  a as one,\n  A,\n} from \"../lib/a.js\";\n\nexport async function b() {\n  return one;\n}\n",
            ),
            ("unused.js", "export default 1;\n"),
        ]);
        assert_eq!(
            script(&tree, "main.js").unwrap(),
            "// lib/a.js\nconst m0 = (() => {\nconst a = 1;\nclass A extends B {}\nreturn { a, A };\n})();\n\
             // lib/b.js\nconst m1 = (() => {\nconst {  a: one,  A,} = m0;\n\nasync function b() {\n  return one;\n}\nreturn { b };\n})();\n\
             // main.js\nconst m2 = (() => {\nconst { b } = m1;\nb();\nreturn {  };\n})();\n"
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for source in [
            "import a from \"./a.js\";\n",
            "import * as a from \"./a.js\";\n",
            "import { a } from \"./missing.js\";\n",
            "import { a } from \"./main.js\";\n",
            "import { a\n",
            "export default a;\n",
            "export { a };\n",
            "export let a = 1;\n",
            "export * from \"./a.js\";\n",
            "const a = await import(\"./a.js\");\n",
            "const a = import.meta.url;\n",
            "await a();\n",
        ] {
            let tree = tree(&[("main.js", source), ("a.js", "export const a = 1;\n")]);
            assert!(script(&tree, "main.js").is_err(), "{source}");
        }
        let circle = tree(&[("a.js", "import \"./b.js\";\n"), ("b.js", "import \"./a.js\";\n")]);
        assert_eq!(script(&circle, "a.js").unwrap_err().to_string(), "a.js imports itself");
    }

    #[test]
    fn sheets_are_joined_in_the_order_of_their_imports() {
        let tree = tree(&[
            ("style.css", "@import \"styles/b.css\";\n@import \"styles/a.css\";\n"),
            ("styles/a.css", "a {}\n"),
            ("styles/b.css", "b {}\n"),
        ]);
        assert_eq!(style(&tree, "style.css").unwrap(), "b {}\na {}\n");
        assert!(style(&tree, "styles/c.css").is_err());
    }
}
