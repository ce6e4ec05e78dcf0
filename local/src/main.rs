//! `cargo run`: starts the whole system on this machine.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use local::admission::{Limits, Throttling};
use local::bootstrap::Bootstrap;
use local::check::Check;
use local::credentials::{self, Credentials};
use local::description::{self, Description};
use local::export::Export;
use local::functions::Deployed;
use local::gateway::Timeouts;
use local::import::{Ended, Import};
use local::outbox::Outbox;
use local::resend::ResendEmails;
use local::template::{Function, Template, Throttle};
use local::{Options, Stack, stack};
use shared::config::LogLevel;
use shared::telemetry::{self, Output};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// The WBCS partner API on one machine: embedded DynamoDB, gateway, demo data.
#[derive(Debug, Parser)]
#[command(name = "local", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the system and serve until interrupted (the default)
    Serve(Serve),
    /// Print the environment with which functions' own bootstraps run against the running stack
    Env(Env),
    /// Print a Postman environment with the running stack's credentials
    Postman(Postman),
    /// Print an event of events/ with the running stack's credentials filled in, for `sam local invoke -e -`
    Event(Event),
    /// Invoke a function with an event of events/ and print its answer: `sam local invoke` without a container
    ///
    /// The function runs in this process, against the running stack, whose credentials are filled in.
    Invoke(Event),
    /// Create the built-in roles and the first administrator's token, which is printed once
    ///
    /// Refuses where a token exists that may manage tokens and is not expired, unless --force is
    /// given. The token alone goes to standard output.
    ///
    /// AWS permissions: cloudformation:DescribeStacks (with --stack-name); dynamodb:DescribeTable;
    /// Scan, PutItem and DeleteItem on the table of tokens; Query, PutItem and UpdateItem on that of
    /// roles; DeleteItem on that of token activity.
    Bootstrap(Bootstrap),
    /// Import clients from a CSV or JSON Lines file of any size
    ///
    /// The fields are those of Sign Up, by their published names; in CSV the header row names them, nested
    /// ones as billing.city, agreements as a JSON array, and an empty cell counts as absent. A record
    /// may carry besides: id, createdDate, ftd (ISO 8601 or epoch milliseconds, of the past) and
    /// bucketId; without the last it is routed as a sign-up is. updatedDate is the time of the import,
    /// so that partners who poll by it see what arrived. Nobody is mailed: sendEmail is ignored.
    ///
    /// Records are validated as sign-ups are; those that are not valid are reported and the others
    /// imported. An interrupted import, a killed one too, goes on where it was when the same command is
    /// run again: no record is imported twice, none is lost. The exit code is 0 where all records were
    /// imported, updated or skipped, 3 where some were rejected, 1 where the import failed.
    ///
    /// AWS permissions: cloudformation:DescribeStacks (with --stack-name); dynamodb:DescribeTable;
    /// GetItem, PutItem and DeleteItem on the table of clients; GetItem, Query and UpdateItem on that of
    /// buckets.
    Import(Import),
    /// Export a bucket's leads, or its clients with all their fields, as CSV or JSON Lines
    ///
    /// In the order of createdDate. A file is written whole or not at all. With --full, import takes it
    /// again.
    ///
    /// AWS permissions: cloudformation:DescribeStacks (with --stack-name); dynamodb:DescribeTable;
    /// BatchGetItem (with --full) and Query of its indexes on the table of clients; GetItem on that of
    /// buckets.
    Export(Export),
    /// Check that all copies, counters and indexes in the tables agree
    ///
    /// Reads every table and changes nothing, unless --repair is given. Where something looks wrong the
    /// tables are read twice more, and only what is the same each time is reported, so that a running
    /// system can be checked.
    ///
    /// With --repair, what follows from the clients, buckets and tokens themselves is written as they
    /// say: leads, lists, counters, routing records, and what is left over of those who are gone. Each
    /// write is made on the condition that what was seen is still so, so that a running system can be
    /// repaired; killed at any moment, it goes on when it is run again. Then everything is checked
    /// again, and what was repaired is printed, and what is left, each with what can be done about it.
    ///
    /// The exit code is 0 where everything agrees (at the end), 4 where something does not, and 1 where
    /// the check could not be made.
    ///
    /// AWS permissions: cloudformation:DescribeStacks (with --stack-name); dynamodb:DescribeTable; Scan
    /// and BatchGetItem on all tables, and Scan on their indexes. With --repair besides: GetItem and
    /// ConditionCheckItem on the tables of clients and buckets, Query on that of buckets; PutItem,
    /// UpdateItem and DeleteItem on those of clients and buckets, UpdateItem on those of tokens and
    /// roles, DeleteItem on that of what expires.
    Check(Check),
    /// Send the registration emails that new clients asked for and did not get
    ///
    /// For when sending failed for longer than the clients' stream is kept: Lambda gave these emails
    /// up, and the queue of unsent emails has messages. Whoever got the email gets no second one.
    /// Purge the queue afterwards.
    ///
    /// The exit code is 0 where every email was sent, or refused by SES for good, and 1 otherwise; it
    /// can be run again at any time.
    ///
    /// AWS permissions: cloudformation:DescribeStacks; dynamodb:DescribeTable; BatchGetItem and Query
    /// of its index all-created on the table of clients; PutItem on that of what expires;
    /// ses:SendEmail and ses:SendRawEmail.
    ResendEmails(ResendEmails),
    /// Write the API's description into docs/: the OpenAPI documents and the Postman collection
    ///
    /// They are made of the code's own types; a test compares them with what is checked in.
    Docs(Description),
}

