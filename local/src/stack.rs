//! The running system: engine, tables, functions and gateway.

use crate::admission::{Admission, Limits};
use crate::credentials::{self, Credentials, Running};
use crate::emails::{self, Emails};
use crate::engine::{self, Engine};
use crate::functions::Deployed;
use crate::gateway::{Gateway, Timeouts};
use crate::outbox::Outbox;
use crate::pump::Pump;
use crate::template::{Function, Template};
use crate::{bootstrap, demo, functions_environment};
use anyhow::{Context, Result, anyhow, bail};
use shared::Config;
use shared::config::Tables;
use shared::model::ClientId;
use shared::secret::Link;
use shared::store::{NewLink, Store};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Sender of registration emails.
pub(crate) const MAIL_FROM: &str = "no-reply@example.com";

/// How to start a stack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port of the gateway on the loopback address; 0 picks a free one.
    pub port: u16,
    /// Where state and credentials are kept.
    pub data_dir: PathBuf,
    /// Keeps the tables in memory; the data directory gets the credentials only.
    pub memory: bool,
    /// Fills empty tables with demo data.
    pub demo_data: bool,
    /// Where the embedded engine listens.
    pub dynamodb_listen: SocketAddr,
    /// Another DynamoDB in place of the embedded engine.
    pub dynamodb_endpoint: Option<String>,
    /// Reads the tables' streams and invokes the functions that they trigger.
    pub read_streams: bool,
    /// How long the gateway waits for clients.
    pub timeouts: Timeouts,
    /// The template's parameters that are set otherwise, by the variable that functions get:
    /// `ORIGINS`, `AUTOLOGIN_LIFETIME`. Without `ORIGINS`, autologin links have the stack's own
    /// origin; without `AWS_ENDPOINT_URL_SESV2`, emails go to the outbox.
    pub variables: BTreeMap<String, String>,
    /// How much the gateway takes on at once.
    pub limits: Limits,
}

impl Options {
    /// A stack in memory, on free ports, with no demo data.
    pub fn in_memory(data_dir: &Path) -> Self {
        Self {
            port: 0,
            data_dir: data_dir.to_owned(),
            memory: true,
            demo_data: false,
            dynamodb_listen: (Ipv4Addr::LOCALHOST, 0).into(),
            dynamodb_endpoint: None,
            read_streams: true,
            timeouts: Timeouts::default(),
            variables: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    /// What is needed to call it.
    pub credentials: Credentials,
    /// The DynamoDB that it uses.
    pub dynamodb_endpoint: String,
    /// Its tables.
    pub store: Store,
    /// Where its registration emails are.
    pub outbox: Outbox,
    engine: Option<Engine>,
    stop: oneshot::Sender<()>,
    gateway: JoinHandle<()>,
    pumps: Vec<Pump>,
    // Held for as long as the stack runs.
    _lock: Lock,
}

impl Stack {
    /// Starts a stack; it answers when this returns.
    ///
    /// # Errors
    /// The port is taken, the data directory is in use or can't be used, or DynamoDB can't be
    /// reached.
    pub async fn start(options: &Options) -> Result<Self> {
        let template = Template::built_in()?;
        let directory = std::path::absolute(&options.data_dir)?;
        let lock = try_lock(&directory)?.with_context(|| {
            format!(
                "the data directory {} is in use by another running stack; choose another with --data-dir",
                directory.display()
            )
        })?;
        let listener = listen(options.port).await?;
        let base_url = format!("http://{}", listener.local_addr()?);

        let engine = match &options.dynamodb_endpoint {
            Some(_) => None,
            None => {
                let file = directory.join("dynamodb.sqlite");
                Some(
                    Engine::start(options.dynamodb_listen, (!options.memory).then_some(file.as_path()))
                        .await?,
                )
            }
        };
        let dynamodb_endpoint = match (&options.dynamodb_endpoint, &engine) {
            (Some(url), _) => url.clone(),
            (None, Some(engine)) => format!("http://{}", reachable(engine.address)),
            (None, None) => bail!("no DynamoDB"),
        };
        let mut variables = BTreeMap::from([
            ("ORIGINS".to_owned(), base_url.clone()),
            ("MAIL_FROM".to_owned(), MAIL_FROM.to_owned()),
            ("MAIL_LINK".to_owned(), format!("{base_url}/tradersroom")),
        ]);
        variables.extend(options.variables.clone());
        let mut environment = functions_environment(&dynamodb_endpoint);
        environment.extend(variables.clone());
        let config = config(&template, &environment)?;
        // An SES has what it takes; the outbox can be looked into.
        let has_outbox = config.mail.endpoint.is_none();
        if has_outbox {
            environment.insert("CONSOLE_EMAILS".to_owned(), emails::PATH.to_owned());
        }
        let store = Store::new(&config);
        engine::create_missing_tables(store.sdk(), &template).await?;

        let known = if options.memory { None } else { credentials::read(&directory, "credentials.json")? };
        bootstrap::create_roles(&store).await?;
        let mut credentials =
            demo::create_tokens(&store, known.unwrap_or_default(), options.demo_data).await?;
        if options.demo_data {
            demo::create_data(&store).await?;
        }
        credentials.base_url.clone_from(&base_url);

        let outbox = Outbox::open(&directory)?;
        if options.memory {
            // Its clients are gone.
            outbox.empty()?;
        }
        let positions = (!options.memory).then_some(directory.as_path());
        let (mut routes, mut pumps) = (Vec::new(), Vec::new());
        for function in &template.functions {
            let deployed = Deployed::new(function, |name| environment.get(name).cloned(), &outbox)?;
            routes.extend(function.routes.iter().map(|route| (route.clone(), deployed.clone())));
            for stream in function.streams.iter().filter(|_| options.read_streams) {
                let pump = Pump::start(&store, &config, stream, deployed.clone(), positions);
                pumps.push(pump.await?);
            }
        }
        if has_outbox {
            routes.extend(Emails::new(&config, &outbox)?.routes());
        }
        // The stack's own routes are not API Gateway's.
        let throttled = template.functions.iter().flat_map(|function| &function.routes);
        let admission = Admission::new(&options.limits, &template, throttled, engine.is_some())?;
        let (stop, stopped) = oneshot::channel();
        let gateway = Gateway::new(routes, admission, options.timeouts);
        let gateway = tokio::spawn(gateway.serve(listener, stopped));

        credentials::write_json(
            &directory,
            "stack.json",
            &Running { dynamodb_endpoint: dynamodb_endpoint.clone(), base_url, variables },
        )?;
        credentials::write(&directory, "credentials.env", &credentials.to_shell())?;
        credentials::write_json(&directory, "credentials.json", &credentials)?;
        Ok(Self { credentials, dynamodb_endpoint, store, outbox, engine, stop, gateway, pumps, _lock: lock })
    }

    /// The embedded engine, where the stack has one.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Finishes the requests under way and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.gateway.await;
        for pump in self.pumps {
            pump.stop().await;
        }
        if let Some(engine) = self.engine {
            engine.stop().await;
        }
    }
}

/// A data directory that nobody else works on.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Takes a data directory; `None` where a stack, or a command, has it. What an earlier stack left
/// there about where it ran is taken away.
pub(crate) fn try_lock(directory: &Path) -> Result<Option<Lock>> {
    let problem = || format!("can't use the data directory {}", directory.display());
    std::fs::create_dir_all(directory).with_context(problem)?;
    let file = File::create(directory.join("lock")).with_context(problem)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error).with_context(problem),
    }
    match std::fs::remove_file(directory.join("stack.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(problem),
        _ => Ok(Some(Lock { _file: file })),
    }
}

