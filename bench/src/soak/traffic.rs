//! What callers do: partners, and now and then an operator. Each answer is checked.

use super::caller::{Caller, Lost, Reply};
use super::world::{List, REGISTERING, SOURCES, STATUSES, World, leads_path};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shared::http::ANSWER_WITHIN;
use shared::model::Lead;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SIGN_UP: &str = "/tradersroom/api/auth/signup";
const ME: &str = "/tradersroom/api/auth/me";
const CLIENTS: &str = "/api/admin/clients";
const BUCKETS: &str = "/api/admin/buckets";
const TOKENS: &str = "/api/admin/tokens";
/// Sign-ups that a caller remembers, to read and to repeat them.
const REMEMBERED: usize = 20;
/// Wrong answers after which a caller gives up.
const WRONG_MAX: u64 = 20;
/// Wrong answers that are told in full.
const TOLD: usize = 10;
/// Before a caller tries again who got no connection.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ByEmails,
    ByIds,
    ByManyEmails,
    Offset,
    Cursor,
    BySource,
    CreatedDate,
    Status,
    OwnLeads,
    SignUp,
    SignUpOnce,
    Replay,
    EmailTaken,
    SelfCheck,
    Session,
    AdminRead,
    ChangeClient,
    ChangeBucket,
    ChangeToken,
    Refused,
    BadRequest,
    NoRoute,
}

/// Each kind, its name, and of a hundred and some turns its part.
pub(crate) const KINDS: [(Kind, &str, u32); 22] = [
    (Kind::ByEmails, "leads by 1 to 100 emails", 18),
    (Kind::ByIds, "leads by 1 to 100 ids", 5),
    (Kind::ByManyEmails, "leads by 1,000 emails", 1),
    (Kind::Offset, "a page by offset", 13),
    (Kind::Cursor, "a page by cursor", 10),
    (Kind::BySource, "a page of a source", 8),
    (Kind::CreatedDate, "a page by createdDate", 6),
    (Kind::Status, "a page by status", 3),
    (Kind::OwnLeads, "leads signed up before", 5),
    (Kind::SignUp, "sign-up", 8),
    (Kind::SignUpOnce, "sign-up with Idempotency-Key", 6),
    (Kind::Replay, "the same again", 4),
    (Kind::EmailTaken, "sign-up, email taken", 2),
    (Kind::SelfCheck, "token self-check", 6),
    (Kind::Session, "autologin and session", 1),
    (Kind::AdminRead, "admin: read", 3),
    (Kind::ChangeClient, "admin: change a client, and poll", 2),
    (Kind::ChangeBucket, "admin: make and delete a bucket", 1),
    (Kind::ChangeToken, "admin: make, use and delete a token", 1),
    (Kind::Refused, "a refused token", 5),
    (Kind::BadRequest, "a bad request", 4),
    (Kind::NoRoute, "no route", 1),
];

/// Milliseconds of the answers of a kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) took: Vec<f64>,
    pub(crate) wrong: u64,
}

/// What callers have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kinds: BTreeMap<Kind, Figures>,
    /// Milliseconds of the answers 429 and 503.
    pub(crate) shed: Vec<f64>,
    /// Requests that the gateway gave up waiting for.
    pub(crate) too_slow: u64,
    /// Connections that could not be made, with the reason.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) told: Vec<String>,
}

impl Tally {
    /// Requests that were served.
    pub(crate) fn served(&self) -> usize {
        self.kinds.values().map(|figures| figures.took.len()).sum()
    }

    pub(crate) fn wrong(&self) -> u64 {
        self.kinds.values().map(|figures| figures.wrong).sum()
    }

