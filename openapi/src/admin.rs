//! What operators and the console call.

use crate::operation::{AUTHORIZATION, Described};
use crate::parameters::date;
use crate::schema::{formatted, text};
use serde_json::{Value, json};
use shared::ApiError;
use shared::admin::{BODY_MAX, LIMIT_MAX, outdated};
use shared::http::Envelope;
use shared::model::{
    BucketChange, ClientChange, Invalid, NewBucket, NewRole, NewToken, RoleChange, Timestamp, WhitelistChange,
};
use utoipa::openapi::HttpMethod::{self, Delete, Get, Patch, Post};

pub(crate) const TOKENS: &str = "Tokens";
pub(crate) const ROLES: &str = "Roles";
pub(crate) const BUCKETS: &str = "Buckets";
pub(crate) const CLIENTS: &str = "Clients";

const SECURITY: [&str; 1] = ["security:manage"];
const VIEW: [&str; 2] = ["buckets:view-own", "buckets:view-all"];
const MANAGE: [&str; 1] = ["buckets:manage"];

const PARAMETERS: &str = "A parameter is unknown, given twice, or not as described. `message` says which.";
const BODY: &str = "The body is not as described. `message` says which field. An unknown field is refused, so that a typo does not \
                    pass silently.";

pub(crate) fn operations() -> Vec<Described> {
    [tokens(), roles(), buckets(), clients()].into_iter().flatten().collect()
}

fn operation(id: &str, method: HttpMethod, path: &'static str, tag: &str, permissions: &[&str]) -> Described {
    Described::new(id, method, path, tag, Envelope::Platform).token(AUTHORIZATION, permissions)
}

fn refused<T>(parsed: Result<T, Invalid>) -> ApiError {
    match parsed {
        Err(invalid) => invalid.into(),
        Ok(_) => ApiError::bad_request(""),
    }
}

fn bad_parameters() -> [ApiError; 2] {
    [
        ApiError::bad_request(format!("limit must be an integer from 1 to {LIMIT_MAX}")),
        ApiError::bad_request("cursor must be the nextCursor of an answer to the same list and filters"),
    ]
}

fn page(of: Value) -> Value {
    json!({ "items": [of], "nextCursor": null })
}

