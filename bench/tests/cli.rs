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

#[test]
fn soak_tells_what_it_takes() {
    let (worked, told) = bench(&["soak", "--help"]).unwrap();
    assert!(worked, "{told}");
    for name in ["--minutes", "--quick", "--connections", "--leads", "--program"] {
        assert!(told.contains(name), "{name} is not in {told}");
    }
    for wrong in
        [["--minutes", "0"], ["--minutes", "x"], ["--connections", "0"], ["--leads", "10"], ["--only", "tls"]]
    {
        let (worked, told) = bench(&["soak", wrong[0], wrong[1]]).unwrap();
        assert!(!worked && told.contains(wrong[0]), "{told}");
    }
}

#[test]
fn soak_fails_where_the_stack_does_not_start() {
    let (worked, told) = bench(&["soak", "--quick", "--program", "/nowhere/local"]).unwrap();
    assert!(!worked && told.contains("/nowhere/local can't be started"), "{told}");
    let (worked, told) = bench(&["soak", "--quick", "--program", "true"]).unwrap();
    assert!(!worked && told.contains("the stack ended while it started"), "{told}");
}