    fn note_wrong(&mut self, kind: Kind, what: String) {
        self.kinds.entry(kind).or_default().wrong += 1;
        if self.told.len() < TOLD {
            let name = KINDS.iter().find(|(known, ..)| *known == kind).map_or("", |(_, name, _)| name);
            self.told.push(format!("{name}: {what}"));
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (kind, figures) in other.kinds {
            let own = self.kinds.entry(kind).or_default();
            own.took.extend(figures.took);
            own.wrong += figures.wrong;
        }
        self.shed.extend(other.shed);
        self.too_slow += other.too_slow;
        for (reason, count) in other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.told.extend(other.told);
        self.told.truncate(TOLD);
    }
}

/// A sign-up that was answered 200.
#[derive(Clone, Debug)]
pub(crate) struct SignedUp {
    pub(crate) email: String,
    pub(crate) id: String,
    /// Whether a registration email was asked for.
    pub(crate) is_mailed: bool,
    /// Number of the bucket it is in.
    pub(crate) bucket: usize,
}

/// What became of sign-ups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) signed_up: Vec<SignedUp>,
    /// Emails of those that were shed: nothing of them was done.
    pub(crate) shed: Vec<String>,
}

impl Ledger {
    pub(crate) fn add(&mut self, other: Self) {
        self.signed_up.extend(other.signed_up);
        self.shed.extend(other.shed);
    }
}

/// A sign-up with an Idempotency-Key.
#[derive(Clone, Debug)]
struct Once {
    key: String,
    body: String,
    id: String,
}

/// Where a caller is who reads page after page.
#[derive(Debug)]
struct Reading {
    list: usize,
    from: usize,
    cursor: String,
}

enum Failure {
    /// Refused for want of room, where that is to be expected.
    Shed,
    /// Taken on, and not answered within the gateway's time, where there is more than fits: done or not.
    TooSlow,
    NoConnection(String),
    Wrong(String),
}

type Done = Result<(), Failure>;

/// Somebody who makes one request after the other.
pub(crate) struct Worker {
    world: Arc<World>,
    caller: Caller,
    random: StdRng,
    /// Begins what this caller makes: no other caller's is the same.
    name: String,
    made: usize,
    sheds: bool,
    reading: Option<Reading>,
    own: Vec<SignedUp>,
    once: Vec<Once>,
    pub(crate) tally: Tally,
    pub(crate) ledger: Ledger,
}

fn expect(is_right: bool, what: impl FnOnce() -> String) -> Done {
    if is_right { Ok(()) } else { Err(Failure::Wrong(what())) }
}

fn shown(reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.body[..reply.body.len().min(400)]);
    format!("{} {body}", reply.status)
}

fn exactly(reply: &Reply, status: u16, body: &[u8]) -> Done {
    expect(reply.status == status && reply.body == body, || {
        let wanted = String::from_utf8_lossy(&body[..body.len().min(400)]);
        format!("answered {}, in place of {status} {wanted}", shown(reply))
    })
}

fn json_of(reply: &Reply, status: u16) -> Result<Value, Failure> {
    expect(reply.status == status, || format!("answered {}, in place of {status}", shown(reply)))?;
    serde_json::from_slice(&reply.body).map_err(|_| Failure::Wrong(format!("no JSON: {}", shown(reply))))
}

fn text(value: &Value) -> Result<&str, Failure> {
    value.as_str().ok_or_else(|| Failure::Wrong(format!("no text: {value}")))
}

fn by_email(lead: &Lead) -> &str {
    &lead.email
}

fn by_id(lead: &Lead) -> &str {
    lead.id.as_str()
}

impl Worker {
    /// The worker of a number in a phase; `sheds`: the stack may refuse for want of room.
    pub(crate) fn new(world: &Arc<World>, seed: u64, phase: &str, number: usize, sheds: bool) -> Self {
        Self {
            world: world.clone(),
            caller: Caller::new(&world.address),
            random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
            name: format!("{phase}{number}"),
            made: 0,
            sheds,
            reading: None,
            own: Vec::new(),
            once: Vec::new(),
            tally: Tally::default(),
            ledger: Ledger::default(),
        }
    }

