//! What is measured: events, what their answers have to be, and what is compared with what.

use crate::data::{self, AFFILIATE, BUCKET, Data, REGISTERING, SOURCES};
use crate::front::Front;
use crate::quota::Quota;
use crate::runtime::{Check, Program};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Stands for a number of its own in each event of a case.
const NUMBER: &str = "%NUMBER%";

/// Cases that are measured in turns, and compared with one of them.
#[derive(Debug)]
pub(crate) struct Group {
    /// As `--only` takes it.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// Label of the case that ratios are to.
    pub(crate) base: &'static str,
    /// Whether cold starts are measured as well.
    pub(crate) cold: bool,
    /// Whether what its calls to DynamoDB cost is measured as well.
    pub(crate) capacity: bool,
    /// Of how many invocations one is made here: the larger the work, the fewer are needed.
    pub(crate) share: usize,
    pub(crate) cases: Vec<Case>,
}

/// A program and the event that it gets again and again.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) label: String,
    pub(crate) program: Program,
    pub(crate) event: Event,
    pub(crate) check: Check,
    /// The processor that it gets, of a function of so much memory in MB; all of it otherwise.
    pub(crate) limit: Option<(usize, Arc<Quota>)>,
}

/// An event's text.
#[derive(Clone, Debug)]
pub(crate) struct Event(String);

impl Event {
    /// The text, with this number in it where it has to differ from the others.
    pub(crate) fn text(&self, number: usize) -> std::borrow::Cow<'_, str> {
        if self.0.contains(NUMBER) {
            self.0.replace(NUMBER, &number.to_string()).into()
        } else {
            self.0.as_str().into()
        }
    }
}

/// Programs by name; of the baselines, those that there are on this machine.
#[derive(Debug)]
pub(crate) struct Programs(pub(crate) Vec<Program>);

impl Programs {
    fn get(&self, name: &str) -> Result<Program> {
        let found = self.0.iter().find(|program| program.name == name);
        found.cloned().with_context(|| format!("{name} was not built"))
    }

    /// A function, and beside it all programs that do the same.
    fn compared(&self, function: &str, event: &Event, check: &Check) -> Result<Vec<Case>> {
        let case = |program: Program| Case {
            label: program.name.to_owned(),
            program,
            event: event.clone(),
            check: check.clone(),
            limit: None,
        };
        let mut cases = vec![case(self.get(function)?)];
        cases.extend(["naive", "node", "python"].iter().filter_map(|name| self.get(name).ok()).map(case));
        cases.extend(self.hello(event));
        Ok(cases)
    }

    /// The floor, where it was built.
    fn hello(&self, event: &Event) -> Option<Case> {
        Some(Case {
            label: "hello".to_owned(),
            program: self.get("hello").ok()?,
            event: event.clone(),
            check: answers(200, "hello"),
            limit: None,
        })
    }
}

/// Everything that is measured.
pub(crate) fn groups(data: &Data, programs: &Programs, front: &Front) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for (name, title, count, share, cold) in [
        ("leads-1", "Leads by one email", 1, 1, false),
        ("leads-100", "Leads by 100 emails", 100, 1, true),
        ("leads-5000", "Leads by 5,000 emails", 5000, 20, false),
    ] {
        let event = leads(&data.partner, &json!({"emails": emails(data, count), "limit": 5000}));
        let cases = programs.compared("leads", &event, &found(count))?;
        groups.push(Group {
            name,
            title: title.to_owned(),
            base: "naive",
            cold,
            capacity: false,
            share,
            cases,
        });
    }
    for (name, limit, share) in [("pages-100", 100, 1), ("pages-5000", 5000, 20)] {
        groups.push(pages(data, programs, name, limit, share)?);
    }
    let body = sign_up_body(NUMBER);
    let event = event("POST", SIGN_UP, "x-api-key", &data.sign_up_key, &[], Some(&body));
    groups.push(Group {
        name: "sign-up",
        title: "Sign-up".to_owned(),
        base: "naive",
        cold: true,
        capacity: false,
        share: 1,
        cases: programs.compared("signup", &event, &answers(200, "\"id\""))?,
    });
    if let Some(leads) = groups.iter().find(|group| group.name == "leads-100") {
        groups.push(over_tls(leads, front));
    }
    groups.push(refused(data, programs)?);
    let event = self::event("GET", "/api/public/token", "authorization", &data.partner, &[], None);
    let own = Case {
        label: "token".to_owned(),
        program: programs.get("token")?,
        event: event.clone(),
        check: answers(200, AFFILIATE),
        limit: None,
    };
    groups.push(Group {
        name: "token",
        title: "A token's check of itself".to_owned(),
        base: "hello",
        cold: true,
        capacity: false,
        share: 1,
        cases: [own].into_iter().chain(programs.hello(&event)).collect(),
    });
    Ok(groups)
}