async fn listen(port: u16) -> Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(anyhow!("port {port} is taken; choose another with --port (0 picks a free one)"))
        }
        bound => bound.with_context(|| format!("can't listen on port {port}")),
    }
}

/// Where a client on this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, address.port()).into() } else { address }
}

/// A configuration with every table, for set-up work and for tests.
pub(crate) fn config(template: &Template, environment: &BTreeMap<String, String>) -> Result<Config> {
    let mut config = Config::from_lookup(|name| match name {
        "TOKENS_TABLE" | "ROLES_TABLE" => Some(name.to_owned()),
        name => environment.get(name).cloned(),
    })?;
    let table = |name: &str| {
        let found = template.tables.iter().find(|table| table.name == name);
        found.map(|table| table.name.clone()).with_context(|| format!("template.yaml has no {name}"))
    };
    config.tables = Tables {
        tokens: table("TokensTable")?,
        roles: table("RolesTable")?,
        buckets: table("BucketsTable")?,
        clients: table("ClientsTable")?,
        expiring: table("ExpiringTable")?,
        activity: table("TokenActivityTable")?,
    };
    Ok(config)
}

/// Makes an autologin link of a demo client on the stack of a data directory: what
/// `{{autologinLink}}` in `events/` stands for.
///
/// # Errors
/// No stack runs on the directory, or it has no demo data.
pub async fn autologin_link(data_dir: &Path) -> Result<String> {
    let (_, environment) = environment("signup", data_dir)?;
    let config = Config::from_lookup(|name| environment.get(name).cloned())?;
    let store = Store::new(&config);
    let client = ClientId::new(demo::CLIENT);
    store.client(&client).await?.context("an autologin link needs a client of the demo data")?;
    let link = Link::generate()?;
    let record = NewLink { digest: link.digest(), lifetime: config.traders_room.link_lifetime };
    store.create_link(&record, &client).await?;
    Ok(link.expose())
}

/// The environment with which a function's own bootstrap runs against the stack of a data
/// directory.
///
/// # Errors
/// There is no such function, or no stack was started on the directory.
pub fn environment(function: &str, data_dir: &Path) -> Result<(Function, BTreeMap<String, String>)> {
    let template = Template::built_in()?;
    let names: Vec<_> = template.functions.iter().map(|known| known.name.as_str()).collect();
    let Some(known) =
        template.functions.iter().find(|known| known.name == function || known.logical_id == function)
    else {
        bail!("there is no function {function}; there are: {}", names.join(", "));
    };
    let running: Running = credentials::read(data_dir, "stack.json")?.with_context(|| {
        format!(
            "no stack was started on {}; start one, or choose its directory with --data-dir",
            data_dir.display()
        )
    })?;
    let mut environment = known.environment.clone();
    environment.extend(functions_environment(&running.dynamodb_endpoint));
    // Only what the function knows: `sam local` warns of others.
    environment
        .extend(running.variables.into_iter().filter(|(name, _)| known.environment.contains_key(name)));
    Ok((known.clone(), environment))
}