/// Exit code of an import that rejected records.
const REJECTS: u8 = 3;
/// Exit code of a check that found something.
const INCONSISTENT: u8 = 4;

/// Placeholder in `events/`: a link that works once.
const AUTOLOGIN_LINK: &str = "{{autologinLink}}";

#[derive(Args, Debug)]
struct Serve {
    /// Port of the API on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Directory of the database and of credentials.json
    #[arg(long, value_name = "DIR", default_value = ".local")]
    data_dir: PathBuf,
    /// Keep the database in memory: nothing of it outlives the process
    #[arg(long)]
    memory: bool,
    /// Start with the built-in roles and an administrator's token only
    #[arg(long)]
    no_demo_data: bool,
    /// Where the embedded DynamoDB listens
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:0",
        conflicts_with = "dynamodb_endpoint"
    )]
    dynamodb_listen: SocketAddr,
    /// Use this DynamoDB instead of the embedded one; missing tables are created
    #[arg(long, value_name = "URL")]
    dynamodb_endpoint: Option<String>,
    /// Origins of autologin links, joined with commas, the first being the default; otherwise the
    /// stack's own, and with "" sign-ups get no link
    #[arg(long, value_name = "URLS")]
    origins: Option<String>,
    /// Send registration emails through this SES (API v2), such as an emulator's, instead of writing
    /// them to the outbox
    #[arg(long, value_name = "URL")]
    ses_endpoint: Option<String>,
    /// Invocations at once; beyond them requests are answered 503, as at Lambda's limit
    #[arg(long, value_name = "N", default_value_t = Limits::default().concurrency, value_parser = at_least_one)]
    concurrency: usize,
    /// Open connections; beyond them one is answered 503 and closed. Fewer where the system lets the
    /// program have too few descriptors
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = at_least_one)]
    connections: usize,
    /// Answer 429 beyond the rates that template.yaml has for the routes, as API Gateway does; otherwise
    /// there is no rate
    #[arg(long)]
    throttle: bool,
    /// Answer 429 where a route gets more requests per second than this
    #[arg(long, value_name = "N", conflicts_with = "throttle", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Requests that a route takes at once beyond --rate [default: twice the rate]
    #[arg(long, value_name = "N", requires = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Log lines on standard error: off, error, warn or info (a line a request)
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    log: Log,
}

#[derive(Args, Debug)]
struct Env {
    /// Name of the function, e.g. signup; with --sam all of them by default
    #[arg(required_unless_present = "sam")]
    function: Option<String>,
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".local")]
    data_dir: PathBuf,
    /// Print the JSON that `sam local --env-vars` takes
    #[arg(long)]
    sam: bool,
}

#[derive(Args, Debug)]
struct Postman {
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".local")]
    data_dir: PathBuf,
}

