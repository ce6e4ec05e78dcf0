//! What operators rely on: logs, alarms with their run-books, the dashboard, tags, parameters. Nothing of it
//! may be forgotten when a function, a table or an alarm comes along.

use local::template::Template;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name)).unwrap()
}

fn template() -> Template {
    Template::built_in().unwrap()
}

fn section(template: &Template, name: &str) -> Map<String, Value> {
    template.section(name).as_object().unwrap().clone()
}

/// Properties of all resources of a type, by logical id.
fn of_type(template: &Template, kind: &str) -> BTreeMap<String, Value> {
    let resources = section(template, "Resources").into_iter();
    let found = resources.filter(|(_, resource)| resource["Type"] == kind);
    found.map(|(id, resource)| (id, resource["Properties"].clone())).collect()
}

fn functions(template: &Template) -> BTreeSet<String> {
    template.functions.iter().map(|function| function.logical_id.clone()).collect()
}

fn tables(template: &Template) -> BTreeSet<String> {
    template.tables.iter().map(|table| table.name.clone()).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

// ------------------------------------------------------------------------------------------ routes

/// API Gateway's HTTP APIs refuse such a route, and SAM leaves it out without a word.
#[test]
fn no_route_ends_in_a_slash() {
    for route in template().functions.iter().flat_map(|function| &function.routes) {
        assert!(!route.path.ends_with('/'), "{} {}", route.method, route.path);
    }
}

/// At least a second before Lambda ends the function, which ends before API Gateway stops waiting for it: 30 s.
#[test]
fn an_answer_that_comes_late_comes_from_the_function() {
    let template = template();
    let timeout = template.section("Globals")["Function"]["Timeout"].as_u64().unwrap();
    assert!(shared::http::ANSWER_WITHIN.as_secs() < timeout && timeout < 30);
    let own = of_type(&template, "AWS::Serverless::Function");
    for function in template.functions.iter().filter(|function| !function.routes.is_empty()) {
        assert_eq!(own[&function.logical_id]["Timeout"], Value::Null, "{}", function.logical_id);
    }
}

// ------------------------------------------------------------------------------------------ logs

#[test]
fn each_function_has_a_log_group_of_its_name_that_is_kept_for_a_time() {
    let template = template();
    for function in &template.functions {
        let id = &function.logical_id;
        let group = template.resource(id)["Properties"]["LoggingConfig"]["LogGroup"]["Ref"].as_str();
        let group = group.unwrap_or_else(|| panic!("{id} logs to a group that the stack does not know"));
        assert_eq!(group, id.replace("Function", "LogGroup"));
        let group = template.resource(group);
        assert_eq!(group["Type"], "AWS::Logs::LogGroup", "{id}");
        let name = format!("/aws/lambda/${{AWS::StackName}}/{}", function.name);
        assert_eq!(group["Properties"]["LogGroupName"]["Fn::Sub"], name.as_str());
    }
    for (id, group) in of_type(&template, "AWS::Logs::LogGroup") {
        assert_eq!(group["RetentionInDays"]["Ref"], "LogRetentionDays", "{id}");
    }
}

/// A path names affiliates, and autologin's is the link; addresses, user agents and headers are people's.
#[test]
fn the_access_log_tells_what_happened_and_nothing_of_people() {
    const HARMLESS: [&str; 14] = [
        "awsEndpointRequestId",
        "domainName",
        "error.message",
        "error.responseType",
        "integrationErrorMessage",
        "integrationLatency",
        "integrationStatus",
        "protocol",
        "requestId",
        "requestTime",
        "responseLatency",
        "responseLength",
        "routeKey",
        "status",
    ];
    let format = template().resource("Api")["Properties"]["AccessLogSettings"]["Format"].clone();
    let line: BTreeMap<String, String> = serde_json::from_str(text(&format)).unwrap();
    let logged: BTreeSet<&str> =
        line.values().map(|variable| variable.strip_prefix("$context.").unwrap()).collect();
    assert_eq!(logged, BTreeSet::from(HARMLESS));
}

// ---------------------------------------------------------------------------------------- alarms

/// A metric that an alarm watches: its name, and the dimensions' values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Watched {
    metric: String,
    of: Vec<String>,
}

fn watched(metric: &Value) -> Watched {
    let value = |dimension: &Value| {
        let value = &dimension["Value"];
        let named = value["Ref"].as_str().or(value["Fn::GetAtt"].as_str()).or(value.as_str());
        named.unwrap_or_else(|| panic!("{dimension}")).to_owned()
    };
    Watched {
        metric: format!("{} {}", text(&metric["Namespace"]), text(&metric["MetricName"])),
        of: array(&metric["Dimensions"]).iter().map(value).collect(),
    }
}

