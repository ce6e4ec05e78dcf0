//! Lambda's filters of events, as far as the template uses them: exact values and `exists`.

use anyhow::{Result, bail};
use serde_json::Value;

/// Patterns, one of which a record has to match; none lets everything through.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    patterns: Vec<Value>,
}

impl Filter {
    pub(super) fn parse(patterns: &[Value]) -> Result<Self> {
        patterns.iter().try_for_each(check)?;
        Ok(Self { patterns: patterns.to_vec() })
    }

    pub(super) fn matches(&self, record: &Value) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| matches(pattern, Some(record)))
    }
}

/// Refuses a rule that would be taken for something else here than in production.
fn check(pattern: &Value) -> Result<()> {
    match pattern {
        Value::Object(fields) => fields.values().try_for_each(check),
        Value::Array(rules) => rules.iter().try_for_each(|rule| match rule {
            Value::Object(_) if exists(rule).is_none() => bail!("the filter's rule {rule} is not known here"),
            Value::Array(_) => bail!("the filter's rule {rule} is none"),
            _ => Ok(()),
        }),
        other => bail!("the filter's {other} is neither an object nor a list of rules"),
    }
}

fn matches(pattern: &Value, value: Option<&Value>) -> bool {
    match pattern {
        Value::Object(fields) => {
            fields.iter().all(|(name, pattern)| matches(pattern, value.and_then(|value| value.get(name))))
        }
        Value::Array(rules) => rules.iter().any(|rule| match exists(rule) {
            Some(expected) => value.is_some() == expected,
            None => value == Some(rule),
        }),
        _ => false,
    }
}

fn exists(rule: &Value) -> Option<bool> {
    let fields = rule.as_object().filter(|fields| fields.len() == 1)?;
    fields.get("exists")?.as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;
    use serde_json::json;

    #[test]
    fn the_templates_filter_lets_new_clients_through_that_ask_for_an_email() {
        let template = Template::built_in().unwrap();
        let function = template.functions.iter().find(|known| known.name == "registration-email").unwrap();
        let filter = Filter::parse(&function.streams[0].patterns).unwrap();
        let record =
            |event: &str, image: Value| json!({ "eventName": event, "dynamodb": { "NewImage": image } });
        let asked = json!({ "sendEmail": { "BOOL": true }, "id": { "S": "1" } });
        assert!(filter.matches(&record("INSERT", asked.clone())));
        for other in [
            record("MODIFY", asked.clone()),
            record("REMOVE", Value::Null),
            record("INSERT", json!({ "sendEmail": { "BOOL": false } })),
            record("INSERT", json!({ "sendEmail": { "S": "true" } })),
            record("INSERT", json!({})),
            json!({}),
        ] {
            assert!(!filter.matches(&other), "{other}");
        }
    }

    #[test]
    fn rules_are_values_and_existence() {
        let filter =
            Filter::parse(&[json!({ "a": { "b": [1, null, { "exists": false }] }, "c": ["x"] })]).unwrap();
        for (record, expected) in [
            (json!({ "a": { "b": 1 }, "c": "x" }), true),
            (json!({ "a": { "b": null }, "c": "x" }), true),
            (json!({ "c": "x" }), true),
            (json!({ "a": { "b": 2 }, "c": "x" }), false),
            (json!({ "a": { "b": 1 } }), false),
        ] {
            assert_eq!(filter.matches(&record), expected, "{record}");
        }
        assert!(Filter::parse(&[]).unwrap().matches(&json!({})));
        for unknown in [json!({ "a": [{ "prefix": "x" }] }), json!({ "a": "x" }), json!({ "a": [["x"]] })] {
            assert!(Filter::parse(&[unknown]).is_err());
        }
    }
}
