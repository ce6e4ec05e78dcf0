//! The calls that partners' requests are made of, on the SDK's orchestrator: its signing, retries, timeouts
//! and connections, but bodies that are written and read here.
//!
//! The SDK's own operations turn each answer into maps of maps, and each request into maps before that; on
//! a page of leads that is more work than all the rest of the request (`docs/performance.md`). What is read
//! here borrows from the answer's text instead. Rare calls stay with the SDK's operations.
//!
//! An answer that is not what DynamoDB answers (cut off, no JSON, without its items) is tried again like a
//! lost connection, and fails the call in the end: it is never taken for an empty one.

use super::StoreError;
use super::item::Item;
use super::transaction::Conflicts;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::{ServiceClockSkewClassifier, ServiceClockSkewInterceptor};
use aws_sdk_dynamodb::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{ConfigBag, Layer};
use aws_smithy_types::error::ErrorMetadata;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;

/// What all calls of a store have in common.
#[derive(Debug)]
pub(super) struct Line {
    /// What retries of calls that answer badly are budgeted by, over all operations.
    pub(super) name: String,
    pub(super) region: String,
    pub(super) credentials: SharedCredentialsProvider,
    pub(super) endpoint: Option<String>,
    pub(super) http_client: SharedHttpClient,
    pub(super) retries: RetryConfig,
    pub(super) timeouts: TimeoutConfig,
}

impl Line {
    /// The same for the SDK's own operations.
    pub(super) fn config(&self) -> aws_sdk_dynamodb::Config {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
            .http_client(self.http_client.clone())
            .retry_config(self.retries.clone())
            .timeout_config(self.timeouts.clone())
            .retry_partition(RetryPartition::new(self.name.clone()))
            .interceptor(AnswersOnly)
            .retry_classifier(Conflicts);
        config.set_endpoint_url(self.endpoint.clone());
        config.build()
    }
}

/// Keeps the SDK's operations from taking for an answer what is none: to them an empty body is an item that does
/// not exist, and what is no JSON an error that is not tried again.
#[derive(Debug)]
struct AnswersOnly;

#[dyn_dispatch_hint]
impl Intercept for AnswersOnly {
    fn name(&self) -> &'static str {
        "AnswersOnly"
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response().filter(|response| response.status().is_success());
        let Some(body) = answer.and_then(|response| response.body().bytes()) else { return Ok(()) };
        if let Err(error) = done(body)
            && let Some(outcome) = context.output_or_error_mut()
        {
            *outcome = Err(OrchestratorError::response(error.into()));
        }
        Ok(())
    }
}

/// Reads an answer's text. The outer error is a text that is no such answer, which is tried again; the inner
/// one an item that is not as it was written, which would be the same then.
type Read<T> = fn(&[u8]) -> Result<Result<T, StoreError>, serde_json::Error>;

/// A DynamoDB action with answers of one kind.
#[derive(Debug)]
pub(super) struct Action<T>(Operation<Vec<u8>, Result<T, StoreError>, ErrorMetadata>);

