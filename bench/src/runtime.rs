//! Lambda's Runtime API on a loopback socket, and the process of a function that it serves.

use crate::cpu;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a process that says nothing is asked whether it still runs.
const PULSE: Duration = Duration::from_millis(200);

/// What to start: a function's bootstrap, or an interpreter with a script.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) command: PathBuf,
    pub(crate) arguments: Vec<PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
}

/// A function's answer to one event.
#[derive(Debug)]
pub(crate) struct Answer {
    /// From the event, written to the process, to its answer, read whole.
    pub(crate) latency: Duration,
    /// From the start of the process.
    pub(crate) since_start: Duration,
    /// CPU of the process up to then.
    pub(crate) cpu: Duration,
    pub(crate) body: Vec<u8>,
}

/// A request of the process.
struct Call {
    at: Instant,
    cpu: Duration,
    line: String,
    body: Vec<u8>,
    connection: TcpStream,
}

/// A running function. It is ended when this is dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    started: Instant,
    output: File,
    calls: Receiver<Call>,
    /// Its request for the next event, once it was made.
    waiting: Option<Call>,
    address: SocketAddr,
    over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    number: u64,
}

impl Process {
    pub(crate) fn start(program: &Program) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let output = tempfile::tempfile()?;
        let mut command = Command::new(&program.command);
        command
            .args(&program.arguments)
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", address.to_string().as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", program.name),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
                ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
                ("AWS_DEFAULT_REGION", "eu-west-1"),
                ("LANG", "en_US.UTF-8"),
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("TZ", ":UTC"),
            ])
            .envs(&program.environment)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("can't start {}", program.name))?;
        let (sender, calls) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let (id, done) = (child.id(), over.clone());
        let acceptor = std::thread::spawn(move || accept(&listener, id, &sender, &done));
        Ok(Self {
            name: program.name,
            child,
            started,
            output,
            calls,
            waiting: None,
            address,
            over,
            acceptor: Some(acceptor),
            number: 0,
        })
    }

    /// Number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process asks for an event, and gives its CPU up to then.
    pub(crate) fn idle(&mut self) -> Result<Duration> {
        loop {
            if let Some(call) = &self.waiting {
                return Ok(call.cpu);
            }
            let call = self.call()?;
            if call.line.ends_with("/invocation/next") {
                self.waiting = Some(call);
            } else {
                self.fail(&call)?;
            }
        }
    }

    /// Hands the process an event, and waits for its answer.
    pub(crate) fn invoke(&mut self, event: &str) -> Result<Answer> {
        self.idle()?;
        let mut next = self.waiting.take().context("no request for an event")?;
        self.number += 1;
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH)? + TIMEOUT;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
             lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-{:012x}\r\n\
             lambda-runtime-deadline-ms: {}\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:123456789012:function:{}\r\n\
             lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0\r\n\
             content-length: {}\r\n\r\n",
            self.number,
            deadline.as_millis(),
            self.name,
            event.len()
        );
        // In one piece, so that the process is woken once.
        let whole = [head.as_bytes(), event.as_bytes()].concat();
        let begun = Instant::now();
        next.connection.write_all(&whole)?;
        let mut call = self.call()?;
        if !call.line.ends_with("/response") {
            self.fail(&call)?;
        }
        call.connection.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
        Ok(Answer {
            latency: call.at - begun,
            since_start: call.at - self.started,
            cpu: call.cpu,
            body: call.body,
        })
    }

    fn call(&mut self) -> Result<Call> {
        let begun = Instant::now();
        loop {
            match self.calls.recv_timeout(PULSE) {
                Ok(call) => return Ok(call),
                Err(RecvTimeoutError::Disconnected) => bail!("nobody listens to {}", self.name),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended, {status}:\n{}", self.name, self.output()?);
            }
            if begun.elapsed() > TIMEOUT {
                bail!("{} said nothing for {TIMEOUT:?}:\n{}", self.name, self.output()?);
            }
        }
    }

    fn fail(&self, call: &Call) -> Result<()> {
        let (body, output) = (String::from_utf8_lossy(&call.body).into_owned(), self.output()?);
        bail!("{}: {}\n{body}\n{output}", self.name, call.line)
    }

    /// What the process wrote.
    pub(crate) fn output(&self) -> Result<String> {
        let (mut text, mut output) = (Vec::new(), &self.output);
        output.seek(SeekFrom::Start(0))?;
        output.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Ends the process as Lambda does, so that it can finish, and waits for that.
    #[cfg(target_os = "linux")]
    pub(crate) fn terminate(&mut self) -> Result<()> {
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Only Linux is measured on.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn terminate(&mut self) -> Result<()> {
        bail!("only on Linux")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.over.store(true, Ordering::Release);
        // Wakes the acceptor up, which then ends.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A thread for each connection: times are taken where a request has been read, and no other thread has to
/// be woken first.
fn accept(listener: &TcpListener, process: u32, calls: &Sender<Call>, over: &AtomicBool) {
    while let Ok((connection, _)) = listener.accept() {
        if over.load(Ordering::Acquire) {
            return;
        }
        let calls = calls.clone();
        std::thread::spawn(move || {
            // The process, or the benchmark, has ended.
            let _ = serve(connection, process, &calls);
        });
    }
}

fn serve(connection: TcpStream, process: u32, calls: &Sender<Call>) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 16, connection.try_clone()?);
    while let Some((line, body)) = read(&mut reader)? {
        let at = Instant::now();
        let cpu = cpu::time(process)?;
        calls.send(Call { at, cpu, line, body, connection: connection.try_clone()? })?;
    }
    Ok(())
}

/// A request's method and path, and its body; `None` where the connection has ended.
fn read(reader: &mut impl BufRead) -> Result<Option<(String, Vec<u8>)>> {
    let mut text = String::new();
    if reader.read_line(&mut text)? == 0 {
        return Ok(None);
    }
    let request = text.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        text.clear();
        reader.read_line(&mut text)?;
        let Some((name, value)) = text.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while chunked {
        text.clear();
        reader.read_line(&mut text)?;
        let size = usize::from_str_radix(text.trim_end(), 16)?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        text.clear();
        reader.read_line(&mut text)?;
        chunked = size > 0;
    }
    Ok(Some((request, body)))
}

/// What an answer has to be; a wrong one ends the run, because its figures would mean nothing.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) status: u64,
    /// What its body has in it.
    pub(crate) contains: String,
    /// How many leads it has.
    pub(crate) leads: Option<usize>,
}

