//! Which system a command works on: a deployed stack, tables by name, another DynamoDB, or the
//! local stack of a data directory.

use crate::credentials::{self, Running};
use crate::engine::{self, Engine};
use crate::functions_environment;
use crate::outbox::Outbox;
use crate::stack::{self, Lock};
use crate::template::Template;
use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use registration_email::{Mailer, Ses};
use shared::config::{self, Tables};
use shared::store::{Store, http_client};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a command waits for another one that has the local stack's database open.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options that say which system a command works on.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "System (the local stack by default)")]
pub struct Target {
    /// A deployed stack: its tables are read from the stack's outputs
    #[arg(long, value_name = "NAME", conflicts_with_all = ["dynamodb_endpoint", "data_dir", "TableNames"])]
    stack_name: Option<String>,
    /// AWS region; otherwise as the AWS CLI finds it
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// AWS profile; otherwise as the AWS CLI finds it
    #[arg(long, value_name = "PROFILE", conflicts_with_all = ["dynamodb_endpoint", "data_dir"])]
    profile: Option<String>,
    #[command(flatten)]
    tables: Option<TableNames>,
    /// Another DynamoDB, such as DynamoDB Local; tables have the template's logical ids unless named
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    dynamodb_endpoint: Option<String>,
    /// Data directory of the local stack, running or not
    #[arg(long, value_name = "DIR", default_value = ".local", conflicts_with = "TableNames")]
    data_dir: PathBuf,
}

/// Physical names of the tables, all or none.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "TableNames", multiple = true, requires_all = [
    "tokens_table", "roles_table", "buckets_table", "clients_table", "expiring_table", "activity_table",
])]
struct TableNames {
    /// The table of tokens; give all six tables, as the stack's outputs name them
    #[arg(long, value_name = "TABLE", required = false)]
    tokens_table: String,
    /// The table of roles
    #[arg(long, value_name = "TABLE", required = false)]
    roles_table: String,
    /// The table of buckets
    #[arg(long, value_name = "TABLE", required = false)]
    buckets_table: String,
    /// The table of clients
    #[arg(long, value_name = "TABLE", required = false)]
    clients_table: String,
    /// The table of what expires
    #[arg(long, value_name = "TABLE", required = false)]
    expiring_table: String,
    /// The table of token activity
    #[arg(long, value_name = "TABLE", required = false)]
    activity_table: String,
}

impl TableNames {
    fn tables(&self) -> Tables {
        Tables {
            tokens: self.tokens_table.clone(),
            roles: self.roles_table.clone(),
            buckets: self.buckets_table.clone(),
            clients: self.clients_table.clone(),
            expiring: self.expiring_table.clone(),
            activity: self.activity_table.clone(),
        }
    }
}

/// How a system sends emails.
#[derive(Debug)]
pub struct Emails {
    /// Their sender, brand and link.
    pub settings: config::Mail,
    /// The operator's access to SES, or the local stack's outbox.
    pub mailer: Box<dyn Mailer>,
}

/// A system that a command works on.
#[derive(Debug)]
pub struct Opened {
    /// Its tables.
    pub store: Store,
    /// Which it is, for people: `stack wbcs-prod in eu-west-1`.
    pub description: String,
    /// Where its API answers, where that is known.
    pub api: Option<String>,
    /// How it sends emails, where that is known.
    pub emails: Option<Emails>,
    // The local stack's database, where it was not running; locked while the command works.
    engine: Option<(Engine, Lock)>,
}

impl Opened {
    /// Ends the embedded engine, where the command started it.
    pub async fn close(self) {
        if let Some((engine, _lock)) = self.engine {
            engine.stop().await;
        }
    }
}

impl Target {
    /// Finds the system and connects to it. Reads no items.
    ///
    /// # Errors
    /// There is no such stack, no credentials, no region, or a table is missing.
    pub async fn open(&self) -> Result<Opened> {
        match (&self.stack_name, &self.dynamodb_endpoint, &self.tables) {
            (Some(stack), ..) => self.open_stack(stack).await,
            (None, Some(endpoint), tables) => {
                let mut config = stack::config(&Template::built_in()?, &functions_environment(endpoint))?;
                if let Some(tables) = tables {
                    config.tables = tables.tables();
                }
                if let Some(region) = &self.region {
                    config.region.clone_from(region);
                }
                let opened = Opened::of(Store::new(&config), endpoint.clone());
                opened.check_tables().await
            }
            (None, None, Some(tables)) => {
                let (aws, region) = self.aws().await?;
                let store = connect(&aws, &region, &tables.tables())?;
                Opened::of(store, format!("the tables in {region}")).check_tables().await
            }
            (None, None, None) => open_local(&self.data_dir).await,
        }
    }

