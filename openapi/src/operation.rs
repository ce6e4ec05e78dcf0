//! One operation under construction: what all of them have in common is written once.

use crate::schema::{any_of, model, object, text};
use serde_json::Value;
use shared::ApiError;
use shared::error::Refusal;
use shared::http::Envelope;
use std::collections::BTreeMap;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Content, ContentBuilder, Header, HttpMethod, Ref, RefOr, Required, ResponsesBuilder, Schema,
};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// The security schemes by name.
pub(crate) const AUTHORIZATION: &str = "token";
pub(crate) const API_KEY: &str = "apiKey";
pub(crate) const SESSION: &str = "session";

/// Headers of answers, by name.
pub(crate) fn headers() -> Vec<(&'static str, Header)> {
    let header = |description: &str, example: Value| {
        HeaderBuilder::new()
            .schema(Some(text("").description(None::<&str>)))
            .description(Some(description))
            .example(Some(example))
            .build()
    };
    let number = |description: &str, example: u32| {
        HeaderBuilder::new()
            .schema(Some(crate::schema::count("").description(None::<&str>)))
            .description(Some(description))
            .example(Some(example.into()))
            .build()
    };
    vec![
        (
            "x-request-id",
            header(
                "On every answer but the gateway's own, which have `apigw-requestid`. It finds the request in our logs: give it when \
                 you ask for help.",
                "Jx1abcdEDoEEPlg=".into(),
            ),
        ),
        (
            "x-total-count",
            number(
                "How many leads match, before paging. Left out with `filters.updatedDate` or `filters.status` where counting \
                 would mean reading on.",
                1200,
            ),
        ),
        (
            "x-next-offset",
            number(
                "Where the next page begins; only when there is one. Not on a page that ended empty after it had passed very many leads: go on with `x-next-cursor`.",
                100,
            ),
        ),
        (
            "x-next-cursor",
            header(
                "The same as a `cursor`; only when there is a next page. With `filters.updatedDate` or `filters.status`, a page ends before its `limit`, or empty, where some 100,000 leads were passed.",
                "MTAwOjE2MDk0NTkyMDAwMDA".into(),
            ),
        ),
        (
            "x-missing-count",
            number(
                "How many of the emails and ids given are of no lead of this bucket (and source), whatever the filters; only \
                 where some are given.",
                0,
            ),
        ),
        (
            "idempotency-replayed",
            header("`true` where this is the first answer again; otherwise absent.", "true".into()),
        ),
        (
            "x-caller-address",
            header(
                "Your address, as the API sees it: tell it to your operator, to have it whitelisted.",
                "203.0.113.7".into(),
            ),
        ),
        (
            "etag",
            header("The record's state: send it as `If-Match` with a change.", "\"q0J1Zz0aT1mKbN4s\"".into()),
        ),
        ("location", header("Where to go on, or where the new record is.", "/tradersroom".into())),
        ("cache-control", header("Whether the answer may be kept.", "no-store".into())),
        (
            "set-cookie",
            header(
                "Begins or ends the session.",
                "__Host-wbcs-session=…; HttpOnly; Secure; SameSite=Lax; Path=/".into(),
            ),
        ),
    ]
}

/// An operation as this crate describes it.
pub(crate) struct Described {
    pub(crate) path: &'static str,
    pub(crate) method: HttpMethod,
    envelope: Envelope,
    operation: OperationBuilder,
    answers: BTreeMap<u16, RefOr<Response>>,
}

impl Described {
    /// An operation of the template's route; `id` begins with its function's name.
    pub(crate) fn new(
        id: &str,
        method: HttpMethod,
        path: &'static str,
        tag: &str,
        envelope: Envelope,
    ) -> Self {
        let operation = OperationBuilder::new().operation_id(Some(id)).tag(tag);
        let described = Self { path, method, envelope, operation, answers: BTreeMap::new() };
        let described = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .fold(described, Self::path_parameter);
        described.gateway(429, "More requests at once than the route takes. Wait a moment, then try again.").gateway(
            503,
            "The gateway got no answer in time, or none at all. Try again; repeat a Sign Up with its `Idempotency-Key`.",
        )
    }