impl Check {
    pub(crate) fn assert(&self, answer: &Answer) -> Result<()> {
        let value: Value = serde_json::from_slice(&answer.body).context("an answer that is no JSON")?;
        let body = value["body"].as_str().unwrap_or_default();
        let right = value["statusCode"] == self.status && body.contains(&self.contains);
        let leads = match self.leads {
            Some(_) => serde_json::from_str::<Value>(body)?.as_object().map(serde_json::Map::len),
            None => None,
        };
        if !right || leads != self.leads {
            let shown: String = String::from_utf8_lossy(&answer.body).chars().take(500).collect();
            bail!("expected {self:?}, found {leads:?} leads in {shown}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_with_a_length_or_in_chunks() {
        let text = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n\
                    POST /1/response HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
                    POST /2/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        let mut reader = BufReader::new(text.as_bytes());
        let mut next = || read(&mut reader).unwrap();
        assert_eq!(next(), Some(("GET /next".to_owned(), vec![])));
        assert_eq!(next(), Some(("POST /1/response".to_owned(), b"abc".to_vec())));
        assert_eq!(next(), Some(("POST /2/response".to_owned(), b"abc".to_vec())));
        assert_eq!(next(), None);
    }

    #[test]
    fn wrong_answers_are_told_from_right_ones() {
        let answer = |body: &str| Answer {
            latency: Duration::ZERO,
            since_start: Duration::ZERO,
            cpu: Duration::ZERO,
            body: body.as_bytes().to_vec(),
        };
        let check = Check { status: 200, contains: "jane".to_owned(), leads: Some(1) };
        assert!(check.assert(&answer(r#"{"statusCode":200,"body":"{\"jane\":{}}"}"#)).is_ok());
        for wrong in [
            r#"{"statusCode":201,"body":"{\"jane\":{}}"}"#,
            r#"{"statusCode":200,"body":"{\"john\":{}}"}"#,
            r#"{"statusCode":200,"body":"{\"jane\":{},\"john\":{}}"}"#,
            "nonsense",
        ] {
            assert!(check.assert(&answer(wrong)).is_err(), "{wrong}");
        }
    }
}
