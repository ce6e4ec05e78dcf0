//! Builds what is measured: the functions as they are deployed, and the programs to compare them with.

use crate::data::Data;
use crate::runtime::Program;
use crate::works::Programs;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The functions that partners call most, and the least one.
pub(crate) const FUNCTIONS: [&str; 3] = ["leads", "signup", "token"];
const RUST: [&str; 2] = ["naive", "hello"];

/// Files of the programs by name, and what is missing, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) bootstraps: Vec<(&'static str, PathBuf)>,
    interpreted: Vec<(&'static str, PathBuf, PathBuf)>,
    pub(crate) skipped: Vec<String>,
}

/// The folder that has all sources.
fn workspace() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")
}

/// Where cargo puts what it builds: two levels above this program.
pub(crate) fn target() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.ancestors().nth(2).context("no target directory")?.to_owned())
}

/// Builds everything that can be built here: the functions, unless builds of them are given, and unless they
/// are measured alone, what they are compared with.
pub(crate) fn all(functions: Option<&Path>, alone: bool) -> Result<Built> {
    let (workspace, target) = (workspace()?, target()?);
    let baselines = workspace.join("bench/baselines");
    let mut built = Built { bootstraps: self::functions(functions, workspace, &target)?, ..Built::default() };
    if alone {
        return Ok(built);
    }
    let folder = target.join("bench/rust");
    for name in RUST {
        // One after the other: together they would share the features of what both use.
        let arguments = ["build", "--release", "--locked", "--package", name];
        cargo(&arguments, &baselines.join("rust"), &folder)?;
        built.bootstraps.push((name, folder.join("release").join(name)));
    }
    for (name, install) in [("node", node as fn(&Path, &Path) -> _), ("python", python)] {
        let folder = target.join("bench").join(name);
        std::fs::create_dir_all(&folder)?;
        match install(&baselines.join(name), &folder) {
            Ok((interpreter, script)) => built.interpreted.push((name, interpreter, script)),
            Err(error) => built.skipped.push(format!("{name} is left out: {error:#}")),
        }
    }
    Ok(built)
}

/// The functions' bootstraps: those given, or built here.
fn functions(given: Option<&Path>, workspace: &Path, target: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = target.join("release");
    if given.is_none() {
        let packages = FUNCTIONS.iter().flat_map(|function| ["--package", function]);
        let arguments: Vec<_> = ["build", "--release", "--locked"].into_iter().chain(packages).collect();
        cargo(&arguments, workspace, target)?;
    }
    let folder = given.unwrap_or(&folder);
    let find = |function| {
        let candidates = [folder.join(function).join("bootstrap"), folder.join(function)];
        let found = candidates.into_iter().find(|file| file.is_file());
        Ok((function, found.with_context(|| format!("there is no {function} in {}", folder.display()))?))
    };
    FUNCTIONS.into_iter().map(find).collect()
}

/// Builds the local stack's program, beside this one.
pub(crate) fn local() -> Result<()> {
    let mut arguments = vec!["build", "--locked", "--package", "local"];
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    cargo(&arguments, workspace()?, &target()?)
}

impl Built {
    /// The programs, each in the environment that it runs in.
    pub(crate) fn programs(&self, data: &Data) -> Result<Programs> {
        let mut programs = Vec::new();
        for (name, command) in &self.bootstraps {
            let environment = data.environment(if FUNCTIONS.contains(name) { name } else { "signup" })?;
            programs.push(Program { name, command: command.clone(), arguments: vec![], environment });
        }
        for (name, interpreter, script) in &self.interpreted {
            programs.push(Program {
                name,
                command: interpreter.clone(),
                arguments: vec![script.clone()],
                environment: data.environment("signup")?,
            });
        }
        Ok(Programs(programs))
    }
}

fn cargo(arguments: &[&str], folder: &Path, target: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .stdout(Stdio::null())
        .status()
        .context("cargo can't be started")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

fn node(sources: &Path, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let node = found("node")?;
    for file in ["package.json", "index.mjs"] {
        std::fs::copy(sources.join(file), folder.join(file))?;
    }
    let arguments = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"];
    quietly(found("npm")?, arguments.map(OsStr::new), folder)?;
    Ok((node, folder.join("index.mjs")))
}

fn python(sources: &Path, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let environment = folder.join("venv");
    let python = environment.join("bin/python");
    if !python.exists() {
        quietly(found("python3")?, ["-m", "venv", "venv"].map(OsStr::new), folder)?;
    }
    let requirements = sources.join("requirements.txt");
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"].map(OsStr::new);
    quietly(python.clone(), arguments.into_iter().chain([requirements.as_os_str()]), folder)?;
    Ok((python, sources.join("app.py")))
}

/// A program of the machine, where it has it.
pub(crate) fn found(name: &str) -> Result<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&paths).map(|folder| folder.join(name));
    files.find(|file| file.is_file()).with_context(|| format!("there is no {name} on this machine"))
}

fn quietly<'a>(
    program: PathBuf,
    arguments: impl IntoIterator<Item = &'a OsStr>,
    folder: &Path,
) -> Result<()> {
    let output = Command::new(&program).args(arguments).current_dir(folder).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", program.display(), told.lines().last().unwrap_or_default());
    }
    Ok(())
}

/// Size of a bootstrap, and of its deployment package, in KB of 1024 bytes.
pub(crate) fn sizes(file: &Path) -> Result<(usize, usize)> {
    let bytes = std::fs::read(file)?;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&bytes)?;
    Ok((bytes.len() / 1024, encoder.finish()?.len() / 1024))
}

/// What the machine is, a line each.
pub(crate) fn machine() -> Vec<(&'static str, String)> {
    let first = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix(':'));
        line.unwrap_or("unknown").trim().to_owned()
    };
    let told = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "none".to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("Processor", format!("{}, {cores} cores", first("/proc/cpuinfo", "model name"))),
        ("Memory", first("/proc/meminfo", "MemTotal")),
        ("Kernel", told("uname", &["-srm"])),
        ("Rust", told("rustc", &["--version"])),
        ("Node", told("node", &["--version"])),
        ("Python", told("python3", &["--version"])),
    ]
}