fn outdated_since(described: Described, besides: &[&'static str]) -> Described {
    let mut errors: Vec<_> = besides.iter().map(|message| ApiError::conflict(*message)).collect();
    errors.push(outdated());
    let description = match besides {
        [] => {
            "The record was changed by another request meanwhile, or since the state that `If-Match` names. Read it again, then change it."
        }
        _ => {
            "What is asked for conflicts with what is there; or the record was changed by another request meanwhile, or since the \
             state that `If-Match` names. `message` says which."
        }
    };
    described.refuses(409, description, &errors)
}

// ---------------------------------------------------------------- Tokens

fn token_record() -> Value {
    json!({
        "id": "9f86d081884c7d659a2feaa0c55ad015", "name": "Landing page", "roleId": "sign-up", "hint": "wbcs_AbCd…",
        "whitelist": ["203.0.113.0/24"], "affiliateIDs": ["AFF-123"], "expiresAt": null,
        "createdDate": "2026-01-01T12:00:00.000Z", "lastUsedDate": null, "lastRefused": []
    })
}

fn tokens() -> Vec<Described> {
    const LIST: &str = "/api/admin/tokens";
    const ONE: &str = "/api/admin/tokens/{tokenId}";
    const NOT_FOUND: ApiError = ApiError::NotFound("There is no such token");
    let mut created = token_record();
    created["token"] = json!("wbcs_…");
    let bad = [
        refused(NewToken::parse(
            br#"{"name":"Landing page","roleId":"sign-up","whitelist":["localhost"]}"#,
            Timestamp::MIN,
        )),
        refused(NewToken::parse(br#"{"name":"Landing page"}"#, Timestamp::MIN)),
        ApiError::bad_request("roleId must be the id of a role"),
    ];
    vec![
        operation("admin-tokens-list", Get, LIST, TOKENS, &SECURITY)
            .about("List tokens", "Newest first.")
            .paged(LIMIT_MAX)
            .answers(200, "A page of records.", "TokenPage", &["cache-control"], &[("Tokens", page(token_record()))])
            .refuses(400, PARAMETERS, &bad_parameters()),
        operation("admin-tokens-create", Post, LIST, TOKENS, &SECURITY)
            .about(
                "Create a token",
                "The answer shows the token, the only time that it is shown. Afterwards only the whitelist can be changed.",
            )
            .takes(
                "NewToken",
                BODY_MAX,
                true,
                &[(
                    "A landing page's token",
                    json!({
                        "name": "Landing page", "roleId": "sign-up", "whitelist": ["203.0.113.0/24"],
                        "affiliateIDs": ["AFF-123"]
                    }),
                )],
            )
            .answers(201, "Created.", "CreatedToken", &["location", "etag", "cache-control"], &[("Created", created)])
            .refuses(400, BODY, &bad),
        operation("admin-tokens-get", Get, ONE, TOKENS, &SECURITY)
            .about("A token's record", "With its last use and its last refused attempts, and why they were refused.")
            .answers(200, "The record.", "Token", &["etag", "cache-control"], &[("A token", token_record())])
            .refuses(404, "There is no such token.", &[NOT_FOUND]),
        outdated_since(
            operation("admin-tokens-change", Patch, ONE, TOKENS, &SECURITY)
                .about("Change a token's whitelist", "Nothing else of a token can be changed.")
                .guarded()
                .takes(
                    "WhitelistChange",
                    BODY_MAX,
                    true,
                    &[("Two addresses", json!({ "whitelist": ["203.0.113.7", "2001:db8::/32"] }))],
                )
                .answers(200, "Changed.", "Token", &["etag", "cache-control"], &[("A token", token_record())])
                .refuses(
                    400,
                    BODY,
                    &[
                        refused(WhitelistChange::parse(br#"{"name":"x"}"#)),
                        refused(WhitelistChange::parse(br#"{"whitelist":["203.0.113.7/33"]}"#)),
                    ],
                )
                .refuses(404, "There is no such token.", &[NOT_FOUND]),
            &[],
        ),
        outdated_since(
            operation("admin-tokens-delete", Delete, ONE, TOKENS, &SECURITY)
                .about("Delete a token", "For good, and with effect on the next request.")
                .guarded()
                .ends(204, "Deleted.", &[])
                .refuses(404, "There is no such token.", &[NOT_FOUND]),
            &[],
        ),
    ]
}

// ---------------------------------------------------------------- Roles

fn role_record() -> Value {
    json!({ "id": "partner", "name": "Partner", "permissions": ["buckets:view-own"] })
}

fn roles() -> Vec<Described> {
    const LIST: &str = "/api/admin/roles";
    const ONE: &str = "/api/admin/roles/{roleId}";
    const NOT_FOUND: ApiError = ApiError::NotFound("There is no such role");
    let change = json!({ "permissions": ["buckets:view-own", "clients:create"] });
    vec![
        operation("admin-roles-list", Get, LIST, ROLES, &SECURITY)
            .about("List roles", "In the order of their names.")
            .paged(LIMIT_MAX)
            .answers(
                200,
                "A page of roles.",
                "RolePage",
                &["cache-control"],
                &[("Roles", page(role_record()))],
            )
            .refuses(400, PARAMETERS, &bad_parameters()),
        operation("admin-roles-create", Post, LIST, ROLES, &SECURITY)
            .about("Create a role", "A role without permissions allows nothing.")
            .takes(
                "NewRole",
                BODY_MAX,
                true,
                &[("A partner", json!({ "name": "Partner", "permissions": ["buckets:view-own"] }))],
            )
            .answers(
                201,
                "Created.",
                "Role",
                &["location", "etag", "cache-control"],
                &[("Created", role_record())],
            )
            .refuses(
                400,
                BODY,
                &[refused(NewRole::parse(br#"{"name":"Partner","permissions":["buckets:view"]}"#))],
            ),
        operation("admin-roles-get", Get, ONE, ROLES, &SECURITY)
            .about("A role", "")
            .answers(200, "The role.", "Role", &["etag", "cache-control"], &[("A role", role_record())])
            .refuses(404, "There is no such role.", &[NOT_FOUND]),
        outdated_since(
            operation("admin-roles-change", Patch, ONE, ROLES, &SECURITY)
                .about("Change a role", "It changes every token that has the role, within 60 seconds.")
                .guarded()
                .takes("RoleChange", BODY_MAX, true, &[("Other permissions", change)])
                .answers(200, "Changed.", "Role", &["etag", "cache-control"], &[("A role", role_record())])
                .refuses(
                    400,
                    BODY,
                    &[refused(RoleChange::parse(b"{}")), refused(RoleChange::parse(br#"{"id":"other"}"#))],
                )
                .refuses(404, "There is no such role.", &[NOT_FOUND]),
            &[],
        ),
        outdated_since(
            operation("admin-roles-delete", Delete, ONE, ROLES, &SECURITY)
                .about("Delete a role", "A role that tokens have cannot be deleted.")
                .guarded()
                .ends(204, "Deleted.", &[])
                .refuses(404, "There is no such role.", &[NOT_FOUND]),
            &["The role has tokens: delete them first"],
        ),
    ]
}

// ---------------------------------------------------------------- Buckets

fn bucket_record() -> Value {
    json!({
        "id": "69ce5200741e8f2238320001", "name": "Campaigns", "affiliateID": "1234567890",
        "sources": ["facebook_ads", "google_ads"], "createdDate": "2021-01-01T00:00:00.000Z"
    })
}

const SOURCE_TAKEN: &str = "Source facebook_ads is assigned to another bucket of the affiliate";

fn buckets() -> Vec<Described> {
    const LIST: &str = "/api/admin/buckets";
    const ONE: &str = "/api/admin/buckets/{bucketId}";
    const NOT_FOUND: ApiError = ApiError::NotFound("There is no such bucket");
    let affiliate = text("").description(None::<&str>);
    vec![
        operation("admin-buckets-list", Get, LIST, BUCKETS, &VIEW)
            .about("List buckets", "Newest first; of the affiliates that the token may see.")
            .paged(LIMIT_MAX)
            .query("affiliateID", "Buckets of this affiliate only.", affiliate)
            .answers(200, "A page of buckets.", "BucketPage", &["cache-control"], &[("Buckets", page(bucket_record()))])
            .refuses(400, PARAMETERS, &bad_parameters()),
        operation("admin-buckets-create", Post, LIST, BUCKETS, &MANAGE)
            .about(
                "Create a bucket",
                "New sign-ups of its affiliate with one of its sources go to it. Clients that are there already stay where they \
                 are; see routing.",
            )
            .takes(
                "NewBucket",
                BODY_MAX,
                true,
                &[(
                    "With sources",
                    json!({ "name": "Campaigns", "affiliateID": "AFF-123", "sources": ["facebook_ads"] }),
                )],
            )
            .answers(
                201,
                "Created.",
                "Bucket",
                &["location", "etag", "cache-control"],
                &[("Created", bucket_record())],
            )
            .refuses(
                400,
                BODY,
                &[refused(NewBucket::parse(br#"{"affiliateID":"AFF-123"}"#)), refused(NewBucket::parse(br#"{"nmae":"x"}"#))],
            )
            .refuses(
                409,
                "A source is assigned to another bucket of the affiliate.",
                &[ApiError::conflict(SOURCE_TAKEN)],
            ),
        operation("admin-buckets-get", Get, ONE, BUCKETS, &VIEW)
            .about("A bucket", "")
            .answers(200, "The bucket.", "Bucket", &["etag", "cache-control"], &[("A bucket", bucket_record())])
            .refuses(404, "There is no such bucket.", &[NOT_FOUND]),
        outdated_since(
            operation("admin-buckets-change", Patch, ONE, BUCKETS, &MANAGE)
                .about("Change a bucket", "Its name and its sources; its affiliate is for good.")
                .guarded()
                .takes(
                    "BucketChange",
                    BODY_MAX,
                    true,
                    &[("Other sources", json!({ "sources": ["facebook_ads", "tiktok"] }))],
                )
                .answers(200, "Changed.", "Bucket", &["etag", "cache-control"], &[("A bucket", bucket_record())])
                .refuses(
                    400,
                    BODY,
                    &[
                        refused(BucketChange::parse(br#"{"affiliateID":"AFF-123"}"#)),
                        refused(BucketChange::parse(b"{}")),
                    ],
                )
                .refuses(404, "There is no such bucket.", &[NOT_FOUND]),
            &[SOURCE_TAKEN],
        ),
        outdated_since(
            operation("admin-buckets-delete", Delete, ONE, BUCKETS, &MANAGE)
                .about("Delete a bucket", "A bucket that has leads cannot be deleted.")
                .guarded()
                .ends(204, "Deleted.", &[])
                .refuses(404, "There is no such bucket.", &[NOT_FOUND]),
            &["The bucket has leads: move them to another one first"],
        ),
        operation("admin-buckets-route", Post, "/api/admin/buckets/{bucketId}/route", BUCKETS, &MANAGE)
            .about(
                "Route clients that have no bucket",
                "Puts the clients of the bucket's affiliate that have none into the bucket that a sign-up would go to, oldest \
                 first, a page at a time. Call it with `nextCursor` until that is `null`.",
            )
            .paged(admin_buckets::ROUTE_LIMIT_MAX)
            .takes("Routing", BODY_MAX, false, &[("Nothing", json!({}))])
            .answers(
                200,
                "A page is routed.",
                "Routed",
                &["cache-control"],
                &[("The last page", json!({ "routed": 12, "nextCursor": null }))],
            )
            .refuses(
                400,
                "A parameter or the body is not as described. `message` says what.",
                &[ApiError::bad_request(format!(
                    "limit must be an integer from 1 to {}",
                    admin_buckets::ROUTE_LIMIT_MAX
                ))],
            )
            .refuses(404, "There is no such bucket.", &[NOT_FOUND]),
        operation("admin-buckets-stats", Get, "/api/admin/buckets/{bucketId}/stats", BUCKETS, &VIEW)
            .about("Leads per day and per status", "For charts; from counters, so that a large bucket costs no more than a small one. Of very many statuses the 1,000 most frequent are shown, or fewer where their names are long; `total` has all.")
            .query("from", "First day, ISO 8601; absent: the first that has leads.", date())
            .query("to", "Last day, ISO 8601; absent: the last that has leads.", date())
            .answers(
                200,
                "The counts.",
                "BucketStats",
                &["cache-control"],
                &[(
                    "Two days",
                    json!({
                        "total": 3,
                        "days": [{ "day": "2026-01-01", "leads": 1 }, { "day": "2026-01-03", "leads": 2 }],
                        "statuses": [{ "status": "new", "leads": 2 }, { "status": "active", "leads": 1 }]
                    }),
                )],
            )
            .refuses(
                400,
                PARAMETERS,
                &[
                    ApiError::bad_request("from must be an ISO 8601 date from 1970 to 2286"),
                    ApiError::bad_request("from must not be after to"),
                ],
            )
            .refuses(404, "There is no such bucket.", &[NOT_FOUND]),
    ]
}

// ---------------------------------------------------------------- Clients

fn client_record() -> Value {
    json!({
        "id": "69ce524d741e8f2238329fff", "email": "user1@example.com", "phone": "+15550000000",
        "firstName": "Jane", "lastName": "Doe", "campaignId": "CMP-456", "affiliateID": "1234567890",
        "sourceId": "facebook_ads", "bucketId": "69ce5200741e8f2238320001", "status": "active", "state": "active",
        "sendEmail": false, "createdDate": "2021-01-01T00:00:00.000Z", "updatedDate": "2021-01-01T00:00:00.000Z",
        "ftd": "2021-01-01T00:00:00.000Z"
    })
}

fn clients() -> Vec<Described> {
    const LIST: &str = "/api/admin/clients";
    const ONE: &str = "/api/admin/clients/{clientId}";
    const NOT_FOUND: ApiError = ApiError::NotFound("There is no such client");
    let filter = || text("").description(None::<&str>);
    vec![
        operation("admin-clients-list", Get, LIST, CLIENTS, &["clients:view"])
            .about(
                "List clients",
                "Newest first; of the affiliates that the token may see. A client must pass all filters that are given.",
            )
            .paged(LIMIT_MAX)
            .query("bucketId", "Clients of this bucket only.", filter())
            .query("affiliateID", "Clients of this affiliate only.", filter())
            .query("email", "The client of this email only.", formatted("", "email").description(None::<&str>))
            .query("status", "Clients of this status only.", filter())
            .answers(200, "A page of clients.", "ClientPage", &["cache-control"], &[("Clients", page(client_record()))])
            .refuses(
                400,
                PARAMETERS,
                &[
                    ApiError::bad_request("email must be a valid email address"),
                    ApiError::bad_request(
                        "The clients are in more than 1000 buckets: use bucketId, or an affiliateID with fewer",
                    ),
                ],
            ),
        operation("admin-clients-get", Get, ONE, CLIENTS, &["clients:view"])
            .about("A client", "")
            .answers(200, "The client.", "Client", &["etag", "cache-control"], &[("A client", client_record())])
            .refuses(404, "There is no such client.", &[NOT_FOUND]),
        outdated_since(
            operation("admin-clients-change", Patch, ONE, CLIENTS, &["clients:manage"])
                .about(
                    "Change a client",
                    "What partners see of it changes at once, and `updatedDate` with it. A client that gets another `affiliateID` \
                     without a `bucketId` goes where a sign-up would go.",
                )
                .guarded()
                .takes(
                    "ClientChange",
                    BODY_MAX,
                    true,
                    &[
                        ("First deposit", json!({ "status": "active", "ftd": "2026-01-31T12:00:00Z" })),
                        ("Another affiliate", json!({ "affiliateID": "AFF-123" })),
                        ("Take a field away", json!({ "bucketId": "", "lastName": "" })),
                    ],
                )
                .answers(200, "Changed.", "Client", &["etag", "cache-control"], &[("A client", client_record())])
                .refuses(
                    400,
                    BODY,
                    &[
                        refused(ClientChange::parse(br#"{"stauts":"active"}"#)),
                        refused(ClientChange::parse(br#"{"createdDate":"2026-01-31"}"#)),
                        ApiError::bad_request("bucketId must be the id of a bucket of the client's affiliate"),
                    ],
                )
                .refuses(404, "There is no such client.", &[NOT_FOUND]),
            &["A client with this email already exists"],
        ),
    ]
}