    async fn open_stack(&self, name: &str) -> Result<Opened> {
        let (aws, region) = self.aws().await?;
        let description = format!("stack {name} in {region}");
        let stacks = aws_sdk_cloudformation::Client::new(&aws);
        let answer = stacks.describe_stacks().stack_name(name).send().await;
        let answer = answer.map_err(|error| plain(error).context(description.clone()))?;
        let found = answer.stacks().first().with_context(|| format!("there is no {description}"))?;
        let output = |key: &str| {
            let found = found.outputs().iter().find(|output| output.output_key() == Some(key));
            let value = found.and_then(|output| output.output_value());
            value.map(str::to_owned).with_context(|| {
                format!(
                    "{description} has no output {key}: it is not a stack of this program's template.yaml"
                )
            })
        };
        let tables = Tables {
            tokens: output("TokensTableName")?,
            roles: output("RolesTableName")?,
            buckets: output("BucketsTableName")?,
            clients: output("ClientsTableName")?,
            expiring: output("ExpiringTableName")?,
            activity: output("TokenActivityTableName")?,
        };
        let parameter = |key: &str| {
            let found = found.parameters().iter().find(|parameter| parameter.parameter_key() == Some(key));
            found.and_then(|parameter| parameter.parameter_value()).unwrap_or_default().to_owned()
        };
        let settings = config::Mail {
            from: parameter("MailFrom"),
            brand: parameter("MailBrand"),
            link: parameter("MailLink"),
            endpoint: own_endpoint("AWS_ENDPOINT_URL_SESV2", &aws),
        };
        let mailer = Box::new(Ses::connect(&region, credentials_of(&aws)?, &settings));
        let api = output("ApiUrl").ok();
        let opened = Opened::of(connect(&aws, &region, &tables)?, description).check_tables().await?;
        Ok(Opened { api, emails: Some(Emails { settings, mailer }), ..opened })
    }

    /// The operator's AWS settings, found as the AWS CLI finds them, and their region.
    async fn aws(&self) -> Result<(SdkConfig, String)> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client(None));
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let settings = loader.load().await;
        let region = settings.region().map(ToString::to_string);
        let region = region.context("no AWS region: give --region, or set AWS_REGION")?;
        Ok((settings, region))
    }
}

fn connect(aws: &SdkConfig, region: &str, tables: &Tables) -> Result<Store> {
    let endpoint = own_endpoint("AWS_ENDPOINT_URL_DYNAMODB", aws);
    Ok(Store::connect(region, credentials_of(aws)?, endpoint.as_deref(), tables))
}

fn credentials_of(aws: &SdkConfig) -> Result<SharedCredentialsProvider> {
    aws.credentials_provider().context("no source of AWS credentials")
}

/// A service's endpoint, where the operator's environment or profile has another than AWS's.
fn own_endpoint(variable: &str, aws: &SdkConfig) -> Option<String> {
    let own = std::env::var(variable).ok().filter(|url| !url.is_empty());
    own.or_else(|| aws.endpoint_url().map(str::to_owned))
}

async fn open_local(data_dir: &Path) -> Result<Opened> {
    let template = Template::built_in()?;
    let directory = std::path::absolute(data_dir)?;
    let description = format!("the local stack in {}", data_dir.display());
    let deadline = Instant::now() + PATIENCE;
    let lock = loop {
        if let Some(lock) = stack::try_lock(&directory)? {
            break lock;
        }
        if let Some(running) = credentials::read::<Running>(&directory, "stack.json")? {
            let config = stack::config(&template, &functions_environment(&running.dynamodb_endpoint))?;
            let opened = Opened::of(Store::new(&config), description).check_tables().await?;
            let link = format!("{}/tradersroom", running.base_url);
            let emails = Some(local_emails(&template, &directory, link)?);
            return Ok(Opened { api: Some(running.base_url), emails, ..opened });
        }
        if Instant::now() > deadline {
            bail!("{description} is in use by another command; wait for its end");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let file = directory.join("dynamodb.sqlite");
    let engine = Engine::start((Ipv4Addr::LOCALHOST, 0).into(), Some(&file)).await?;
    let config = stack::config(&template, &functions_environment(&format!("http://{}", engine.address)))?;
    let store = Store::new(&config);
    engine::create_missing_tables(store.sdk(), &template).await?;
    let emails = Some(local_emails(&template, &directory, String::new())?);
    Ok(Opened { store, description, api: None, emails, engine: Some((engine, lock)) })
}

fn local_emails(template: &Template, data_dir: &Path, link: String) -> Result<Emails> {
    let function = template.functions.iter().find(|function| function.name == "registration-email");
    let brand = function.and_then(|function| function.environment.get("MAIL_BRAND")).cloned();
    let settings = config::Mail {
        from: stack::MAIL_FROM.to_owned(),
        brand: brand.unwrap_or_default(),
        link,
        endpoint: None,
    };
    Ok(Emails { settings, mailer: Box::new(Outbox::open(data_dir)?) })
}

impl Opened {
    fn of(store: Store, description: String) -> Self {
        Self { store, description, api: None, emails: None, engine: None }
    }

    /// Refuses a system whose tables are not there, before anything is done.
    async fn check_tables(self) -> Result<Self> {
        for name in self.store.tables().names() {
            let described = self.store.sdk().describe_table().table_name(name).send().await;
            let Err(error) = described else { continue };
            if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) {
                bail!("{}: there is no table {name}", self.description);
            }
            return Err(plain(error).context(format!("{}: can't read table {name}", self.description)));
        }
        Ok(self)
    }
}

/// AWS's own words, or the chain of causes where the call did not reach it.
fn plain<E>(error: SdkError<E>) -> anyhow::Error
where
    SdkError<E>: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error.message() {
        Some(message) => anyhow::Error::msg(message.to_owned()),
        None => error.into(),
    }
}