fn metrics_of(alarm: &Value) -> Vec<Watched> {
    let Some(queries) = alarm["Metrics"].as_array() else { return vec![watched(alarm)] };
    queries.iter().filter_map(|query| query["MetricStat"].get("Metric")).map(watched).collect()
}

fn all_watched(template: &Template) -> Vec<Watched> {
    of_type(template, "AWS::CloudWatch::Alarm").values().flat_map(metrics_of).collect()
}

#[test]
fn each_functions_errors_and_throttles_are_watched_by_one_alarm() {
    let template = template();
    let all = all_watched(&template);
    for metric in ["AWS/Lambda Errors", "AWS/Lambda Throttles"] {
        for function in functions(&template) {
            let wanted = Watched { metric: metric.to_owned(), of: vec![function] };
            assert_eq!(all.iter().filter(|one| **one == wanted).count(), 1, "{wanted:?}");
        }
    }
    for metric in ["5xx", "Latency", "IntegrationLatency"] {
        let wanted = Watched { metric: format!("AWS/ApiGateway {metric}"), of: vec!["Api".into()] };
        assert!(all.contains(&wanted), "{wanted:?}");
    }
}

#[test]
fn throttles_of_each_table_and_of_each_index_of_clients_are_watched() {
    let template = template();
    let all = all_watched(&template);
    for metric in ["AWS/DynamoDB ReadThrottleEvents", "AWS/DynamoDB WriteThrottleEvents"] {
        let mut wanted: Vec<Vec<String>> = tables(&template).into_iter().map(|table| vec![table]).collect();
        let clients = &template.resource("ClientsTable")["Properties"];
        for index in array(&clients["GlobalSecondaryIndexes"]) {
            wanted.push(vec!["ClientsTable".to_owned(), text(&index["IndexName"]).to_owned()]);
        }
        for of in wanted {
            let wanted = Watched { metric: metric.to_owned(), of };
            assert_eq!(all.iter().filter(|one| **one == wanted).count(), 1, "{wanted:?}");
        }
    }
}

/// What CloudFormation finds out only when it makes the alarm.
#[test]
fn each_alarm_is_one_that_cloudwatch_takes() {
    for (id, alarm) in of_type(&template(), "AWS::CloudWatch::Alarm") {
        let Some(queries) = alarm["Metrics"].as_array() else {
            let statistics = [&alarm["Statistic"], &alarm["ExtendedStatistic"]];
            assert_eq!(statistics.iter().filter(|statistic| statistic.is_string()).count(), 1, "{id}");
            assert!(alarm["Period"].is_u64(), "{id}");
            continue;
        };
        let (expressions, metrics): (Vec<&Value>, Vec<&Value>) =
            queries.iter().partition(|query| !query["Expression"].is_null());
        assert!((1..=10).contains(&metrics.len()), "{id} has {} metrics", metrics.len());
        assert_eq!(expressions.len(), 1, "{id}");
        let expression = &expressions[0]["Expression"];
        let expression = text(expression.get("Fn::Sub").unwrap_or(expression));
        let mut ids = BTreeSet::new();
        for metric in &metrics {
            let name = text(&metric["Id"]);
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()), "{id}: {name}");
            assert!(ids.insert(name), "{id} has two metrics {name}");
            assert_eq!(metric["ReturnData"], false, "{id}: {name}");
            assert_eq!(metric["MetricStat"]["Period"], metrics[0]["MetricStat"]["Period"], "{id}");
            assert!(expression.contains("METRICS()") || expression.contains(name), "{id} ignores {name}");
        }
    }
}

#[test]
fn each_alarm_says_what_it_means_and_has_a_run_book() {
    let template = template();
    let alarms = of_type(&template, "AWS::CloudWatch::Alarm");
    let topic = serde_json::json!([{ "Ref": "AlarmTopicArn" }]);
    for (id, alarm) in &alarms {
        assert!(text(&alarm["AlarmDescription"]).len() > 60, "{id} says little");
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{id}");
        for actions in ["AlarmActions", "OKActions"] {
            let given = &alarm[actions]["Fn::If"];
            assert_eq!((&given[0], &given[1]), (&"HasAlarmTopic".into(), &topic), "{id}: {actions}");
        }
    }
    let manual = file("docs/operations.md");
    let books: BTreeSet<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.ends_with("Alarm"))
        .collect();
    let ids: BTreeSet<&str> = alarms.keys().map(String::as_str).collect();
    assert_eq!(books, ids, "alarms' headings in docs/operations.md, and the template's alarms");
}

// ------------------------------------------------------------------------------------- dashboard

