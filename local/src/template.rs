//! Reads `template.yaml`: the one definition of routes, functions and tables.

use anyhow::{Context, Result, anyhow, bail};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The template this program was built with.
const TEXT: &str = include_str!("../../template.yaml");

/// The template's resources, as far as the local stack needs them.
#[derive(Clone, Debug)]
pub struct Template {
    /// Functions by name.
    pub functions: Vec<Function>,
    /// Tables by name.
    pub tables: Vec<Table>,
    parameters: BTreeMap<String, String>,
    document: Value,
}

/// A Lambda function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Logical id: `LeadsFunction`.
    pub logical_id: String,
    /// Name of its folder and binary: `leads`.
    pub name: String,
    /// Its environment, resolved with the parameters' defaults; a table's name is its logical id.
    pub environment: BTreeMap<String, String>,
    /// The routes that lead to it.
    pub routes: Vec<Route>,
    /// The streams that it reads.
    pub streams: Vec<Stream>,
}

/// A route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Method.
    pub method: String,
    /// Path with parameters in braces.
    pub path: String,
}

/// How many requests a route takes before API Gateway refuses them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Requests per second.
    pub rate: f64,
    /// Requests at once beyond the rate.
    pub burst: f64,
}

/// A table's stream, as a function reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Logical id of the table.
    pub table: String,
    /// How many records an event has at most.
    pub batch_size: usize,
    /// Event patterns, one of which a record matches; none lets all through.
    pub patterns: Vec<Value>,
}

/// A DynamoDB table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Logical id, and here the physical name as well.
    pub name: String,
    /// Its properties, as CloudFormation has them.
    pub properties: Value,
}

impl Template {
    /// The template that this program was built with.
    ///
    /// # Errors
    /// It is not as this reader expects.
    pub fn built_in() -> Result<Self> {
        Self::parse(TEXT).context("template.yaml")
    }

    /// A resource as CloudFormation has it, short tags in their long form; `null` where there is none.
    pub fn resource(&self, logical_id: &str) -> &Value {
        &self.document["Resources"][logical_id]
    }

    /// A section as CloudFormation has it, such as `Parameters`; `null` where there is none.
    pub fn section(&self, name: &str) -> &Value {
        &self.document[name]
    }

    /// How the API throttles a route: by its own settings, or else by those of all routes.
    ///
    /// # Errors
    /// The template has no such settings.
    pub fn throttle(&self, route: &Route) -> Result<Throttle> {
        let mut resources = entries(&self.document["Resources"]).map(|(_, resource)| resource);
        let api = resources.find(|resource| resource["Type"] == "AWS::Serverless::HttpApi");
        let api = &api.context("no HTTP API")?["Properties"];
        let own = &api["RouteSettings"][format!("{} {}", route.method, route.path)];
        let setting = |name: &str| {
            let found = [own, &api["DefaultRouteSettings"]].into_iter().find_map(|all| all.get(name));
            let value = self.resolve(found.with_context(|| format!("no {name}"))?)?;
            value.parse::<f64>().with_context(|| format!("{name} is {value}"))
        };
        Ok(Throttle { rate: setting("ThrottlingRateLimit")?, burst: setting("ThrottlingBurstLimit")? })
    }

    fn parse(text: &str) -> Result<Self> {
        let documents = Yaml::load_from_str(text)?;
        let document = to_json(documents.first().context("is empty")?)?;
        let mut template = Self { functions: vec![], tables: vec![], parameters: BTreeMap::new(), document };
        for (name, parameter) in entries(&template.document["Parameters"]) {
            template.parameters.insert(name.clone(), text_of(&parameter["Default"]).unwrap_or_default());
        }
        let resources: Vec<_> =
            entries(&template.document["Resources"]).map(|(k, v)| (k.clone(), v.clone())).collect();
        for (id, resource) in resources {
            let properties = &resource["Properties"];
            match resource["Type"].as_str() {
                Some("AWS::DynamoDB::Table") => {
                    template.tables.push(Table { name: id.clone(), properties: properties.clone() });
                }
                Some("AWS::Serverless::Function") => {
                    let function = template.function(&id, &resource).with_context(|| id.clone())?;
                    template.functions.push(function);
                }
                _ => {}
            }
        }
        template.functions.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(template)
    }