impl<T: Debug + Send + Sync + 'static> Action<T> {
    /// An action by its name in DynamoDB's API; does no input or output.
    pub(super) fn new(line: &Line, name: &'static str, read: Read<T>) -> Self {
        Self::with_outcomes(line, name, read, |_| None)
    }

    /// An action some refusals of which are outcomes and no errors: those that `outcome` knows.
    pub(super) fn with_outcomes(
        line: &Line,
        name: &'static str,
        read: Read<T>,
        outcome: fn(&[u8]) -> Option<T>,
    ) -> Self {
        let mut layer = Layer::new("dynamodb");
        layer.store_put(AuthSchemeOptionResolverParams::new(()));
        layer.store_put(SigV4OperationSigningConfig::default());
        layer.store_put(SigningRegion::from(Region::new(line.region.clone())));
        layer.store_put(SigningName::from_static("dynamodb"));
        let components = RuntimeComponentsBuilder::new("dynamodb")
            .with_auth_scheme(SigV4AuthScheme::new())
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
            .with_identity_resolver(SCHEME_ID, line.credentials.clone());
        let plugin =
            StaticRuntimePlugin::new().with_config(layer.freeze()).with_runtime_components(components);
        let operation = Operation::builder()
            .service_name(line.name.clone())
            .operation_name(name)
            .behavior_version(BehaviorVersion::latest())
            .http_client(line.http_client.clone())
            .endpoint_url(&endpoint(line))
            .standard_retry(&line.retries)
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(ServiceClockSkewClassifier::<ErrorMetadata>::new())
            .interceptor(ServiceClockSkewInterceptor::new())
            .with_connection_poisoning()
            .timeout_config(line.timeouts.clone())
            .runtime_plugin(plugin)
            .serializer(move |body: Vec<u8>| {
                let mut request = HttpRequest::new(SdkBody::from(body));
                request.set_method("POST")?;
                request.set_uri("/")?;
                let headers = request.headers_mut();
                headers.try_insert("content-type", "application/x-amz-json-1.0")?;
                headers.try_insert("x-amz-target", format!("DynamoDB_20120810.{name}"))?;
                headers.try_insert("user-agent", concat!("wbcs-partner-api/", env!("CARGO_PKG_VERSION")))?;
                Ok(request)
            })
            .deserializer(move |response: &HttpResponse| {
                let body = response.body().bytes().unwrap_or_default();
                if response.status().is_success() {
                    read(body).map_err(|error| OrchestratorError::response(error.into()))
                } else if let Some(outcome) = outcome(body) {
                    Ok(Ok(outcome))
                } else {
                    Err(OrchestratorError::operation(refusal(body)))
                }
            })
            .build();
        Self(operation)
    }

    /// Sends a request, with all its attempts.
    ///
    /// # Errors
    /// DynamoDB failed after all of them, or an item is malformed; `purpose` is what the error names.
    pub(super) async fn call(&self, purpose: &'static str, body: &impl Serialize) -> Result<T, StoreError> {
        let body =
            serde_json::to_vec(body).map_err(|_| StoreError::new(purpose, "request could not be built"))?;
        self.send(purpose, body).await
    }

    /// As [`Action::call`], of a body that is JSON already.
    ///
    /// # Errors
    /// As [`Action::call`].
    pub(super) async fn send(&self, purpose: &'static str, body: Vec<u8>) -> Result<T, StoreError> {
        self.0.invoke(body).await.map_err(|error| StoreError::of(purpose, &error))?
    }
}

/// Where the region's DynamoDB is, by the SDK's own rules.
fn endpoint(line: &Line) -> String {
    if let Some(endpoint) = &line.endpoint {
        return endpoint.clone();
    }
    let parameters = Params::builder().region(line.region.as_str()).build().ok();
    let found = parameters.and_then(|parameters| {
        // Rules that are built in: there is nothing to wait for.
        ResolveEndpoint::resolve_endpoint(&DefaultResolver::new(), &parameters).now_or_never()?.ok()
    });
    found.map_or_else(
        || format!("https://dynamodb.{}.amazonaws.com", line.region),
        |endpoint| endpoint.url().to_owned(),
    )
}

/// DynamoDB's reason for an answer other than 200.
pub(super) fn refusal(body: &[u8]) -> ErrorMetadata {
    #[derive(serde::Deserialize)]
    struct Refusal<'a> {
        #[serde(rename = "__type", borrow)]
        kind: Cow<'a, str>,
    }
    let mut reason = ErrorMetadata::builder();
    if let Ok(Refusal { kind }) = serde_json::from_slice(body) {
        reason = reason.code(kind.rsplit('#').next().unwrap_or_default());
    }
    reason.build()
}

/// A string attribute of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct S<'a>(pub(super) &'a str);

impl Serialize for S<'_> {
    fn serialize<W: Serializer>(&self, to: W) -> Result<W::Ok, W::Error> {
        One("S", self.0).serialize(to)
    }
}

