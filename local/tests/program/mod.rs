//! The `local` program as a process, for the tests that run it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_local");

/// A process; killed when it goes out of scope.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running program.
pub(crate) struct Running {
    process: Process,
    log: Option<JoinHandle<String>>,
    /// What it printed until it was ready.
    pub greeting: String,
    pub credentials: Value,
}

impl Running {
    pub(crate) fn start(directory: &Path, options: &[&str]) -> Self {
        let mut command = command(directory, options);
        let mut process = Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        // Read all the time: a full pipe would stop whoever logs.
        let mut stderr = process.0.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let mut greeting = String::new();
        let mut lines = BufReader::new(process.0.stdout.take().unwrap());
        while !greeting.contains("Ready") {
            assert_ne!(lines.read_line(&mut greeting).unwrap(), 0, "it ended: {greeting}");
        }
        let credentials = std::fs::read(directory.join("credentials.json")).unwrap();
        Self { process, log: Some(log), greeting, credentials: serde_json::from_slice(&credentials).unwrap() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn credential(&self, name: &str) -> &str {
        self.credentials[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.credentials))
    }

    /// Sends a signal, and gives the exit status and what was logged.
    pub(crate) fn end(mut self, signal: &str) -> (ExitStatus, String) {
        let kill = format!("kill {signal} {}", self.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(sent.success());
        let log = self.log.take().unwrap().join().unwrap();
        (self.process.0.wait().unwrap(), log)
    }

    pub(crate) fn leads(&self, body: &str) -> (u16, Value) {
        let (bucket, affiliate) = (self.credential("bucketId"), self.credential("affiliateID"));
        let path = format!("/api/public/buckets/{bucket}/{affiliate}/leads");
        self.post(&path, "authorization", self.credential("partnerToken"), body)
    }

    pub(crate) fn sign_up(&self, body: &str) -> (u16, Value) {
        self.post("/tradersroom/api/auth/signup", "x-api-key", self.credential("signupKey"), body)
    }

    pub(crate) fn post(&self, path: &str, header: &str, token: &str, body: &str) -> (u16, Value) {
        self.send("POST", path, (header, token), body)
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.send("GET", path, ("authorization", token), "")
    }

    pub(crate) fn delete(&self, path: &str, token: &str) -> u16 {
        self.send("DELETE", path, ("authorization", token), "").0
    }

    /// Id of a token, which an administrator's token finds by its first characters.
    pub(crate) fn token_id(&self, administrator: &str) -> String {
        let (_, list) = self.get("/api/admin/tokens", administrator);
        let mut items = list["items"].as_array().unwrap().iter();
        let own = items
            .find(|item| administrator.starts_with(item["hint"].as_str().unwrap().trim_end_matches('…')));
        own.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// The tables of the stack's DynamoDB, all by this name.
    fn store(&self, table: &str) -> shared::store::Store {
        let endpoint = self.greeting.lines().find_map(|line| line.strip_prefix("DynamoDB")).unwrap().trim();
        let environment = [
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ];
        let lookup = |name: &str| {
            let known = environment.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| (*value).to_owned()).or(name.ends_with("_TABLE").then(|| table.to_owned()))
        };
        shared::store::Store::new(&shared::Config::from_lookup(lookup).unwrap())
    }

    /// Whether an item of a table of the stack's DynamoDB has an attribute.
    pub(crate) fn has_attribute(&self, table: &str, pk: &str, attribute: &str) -> bool {
        use aws_sdk_dynamodb::types::AttributeValue;
        let store = self.store(table);
        let get = store.sdk().get_item().table_name(table).key("pk", AttributeValue::S(pk.to_owned()));
        let get = get.consistent_read(true).send();
        let found = tokio::runtime::Runtime::new().unwrap().block_on(get).unwrap();
        found.item.is_some_and(|item| item.contains_key(attribute))
    }

    /// Takes an item out of a table of the stack's DynamoDB.
    pub(crate) fn delete_item(&self, table: &str, pk: &str) {
        use aws_sdk_dynamodb::types::AttributeValue;
        let store = self.store(table);
        let delete = store.sdk().delete_item().table_name(table).key("pk", AttributeValue::S(pk.to_owned()));
        let delete = delete.condition_expression("attribute_exists(pk)").send();
        tokio::runtime::Runtime::new().unwrap().block_on(delete).unwrap();
    }

    /// The least HTTP client there is; an empty answer is `null`.
    pub(crate) fn send(&self, method: &str, path: &str, header: (&str, &str), body: &str) -> (u16, Value) {
        let host = self.credential("baseUrl").strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(host).unwrap();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             {}: {}\r\ncontent-length: {}\r\n\r\n{body}",
            header.0,
            header.1,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() };
        (head[9..12].parse().unwrap(), body)
    }
}

/// What a program that ended has printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub success: bool,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub(crate) fn command(directory: &Path, options: &[&str]) -> Command {
    let mut command = plain(options);
    command.arg("--data-dir").arg(directory);
    command
}

/// The program without a data directory.
pub(crate) fn plain(options: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(options);
    command
}

/// Runs a program to its end.
pub(crate) fn output(mut command: Command) -> Output {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output {
        success: output.status.success(),
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Runs the program on a data directory to its end.
pub(crate) fn run(directory: &Path, options: &[&str]) -> Output {
    output(command(directory, options))
}
