//! What partners and their clients' browsers call.

use crate::operation::{API_KEY, AUTHORIZATION, Described};
use crate::schema::text;
use serde_json::{Value, json};
use shared::ApiError;
use shared::http::Envelope;
use shared::model::{Invalid, LeadsQuery, SignUp};
use utoipa::openapi::HttpMethod;

pub(crate) const LEADS: &str = "Buckets Leads Status";
pub(crate) const SIGN_UP: &str = "Traders Room Sign Up";
pub(crate) const SELF_CHECK: &str = "Token Self-check";
pub(crate) const AUTOLOGIN: &str = "Autologin";
pub(crate) const SESSION: &str = "Session";

const VIEWS: [&str; 2] = ["buckets:view-own", "buckets:view-all"];

pub(crate) fn operations() -> Vec<Described> {
    vec![leads(), leads_by_source(), sign_up(), token(), autologin_show(), autologin_head(), autologin_use()]
        .into_iter()
        .chain([session_me(), session_logout(), session_page(), session_pages()])
        .collect()
}

/// The message that the model has for a body, as an error.
fn refused<T>(parsed: Result<T, Invalid>) -> ApiError {
    match parsed {
        Err(invalid) => invalid.into(),
        Ok(_) => ApiError::bad_request(""),
    }
}