/// An object with one member.
#[derive(Clone, Copy, Debug)]
pub(super) struct One<'a, T>(pub(super) &'a str, pub(super) T);

impl<T: Serialize> Serialize for One<'_, T> {
    fn serialize<W: Serializer>(&self, to: W) -> Result<W::Ok, W::Error> {
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

/// An object of pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs<'a, T>(pub(super) &'a [(&'a str, T)]);

impl<T> Default for Pairs<'_, T> {
    fn default() -> Self {
        Self(&[])
    }
}

impl<T: Serialize> Serialize for Pairs<'_, T> {
    fn serialize<W: Serializer>(&self, to: W) -> Result<W::Ok, W::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// `UpdateItem`'s request; the key is a string.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateItem<'a> {
    pub(super) table_name: &'a str,
    pub(super) key: Pairs<'a, S<'a>>,
    pub(super) update_expression: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition_expression: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expression_attribute_names: Option<Pairs<'a, &'a str>>,
    pub(super) expression_attribute_values: Pairs<'a, Value<'a>>,
}

/// `PutItem`'s request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutItem<'a> {
    pub(super) table_name: &'a str,
    pub(super) item: Attributes<'a>,
    pub(super) condition_expression: &'a str,
}

/// The outcome of a refusal because the condition does not hold.
pub(super) fn condition_failed(body: &[u8]) -> Option<()> {
    (refusal(body).code() == Some("ConditionalCheckFailedException")).then_some(())
}

/// Reads an answer that has nothing to tell but that it is one.
pub(super) fn done(answer: &[u8]) -> Result<Result<(), StoreError>, serde_json::Error> {
    serde_json::from_slice::<HashMap<&str, IgnoredAny>>(answer).map(|_| Ok(()))
}

/// Any attribute of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a>(pub(super) &'a AttributeValue);

impl Serialize for Value<'_> {
    fn serialize<W: Serializer>(&self, to: W) -> Result<W::Ok, W::Error> {
        match self.0 {
            AttributeValue::S(text) => One("S", text).serialize(to),
            AttributeValue::N(number) => One("N", number).serialize(to),
            AttributeValue::B(bytes) => One("B", STANDARD.encode(bytes)).serialize(to),
            AttributeValue::Bool(flag) => One("BOOL", flag).serialize(to),
            AttributeValue::L(values) => One("L", values.iter().map(Value).collect::<Vec<_>>()).serialize(to),
            AttributeValue::M(item) => One("M", Attributes(item)).serialize(to),
            _ => Err(serde::ser::Error::custom("no item has such an attribute")),
        }
    }
}

/// An item of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a Item);

impl Serialize for Attributes<'_> {
    fn serialize<W: Serializer>(&self, to: W) -> Result<W::Ok, W::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, Value(value))))
    }
}

/// A string or a number, borrowed from the answer where it has no escapes; or whatever else an item has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    S(Cow<'a, str>),
    N(Cow<'a, str>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
        struct ByType;
        impl<'de> Visitor<'de> for ByType {
            type Value = Scalar<'de>;

            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an attribute")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
                let Some(Text(kind)) = map.next_key()? else {
                    return Err(serde::de::Error::custom("an attribute without a type"));
                };
                let value = match &*kind {
                    "S" => Scalar::S(map.next_value::<Text<'de>>()?.0),
                    "N" => Scalar::N(map.next_value::<Text<'de>>()?.0),
                    _ => map.next_value::<IgnoredAny>().map(|_| Scalar::Other)?,
                };
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(value),
                    Some(_) => Err(serde::de::Error::custom("an attribute of two types")),
                }
            }
        }
        from.deserialize_map(ByType)
    }
}

impl Scalar<'_> {
    /// A string's text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::S(text) => Some(text),
            Self::N(_) | Self::Other => None,
        }
    }

    /// A number, where it is whole.
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::N(digits) => digits.parse().ok(),
            Self::S(_) | Self::Other => None,
        }
    }
}