/// Where the deepest page begins, of a bucket of this many leads.
pub(crate) fn deepest(leads: usize) -> usize {
    leads.saturating_sub(5000).min(1_000_000)
}

fn pages(data: &Data, programs: &Programs, name: &'static str, limit: usize, share: usize) -> Result<Group> {
    let deepest = deepest(data.leads);
    let since = data::created(data.leads / 2, data.leads);
    let updated = json!([since.to_string(), i64::from(u32::MAX).saturating_mul(1000).to_string()]);
    let mut cases = Vec::new();
    for (label, body) in [
        ("offset 0".to_owned(), json!({"limit": limit})),
        ("offset 1,000".to_owned(), json!({"limit": limit, "offset": 1000})),
        (format!("offset {}", thousands(deepest)), json!({"limit": limit, "offset": deepest})),
        ("by updatedDate".to_owned(), json!({"limit": limit, "filters": {"updatedDate": updated}})),
    ] {
        let event = leads(&data.partner, &body);
        cases.push(Case { label, program: programs.get("leads")?, event, check: found(limit), limit: None });
    }
    Ok(Group {
        name,
        title: format!("A page of {} of a bucket of {} leads", thousands(limit), thousands(data.leads)),
        base: "offset 0",
        cold: false,
        capacity: true,
        share,
        cases,
    })
}

/// The same work through a TLS front; without the program that calls nobody.
fn over_tls(group: &Group, front: &Front) -> Group {
    let mut cases = group.cases.clone();
    cases.retain(|case| case.label != "hello");
    for case in &mut cases {
        case.program.environment.extend(front.environment());
    }
    Group { name: "tls", title: format!("{} over TLS", group.title), cases, ..*group }
}

fn refused(data: &Data, programs: &Programs) -> Result<Group> {
    let nothing = json!({});
    let sign_up = |token: &str| event("POST", SIGN_UP, "x-api-key", token, &[], Some(&nothing));
    let mut cases = Vec::new();
    for (label, function, event, code) in [
        ("leads, malformed", "leads", leads(&data.malformed, &nothing), "X-0005"),
        ("leads, unknown", "leads", leads(&data.unknown, &nothing), "X-0005"),
        ("sign-up, malformed", "signup", sign_up(&data.malformed), "Invalid secret key"),
        ("sign-up, unknown", "signup", sign_up(&data.unknown), "Invalid secret key"),
    ] {
        let (label, program) = (label.to_owned(), programs.get(function)?);
        cases.push(Case { label, program, event, check: answers(401, code), limit: None });
    }
    cases.extend(programs.hello(&leads(&data.malformed, &nothing)));
    Ok(Group {
        name: "refused",
        title: "A refused token".to_owned(),
        base: "hello",
        cold: false,
        capacity: false,
        share: 1,
        cases,
    })
}

/// The path of sign-ups.
pub(crate) const SIGN_UP: &str = "/tradersroom/api/auth/signup";

/// The path of leads.
pub(crate) fn leads_path() -> String {
    format!("/api/public/buckets/{BUCKET}/{AFFILIATE}/leads")
}

/// Emails of leads that there are, from all over the bucket.
pub(crate) fn emails(data: &Data, count: usize) -> Vec<String> {
    (0..count).map(|at| data::email(at * (data.leads / count))).collect()
}

