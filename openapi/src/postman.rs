//! A Postman collection (v2.1) made of the OpenAPI document: its operations in an order in which they
//! can be run, create before read before change before delete, with tests of what is documented.

mod steps;

use crate::TAGS;
use serde_json::{Map, Value, json};
use steps::{STEPS, Step};

const SCHEMA: &str = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json";

/// What went wrong while a collection was made: a step names what the document does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch(String);

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mismatch {}

/// The collection of the document.
///
/// # Errors
/// A step names an operation, status or example that the document does not have, or an operation has
/// no step.
pub fn collection(document: &Value) -> Result<Value, Mismatch> {
    let mut folders = Vec::new();
    let mut unused: Vec<&str> = operations(document).map(|operation| operation.id).collect();
    for (tag, description) in TAGS {
        let mut items = Vec::new();
        for step in
            STEPS.iter().filter(|step| find(document, step.operation).is_some_and(|found| found.tag == tag))
        {
            let first = unused.contains(&step.operation);
            unused.retain(|id| *id != step.operation);
            items.push(item(document, step, first)?);
        }
        folders.push(json!({ "name": tag, "description": description, "item": items }));
    }
    let known = |step: &&Step| find(document, step.operation).is_none();
    if let Some(id) = unused.first().copied().or(STEPS.iter().find(known).map(|step| step.operation)) {
        return Err(Mismatch(format!("{id} is not both an operation and a step")));
    }
    Ok(json!({
        "info": { "name": document["info"]["title"], "description": document["info"]["description"], "schema": SCHEMA },
        "item": folders,
        "variable": steps::VARIABLES.map(|name| json!({ "key": name, "value": "" })),
    }))
}

/// An environment for the collection; a value that is not known is empty.
pub fn environment(name: &str, values: &[(&str, Option<&str>)]) -> Value {
    let values = values.iter().map(|(key, value)| {
        let is_secret = key.ends_with("Token") || key.ends_with("Key");
        json!({
            "key": key, "value": value.unwrap_or_default(), "enabled": true,
            "type": if is_secret { "secret" } else { "default" }
        })
    });
    json!({ "name": name, "values": values.collect::<Vec<_>>(), "_postman_variable_scope": "environment" })
}

struct Operation<'a> {
    id: &'a str,
    tag: &'a str,
    method: String,
    path: &'a str,
    value: &'a Value,
}

fn operations(document: &Value) -> impl Iterator<Item = Operation<'_>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().map(move |(method, value)| Operation {
            id: value["operationId"].as_str().unwrap_or_default(),
            tag: value["tags"][0].as_str().unwrap_or_default(),
            method: method.to_uppercase(),
            path,
            value,
        })
    })
}

fn find<'a>(document: &'a Value, id: &str) -> Option<Operation<'a>> {
    operations(document).find(|operation| operation.id == id)
}

fn item(document: &Value, step: &Step, with_examples: bool) -> Result<Value, Mismatch> {
    let lacks = |what: &str| Mismatch(format!("{} has no {what}", step.operation));
    let operation = find(document, step.operation).ok_or_else(|| lacks("operation"))?;
    let response = &operation.value["responses"][step.status.to_string()];
    if response.is_null() {
        return Err(lacks(&step.status.to_string()));
    }
    let request = request(&operation, step).map_err(|what| lacks(&what))?;
    let mut events = vec![event("test", &tests(document, response, step))];
    if !step.before.is_empty() {
        events.push(event("prerequest", &lines(step.before)));
    }
    let summary = operation.value["summary"].as_str().unwrap_or_default();
    let name = if step.name.is_empty() { summary.to_owned() } else { format!("{summary}: {}", step.name) };
    let examples = if with_examples { examples(&operation, &request) } else { Vec::new() };
    Ok(json!({
        "name": name,
        "request": request,
        "event": events,
        "response": examples,
        // The redirect itself is what is documented.
        "protocolProfileBehavior": { "followRedirects": false },
    }))
}