/// `Query`'s request; the key condition's values are strings.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Query<'a> {
    pub(super) table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index_name: Option<&'a str>,
    pub(super) key_condition_expression: &'a str,
    pub(super) expression_attribute_values: Pairs<'a, S<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<usize>,
    pub(super) consistent_read: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exclusive_start_key: Option<&'a RawValue>,
    /// `COUNT`, for numbers in place of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) select: Option<&'a str>,
}

/// `Query`'s answer.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Queried<T> {
    pub(super) items: Vec<T>,
    /// Where to go on from, as it goes into the next request.
    pub(super) last_evaluated_key: Option<Box<RawValue>>,
}

/// Reads a `Query`'s answer of any items.
pub(super) fn queried(answer: &[u8]) -> Result<Result<Queried<Item>, StoreError>, serde_json::Error> {
    let Queried { items, last_evaluated_key } = serde_json::from_slice::<Queried<Whole>>(answer)?;
    Ok(Ok(Queried { items: items.into_iter().map(|Whole(item)| item).collect(), last_evaluated_key }))
}

/// How many items a `Query` with `select` counted, and where to go on from.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Number {
    pub(super) count: u64,
    pub(super) last_evaluated_key: Option<Box<RawValue>>,
}

/// Reads the answer to a `Query` with `select`.
pub(super) fn number(answer: &[u8]) -> Result<Result<Number, StoreError>, serde_json::Error> {
    serde_json::from_slice(answer).map(Ok)
}

/// `GetItem`'s request; the key's values are strings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetItem<'a> {
    pub(super) table_name: &'a str,
    pub(super) key: Pairs<'a, S<'a>>,
    pub(super) consistent_read: bool,
}

/// Reads `GetItem`'s answer.
pub(super) fn got_item(answer: &[u8]) -> Result<Result<Option<Item>, StoreError>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Got {
        item: Option<Whole>,
    }
    serde_json::from_slice::<Got>(answer).map(|got| Ok(got.item.map(|Whole(item)| item)))
}

/// Any item, as the SDK has it.
#[derive(Clone, Debug)]
pub(super) struct Whole(pub(super) Item);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let item = HashMap::<String, Attribute>::deserialize(from)?;
        Ok(Self(item.into_iter().map(|(name, Attribute(value))| (name, value)).collect()))
    }
}