    pub(crate) fn about(mut self, summary: &str, description: &str) -> Self {
        let description = Some(description).filter(|text| !text.is_empty());
        self.operation = self.operation.summary(Some(summary)).description(description);
        self
    }

    /// Needs a token; any of these permissions suffices.
    pub(crate) fn token(self, scheme: &str, permissions: &[&str]) -> Self {
        let needs = match permissions {
            [] => String::new(),
            names => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                format!(" Needs the permission {}.", names.join(" or "))
            }
        };
        let description = format!(
            "The token is missing, malformed, unknown, deleted or expired, is used from an address outside its whitelist, or does \
             not allow this call. The answer is the same for each reason.{needs}"
        );
        let mut described = self.refuses(401, &description, &[ApiError::Unauthorized(Refusal::Missing)]);
        described.operation =
            described.operation.security(SecurityRequirement::new(scheme, Vec::<String>::new()));
        described
    }

    /// Uses the session's cookie, where there is one.
    pub(crate) fn session(mut self, required: bool) -> Self {
        if !required {
            self.operation = self.operation.security(SecurityRequirement::default());
        }
        self.operation = self.operation.security(SecurityRequirement::new(SESSION, Vec::<String>::new()));
        self
    }

    /// Needs neither.
    pub(crate) fn open(mut self) -> Self {
        self.operation = self.operation.securities(Some([]));
        self
    }

    fn path_parameter(self, name: &str) -> Self {
        let (description, schema) = crate::parameters::in_path(name);
        self.parameter(name, ParameterIn::Path, description, schema, true)
    }

    pub(crate) fn query(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Query, description, schema, false)
    }

    pub(crate) fn header(self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(name, ParameterIn::Header, description, schema, false)
    }

    fn parameter(
        mut self,
        name: &str,
        place: ParameterIn,
        description: &str,
        schema: impl Into<RefOr<Schema>>,
        required: bool,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .description(Some(description))
            .required(if required { Required::True } else { Required::False })
            .schema(Some(schema))
            .build();
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// A JSON body of at most `limit` bytes; examples by name.
    pub(crate) fn takes(
        mut self,
        name: &str,
        limit: usize,
        required: bool,
        examples: &[(&str, Value)],
    ) -> Self {
        let content = with_examples(ContentBuilder::new().schema(Some(model(name))), examples);
        let (number, unit) =
            if limit.is_multiple_of(1 << 20) { (limit >> 20, "MiB") } else { (limit >> 10, "KiB") };
        let body = RequestBodyBuilder::new()
            .description(Some(format!(
                "JSON in UTF-8, at most {number} {unit} and 32 levels deep.{}",
                if required { "" } else { " An empty body counts as `{}`." }
            )))
            .content(JSON, content)
            .required(Some(if required { Required::True } else { Required::False }))
            .build();
        self.operation = self.operation.request_body(Some(body));
        self.too_large(&format!("The body has more than {number} {unit}.")).refuses(
            415,
            "`Content-Type` is not JSON. A request without one is read as JSON.",
            &[ApiError::UnsupportedMediaType],
        )
    }

    /// An answer in JSON.
    pub(crate) fn answers(
        mut self,
        status: u16,
        description: &str,
        schema: &str,
        headers: &[&str],
        examples: &[(&str, Value)],
    ) -> Self {
        let content = with_examples(ContentBuilder::new().schema(Some(model(schema))), examples);
        self.answers.insert(status, answer(description, headers).content(JSON, content).into());
        self
    }

    /// An answer without a body.
    pub(crate) fn ends(mut self, status: u16, description: &str, headers: &[&str]) -> Self {
        self.answers.insert(status, answer(description, headers).into());
        self
    }

    /// An answer that is a page for people.
    pub(crate) fn page(self, status: u16, description: &str) -> Self {
        self.file(status, description, HTML, &["cache-control"])
    }

    /// An answer of another type, or of another standard's JSON.
    pub(crate) fn file(
        mut self,
        status: u16,
        description: &str,
        content_type: &str,
        headers: &[&str],
    ) -> Self {
        let schema = if content_type == JSON { object("") } else { text("") };
        let content = ContentBuilder::new().schema(Some(schema.description(None::<&str>))).build();
        self.answers.insert(status, answer(description, headers).content(content_type, content).into());
        self
    }

    /// An error of the function, with examples as the code renders them.
    pub(crate) fn refuses(self, status: u16, description: &str, examples: &[ApiError]) -> Self {
        self.refuses_with(status, description, &[], examples)
    }

    pub(crate) fn refuses_with(
        mut self,
        status: u16,
        description: &str,
        headers: &[&str],
        examples: &[ApiError],
    ) -> Self {
        let examples: Vec<_> = examples.iter().map(|error| self.rendered(status, error)).collect();
        let content = ContentBuilder::new().schema(Some(model(self.error_model())));
        let examples: Vec<_> = examples.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let content = with_examples(content, &examples);
        self.answers.insert(status, answer(description, headers).content(JSON, content).into());
        self
    }

    fn rendered(&self, status: u16, error: &ApiError) -> (String, Value) {
        let (rendered, body) = self.envelope.render(error);
        debug_assert_eq!(status, rendered);
        let value: Value = serde_json::from_str(&body).unwrap_or_default();
        (value["message"].as_str().unwrap_or_default().to_owned(), value)
    }

    fn error_model(&self) -> &'static str {
        if self.envelope == Envelope::TradersRoom { "ProviderError" } else { "Error" }
    }

    /// Too much for the function, or, over 10 MB, for the gateway before it.
    fn too_large(mut self, description: &str) -> Self {
        let (name, value) = self.rendered(413, &ApiError::PayloadTooLarge);
        let schemas = [model(self.error_model()), model("GatewayError")];
        let content = ContentBuilder::new().schema(Some(any_of(None, schemas)));
        let content = with_examples(content, &[(&name, value)]);
        self.answers.insert(413, answer(description, &[]).content(JSON, content).into());
        self
    }

    fn gateway(mut self, status: u16, description: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(model("GatewayError"))).build();
        self.answers.insert(status, answer(description, &[]).content(JSON, content).into());
        self
    }

    /// The operation, with the 500 that each may end in.
    pub(crate) fn build(mut self) -> (&'static str, HttpMethod, OperationBuilder) {
        let description =
            "Something failed on our side. Nothing is said of it but the request's id. Try again later.";
        let response = answer(description, &[]);
        let response = if self.envelope == Envelope::Page {
            let page = ContentBuilder::new().schema(Some(text("").description(None::<&str>))).build();
            let gateway = ContentBuilder::new().schema(Some(model("GatewayError"))).build();
            response.content(HTML, page).content(JSON, gateway)
        } else {
            let schemas = [model(self.error_model()), model("GatewayError")];
            response.content(JSON, ContentBuilder::new().schema(Some(any_of(None, schemas))).build())
        };
        self.answers.insert(500, response.into());
        let responses = self.answers.into_iter().fold(ResponsesBuilder::new(), |all, (status, response)| {
            all.response(status.to_string(), response)
        });
        (self.path, self.method, self.operation.responses(responses.build()))
    }
}

fn answer(description: &str, headers: &[&str]) -> ResponseBuilder {
    ["x-request-id"]
        .iter()
        .chain(headers)
        .fold(ResponseBuilder::new().description(description), |response, name| {
            response.header_ref(*name, Ref::new(format!("#/components/headers/{name}")))
        })
}

fn with_examples(content: ContentBuilder, examples: &[(&str, Value)]) -> Content {
    match examples {
        [(_, only)] => content.example(Some(only.clone())).build(),
        all => {
            let named = all
                .iter()
                .map(|(name, value)| (*name, ExampleBuilder::new().value(Some(value.clone())).build()));
            content.examples_from_iter(named).build()
        }
    }
}