    fn function(&self, logical_id: &str, resource: &Value) -> Result<Function> {
        let name =
            resource["Metadata"]["BuildProperties"]["Binary"].as_str().context("names no Binary")?.to_owned();
        let mut environment = BTreeMap::new();
        for variables in [&self.document["Globals"]["Function"], &resource["Properties"]] {
            for (key, value) in entries(&variables["Environment"]["Variables"]) {
                environment.insert(key.clone(), self.resolve(value)?);
            }
        }
        let (mut routes, mut streams) = (Vec::new(), Vec::new());
        for (_, event) in entries(&resource["Properties"]["Events"]) {
            let part = |key: &str| {
                let text = event["Properties"][key].as_str().map(str::to_owned);
                text.with_context(|| format!("event without {key}"))
            };
            match event["Type"].as_str() {
                Some("HttpApi") => routes.push(Route { method: part("Method")?, path: part("Path")? }),
                Some("DynamoDB") => streams.push(stream(&event["Properties"])?),
                _ => bail!("an event is of an unknown type: {event}"),
            }
        }
        Ok(Function { logical_id: logical_id.to_owned(), name, environment, routes, streams })
    }

    /// A value as text: a literal, a parameter's default, or a resource's logical id.
    fn resolve(&self, value: &Value) -> Result<String> {
        if let Some(name) = value["Ref"].as_str() {
            return Ok(self.parameters.get(name).cloned().unwrap_or_else(|| name.to_owned()));
        }
        text_of(value).ok_or_else(|| anyhow!("cannot resolve {value}"))
    }
}

fn stream(properties: &Value) -> Result<Stream> {
    let source = properties["Stream"]["Fn::GetAtt"].as_str();
    let table = source.and_then(|source| source.strip_suffix(".StreamArn"));
    if properties["StartingPosition"] != "TRIM_HORIZON" {
        bail!("a stream that is not read from its beginning would lose what comes before its first reader");
    }
    let mut patterns = Vec::new();
    for filter in properties["FilterCriteria"]["Filters"].as_array().into_iter().flatten() {
        let pattern = filter["Pattern"].as_str().context("a filter without Pattern")?;
        patterns.push(serde_json::from_str(pattern).context("a filter's Pattern is no JSON")?);
    }
    let batch_size = properties["BatchSize"].as_u64().and_then(|size| usize::try_from(size).ok());
    Ok(Stream {
        table: table.context("a stream of no table")?.to_owned(),
        batch_size: batch_size.filter(|size| *size > 0).context("a stream without BatchSize")?,
        patterns,
    })
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// YAML as JSON, with CloudFormation's short tags in their long form: `!Ref X` is `{"Ref": "X"}`.
fn to_json(yaml: &Yaml<'_>) -> Result<Value> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(flag)) => json!(flag),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(values) => Value::Array(values.iter().map(to_json).collect::<Result<_>>()?),
        Yaml::Mapping(pairs) => {
            let mut object = Map::new();
            for (key, value) in pairs {
                let key = text_of(&to_json(key)?).context("a key is not a scalar")?;
                object.insert(key, to_json(value)?);
            }
            Value::Object(object)
        }
        Yaml::Tagged(tag, value) => {
            let name = match tag.suffix.as_str() {
                "Ref" => "Ref".to_owned(),
                suffix => format!("Fn::{suffix}"),
            };
            json!({ name: to_json(value)? })
        }
        other => bail!("unsupported YAML: {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_template_is_read() {
        let template = Template::built_in().unwrap();
        let signup = template.functions.iter().find(|function| function.name == "signup").unwrap();
        assert_eq!(signup.logical_id, "SignupFunction");
        assert_eq!(signup.environment["CLIENTS_TABLE"], "ClientsTable");
        assert_eq!(signup.environment["LOG_LEVEL"], "info");
        assert_eq!(
            signup.routes,
            [Route { method: "POST".into(), path: "/tradersroom/api/auth/signup".into() }]
        );
        assert_eq!(template.throttle(&signup.routes[0]).unwrap(), Throttle { rate: 500.0, burst: 1000.0 });
        let other = Route { method: "GET".into(), ..signup.routes[0].clone() };
        assert_eq!(template.throttle(&other).unwrap(), Throttle { rate: 1000.0, burst: 2000.0 });
        let clients = template.tables.iter().find(|table| table.name == "ClientsTable").unwrap();
        assert_eq!(clients.properties["GlobalSecondaryIndexes"].as_array().unwrap().len(), 6);
    }
}