    /// Asks for each kind once; sign-ups come first, which others follow from.
    pub(crate) async fn ask_all(mut self) -> Self {
        let mut kinds = KINDS.map(|(kind, ..)| kind);
        kinds.sort_by_key(|kind| !matches!(kind, Kind::SignUp | Kind::SignUpOnce));
        for kind in kinds {
            self.ask(kind).await;
        }
        self
    }

    /// Makes requests until then, one at a time; with a pace, no more often than that.
    pub(crate) async fn run(mut self, until: Instant, pace: Option<Duration>) -> Self {
        let parts: u32 = KINDS.iter().map(|(.., part)| part).sum();
        let begun = Instant::now();
        // Not all of them in step.
        let mut due = begun + pace.map_or(Duration::ZERO, |pace| pace.mul_f64(self.random.random()));
        while Instant::now() < until {
            if let Some(pace) = pace {
                tokio::time::sleep_until(due.min(until).into()).await;
                if due >= until {
                    break;
                }
                due = (due + pace).max(Instant::now());
            }
            let mut drawn = self.random.random_range(0..parts);
            let kind = KINDS.iter().find(|(.., part)| match drawn.checked_sub(*part) {
                Some(rest) => {
                    drawn = rest;
                    false
                }
                None => true,
            });
            let Some((kind, ..)) = kind else { break };
            self.ask(*kind).await;
            if self.tally.wrong() >= WRONG_MAX {
                break;
            }
        }
        self
    }

    /// Takes a turn, and notes what came of it.
    async fn ask(&mut self, kind: Kind) {
        match self.turn(kind).await {
            Ok(()) | Err(Failure::Shed) => {}
            Err(Failure::TooSlow) => self.tally.too_slow += 1,
            Err(Failure::NoConnection(reason)) => {
                *self.tally.refused.entry(reason).or_default() += 1;
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            Err(Failure::Wrong(what)) => self.tally.note_wrong(kind, what),
        }
    }

    async fn turn(&mut self, kind: Kind) -> Done {
        match kind {
            Kind::ByEmails => self.by_keys(kind, 100, false).await,
            Kind::ByIds => self.by_keys(kind, 100, true).await,
            Kind::ByManyEmails => self.by_keys(kind, 1000, false).await,
            Kind::Offset | Kind::BySource | Kind::CreatedDate => self.page(kind).await,
            Kind::Cursor => self.next_page().await,
            Kind::Status => self.page_of_status().await,
            Kind::OwnLeads => self.own_leads().await,
            Kind::SignUp | Kind::SignUpOnce => self.sign_up(kind).await,
            Kind::Replay => self.replay().await,
            Kind::EmailTaken => self.email_taken().await,
            Kind::SelfCheck => self.self_check().await,
            Kind::Session => self.session().await,
            Kind::AdminRead => self.admin_read().await,
            Kind::ChangeClient => self.change_client().await,
            Kind::ChangeBucket => self.change_bucket().await,
            Kind::ChangeToken => self.change_token().await,
            Kind::Refused => self.refused().await,
            Kind::BadRequest => self.bad_request().await,
            Kind::NoRoute => {
                let reply = self.send(kind, "GET", "/api/public/nothing", &[], String::new()).await?;
                exactly(&reply, 404, br#"{"message":"Not Found"}"#)
            }
        }
    }

    async fn send(
        &mut self,
        kind: Kind,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Reply, Failure> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.world.address);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| Failure::Wrong(format!("no request: {error}")))?;
        let reply = self.caller.send(request).await.map_err(|lost| match lost {
            Lost::Refused(reason) if self.sheds => Failure::NoConnection(reason),
            Lost::Refused(reason) => Failure::Wrong(format!("no connection: {reason}")),
            Lost::Broken(reason) => Failure::Wrong(reason),
        })?;
        let took = reply.took.as_secs_f64() * 1000.0;
        if self.sheds && matches!(reply.status, 429 | 503) {
            let message = if reply.status == 429 { "Too Many Requests" } else { "Service Unavailable" };
            exactly(&reply, reply.status, json!({ "message": message }).to_string().as_bytes())?;
            if reply.header("retry-after").is_none() {
                // It took the gateway's whole patience.
                return Err(Failure::TooSlow);
            }
            self.tally.shed.push(took);
            return Err(Failure::Shed);
        }
        if self.sheds && reply.status == 500 && reply.took >= ANSWER_WITHIN {
            // The function's whole time.
            return Err(Failure::TooSlow);
        }
        self.tally.kinds.entry(kind).or_default().took.push(took);
        expect(reply.header("x-request-id").is_some(), || format!("no x-request-id: {}", shown(&reply)))?;
        Ok(reply)
    }

