//! The OpenAPI document is that of the code: as generated, with the template's routes, and with the
//! fields that the model reads and writes.

use local::template::Template;
use serde_json::{Map, Value, json};
use shared::model::{
    Agreement, Bucket, BucketId, Client, ClientChange, NewToken, Object, OwnProfile, Permission, Profile,
    Role, RoleId, SignUp, Timestamp, TokenActivity,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn document() -> Value {
    serde_json::to_value(openapi::document()).unwrap()
}

fn operations(document: &Value) -> BTreeMap<String, Value> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods
            .map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation.clone()))
    });
    all.collect()
}

fn properties(document: &Value, schema: &str) -> BTreeSet<String> {
    document["components"]["schemas"][schema]["properties"].as_object().unwrap().keys().cloned().collect()
}

fn required(document: &Value, schema: &str) -> BTreeSet<String> {
    let names = document["components"]["schemas"][schema]["required"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn keys(value: &impl serde::Serialize) -> BTreeSet<String> {
    serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect()
}

#[test]
fn what_is_checked_in_is_what_is_generated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    for (name, text) in local::description::files().unwrap() {
        let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(found == text, "docs/{name} is not what the code says: run `cargo run -- docs`");
    }
}

/// `{link+}` takes the rest of a path, which OpenAPI has no word for.
fn described(path: &str) -> String {
    path.replace("+}", "}")
}

#[test]
fn the_operations_are_the_routes_and_their_ids_begin_with_the_functions_names() {
    let template = Template::built_in().unwrap();
    let mut expected = BTreeMap::new();
    for function in &template.functions {
        let events = template.resource(&function.logical_id)["Properties"]["Events"].as_object().unwrap();
        // A stream's events are nobody's to send.
        for (event, definition) in events.iter().filter(|(_, definition)| definition["Type"] == "HttpApi") {
            let route = &definition["Properties"];
            let (method, path) = (route["Method"].as_str().unwrap(), route["Path"].as_str().unwrap());
            let words = event.chars().fold(String::new(), |mut words, letter| {
                if letter.is_uppercase() {
                    words.push('-');
                }
                words.push(letter.to_ascii_lowercase());
                words
            });
            let id =
                if events.len() == 1 { function.name.clone() } else { format!("{}{words}", function.name) };
            expected.insert(format!("{method} {}", described(path)), id);
        }
    }
    let found = operations(&document()).into_iter();
    let found: BTreeMap<_, _> = found
        .map(|(route, operation)| (route, operation["operationId"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn every_operation_says_what_can_come_back() {
    for (route, operation) in operations(&document()) {
        let responses = operation["responses"].as_object().unwrap();
        let statuses: BTreeSet<_> = responses.keys().map(String::as_str).collect();
        assert!(
            ["429", "500", "503"].iter().all(|status| statuses.contains(status)),
            "{route}: {statuses:?}"
        );
        assert_eq!(statuses.contains("413"), !operation["requestBody"].is_null(), "{route}");
        assert_eq!(statuses.contains("415"), !operation["requestBody"].is_null(), "{route}");
        let needs_token = operation["security"].to_string().contains("oken\"")
            || operation["security"].to_string().contains("apiKey");
        assert!(!needs_token || statuses.contains("401"), "{route}");
        for (status, response) in responses {
            assert!(!response["headers"]["x-request-id"].is_null(), "{route} {status}");
            assert!(response["description"].as_str().is_some_and(|text| text.len() > 5), "{route} {status}");
        }
        let place = |part: &str| operation[part].as_str().is_some_and(|text| !text.is_empty());
        assert!(place("summary"), "{route}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{route} {parameter}"
            );
        }
    }
}

/// A sign-up of every documented field, and the client that it makes.
fn everything(document: &Value) -> (Value, Client) {
    let mut body = Map::new();
    for name in properties(document, "SignUp") {
        let value = match name.as_str() {
            "email" => json!("user@example.com"),
            "phone" => json!("+1234567890"),
            "dateOfBirth" => json!("1990-05-01"),
            "processed" | "allowToCreateAsset" | "sendEmail" => json!(true),
            "billing" => {
                let fields = document["components"]["schemas"]["Billing"]["properties"].as_object().unwrap();
                fields.keys().map(|field| (field.clone(), json!("x"))).collect::<Map<_, _>>().into()
            }
            "agreements" => {
                json!([{ "label": "Terms", "ip": "127.0.0.1", "signedAt": "2026-01-01T12:00:00.000Z" }])
            }
            other => json!(format!("{other}-value")),
        };
        body.insert(name, value);
    }
    let body = Value::Object(body);
    let given = SignUp::parse(body.to_string().as_bytes()).unwrap();
    let affiliate = given.affiliate_id.clone();
    (body, Client::register(given, affiliate, BucketId::parse("b1")))
}

#[test]
fn clients_have_the_fields_that_the_document_says() {
    let document = document();
    let (body, client) = everything(&document);
    let shown = serde_json::to_value(&client).unwrap();
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name} is documented, and not kept");
    }
    assert_eq!(keys(&client), properties(&document, "Client"));
    let least = SignUp::parse(br#"{"email":"user@example.com","phone":"12345","firstName":"Jane"}"#).unwrap();
    let least = Client::register(least, None, None);
    assert_eq!(keys(&least), required(&document, "Client"));
    assert_eq!(keys(&OwnProfile(&client)), properties(&document, "OwnProfile"));
    assert_eq!(keys(&OwnProfile(&least)), required(&document, "OwnProfile"));
    assert_eq!(keys(&client.given.billing.unwrap()), properties(&document, "Billing"));
    assert_eq!(keys(&client.given.agreements[0]), properties(&document, "Agreement"));
    assert_eq!(keys(&Agreement::default()), required(&document, "Agreement"));

    let mut required_fields: Vec<_> = required(&document, "SignUp").into_iter().collect();
    required_fields.sort();
    assert_eq!(required_fields, ["email", "firstName", "phone"]);
}

#[test]
fn a_clients_change_has_the_fields_that_the_document_says() {
    let document = document();
    let names: BTreeSet<_> =
        ClientChange::names().map(|name| name.split('.').next().unwrap().to_owned()).collect();
    assert_eq!(properties(&document, "ClientChange"), names);
    assert!(Profile::NAMES.iter().all(|name| names.contains(*name)));
    // What can be changed is what can be given, but for what is of the sign-up itself.
    let given = properties(&document, "SignUp");
    let only_changed: Vec<_> = names.difference(&given).map(String::as_str).collect();
    let only_given: Vec<_> = given.difference(&names).map(String::as_str).collect();
    assert_eq!((only_changed, only_given), (vec!["bucketId", "ftd"], vec!["sendEmail"]));
}

#[test]
fn tokens_roles_and_buckets_have_the_fields_that_the_document_says() {
    let document = document();
    let body =
        br#"{"name":"n","roleId":"r","expiresAt":"2100-01-01","whitelist":["::1"],"affiliateIDs":["A"]}"#;
    let (_, record) = NewToken::parse(body, Timestamp::now()).unwrap().generate().unwrap();
    let shown = keys(&record.to_answer(&TokenActivity::default()));
    assert_eq!((&shown, &shown), (&properties(&document, "Token"), &required(&document, "Token")));
    let mut created = shown;
    created.insert("token".to_owned());
    assert_eq!(created, properties(&document, "CreatedToken"));
    let role =
        Role { id: RoleId::new("r"), name: "n".into(), permissions: Permission::ALL.into_iter().collect() };
    assert_eq!((keys(&role), keys(&role)), (properties(&document, "Role"), required(&document, "Role")));
    let bucket = Bucket {
        id: BucketId::parse("b").unwrap(),
        name: "n".into(),
        affiliate_id: "A".into(),
        sources: vec![],
        created_date: Timestamp::now(),
    };
    assert_eq!(
        (keys(&bucket), keys(&bucket)),
        (properties(&document, "Bucket"), required(&document, "Bucket"))
    );
}

/// Each example of a request is one that the model takes.
#[test]
fn the_examples_are_valid() {
    let document = document();
    let mut read = 0;
    for (route, operation) in operations(&document) {
        let content = &operation["requestBody"]["content"]["application/json"];
        let schema = content["schema"]["$ref"].as_str().unwrap_or_default().rsplit('/').next().unwrap();
        let named =
            content["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
        for example in named.chain([&content["example"]]).filter(|example| !example.is_null()) {
            let text = example.to_string();
            let body = text.as_bytes();
            let refused = match schema {
                "LeadsQuery" => shared::model::LeadsQuery::parse(body).err(),
                "SignUp" => SignUp::parse(body).err(),
                "NewToken" => NewToken::parse(body, Timestamp::now()).err(),
                "WhitelistChange" => shared::model::WhitelistChange::parse(body).err(),
                "NewRole" => shared::model::NewRole::parse(body).err(),
                "RoleChange" => shared::model::RoleChange::parse(body).err(),
                "NewBucket" => shared::model::NewBucket::parse(body).err(),
                "BucketChange" => shared::model::BucketChange::parse(body).err(),
                "ClientChange" => ClientChange::parse(body).err(),
                "Routing" => Object::parse(body).unwrap().only(&[]).err(),
                other => panic!("{other} is of no model"),
            };
            assert_eq!(refused, None, "{route} {example}");
            read += 1;
        }
    }
    assert!(read >= 17, "{read}");
}

#[test]
fn the_partners_document_is_a_part_of_the_whole() {
    let (whole, partners) = (document(), serde_json::to_value(openapi::partner_document()).unwrap());
    let (all, shown) = (operations(&whole), operations(&partners));
    for (route, operation) in &all {
        let for_operators = ["/api/admin/", "/console", "/docs/admin", "-admin.json"];
        let for_operators = for_operators.iter().any(|part| route.contains(part));
        assert_eq!(shown.get(route), (!for_operators).then_some(operation), "{route}");
    }
    let text = partners.to_string();
    for schema in partners["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("#/components/schemas/{schema}\"")), "{schema} is not referred to");
    }
    assert!(partners["components"]["schemas"]["Client"].is_null());
}

#[test]
fn the_collection_holds_no_secrets_and_every_operation() {
    let collection = openapi::postman::collection(&document()).unwrap();
    let text = collection.to_string();
    for (_, operation) in operations(&document()) {
        let named = format!("\"name\":\"{}", operation["summary"].as_str().unwrap());
        assert!(text.contains(&named), "{named}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    let environment = fs::read_to_string(folder.join("wbcs.postman_environment.json")).unwrap();
    let environment: Value = serde_json::from_str(&environment).unwrap();
    for value in environment["values"].as_array().unwrap() {
        let is_secret = value["type"] == "secret";
        assert_eq!(is_secret, value["value"] == "", "{value}");
    }
    for text in [text, environment.to_string()] {
        let tokens = text
            .split("wbcs_")
            .skip(1)
            .filter(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).count() > 20);
        assert_eq!(tokens.count(), 0);
    }
}