fn lines(script: &str) -> Vec<String> {
    script.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn event(listen: &str, lines: &[String]) -> Value {
    json!({ "listen": listen, "script": { "type": "text/javascript", "exec": lines } })
}

fn request(operation: &Operation<'_>, step: &Step) -> Result<Value, String> {
    let given = |pairs: &[(&str, &str)], name: &str| {
        pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let parameters: Vec<_> = operation.value["parameters"].as_array().into_iter().flatten().collect();
    let of = |place: &str| {
        let parameters = parameters.iter().filter(|parameter| parameter["in"] == place);
        parameters
            .map(|parameter| (parameter["name"].as_str().unwrap_or_default(), &parameter["description"]))
            .collect::<Vec<_>>()
    };
    let optional = |place: &str, pairs: &[(&str, &str)]| -> Vec<Value> {
        let entry = |(name, description): (&str, &Value)| {
            let value = given(pairs, name);
            json!({ "key": name, "value": value.clone().unwrap_or_default(), "description": description, "disabled": value.is_none() })
        };
        of(place).into_iter().map(entry).collect()
    };
    let variables: Vec<_> = of("path")
        .into_iter()
        .map(|(name, description)| {
            let value = given(step.path, name).unwrap_or_else(|| format!("{{{{{name}}}}}"));
            json!({ "key": name, "value": value, "description": description })
        })
        .collect();
    let path: Vec<_> =
        operation.path[1..].split('/').map(|part| part.replace('{', ":").replace('}', "")).collect();
    let query = optional("query", step.query);
    let sent: Vec<_> = query.iter().filter(|entry| entry["disabled"] == false).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let raw_query: Vec<_> =
        sent.iter().map(|entry| format!("{}={}", text(&entry["key"]), text(&entry["value"]))).collect();
    let joint = if raw_query.is_empty() { "" } else { "?" };
    let raw = format!("{{{{baseUrl}}}}/{}{joint}{}", path.join("/"), raw_query.join("&"));
    let mut headers = optional("header", step.headers);
    let mut request = json!({
        "method": operation.method,
        "description": operation.value["description"],
        "auth": auth(operation, step),
        "url": { "raw": raw, "host": ["{{baseUrl}}"], "path": path, "query": query, "variable": variables },
    });
    if !operation.value["requestBody"].is_null() {
        headers.push(json!({ "key": "Content-Type", "value": "application/json" }));
        let body = body(operation, step)?;
        request["body"] = json!({ "mode": "raw", "raw": body, "options": { "raw": { "language": "json" } } });
    }
    request["header"] = json!(headers);
    Ok(request)
}

/// The step's own body, or an example of the document, with its email made unique.
fn body(operation: &Operation<'_>, step: &Step) -> Result<String, String> {
    if !step.body.is_empty() {
        return Ok(step.body.to_owned());
    }
    let content = &operation.value["requestBody"]["content"]["application/json"];
    let example = if content["example"].is_null() {
        &content["examples"][step.example]["value"]
    } else {
        &content["example"]
    };
    if example.is_null() {
        return Err(format!("example {}", step.example));
    }
    let mut example = example.clone();
    if operation.id == "signup" {
        example["email"] = json!("user.{{$guid}}@example.com");
    }
    serde_json::to_string_pretty(&example).map_err(|error| error.to_string())
}

fn auth(operation: &Operation<'_>, step: &Step) -> Value {
    let security = &operation.value["security"];
    let needs = |scheme: &str| security.as_array().into_iter().flatten().any(|one| one.get(scheme).is_some());
    let (header, usual) = match (needs(crate::API_KEY), needs(crate::AUTHORIZATION)) {
        (true, _) => ("x-api-key", "{{signupKey}}"),
        (_, true) if crate::is_for_operators(operation.path) => ("Authorization", "{{adminToken}}"),
        (_, true) => ("Authorization", "{{partnerToken}}"),
        _ => return json!({ "type": "noauth" }),
    };
    let value = if step.token.is_empty() { usual } else { step.token };
    let entry = |key: &str, value: &str| json!({ "key": key, "value": value, "type": "string" });
    json!({ "type": "apikey", "apikey": [entry("key", header), entry("value", value), entry("in", "header")] })
}

/// Tests of what the document says of the answer, and the step's own.
fn tests(document: &Value, response: &Value, step: &Step) -> Vec<String> {
    let test = |name: &str, check: &str| format!("pm.test({}, () => {check});", json!(name));
    let mut script = vec![
        test(
            &format!("the status is {}", step.status),
            &format!("pm.response.to.have.status({})", step.status),
        ),
        test(
            "there is an x-request-id",
            r#"pm.expect(pm.response.headers.get("x-request-id")).to.match(/./)"#,
        ),
    ];
    for (name, _) in response["headers"].as_object().into_iter().flatten() {
        if steps::ALWAYS.contains(&name.as_str()) {
            script.push(test(
                &format!("there is a header {name}"),
                &format!("pm.response.to.have.header({})", json!(name)),
            ));
        }
    }
    let content = response["content"].as_object().and_then(|content| content.iter().next());
    match content {
        None => script.push(test("there is no body", r#"pm.expect(pm.response.text()).to.equal("")"#)),
        Some((content_type, content)) => {
            if content_type != "*/*" {
                let check = format!(
                    r#"pm.expect(pm.response.headers.get("content-type")).to.equal({})"#,
                    json!(content_type)
                );
                script.push(test(&format!("the type is {content_type}"), &check));
            }
            if content_type == "application/json" && content["schema"]["type"] != "string" {
                let schema = inlined(document, &content["schema"]);
                script.push(test(
                    "the body is as documented",
                    &format!("pm.response.to.have.jsonSchema({schema})"),
                ));
            }
        }
    }
    script.extend(lines(step.after));
    script
}

/// A schema that needs no others, without what is for people.
fn inlined(document: &Value, schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            if let Some(to) = fields.get("$ref").and_then(Value::as_str) {
                return inlined(document, document.pointer(&to[1..]).unwrap_or(&Value::Null));
            }
            let is_for_people = |name: &str, value: &Value| match name {
                "description" => value.is_string(),
                "default" | "example" | "examples" => true,
                _ => false,
            };
            let kept = fields.iter().filter(|(name, value)| !is_for_people(name, value));
            Value::Object(
                kept.map(|(name, value)| (name.clone(), inlined(document, value))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(|value| inlined(document, value)).collect()),
        other => other.clone(),
    }
}

/// The document's examples of answers.
fn examples(operation: &Operation<'_>, request: &Value) -> Vec<Value> {
    let mut examples = Vec::new();
    for (status, response) in operation.value["responses"].as_object().into_iter().flatten() {
        let content = &response["content"]["application/json"];
        let named = content["examples"].as_object().into_iter().flatten();
        let named = named.map(|(name, example)| (name.as_str(), &example["value"]));
        let only = Some(&content["example"]).filter(|value| !value.is_null()).map(|value| ("", value));
        for (name, value) in named.chain(only) {
            let code = status.parse::<u16>().unwrap_or_default();
            examples.push(json!({
                "name": format!("{status} {name}").trim_end(),
                "originalRequest": request,
                "code": code,
                "_postman_previewlanguage": "json",
                "header": [{ "key": "Content-Type", "value": "application/json" }],
                "body": serde_json::to_string_pretty(value).unwrap_or_default(),
            }));
        }
    }
    examples
}