    async fn partner(&mut self, kind: Kind, path: &str, body: &Value) -> Result<Reply, Failure> {
        let token = self.world.partner.clone();
        self.send(kind, "POST", path, &[("authorization", &token)], body.to_string()).await
    }

    async fn admin(&mut self, kind: Kind, method: &str, path: &str, body: Value) -> Result<Reply, Failure> {
        let token = self.world.admin.clone();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(kind, method, path, &[("authorization", &token)], body).await
    }

    /// A bucket, the larger the more often.
    fn some_list(&mut self) -> usize {
        let all: usize = self.world.lists.iter().map(|list| list.leads.len()).sum();
        let mut drawn = self.random.random_range(0..all.max(1));
        for (at, list) in self.world.lists.iter().enumerate() {
            match drawn.checked_sub(list.leads.len()) {
                Some(rest) => drawn = rest,
                None => return at,
            }
        }
        0
    }

    async fn by_keys(&mut self, kind: Kind, most: usize, are_ids: bool) -> Done {
        let world = self.world.clone();
        let (at, other) = (self.some_list(), self.some_list());
        let list = &world.lists[at];
        let number = if most > 100 { most } else { self.random.random_range(1..=most) };
        let key = if are_ids { by_id } else { by_email };
        let (mut given, mut found, mut missing) = (Vec::new(), Vec::new(), std::collections::BTreeSet::new());
        for _ in 0..number {
            match self.random.random_range(0..10) {
                0 => {
                    let unknown = format!("nobody{}@example.com", self.random.random_range(0..1_000_000));
                    missing.insert(unknown.clone());
                    given.push(unknown);
                }
                1 if other != at => {
                    let theirs = &world.lists[other].leads;
                    let theirs = key(&theirs[self.random.random_range(0..theirs.len())]).to_owned();
                    missing.insert(theirs.clone());
                    given.push(theirs);
                }
                drawn => {
                    let lead = self.random.random_range(0..list.leads.len());
                    found.push(lead);
                    let text = key(&list.leads[lead]);
                    given.push(match drawn {
                        2 if !are_ids => format!(" {} ", text.to_uppercase()),
                        _ => text.to_owned(),
                    });
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        let mut body = json!({"limit": 5000});
        body[if are_ids { "ids" } else { "emails" }] = given.into();
        if are_ids {
            body["keyBy"] = "id".into();
        }
        let reply = self.partner(kind, &list.path(), &body).await?;
        exactly(&reply, 200, &list.body(found.iter().copied(), key))?;
        let missing = missing.len().to_string();
        expect(reply.header("x-missing-count") == Some(&missing), || {
            format!("x-missing-count is {:?}, in place of {missing}", reply.header("x-missing-count"))
        })
    }

    /// By offset: of a bucket, of a source, or of a span of time.
    async fn page(&mut self, kind: Kind) -> Done {
        let world = self.world.clone();
        let at =
            if kind == Kind::BySource { [0, 2, 3][self.random.random_range(0..3)] } else { self.some_list() };
        let list = &world.lists[at];
        let all = list.leads.len();
        let (mut path, mut body, mut matching) = (list.path(), json!({}), Vec::new());
        match kind {
            Kind::BySource => {
                let source = SOURCES[self.random.random_range(0..SOURCES.len())];
                path = format!("{path}/{source}");
                matching.extend((0..all).filter(|at| list.source(*at) == Some(source)));
            }
            Kind::CreatedDate => {
                let (one, other) = (self.random.random_range(0..all), self.random.random_range(0..all));
                let moment = |at: usize| list.leads[at].created_date.millis();
                let (from, to) = (moment(one.min(other)), moment(one.max(other)));
                body["filters"] = json!({"createdDate": [from.to_string(), to.to_string()]});
                matching.extend((0..all).filter(|at| (from..=to).contains(&moment(*at))));
            }
            _ => matching.extend(0..all),
        }
        let (from, limit) = (self.random.random_range(0..=matching.len() + 5), self.limit());
        body["offset"] = from.into();
        body["limit"] = limit.into();
        let reply = self.partner(kind, &path, &body).await?;
        let to = (from + limit).min(matching.len());
        exactly(&reply, 200, &list.body(matching.iter().copied().take(to).skip(from), by_email))?;
        let (total, next) = (matching.len().to_string(), to.to_string());
        let next = Some(next.as_str()).filter(|_| to < matching.len());
        let headers = ["x-total-count", "x-next-offset"].map(|name| reply.header(name));
        expect(headers == [Some(total.as_str()), next], || format!("{headers:?}: {total} and {next:?} due"))
    }

    fn limit(&mut self) -> usize {
        match self.random.random_range(0..20) {
            0 => self.random.random_range(101..=500),
            _ => self.random.random_range(1..=100),
        }
    }

    /// By cursor, from the first page of a bucket to its last, a page a turn.
    async fn next_page(&mut self) -> Done {
        let world = self.world.clone();
        let limit = self.limit();
        let (at, from, body) = match self.reading.take() {
            Some(Reading { list, from, cursor }) => (list, from, json!({"limit": limit, "cursor": cursor})),
            None => (self.some_list(), 0, json!({"limit": limit})),
        };
        let list = &world.lists[at];
        let reply = self.partner(Kind::Cursor, &list.path(), &body).await?;
        let to = (from + limit).min(list.leads.len());
        exactly(&reply, 200, &list.body(from..to, by_email))?;
        let cursor = reply.header("x-next-cursor").map(str::to_owned);
        expect(cursor.is_some() == (to < list.leads.len()), || format!("cursor {cursor:?} at {to}"))?;
        self.reading = cursor.map(|cursor| Reading { list: at, from: to, cursor });
        Ok(())
    }

    async fn page_of_status(&mut self) -> Done {
        let world = self.world.clone();
        let list = &world.lists[self.some_list()];
        let (status, limit) = (STATUSES[self.random.random_range(0..STATUSES.len())], self.limit());
        let body = json!({"limit": limit, "filters": {"status": [status]}});
        let reply = self.partner(Kind::Status, &list.path(), &body).await?;
        let matching = (0..list.leads.len()).filter(|at| list.leads[*at].status == status);
        exactly(&reply, 200, &list.body(matching.take(limit), by_email))
    }

    async fn sign_up(&mut self, kind: Kind) -> Done {
        self.made += 1;
        let email = format!("{}.{}@load.example.com", self.name, self.made);
        let (bucket, is_mailed) = (self.random.random_range(0..2), self.random.random_range(0..10) == 0);
        let source = (bucket == 0).then(|| SOURCES[self.random.random_range(0..SOURCES.len())]);
        let body = json!({
            "email": email, "phone": "+1234567890", "firstName": "John", "lastName": "Doe",
            "affiliateID": REGISTERING, "sourceId": source, "campaignId": "CMP-456", "sendEmail": is_mailed,
            "billing": {"city": "Berlin"},
        })
        .to_string();
        let once = format!("{}-{}", self.name, self.made);
        let key = self.world.sign_up.clone();
        let headers = [("x-api-key", key.as_str()), ("idempotency-key", once.as_str())];
        let headers = if kind == Kind::SignUpOnce { &headers[..] } else { &headers[..1] };
        let reply = match self.send(kind, "POST", SIGN_UP, headers, body.clone()).await {
            Err(Failure::Shed) => {
                self.ledger.shed.push(email);
                return Err(Failure::Shed);
            }
            reply => reply?,
        };
        let answer = json_of(&reply, 200)?;
        let id = text(&answer["id"])?.to_owned();
        expect(id.len() == 36, || format!("an id of {}", shown(&reply)))?;
        let link = text(&answer["url"])?.contains("/autologin/");
        expect(link, || format!("no link: {}", shown(&reply)))?;
        let signed_up = SignedUp { email, id: id.clone(), is_mailed, bucket };
        self.ledger.signed_up.push(signed_up.clone());
        remember(&mut self.own, signed_up);
        if kind == Kind::SignUpOnce {
            remember(&mut self.once, Once { key: once, body, id });
        }
        Ok(())
    }

    async fn replay(&mut self) -> Done {
        let Some(Once { key: once, body, id }) = self.once.last().cloned() else { return Ok(()) };
        let key = self.world.sign_up.clone();
        let headers = [("x-api-key", key.as_str()), ("idempotency-key", once.as_str())];
        let reply = self.send(Kind::Replay, "POST", SIGN_UP, &headers, body).await?;
        let answer = json_of(&reply, 200)?;
        let is_replay = reply.header("idempotency-replayed") == Some("true");
        expect(is_replay && answer["id"] == *id, || format!("not the answer {id} again: {}", shown(&reply)))
    }

    async fn email_taken(&mut self) -> Done {
        let Some(SignedUp { email, .. }) = self.own.first().cloned() else { return Ok(()) };
        let body = json!({"email": email.to_uppercase(), "phone": "+1234567890", "firstName": "Jane"});
        let key = self.world.sign_up.clone();
        let reply =
            self.send(Kind::EmailTaken, "POST", SIGN_UP, &[("x-api-key", &key)], body.to_string()).await?;
        exactly(&reply, 400, br#"{"message":"User with this email already exists","providerStatus":400}"#)
    }

    async fn own_leads(&mut self) -> Done {
        let bucket = self.random.random_range(0..2);
        let emails: Vec<_> = self.own.iter().map(|one| one.email.clone()).collect();
        if emails.is_empty() {
            return Ok(());
        }
        let path = leads_path(REGISTERING, &self.world.registering[bucket]);
        let reply = self.partner(Kind::OwnLeads, &path, &json!({"emails": emails})).await?;
        let answer = json_of(&reply, 200)?;
        let wanted: BTreeMap<_, _> =
            self.own.iter().filter(|one| one.bucket == bucket).map(own_pair).collect();
        let found = answer.as_object().into_iter().flatten();
        let found: BTreeMap<_, _> =
            found.filter_map(|(email, lead)| Some((email.as_str(), lead["id"].as_str()?))).collect();
        expect(found == wanted, || format!("{wanted:?} were signed up, found: {}", shown(&reply)))
    }

    async fn self_check(&mut self) -> Done {
        let token = self.world.partner.clone();
        let reply = self
            .send(Kind::SelfCheck, "GET", "/api/public/token", &[("authorization", &token)], String::new())
            .await?;
        exactly(
            &reply,
            200,
            br#"{"name":"Load","permissions":["buckets:view-own"],"affiliateIDs":["AFF-1","AFF-2","AFF-3","AFF-9"],"expiresAt":null,"whitelist":[],"address":"127.0.0.1"}"#,
        )
    }

    /// Signs somebody up, follows the link and asks who it is.
    async fn session(&mut self) -> Done {
        let kind = Kind::Session;
        self.made += 1;
        let email = format!("{}.{}@load.example.com", self.name, self.made);
        let body = json!({"email": email, "phone": "+1234567890", "firstName": "John"});
        let key = self.world.sign_up.clone();
        let reply = self.send(kind, "POST", SIGN_UP, &[("x-api-key", &key)], body.to_string()).await?;
        let answer = json_of(&reply, 200)?;
        let url = text(&answer["url"])?;
        let path = url.find("/autologin/").map(|at| &url[at..]);
        let path = path.ok_or_else(|| Failure::Wrong(format!("no link: {url}")))?;
        let page = self.send(kind, "GET", path, &[], String::new()).await?;
        expect(page.status == 200, || format!("the link's page: {}", shown(&page)))?;
        let signed_in = self.send(kind, "POST", path, &[], String::new()).await?;
        let cookie = signed_in.header("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.filter(|_| signed_in.status == 303).map(str::to_owned);
        let cookie = cookie.ok_or_else(|| Failure::Wrong(format!("not signed in: {}", shown(&signed_in))))?;
        let me = json_of(&self.send(kind, "GET", ME, &[("cookie", &cookie)], String::new()).await?, 200)?;
        expect(me["id"] == answer["id"], || format!("signed in as {me}"))
    }

    async fn admin_read(&mut self) -> Done {
        let kind = Kind::AdminRead;
        let world = self.world.clone();
        match (self.random.random_range(0..3), self.own.last().cloned()) {
            (0, Some(SignedUp { email, id, .. })) => {
                let reply = self.admin(kind, "GET", &format!("{CLIENTS}?email={email}"), Value::Null).await?;
                let answer = json_of(&reply, 200)?;
                expect(answer["items"][0]["id"] == *id, || format!("{id} is not in {}", shown(&reply)))
            }
            (1, _) => {
                let list = &world.lists[self.some_list()];
                let path = format!("{BUCKETS}/{}/stats", list.bucket);
                let answer = json_of(&self.admin(kind, "GET", &path, Value::Null).await?, 200)?;
                let statuses = answer["statuses"].as_array().into_iter().flatten();
                let sum: u64 = statuses.filter_map(|one| one["leads"].as_u64()).sum();
                let wanted = list.leads.len() as u64;
                expect(answer["total"] == wanted && sum == wanted, || {
                    format!("{} and {sum} of {wanted} leads", answer["total"])
                })
            }
            _ => {
                let list = &world.lists[self.random.random_range(0..world.lists.len())];
                let path = format!("{BUCKETS}/{}", list.bucket);
                let answer = json_of(&self.admin(kind, "GET", &path, Value::Null).await?, 200)?;
                expect(answer["affiliateID"] == list.affiliate.as_str(), || format!("bucket {answer}"))
            }
        }
    }

    /// Changes a client, and finds it as partners do: by what changed since.
    async fn change_client(&mut self) -> Done {
        let kind = Kind::ChangeClient;
        let Some(SignedUp { email, id, bucket, .. }) = self.own.last().cloned() else { return Ok(()) };
        let status = STATUSES[self.random.random_range(0..STATUSES.len())];
        let path = format!("{CLIENTS}/{id}");
        let changed = json_of(&self.admin(kind, "PATCH", &path, json!({"status": status})).await?, 200)?;
        expect(changed["status"] == status, || format!("changed to {status}: {changed}"))?;
        let since = text(&changed["updatedDate"])?;
        let since = shared::model::Timestamp::parse_iso(since)
            .ok_or_else(|| Failure::Wrong(format!("no time: {since}")))?;
        let path = leads_path(REGISTERING, &self.world.registering[bucket]);
        let body = json!({"limit": 5000, "filters": {"updatedDate": [since.millis().to_string(), null]}});
        let answer = json_of(&self.partner(kind, &path, &body).await?, 200)?;
        let lead = &answer[&email];
        expect(lead["id"] == *id && lead["status"] == status, || {
            format!("{email} is not among what changed since, or as {lead}")
        })
    }

    async fn change_bucket(&mut self) -> Done {
        let kind = Kind::ChangeBucket;
        let new = json!({"name": "For a moment", "affiliateID": format!("AFF-{}", self.name), "sources": []});
        let made = json_of(&self.admin(kind, "POST", BUCKETS, new).await?, 201)?;
        let path = format!("{BUCKETS}/{}", text(&made["id"])?);
        let reply = self.admin(kind, "DELETE", &path, Value::Null).await?;
        exactly(&reply, 204, b"")?;
        let reply = self.admin(kind, "GET", &path, Value::Null).await?;
        expect(reply.status == 404, || format!("deleted, and {}", shown(&reply)))
    }

    async fn change_token(&mut self) -> Done {
        let kind = Kind::ChangeToken;
        let new = json!({"name": "For a moment", "roleId": "partner", "affiliateIDs": ["AFF-1"]});
        let made = json_of(&self.admin(kind, "POST", TOKENS, new).await?, 201)?;
        let (token, path) = (text(&made["token"])?, format!("{TOKENS}/{}", text(&made["id"])?));
        let own = [("authorization", token)];
        let reply = self.send(kind, "GET", "/api/public/token", &own, String::new()).await?;
        expect(reply.status == 200, || format!("made, and {}", shown(&reply)))?;
        let reply = self.admin(kind, "DELETE", &path, Value::Null).await?;
        exactly(&reply, 204, b"")?;
        let reply = self.send(kind, "GET", "/api/public/token", &own, String::new()).await?;
        exactly(&reply, 401, tests::UNAUTHORIZED.as_bytes())
    }

    async fn refused(&mut self) -> Done {
        let world = self.world.clone();
        let malformed = format!("{}x", world.partner);
        let token = if self.random.random() { &world.unknown } else { &malformed };
        if self.random.random() {
            let headers = [("authorization", token.as_str())];
            let path = world.lists[0].path();
            let reply = self.send(Kind::Refused, "POST", &path, &headers, "{}".to_owned()).await?;
            return exactly(&reply, 401, tests::UNAUTHORIZED.as_bytes());
        }
        let headers = [("x-api-key", token.as_str())];
        let reply = self.send(Kind::Refused, "POST", SIGN_UP, &headers, "{}".to_owned()).await?;
        exactly(&reply, 401, tests::INVALID_KEY.as_bytes())
    }

    async fn bad_request(&mut self) -> Done {
        let world = self.world.clone();
        let token = world.partner.as_str();
        let (list, other) = (&world.lists[0], &world.lists[2]);
        let no_bucket = leads_path("AFF-1", "000000000000000000000000");
        let (path, body, message) = match self.random.random_range(0..4) {
            0 => (list.path(), r#"{"limit":0}"#, Some("limit must be an integer from 1 to 5000")),
            1 => (no_bucket, "{}", Some("Bucket with corresponding affiliateID doesn't exist")),
            2 => (
                leads_path(&other.affiliate, &list.bucket),
                "{}",
                Some("Provided bucketId does not belong to the provided affiliateID"),
            ),
            _ => (list.path(), r#"{"emails":"#, None),
        };
        let headers = [("authorization", token)];
        let reply = self.send(Kind::BadRequest, "POST", &path, &headers, body.to_owned()).await?;
        let answer = json_of(&reply, 400)?;
        let is_right = message.is_none_or(|message| answer["message"] == message);
        expect(is_right && answer["statusCode"] == 400, || format!("{message:?}: {answer}"))
    }
}

fn own_pair(one: &SignedUp) -> (&str, &str) {
    (&one.email, &one.id)
}

/// Adds one, and forgets the oldest beyond what is remembered.
fn remember<T>(all: &mut Vec<T>, one: T) {
    if all.len() == REMEMBERED {
        all.remove(0);
    }
    all.push(one);
}

/// Whether a list has what the traffic asks for.
pub(crate) fn is_enough(list: &List) -> bool {
    list.leads.len() >= 100
}