#[derive(Args, Debug)]
struct Event {
    /// The event's file, e.g. events/signup/success.json; its folder names the function
    file: PathBuf,
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".local")]
    data_dir: PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Log(Option<LogLevel>);

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "use a number from 1 on".to_owned())
}

impl Serve {
    fn limits(&self) -> Limits {
        let each = |rate: u32| {
            let burst = self.burst.map_or(2.0 * f64::from(rate), f64::from);
            Throttling::Each(Throttle { rate: f64::from(rate), burst })
        };
        let otherwise = if self.throttle { Throttling::Template } else { Throttling::Off };
        let throttling = self.rate.map_or(otherwise, each);
        Limits {
            concurrency: self.concurrency,
            connections: self.connections,
            at_once: Limits::few_at_once(),
            throttling,
            ..Limits::default()
        }
    }
}

fn log_level(text: &str) -> Result<Log, String> {
    match text {
        "off" => Ok(Log(None)),
        _ => {
            text.parse().map(|level| Log(Some(level))).map_err(|_| "use off, error, warn or info".to_owned())
        }
    }
}

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    let success = |()| std::process::ExitCode::SUCCESS;
    let done = match cli.command {
        None => serve(cli.serve).map(success),
        Some(Command::Serve(options)) => serve(options).map(success),
        Some(Command::Env(options)) => env(&options).map(success),
        Some(Command::Postman(options)) => postman(&options).map(success),
        Some(Command::Event(options)) => event(&options).map(success),
        Some(Command::Invoke(options)) => invoke(&options).map(success),
        Some(Command::Bootstrap(options)) => options.run().map(success),
        Some(Command::Import(options)) => options.run().map(|ended| match ended {
            Ended::Complete => success(()),
            Ended::WithRejects => REJECTS.into(),
            // As shells report it.
            Ended::Interrupted(signal) => (128 + signal).into(),
        }),
        Some(Command::Export(options)) => options.run().map(success),
        Some(Command::ResendEmails(options)) => options.run().map(success),
        Some(Command::Docs(options)) => options.run().map(success),
        Some(Command::Check(options)) => {
            options.run().map(|consistent| if consistent { success(()) } else { INCONSISTENT.into() })
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(serve: Serve) -> Result<()> {
    if let Log(Some(level)) = serve.log {
        telemetry::init("local", level, Output::Stderr);
    }
    let limits = serve.limits().within_descriptors();
    let options = Options {
        limits,
        port: serve.port,
        data_dir: serve.data_dir,
        memory: serve.memory,
        demo_data: !serve.no_demo_data,
        dynamodb_listen: serve.dynamodb_listen,
        dynamodb_endpoint: serve.dynamodb_endpoint,
        read_streams: true,
        timeouts: Timeouts::default(),
        variables: [("ORIGINS", serve.origins), ("AWS_ENDPOINT_URL_SESV2", serve.ses_endpoint)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stack = tokio::select! {
        stack = Stack::start(&options) => stack?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let directory = std::path::absolute(&options.data_dir)?;
    // Whoever started this may have closed the pipe; that is no reason to stop.
    let _ = greet(&stack, options.variables.get("AWS_ENDPOINT_URL_SESV2"), &directory);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stack.stop().await;
    Ok(())
}

fn greet(stack: &Stack, ses: Option<&String>, directory: &Path) -> std::io::Result<()> {
    let credentials = &stack.credentials;
    let mut out = std::io::stdout().lock();
    writeln!(out, "API          {}", credentials.base_url)?;
    writeln!(out, "Console      {}/console", credentials.base_url)?;
    writeln!(out, "DynamoDB     {}", stack.dynamodb_endpoint)?;
    let outbox = stack.outbox.directory().display().to_string();
    writeln!(out, "Emails       {}", ses.unwrap_or(&outbox))?;
    writeln!(out, "Credentials  {}", directory.join("credentials.json").display())?;
    if let (Some(bucket), Some(affiliate), Some(source)) =
        (&credentials.bucket_id, &credentials.affiliate_id, &credentials.source_id)
    {
        // Tokens are read from the file, so that none stands in a terminal's scrollback.
        let load = format!(". '{}'", directory.join("credentials.env").display());
        let leads = format!("$BASE_URL/api/public/buckets/{bucket}/{affiliate}/leads");
        let authorization = "-H \"Content-Type: application/json\" -H \"Authorization: $PARTNER_TOKEN\"";
        let signup = "curl -X POST \"$BASE_URL/tradersroom/api/auth/signup\" \
                      -H \"Content-Type: application/json\" -H \"x-api-key: $SIGNUP_KEY\"";
        writeln!(
            out,
            "
Leads by emails and ids
  {load}; curl -X POST \"{leads}\" {authorization} -d '{{\"emails\": [\"user1@example.com\"], \"ids\": [\"69ce524d741e8f2238329fff\"], \"limit\": 50, \"offset\": 0}}'

Leads of a source, by date
  {load}; curl -X POST \"{leads}/{source}\" {authorization} -d '{{\"filters\": {{\"createdDate\": [\"1676172330450\", \"1776172330450\"]}}}}'

Sign up, required fields only
  {load}; {signup} -d '{{\"email\": \"user@example.com\", \"phone\": \"+1234567890\", \"firstName\": \"Jane\"}}'

Sign up, full example
  {load}; {signup} -d '{{\"email\": \"jane.doe@example.com\", \"phone\": \"+1234567890\", \"firstName\": \"Jane\", \"lastName\": \"Doe\", \"affiliateID\": \"{affiliate}\", \"subID\": \"SUB-1\", \"campaignId\": \"CMP-456\", \"sourceId\": \"{source}\", \"project\": \"default\", \"desk\": \"sales\", \"sendEmail\": true}}'
"
        )?;
    }
    writeln!(out, "Ready; stop with Ctrl-C.")?;
    out.flush()
}

fn env(options: &Env) -> Result<()> {
    let names = match &options.function {
        Some(name) => vec![name.clone()],
        None => Template::built_in()?.functions.into_iter().map(|function| function.name).collect(),
    };
    let all = names.iter().map(|name| stack::environment(name, &options.data_dir));
    let all: Vec<(Function, BTreeMap<String, String>)> = all.collect::<Result<_>>()?;
    let mut out = std::io::stdout().lock();
    if options.sam {
        let json = all.into_iter().map(|(function, variables)| (function.logical_id, variables));
        let json: BTreeMap<_, _> = json.collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&json)?)?;
    } else {
        for (name, value) in all.into_iter().flat_map(|(_, variables)| variables) {
            writeln!(out, "{name}={value}")?;
        }
    }
    Ok(())
}

fn read_credentials(data_dir: &Path) -> Result<Credentials> {
    credentials::read(data_dir, "credentials.json")?.with_context(|| {
        format!(
            "no stack was started on {}; start one, or choose its directory with --data-dir",
            data_dir.display()
        )
    })
}

fn postman(options: &Postman) -> Result<()> {
    let credentials = read_credentials(&options.data_dir)?;
    let environment = description::environment("WBCS on this machine", &credentials)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{environment}")?;
    Ok(())
}

fn event(options: &Event) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{}", filled(options)?)?;
    Ok(())
}

/// The event's text, with the credentials of the running stack.
fn filled(options: &Event) -> Result<String> {
    let text = std::fs::read_to_string(&options.file)
        .with_context(|| format!("can't read {}", options.file.display()))?;
    let mut text = read_credentials(&options.data_dir)?.fill(&text);
    if text.contains(AUTOLOGIN_LINK) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        text = text.replace(AUTOLOGIN_LINK, &runtime.block_on(stack::autologin_link(&options.data_dir))?);
    }
    Ok(text)
}

fn invoke(options: &Event) -> Result<()> {
    let event = filled(options)?;
    let folder = options.file.canonicalize()?;
    let folder = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let name = folder.context("the event's folder names its function")?;
    let (function, environment) = stack::environment(name, &options.data_dir)?;
    let outbox = Outbox::open(&options.data_dir)?;
    let function = Deployed::new(&function, |name| environment.get(name).cloned(), &outbox)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", runtime.block_on(function.invoke(event))?)?;
    Ok(())
}