fn bad_leads_bodies() -> Vec<ApiError> {
    [r#"{"limit":0}"#, r#"{"filters":{"createdDate":["1776172330450"]}}"#, r#"{"ids":["a",7]}"#]
        .map(|body| refused(LeadsQuery::parse(body.as_bytes())))
        .into()
}

fn published_leads() -> Value {
    json!({
        "user1@example.com": {
            "id": "69ce524d741e8f2238329fff",
            "email": "user1@example.com",
            "affiliateID": "1234567890",
            "status": "active",
            "createdDate": "2021-01-01T00:00:00.000Z",
            "ftd": "2021-01-01T00:00:00.000Z"
        }
    })
}

const LEADS_HEADERS: [&str; 4] = ["x-total-count", "x-next-offset", "x-next-cursor", "x-missing-count"];

fn leads() -> Described {
    let mut errors = vec![
        ApiError::bad_request(shared::leads::NO_BUCKET),
        ApiError::bad_request(shared::leads::NOT_THE_AFFILIATES),
    ];
    errors.extend(bad_leads_bodies());
    Described::new(
        "leads",
        HttpMethod::Post,
        "/api/public/buckets/{bucketId}/{affiliateID}/leads",
        LEADS,
        Envelope::Platform,
    )
    .about(
        "Leads by bucket and affiliate",
        "What became of your leads: by emails, by client ids, or all of a bucket, filtered and a page at a time. Read-only; it is \
         a `POST` so that many emails fit.\n\n\
         An email or id that is not in this bucket is simply absent from the answer; `x-missing-count` says how many are. Pages \
         are cut after filtering, from one fixed order: `createdDate`, then id (with `filters.updatedDate`: `updatedDate`, then \
         id). New leads come at the end, so paging by `createdDate` with `offset` sees none twice and misses none. Leads that \
         change move to the end of the order by `updatedDate`: page with `cursor` there.\n\n\
         To poll for changes, ask with `filters.updatedDate` from a minute before your last poll.",
    )
    .token(AUTHORIZATION, &VIEWS)
    .takes(
        "LeadsQuery",
        shared::leads::BODY_MAX,
        false,
        &[
            (
                "By emails and ids",
                json!({ "emails": ["user1@example.com"], "ids": ["69ce524d741e8f2238329fff"], "limit": 50, "offset": 0 }),
            ),
            (
                "All fields",
                json!({
                    "emails": ["user1@example.com"], "ids": ["69ce524d741e8f2238329fff"], "keyBy": "email",
                    "filters": { "createdDate": ["1676172330450", "1776172330450"] }, "limit": 100, "offset": 0
                }),
            ),
            ("What changed since", json!({ "filters": { "updatedDate": ["1776172330450", null] }, "keyBy": "id" })),
        ],
    )
    .answers(
        200,
        "The page's leads; `{}` where none matches.",
        "Leads",
        &LEADS_HEADERS,
        &[("Leads", published_leads())],
    )
    .refuses(
        400,
        "The body is not as described, or the path does not name a bucket of this affiliate. `message` says which. Do not repeat \
         the request unchanged.",
        &errors,
    )
}

fn leads_by_source() -> Described {
    let mut errors = vec![
        ApiError::bad_request(shared::leads::NOT_THE_BUCKETS),
        ApiError::bad_request(shared::leads::NO_BUCKET),
        ApiError::bad_request(shared::leads::NOT_THE_AFFILIATES),
    ];
    errors.extend(bad_leads_bodies());
    Described::new(
        "leads-by-source",
        HttpMethod::Post,
        "/api/public/buckets/{bucketId}/{affiliateID}/leads/{sourceId}",
        LEADS,
        Envelope::Platform,
    )
    .about(
        "Leads by bucket, affiliate and source",
        "As leads by bucket and affiliate, for one source: the source must be assigned to the bucket, and the answer has that \
         source's leads only.",
    )
    .token(AUTHORIZATION, &VIEWS)
    .takes(
        "LeadsQuery",
        shared::leads::BODY_MAX,
        false,
        &[("By date", json!({ "filters": { "createdDate": ["1676172330450", "1776172330450"] } }))],
    )
    .answers(
        200,
        "The page's leads; `{}` where none matches.",
        "Leads",
        &LEADS_HEADERS,
        &[("Leads", published_leads())],
    )
    .refuses(
        400,
        "The body is not as described, or the path does not name a bucket of this affiliate and one of its sources. `message` \
         says which. Do not repeat the request unchanged.",
        &errors,
    )
}

fn sign_up() -> Described {
    let required = json!({ "email": "user@example.com", "phone": "+1234567890", "firstName": "Jane" });
    let bad = |field: &str, value: Value| {
        let mut body = required.clone();
        body[field] = value;
        refused(SignUp::parse(body.to_string().as_bytes()))
    };
    let errors = [
        refused(SignUp::parse(b"{}")),
        ApiError::bad_request(signup::EMAIL_TAKEN),
        bad("phone", json!("12-34")),
        bad("agreements", json!([{ "ip": "localhost" }])),
        ApiError::bad_request(signup::KEY_REUSED),
    ];
    let key_schema = text("")
        .description(None::<&str>)
        .min_length(Some(1))
        .max_length(Some(signup::IDEMPOTENCY_KEY_MAX))
        .pattern(
            // Blanks around a header's value are no part of it.
            Some("^[!-~]([ -~]*[!-~])?$"),
        );
    let full = json!({
        "email": "user@example.com", "phone": "+1234567890", "firstName": "Jane", "lastName": "Doe",
        "affiliateID": "AFF-123", "subID": "SUB-1", "campaignId": "CMP-456", "sourceId": "facebook_ads",
        "project": "default", "desk": "sales", "sendEmail": true
    });
    let nested = json!({
        "email": "user@example.com", "phone": "+1234567890", "firstName": "Jane",
        "billing": {
            "country": "US", "region": "NY", "city": "New York", "postcode": "10001", "address": "Wall Street 1"
        },
        "agreements": [
            { "label": "Terms and Conditions", "ip": "127.0.0.1", "signedAt": "2026-01-01T12:00:00Z" }
        ]
    });
    let id = "3b241101-e2bb-4255-8caf-4136c566a962";
    Described::new("signup", HttpMethod::Post, "/tradersroom/api/auth/signup", SIGN_UP, Envelope::TradersRoom)
        .about(
            "Register a client",
            "Creates a client and puts it into the affiliate's bucket that has its `sourceId`, else into the affiliate's oldest \
             bucket without sources. Each request creates a new user, and emails are unique: of any number of sign-ups with one \
             email exactly one succeeds.\n\n\
             **Safe retry.** Send an `Idempotency-Key` of your own, e.g. a UUID a form. The same request with the same key within \
             24 hours gets the first answer again, with `idempotency-replayed: true`; no second client, no second email. A refused \
             request is not remembered.\n\n\
             **Then**: store `id`. Where the answer has a `url`, redirect the client's browser to it; otherwise show a success \
             message.",
        )
        .token(API_KEY, &["clients:create"])
        .header("Idempotency-Key", "Any text of yours that names this sign-up; one a client, not one an attempt.", key_schema)
        .header(
            "Origin",
            "Your domain. Where it is one of the deployment's origins, the autologin `url` uses it; otherwise the first of them.",
            text("").description(None::<&str>),
        )
        .takes(
            "SignUp",
            signup::BODY_MAX,
            true,
            &[("Required fields only", required), ("Full example", full), ("Nested objects", nested)],
        )
        .answers(
            200,
            "The client is registered. `url` is there where autologin is on.",
            "SignedUp",
            &["idempotency-replayed"],
            &[
                ("With autologin", json!({ "id": id, "url": "https://your-domain/autologin/b5a6d1f2-0c3e-4a57-9d18-7f2a90c4e6b1/" })),
                ("Without autologin", json!({ "id": id })),
            ],
        )
        .refuses(
            400,
            "A field is missing or not as described, or the email is taken. `message` says which. Nothing was stored: correct \
             the request before you send it again.",
            &errors,
        )
}

fn token() -> Described {
    Described::new("token", HttpMethod::Get, "/api/public/token", SELF_CHECK, Envelope::Platform)
        .about(
            "Check your own token",
            "What the token may do, for how long, and from where. Any valid token may ask, whatever its role. A refused caller \
             sees the address that the API saw in `x-caller-address`.",
        )
        .token(AUTHORIZATION, &[])
        .answers(
            200,
            "The token is valid.",
            "TokenCheck",
            &["cache-control"],
            &[(
                "A partner's token",
                json!({
                    "name": "Demo partner", "permissions": ["buckets:view-own"], "affiliateIDs": ["1234567890"],
                    "expiresAt": null, "whitelist": ["203.0.113.0/24"], "address": "203.0.113.7"
                }),
            )],
        )
        .refuses_with(
            401,
            "The token is missing, malformed, unknown, deleted or expired, or is used from an address outside its whitelist. The \
             answer is the same for each reason.",
            &["x-caller-address"],
            &[ApiError::Unauthorized(shared::error::Refusal::Missing)],
        )
}

// ---------------------------------------------------------------- Autologin and session

const LINK: &str = "/autologin/{link}";

fn autologin(id: &str, method: HttpMethod) -> Described {
    Described::new(id, method, LINK, AUTOLOGIN, Envelope::Page).open()
}

fn autologin_show() -> Described {
    autologin("autologin-show", HttpMethod::Get)
        .about(
            "Open an autologin link",
            "What a browser gets that follows a sign-up's `url`: a page that submits itself (a button where scripts are off). It \
             does not use the link up, so that mail scanners and chat previews, which only fetch, do no harm.",
        )
        .page(200, "The link works: a page that submits itself.")
        .page(410, "The link is expired, used or unknown: a page that says so.")
}

fn autologin_head() -> Described {
    autologin("autologin-head", HttpMethod::Head)
        .about("Whether an autologin link works", "The same without a body.")
        .ends(200, "The link works.", &["cache-control"])
        .ends(410, "The link is expired, used or unknown.", &["cache-control"])
}

fn autologin_use() -> Described {
    autologin("autologin-use", HttpMethod::Post)
        .about(
            "Sign in by an autologin link",
            "Uses the link up, begins a session, and leads to the Traders Room. Of any number of requests with one link one \
             succeeds.",
        )
        .ends(303, "Signed in.", &["location", "set-cookie", "cache-control"])
        .page(410, "The link is expired, used or unknown: a page that says so.")
}

fn session_me() -> Described {
    Described::new("session-me", HttpMethod::Get, "/tradersroom/api/auth/me", SESSION, Envelope::TradersRoom)
        .about(
            "The signed-in client's own profile",
            "For the Traders Room's own pages: the browser sends the session's cookie. A session ends after 30 minutes without use \
             and after 12 hours in any case, unless the deployment says otherwise.",
        )
        .session(true)
        .answers(
            200,
            "Who is signed in.",
            "OwnProfile",
            &["cache-control"],
            &[(
                "A client",
                json!({
                    "id": "3b241101-e2bb-4255-8caf-4136c566a962", "email": "user@example.com", "phone": "+1234567890",
                    "firstName": "Jane", "lastName": "Doe", "createdDate": "2026-01-01T12:00:00.000Z"
                }),
            )],
        )
        .refuses(401, "Nobody is signed in.", &[ApiError::NotSignedIn])
}

fn session_logout() -> Described {
    Described::new(
        "session-logout",
        HttpMethod::Post,
        "/tradersroom/api/auth/logout",
        SESSION,
        Envelope::TradersRoom,
    )
    .about("Sign out", "Ends the session, where there is one, and takes its cookie away.")
    .session(false)
    .ends(204, "Signed out.", &["set-cookie", "cache-control"])
    .ends(
        303,
        "Signed out; for a form of a page (`Accept` has `text/html`).",
        &["location", "set-cookie", "cache-control"],
    )
}

fn session_page() -> Described {
    Described::new("session-page", HttpMethod::Get, "/tradersroom", SESSION, Envelope::Page)
        .about("The built-in Traders Room page", "Shows who is signed in.")
        .session(false)
        .page(200, "A page.")
}

fn session_pages() -> Described {
    Described::new("session-pages", HttpMethod::Get, "/tradersroom/{page}", SESSION, Envelope::Page)
        .about("No page of the Traders Room", "But for the path that ends in a slash: the built-in page.")
        .session(false)
        .page(200, "The built-in page.")
        .page(404, "There is no such page.")
}
