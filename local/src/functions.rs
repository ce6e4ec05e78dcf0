//! The deployed handlers, by the names that the template gives them.

use crate::outbox::Outbox;
use crate::template::Function;
use anyhow::{Context, Result, bail};
use console::Console;
use futures_util::FutureExt;
use lambda_http::request::LambdaRequest;
use lambda_http::service_fn;
use lambda_http::{Adapter, Context as LambdaContext, LambdaEvent, Request, Service};
use registration_email::{Mailer, RegistrationEmail, Ses};
use serde_json::Value;
use shared::http::Response;
use shared::store::Store;
use shared::{App, Config};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
type Handler = Arc<dyn Fn(Request) -> Answering + Send + Sync>;

/// The handler of a function that answers requests from the tables; the one place that names them all.
fn handler(name: &str) -> Option<fn(Arc<App>, Request) -> Answering> {
    Some(match name {
        "admin-buckets" => |app, request| Box::pin(admin_buckets::handle(app, request)),
        "admin-clients" => |app, request| Box::pin(admin_clients::handle(app, request)),
        "admin-roles" => |app, request| Box::pin(admin_roles::handle(app, request)),
        "admin-tokens" => |app, request| Box::pin(admin_tokens::handle(app, request)),
        "autologin" => |app, request| Box::pin(autologin::handle(app, request)),
        "docs" => |_, request| Box::pin(docs::handle(request)),
        "leads" => |app, request| Box::pin(leads::handle(app, request)),
        "leads-by-source" => |app, request| Box::pin(leads_by_source::handle(app, request)),
        "session" => |app, request| Box::pin(session::handle(app, request)),
        "signup" => |app, request| Box::pin(signup::handle(app, request)),
        "token" => |app, request| Box::pin(token::handle(app, request)),
        _ => return None,
    })
}

/// The function that has settings of its own.
const CONSOLE: &str = "console";
/// The function that reads the stream of clients.
const REGISTRATION_EMAIL: &str = "registration-email";

/// A function as it is deployed: its handler with the state that its environment gives it.
#[derive(Clone, Debug)]
pub struct Deployed {
    work: Work,
}

#[derive(Clone)]
enum Work {
    Requests(Handler),
    Stream(Arc<RegistrationEmail>),
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests(_) => "Requests",
            Self::Stream(_) => "Stream",
        })
    }
}

impl Deployed {
    /// Sets a function up from its environment in the template and that of the local stack, which
    /// wins, as with `sam local --env-vars`. Emails go to the outbox, unless the environment names an
    /// SES.
    ///
    /// # Errors
    /// The template names a function that has no handler, or gives it an incomplete environment.
    pub fn new(function: &Function, stack: impl Fn(&str) -> Option<String>, outbox: &Outbox) -> Result<Self> {
        let lookup = |name: &str| stack(name).or_else(|| function.environment.get(name).cloned());
        let config = Config::from_lookup(lookup).with_context(|| function.logical_id.clone())?;
        let work = if function.name == REGISTRATION_EMAIL {
            let mailer: Box<dyn Mailer> = match &config.mail.endpoint {
                Some(_) => Box::new(Ses::new(&config)),
                None => Box::new(outbox.clone()),
            };
            let emails = RegistrationEmail::new(Store::new(&config), &config.mail, mailer);
            Work::Stream(Arc::new(emails.with_context(|| function.logical_id.clone())?))
        } else if function.name == CONSOLE {
            let console = Console::from_lookup(lookup).map_err(anyhow::Error::from_boxed);
            let console = Arc::new(console.with_context(|| function.logical_id.clone())?);
            Work::Requests(Arc::new(move |request| Box::pin(console::handle(console.clone(), request))))
        } else {
            let Some(handler) = handler(&function.name) else {
                bail!("no handler is named {}", function.name)
            };
            let app = Arc::new(App::new(&config));
            Work::Requests(Arc::new(move |request| handler(app.clone(), request)))
        };
        Ok(Self { work })
    }

    /// What the stack answers itself, called as functions are.
    pub(crate) fn of_the_stack<R>(handler: impl Fn(Request) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Response> + Send + 'static,
    {
        Self { work: Work::Requests(Arc::new(move |request| Box::pin(handler(request)))) }
    }

    /// Invokes the function with an event of API Gateway or of a stream, through the Lambda runtime's
    /// own deserialisation, and gives its answer as the platform gets it.
    ///
    /// # Errors
    /// The event is none that the function takes.
    pub async fn invoke(self, event: String) -> Result<Value> {
        match self.work {
            Work::Requests(handler) => {
                let mut payload: LambdaRequest = serde_json::from_str(&event)?;
                shared::http::encode_query(&mut payload);
                let service = service_fn(move |request: Request| handler(request).map(Ok::<_, Infallible>));
                let event = LambdaEvent::new(payload, LambdaContext::default());
                Ok(serde_json::to_value(Adapter::from(service).call(event).await?)?)
            }
            Work::Stream(function) => {
                let mut context = LambdaContext::default();
                context.request_id = uuid::Uuid::new_v4().to_string();
                let answer = function.handle(serde_json::from_str(&event)?, &context).await;
                Ok(serde_json::to_value(answer)?)
            }
        }
    }
}