/// A sign-up's body; the name makes its email another one than all others.
pub(crate) fn sign_up_body(name: &str) -> Value {
    json!({
        "email": format!("john.doe{name}@mail.example.com"), "phone": "+1234567890", "firstName": "John",
        "lastName": "Doe", "affiliateID": REGISTERING, "sourceId": SOURCES[0], "campaignId": "CMP-456",
    })
}

/// Memory sizes of functions, in MB.
const SIZES: [usize; 5] = [128, 256, 512, 1024, 1769];
/// What a call takes until DynamoDB answers.
pub(crate) const DYNAMODB: Duration = Duration::from_millis(4);

/// The functions in the sizes that Lambda offers: the share of a processor that comes with each, and a
/// DynamoDB that is as far away as in a region, over TLS.
pub(crate) fn sizes(groups: &[Group], front: &Front) -> Result<Vec<Group>> {
    let quotas = SIZES.map(|size| Ok::<_, anyhow::Error>((size, Arc::new(Quota::new(size)?))));
    let quotas: Vec<_> = quotas.into_iter().collect::<Result<_>>()?;
    let make = |(name, of, share): (&'static str, &str, usize)| {
        let group = groups.iter().find(|group| group.name == of).context("no such group")?;
        let case = group.cases.first().context("no case")?;
        let cases = quotas.iter().map(|limit| {
            let mut case =
                Case { label: format!("{} MB", limit.0), limit: Some(limit.clone()), ..case.clone() };
            case.program.environment.extend(front.environment());
            case
        });
        Ok(Group {
            name,
            title: format!("{}, by memory size", group.title),
            base: "256 MB",
            cold: true,
            capacity: false,
            share,
            cases: cases.collect(),
        })
    };
    let all = [
        ("memory-leads-100", "leads-100", 2),
        ("memory-pages-100", "pages-100", 2),
        ("memory-leads-5000", "leads-5000", 20),
        ("memory-sign-up", "sign-up", 2),
    ];
    all.into_iter().map(make).collect()
}

fn answers(status: u64, contains: &str) -> Check {
    Check { status, contains: contains.to_owned(), leads: None }
}

fn found(leads: usize) -> Check {
    Check { status: 200, contains: "@mail.example.com".to_owned(), leads: Some(leads) }
}

fn leads(token: &str, body: &Value) -> Event {
    let path = leads_path();
    let parameters = [("bucketId", BUCKET), ("affiliateID", AFFILIATE)];
    event("POST", &path, "authorization", token, &parameters, Some(body))
}

/// An event of API Gateway's HTTP API, payload format 2.0.
fn event(
    method: &str,
    path: &str,
    header: &str,
    token: &str,
    parameters: &[(&str, &str)],
    body: Option<&Value>,
) -> Event {
    let name = |part: &str| {
        let known = parameters.iter().find(|(_, value)| *value == part);
        known.map_or_else(|| part.to_owned(), |(name, _)| format!("{{{name}}}"))
    };
    let route = path.split('/').map(name).collect::<Vec<_>>().join("/");
    let route = format!("{method} {route}");
    let mut event = json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            header: token,
            "content-type": "application/json",
            "host": "api.example.com",
            "user-agent": "curl/8.5.0",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "Jx1abcdEDoEEPlg=",
            "routeKey": route,
            "stage": "$default",
            "time": "24/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_521_600_000_i64,
        },
        "pathParameters": parameters.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "isBase64Encoded": false,
    });
    if let Some(body) = body {
        event["body"] = body.to_string().into();
    }
    Event(event.to_string())
}

/// A number with commas: `1,200,000`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_commas() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn an_event_names_its_route_and_is_numbered() {
        let parameters = [("bucketId", "b"), ("affiliateID", "a")];
        let body = json!({"email": format!("x{NUMBER}@example.com")});
        let event = event("POST", "/buckets/b/a/leads", "authorization", "t", &parameters, Some(&body));
        let value: Value = serde_json::from_str(&event.text(7)).unwrap();
        assert_eq!(value["routeKey"], "POST /buckets/{bucketId}/{affiliateID}/leads");
        assert_eq!(value["body"], r#"{"email":"x7@example.com"}"#);
    }
}