/// Any attribute, as the SDK has it.
struct Attribute(AttributeValue);

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "UPPERCASE")]
        enum Any {
            S(String),
            N(String),
            B(String),
            Bool(bool),
            Null(bool),
            L(Vec<Attribute>),
            M(Whole),
            Ss(Vec<String>),
            Ns(Vec<String>),
        }
        Ok(Self(match Any::deserialize(from)? {
            Any::S(text) => AttributeValue::S(text),
            Any::N(number) => AttributeValue::N(number),
            Any::B(text) => {
                AttributeValue::B(Blob::new(STANDARD.decode(text).map_err(serde::de::Error::custom)?))
            }
            Any::Bool(flag) => AttributeValue::Bool(flag),
            Any::Null(flag) => AttributeValue::Null(flag),
            Any::L(values) => AttributeValue::L(values.into_iter().map(|value| value.0).collect()),
            Any::M(Whole(item)) => AttributeValue::M(item),
            Any::Ss(texts) => AttributeValue::Ss(texts),
            Any::Ns(numbers) => AttributeValue::Ns(numbers),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};
    use serde_json::json;

    fn any_text(rng: &mut StdRng) -> String {
        const PARTS: [&str; 12] =
            ["", "a", "Zoë", "\"", "\\", "\n", "\u{0}", "\u{1f}", "\u{2028}", "🎉", "}]", "{\"S\":\"x\"}"];
        (0..rng.random_range(0..4)).map(|_| *PARTS.choose(rng).unwrap()).collect()
    }

    fn any_item(rng: &mut StdRng, depth: usize) -> Item {
        (0..rng.random_range(0..5)).map(|_| (any_text(rng), any_attribute(rng, depth))).collect()
    }

    fn any_attribute(rng: &mut StdRng, depth: usize) -> AttributeValue {
        match rng.random_range(0..if depth == 0 { 4 } else { 6 }) {
            0 => AttributeValue::S(any_text(rng)),
            1 => AttributeValue::N(rng.random::<i64>().to_string()),
            2 => AttributeValue::B(Blob::new(rng.random::<[u8; 5]>())),
            3 => AttributeValue::Bool(rng.random()),
            4 => AttributeValue::L(
                (0..rng.random_range(0..3)).map(|_| any_attribute(rng, depth - 1)).collect(),
            ),
            _ => AttributeValue::M(any_item(rng, depth - 1)),
        }
    }

    #[test]
    fn items_are_read_as_they_were_written() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..3000 {
            let item = any_item(&mut rng, 3);
            let written = json!({ "Item": Attributes(&item) }).to_string();
            assert_eq!(got_item(written.as_bytes()).unwrap().unwrap(), Some(item), "{written}");
        }
        // What no item of ours has, and DynamoDB may answer.
        let others = br#"{"Item":{"a":{"NULL":true},"b":{"SS":["x","y"]},"c":{"NS":["1"]}}}"#;
        let read = got_item(others).unwrap().unwrap().unwrap();
        assert_eq!(read["a"], AttributeValue::Null(true));
        assert_eq!(read["b"], AttributeValue::Ss(vec!["x".into(), "y".into()]));
        assert_eq!(read["c"], AttributeValue::Ns(vec!["1".into()]));
        assert_eq!(got_item(b"{}").unwrap().unwrap(), None);
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_no_empty_answer() {
        for text in [
            "",
            "{",
            "null",
            "[]",
            "garbage",
            "<html></html>",
            r#"{"Item":{"a":{"S":1}}}"#,
            r#"{"Item":{"a":{"X":"1"}}}"#,
        ] {
            assert!(got_item(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["{}", r#"{"Count":0}"#, r#"{"Items":null}"#, r#"{"Items":[{}"#, r#"{"Items":{}}"#] {
            assert!(queried(text.as_bytes()).is_err(), "{text}");
        }
        for text in ["", "[]", "{", "{}x"] {
            assert!(done(text.as_bytes()).is_err(), "{text}");
        }
        assert!(number(b"{}").is_err());
        assert!(done(b"{}").is_ok());
    }

    #[test]
    fn refusals_have_their_code_without_its_namespace() {
        let code = |body: &str| refusal(body.as_bytes()).code().map(str::to_owned);
        assert_eq!(
            code(r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"x"}"#),
            Some("ResourceNotFoundException".into())
        );
        assert_eq!(code(r#"{"__type":"ThrottlingException"}"#), Some("ThrottlingException".into()));
        for body in ["", "{}", "<html>", r#"{"__type":7}"#] {
            assert_eq!(code(body), None, "{body}");
        }
    }

    #[test]
    fn regions_are_found_by_the_sdks_rules() {
        let line = |region: &str, endpoint: Option<&str>| Line {
            name: "dynamodb".to_owned(),
            region: region.to_owned(),
            credentials: SharedCredentialsProvider::new(aws_sdk_dynamodb::config::Credentials::new(
                "id", "secret", None, None, "test",
            )),
            endpoint: endpoint.map(str::to_owned),
            http_client: crate::store::http_client(Some("http://localhost")),
            retries: RetryConfig::standard(),
            timeouts: TimeoutConfig::disabled(),
        };
        for (region, expected) in [
            ("eu-west-1", "https://dynamodb.eu-west-1.amazonaws.com"),
            ("cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(endpoint(&line(region, None)), expected);
        }
        assert_eq!(endpoint(&line("eu-west-1", Some("http://127.0.0.1:1"))), "http://127.0.0.1:1");
    }
}