/// The dashboard with `${Name}` as `<Name>`, and the names.
fn dashboard(template: &Template) -> (Value, BTreeSet<String>) {
    let body = &template.resource("Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"];
    let (mut plain, mut names) = (String::new(), BTreeSet::new());
    let mut rest = text(body);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap();
        plain.push_str(&format!("{before}<{name}>"));
        names.insert(name.to_owned());
        rest = after;
    }
    plain.push_str(rest);
    (serde_json::from_str(&plain).unwrap(), names)
}

/// Rows of all metric widgets, without their options.
fn rows(dashboard: &Value) -> Vec<Vec<String>> {
    let widgets = array(&dashboard["widgets"]).iter();
    let rows = widgets.flat_map(|widget| array(&widget["properties"]["metrics"]));
    rows.map(|row| array(row).iter().filter_map(Value::as_str).map(str::to_owned).collect()).collect()
}

#[test]
fn the_dashboard_refers_to_what_there_is() {
    let template = template();
    let (dashboard, names) = dashboard(&template);
    let resources = section(&template, "Resources");
    for name in names.iter().filter(|name| !name.starts_with("AWS::")) {
        let id = name.split('.').next().unwrap();
        assert!(resources.contains_key(id), "the dashboard shows {name}, which is not there");
    }
    for row in rows(&dashboard).iter().filter(|row| !row.is_empty()) {
        let of = |dimension: &str| {
            let at = row.iter().position(|part| part == dimension)?;
            Some(row[at + 1].trim_matches(['<', '>']).to_owned())
        };
        let kinds = [
            ("FunctionName", "AWS::Serverless::Function"),
            ("TableName", "AWS::DynamoDB::Table"),
            ("ApiId", "AWS::Serverless::HttpApi"),
        ];
        for (dimension, kind) in kinds {
            let Some(id) = of(dimension) else { continue };
            assert_eq!(resources[&id]["Type"], kind, "{row:?}");
        }
        let known = ["AWS/ApiGateway", "AWS/DynamoDB", "AWS/Lambda", "AWS/SES", "AWS/SQS"];
        assert!(known.contains(&row[0].as_str()), "{row:?}");
    }
}

#[test]
fn the_dashboard_shows_each_alarm_function_and_table() {
    let template = template();
    let (dashboard, _) = dashboard(&template);
    let rows = rows(&dashboard);
    let shown = |namespace: &str, metric: &str, dimension: &str| -> BTreeSet<String> {
        let rows = rows.iter().filter(|row| row.len() == 4 && row[..3] == [namespace, metric, dimension]);
        rows.map(|row| row[3].trim_matches(['<', '>']).to_owned()).collect()
    };
    for metric in ["Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"] {
        assert_eq!(shown("AWS/Lambda", metric, "FunctionName"), functions(&template), "{metric}");
    }
    for metric in [
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    ] {
        assert_eq!(shown("AWS/DynamoDB", metric, "TableName"), tables(&template), "{metric}");
    }
    let widgets = array(&dashboard["widgets"]);
    let alarms: BTreeSet<String> = widgets
        .iter()
        .flat_map(|widget| array(&widget["properties"]["alarms"]))
        .map(|arn| text(arn).trim_matches(['<', '>']).replace(".Arn", ""))
        .collect();
    assert_eq!(alarms, of_type(&template, "AWS::CloudWatch::Alarm").into_keys().collect());
    let queries: Vec<&str> = widgets.iter().map(|widget| text(&widget["properties"]["query"])).collect();
    for function in functions(&template) {
        let source = format!("SOURCE '<{}>'", function.replace("Function", "LogGroup"));
        assert!(queries.iter().any(|query| query.contains(&source)), "{function} in no query");
    }
}

#[test]
fn the_dashboards_widgets_lie_beside_each_other() {
    let (dashboard, _) = dashboard(&template());
    let mut taken = BTreeSet::new();
    for widget in array(&dashboard["widgets"]) {
        let [x, y, width, height] = ["x", "y", "width", "height"].map(|key| widget[key].as_u64().unwrap());
        assert!(x + width <= 24, "{}", widget["properties"]["title"]);
        for place in (y..y + height).flat_map(|row| (x..x + width).map(move |column| (row, column))) {
            assert!(taken.insert(place), "{} lies on another widget", widget["properties"]["title"]);
        }
    }
}

// ------------------------------------------------------------------------ parameters, tags, data

#[test]
fn each_parameter_is_described_and_in_one_group() {
    let template = template();
    let groups = &template.section("Metadata")["AWS::CloudFormation::Interface"]["ParameterGroups"];
    let mut grouped: Vec<&str> =
        array(groups).iter().flat_map(|group| array(&group["Parameters"])).map(text).collect();
    grouped.sort_unstable();
    let parameters = section(&template, "Parameters");
    let mut known: Vec<&str> = parameters.keys().map(String::as_str).collect();
    known.sort_unstable();
    assert_eq!(grouped, known);
    for (name, parameter) in &parameters {
        assert!(text(&parameter["Description"]).len() > 20, "{name} is not described");
        let says_what_it_takes = !parameter["ConstraintDescription"].is_null();
        assert_eq!(parameter["AllowedPattern"].is_null(), !says_what_it_takes, "{name}");
    }
}

