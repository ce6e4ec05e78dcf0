//! The program by its command line.

use std::process::Command;

fn bench(arguments: &[&str]) -> std::io::Result<(bool, String)> {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output()?;
    let told = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&told).into_owned()))
}

#[test]
fn help_names_what_can_be_measured() {
    let (worked, told) = bench(&["--help"]).unwrap();
    assert!(worked, "{told}");
    for name in ["--quick", "--check", "--functions", "leads-100", "memory-sign-up", "local-stack"] {
        assert!(told.contains(name), "{name} is not in {told}");
    }
}

#[test]
fn functions_that_are_not_there_are_named_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (worked, told) = bench(&["--quick", "--functions", folder.path().to_str().unwrap()]).unwrap();
    assert!(!worked && told.contains("there is no leads in"), "{told}");
}
