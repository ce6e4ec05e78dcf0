//! One name from folder to SAM function, routes, events and tests: nothing is listed twice, and
//! nothing is forgotten.

use local::template::Template;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn entries(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(workspace().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn names() -> BTreeSet<String> {
    Template::built_in().unwrap().functions.into_iter().map(|function| function.name).collect()
}

fn pascal_case(name: &str) -> String {
    let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

#[test]
fn each_function_has_one_folder_and_one_crate_of_its_name() {
    assert_eq!(names(), entries("functions"));
    for name in names() {
        let manifest =
            fs::read_to_string(workspace().join("functions").join(&name).join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
        let main = fs::read_to_string(workspace().join("functions").join(&name).join("src/main.rs")).unwrap();
        assert!(main.lines().count() <= 15, "{name}/src/main.rs is wiring only");
        assert!(main.contains(&format!("\"{name}\"")), "{name} logs under its own name");
    }
}

#[test]
fn logical_ids_are_the_names() {
    for function in Template::built_in().unwrap().functions {
        assert_eq!(function.logical_id, format!("{}Function", pascal_case(&function.name)));
    }
}

#[test]
fn each_function_has_a_test_file_of_its_name() {
    let files = entries("tests/tests");
    for name in names() {
        assert!(files.contains(&format!("{}.rs", name.replace('-', "_"))), "{name}");
    }
}

/// Cargo looks for no files of tests by itself there: one that nothing names would never run.
#[test]
fn every_file_of_tests_is_run() {
    for (package, root) in [("tests", "api"), ("local", "commands")] {
        let read = |path: &str| fs::read_to_string(workspace().join(package).join(path)).unwrap();
        let (manifest, modules) = (read("Cargo.toml"), read(&format!("tests/{root}.rs")));
        for file in entries(&format!("{package}/tests")) {
            let name = file.trim_end_matches(".rs");
            let is_target = manifest.contains(&format!("path = \"tests/{name}.rs\"\n"));
            let is_module = modules.contains(&format!("mod {name};\n"));
            assert!(is_target != is_module, "{package}/tests/{file}");
        }
    }
}

#[test]
fn each_function_has_events_for_success_no_token_and_a_bad_body() {
    assert_eq!(names(), entries("events"));
    for function in Template::built_in().unwrap().functions {
        let files = entries(&format!("events/{}", function.name));
        // These are for people, who have no token, and send no body.
        let for_people = ["autologin", "console", "docs", "session"].contains(&function.name.as_str());
        let is_for_programs = !for_people && !function.routes.is_empty();
        let takes_a_body = is_for_programs && function.routes.iter().any(|route| route.method != "GET");
        let takes_a_token = is_for_programs.then_some("no-token");
        for case in ["success"].into_iter().chain(takes_a_token).chain(takes_a_body.then_some("bad-body")) {
            assert!(files.contains(&format!("{case}.json")), "{}/{case}", function.name);
        }
    }
}

#[test]
fn each_handler_names_the_route_that_the_template_gives_it() {
    for function in Template::built_in().unwrap().functions {
        let lib = fs::read_to_string(workspace().join("functions").join(&function.name).join("src/lib.rs"))
            .unwrap();
        let readme = fs::read_to_string(workspace().join("README.md")).unwrap();
        for route in &function.routes {
            let route = format!("{} {}", route.method, route.path);
            let head: Vec<_> = lib.lines().take_while(|line| line.starts_with("//!")).collect();
            assert!(
                head.join("\n").contains(&format!("`{route}`")),
                "{} does not begin with {route}",
                function.name
            );
            assert!(readme.contains(&format!("`{route}`")), "README.md does not list {route}");
        }
    }
}

/// `sam local --env-vars` overrides variables that the template declares, and drops all others.
#[test]
fn each_function_declares_the_endpoint_that_sam_local_overrides() {
    for function in Template::built_in().unwrap().functions {
        let endpoint = function.environment.get("AWS_ENDPOINT_URL_DYNAMODB");
        assert_eq!(endpoint.map(String::as_str), Some(""), "{}", function.name);
    }
}