#[test]
fn settings_of_deployments_name_parameters_that_there_are() {
    let parameters = section(&template(), "Parameters");
    let settings = file("samconfig.toml");
    let mut environments = BTreeMap::<&str, BTreeSet<&str>>::new();
    let mut environment = "";
    for line in settings.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(".deploy.parameters]")) {
            environment = name;
        }
        // Commented examples as well.
        let quoted = line.split('"').skip(1).step_by(2).filter(|_| line.starts_with("    "));
        for name in quoted.filter_map(|pair| pair.split_once('=')).map(|(name, _)| name) {
            assert!(parameters.contains_key(name), "{environment}: {name}");
            environments.entry(environment).or_default().insert(name);
        }
    }
    assert_eq!(environments.keys().copied().collect::<Vec<_>>(), ["dev", "prod"]);
    for (environment, given) in environments {
        for (name, _) in parameters.iter().filter(|(_, parameter)| parameter["Default"].is_null()) {
            assert!(given.contains(name.as_str()), "{environment} does not give {name}");
        }
    }
    assert!(settings.contains("confirm_changeset = true"));
}

#[test]
fn everything_that_takes_tags_is_tagged() {
    let template = template();
    let tag = |name: &str| serde_json::json!({ "Key": name, "Value": { "Ref": name } });
    let (list, map) = (
        Value::Array(vec![tag("Service"), tag("Environment")]),
        serde_json::json!({ "Service": { "Ref": "Service" }, "Environment": { "Ref": "Environment" } }),
    );
    for (id, resource) in section(&template, "Resources") {
        let tags = &resource["Properties"]["Tags"];
        match text(&resource["Type"]) {
            "AWS::Serverless::Function" | "AWS::Serverless::HttpApi" => {
                let globals = text(&resource["Type"]).rsplit("::").next().unwrap();
                assert!(tags.is_null(), "{id}");
                assert_eq!(template.section("Globals")[globals]["Tags"], map, "{id}");
            }
            "AWS::ApiGatewayV2::DomainName" => assert_eq!(*tags, map, "{id}"),
            // These take none.
            "AWS::ApiGatewayV2::ApiMapping" | "AWS::CloudWatch::Dashboard" | "AWS::Route53::RecordSet" => {
                assert!(tags.is_null(), "{id}")
            }
            _ => assert_eq!(*tags, list, "{id}"),
        }
    }
}

/// In the role itself: Lambda refuses tracing to a role that may not write traces yet.
#[test]
fn tracing_is_allowed_to_each_function_and_only_where_it_is_on() {
    let template = template();
    let traces = serde_json::json!({
        "PolicyName": "tracing",
        "PolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow", "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "Resource": "*",
            }],
        },
    });
    // A policy of its own: linters look at none that has a condition within.
    let wanted = serde_json::json!({ "Fn::If": ["HasTracing", traces, { "Ref": "AWS::NoValue" }] });
    for id in functions(&template) {
        let role = template.resource(&id.replace("Function", "Role"));
        let policies = array(&role["Properties"]["Policies"]).iter();
        let traced: Vec<&Value> = policies.filter(|policy| policy.to_string().contains("xray:")).collect();
        assert_eq!(traced, [&wanted], "{id}");
    }
    assert_eq!(template.section("Parameters")["Tracing"]["Default"], "PassThrough");
}

/// docs/operations.md restores tables, and cuts them out of the template by these headings.
#[test]
fn each_table_outlives_mistakes_and_stands_among_the_tables() {
    let template = template();
    let yaml = file("template.yaml");
    let cut = yaml.split("--- Tables").nth(1).unwrap().split("--- Alarms").next().unwrap();
    for id in tables(&template) {
        let table = template.resource(&id);
        assert_eq!(
            (&table["DeletionPolicy"], &table["UpdateReplacePolicy"]),
            (&"Retain".into(), &"Retain".into()),
            "{id}"
        );
        let properties = &table["Properties"];
        assert_eq!(
            properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true,
            "{id}"
        );
        assert_eq!(properties["DeletionProtectionEnabled"]["Ref"], "DeletionProtection", "{id}");
        assert_eq!(properties["SSESpecification"]["SSEEnabled"], true, "{id}");
        assert!(cut.contains(&format!("\n  {id}:\n")), "{id}");
    }
    assert_eq!(cut.matches("\n    Type: ").count(), tables(&template).len());
}
