//! The order in which the collection calls the API, and what one call hands to the next.

/// One request.
pub(super) struct Step {
    /// The document's operation.
    pub(super) operation: &'static str,
    /// What is special about it; empty where nothing is.
    pub(super) name: &'static str,
    /// The status that it must get.
    pub(super) status: u16,
    /// Parameters of the path that are not the variables of their names.
    pub(super) path: &'static [(&'static str, &'static str)],
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// Another token than usual.
    pub(super) token: &'static str,
    /// The document's example to send; not needed where it has one only.
    pub(super) example: &'static str,
    /// A body in place of an example.
    pub(super) body: &'static str,
    /// Script before the request.
    pub(super) before: &'static str,
    /// Script after it: further tests, and variables for later requests.
    pub(super) after: &'static str,
}

const fn step(operation: &'static str, status: u16) -> Step {
    Step {
        operation,
        name: "",
        status,
        path: &[],
        query: &[],
        headers: &[],
        token: "",
        example: "",
        body: "",
        before: "",
        after: "",
    }
}

/// Headers that a documented answer always has; the others depend on what is asked.
pub(super) const ALWAYS: [&str; 5] = ["cache-control", "etag", "location", "set-cookie", "x-caller-address"];

/// Variables that requests set for others.
pub(super) const VARIABLES: [&str; 14] = [
    "autologinLink",
    "clientId",
    "clientTag",
    "consoleTag",
    "cursor",
    "docsTag",
    "idempotencyKey",
    "newBucketId",
    "newEmail",
    "newRoleId",
    "roleTag",
    "tokenId",
    "tokenTag",
    "bucketTag",
];

const NOBODYS: &str = "wbcs_nobodys";

pub(super) const STEPS: &[Step] = &[
    // ------------------------------------------------------------ Leads
    Step {
        name: "by emails and ids",
        example: "By emails and ids",
        after: r#"
            pm.test("every lead is under its email", () => {
            for (const [key, lead] of Object.entries(pm.response.json())) pm.expect(lead.email).to.equal(key);
            });
            pm.test("it says how many are missing", () => pm.response.to.have.header("x-missing-count"));
        "#,
        ..step("leads", 200)
    },
    Step {
        name: "the first page, by id",
        body: r#"{ "keyBy": "id", "limit": 2 }"#,
        after: r#"
            pm.test("every lead is under its id", () => {
            for (const [key, lead] of Object.entries(pm.response.json())) pm.expect(lead.id).to.equal(key);
            });
            pm.test("it says how many there are", () => pm.response.to.have.header("x-total-count"));
            pm.collectionVariables.set("cursor", pm.response.headers.get("x-next-cursor") || "");
        "#,
        ..step("leads", 200)
    },
    Step {
        name: "the next page, by cursor",
        body: r#"{ "keyBy": "id", "limit": 2, "cursor": {{cursorOrNull}} }"#,
        before: r#"
            const cursor = pm.collectionVariables.get("cursor");
            pm.variables.set("cursorOrNull", cursor ? JSON.stringify(cursor) : "null");
        "#,
        ..step("leads", 200)
    },
    Step { name: "what changed since", example: "What changed since", ..step("leads", 200) },
    Step {
        name: "an unknown bucket",
        path: &[("bucketId", "no-such-bucket")],
        example: "All fields",
        after: r#"
            pm.test("the message is the published one", () =>
            pm.expect(pm.response.json().message).to.equal("Bucket with corresponding affiliateID doesn't exist"));
        "#,
        ..step("leads", 400)
    },
    Step {
        name: "a limit out of bounds",
        body: r#"{ "limit": 5001 }"#,
        after: r#"pm.test("the message names the field", () => pm.expect(pm.response.json().message).to.match(/^limit must/));"#,
        ..step("leads", 400)
    },
    Step {
        name: "another token",
        token: NOBODYS,
        example: "All fields",
        after: r#"
            pm.test("the body is the published one", () => pm.expect(pm.response.json()).to.eql({
            message: "Access with the provided credentials is incorrect. CODE: X-0005", statusCode: 401 }));
        "#,
        ..step("leads", 401)
    },
    step("leads-by-source", 200),
    Step {
        name: "a source of another bucket",
        path: &[("sourceId", "no-such-source")],
        after: r#"
            pm.test("the message is the published one", () =>
            pm.expect(pm.response.json().message).to.equal("Provided sourceId does not belong to bucket"));
        "#,
        ..step("leads-by-source", 400)
    },
    // ------------------------------------------------------------ Sign Up
    Step { name: "required fields only", example: "Required fields only", ..step("signup", 200) },
    Step {
        name: "full example",
        example: "Full example",
        after: r#"
            const { id, url } = pm.response.json();
            pm.collectionVariables.set("clientId", id);
            pm.collectionVariables.set("autologinLink", (url || "").split("/autologin/").pop().replace(/\/$/, ""));
        "#,
        ..step("signup", 200)
    },
    Step { name: "nested objects", example: "Nested objects", ..step("signup", 200) },
    Step {
        name: "with an Idempotency-Key",
        headers: &[("Idempotency-Key", "{{idempotencyKey}}")],
        body: r#"{ "email": "{{newEmail}}", "phone": "+1234567890", "firstName": "Jane" }"#,
        before: r#"
            pm.collectionVariables.set("idempotencyKey", pm.variables.replaceIn("{{$guid}}"));
            pm.collectionVariables.set("newEmail", pm.variables.replaceIn("once.{{$guid}}@example.com"));
        "#,
        after: r#"
            pm.test("it is the first", () => pm.expect(pm.response.headers.has("idempotency-replayed")).to.be.false);
            pm.collectionVariables.set("clientTag", pm.response.json().id);
        "#,
        ..step("signup", 200)
    },
    Step {
        name: "the same once more",
        headers: &[("Idempotency-Key", "{{idempotencyKey}}")],
        body: r#"{ "email": "{{newEmail}}", "phone": "+1234567890", "firstName": "Jane" }"#,
        after: r#"
            pm.test("it is a repetition", () => pm.expect(pm.response.headers.get("idempotency-replayed")).to.equal("true"));
            pm.test("of the same client", () => pm.expect(pm.response.json().id).to.equal(pm.collectionVariables.get("clientTag")));
        "#,
        ..step("signup", 200)
    },
    Step {
        name: "an email that is taken",
        body: r#"{ "email": "{{newEmail}}", "phone": "+1234567890", "firstName": "Jane" }"#,
        after: r#"
            pm.test("the message is the published one", () =>
            pm.expect(pm.response.json().message).to.equal("User with this email already exists"));
        "#,
        ..step("signup", 400)
    },
    Step {
        name: "without the required fields",
        body: "{}",
        after: r#"
            pm.test("the body is the published one", () => pm.expect(pm.response.json()).to.eql({
            message: "Email, phone and first name are required", providerStatus: 400 }));
        "#,
        ..step("signup", 400)
    },
    Step {
        name: "another key",
        token: NOBODYS,
        example: "Required fields only",
        after: r#"
            pm.test("the body is the published one", () =>
            pm.expect(pm.response.json()).to.eql({ message: "Invalid secret key", providerStatus: 401 }));
        "#,
        ..step("signup", 401)
    },
    // ------------------------------------------------------------ Self-check
    step("token", 200),
    Step { name: "another token", token: NOBODYS, ..step("token", 401) },
    // ------------------------------------------------------------ Autologin and session
    Step { path: &[("link", "{{autologinLink}}")], ..step("autologin-show", 200) },
    Step { path: &[("link", "{{autologinLink}}")], ..step("autologin-head", 200) },
    Step { path: &[("link", "{{autologinLink}}")], ..step("autologin-use", 303) },
    Step { name: "a second time", path: &[("link", "{{autologinLink}}")], ..step("autologin-use", 410) },
    Step {
        after: r#"
            pm.test("it is the client of the link", () =>
            pm.expect(pm.response.json().id).to.equal(pm.collectionVariables.get("clientId")));
        "#,
        ..step("session-me", 200)
    },
    step("session-page", 200),
    Step { path: &[("page", "no-such-page")], ..step("session-pages", 404) },
    step("session-logout", 204),
    Step { name: "signed out", ..step("session-me", 401) },
    // ------------------------------------------------------------ Tokens
    Step {
        after: r#"
            pm.collectionVariables.set("tokenId", pm.response.json().id);
            pm.collectionVariables.set("tokenTag", pm.response.headers.get("etag"));
        "#,
        ..step("admin-tokens-create", 201)
    },
    Step {
        name: "a whitelist that is none",
        body: r#"{ "name": "Landing page", "roleId": "sign-up", "whitelist": ["localhost"] }"#,
        after: r#"pm.test("the message names the field", () => pm.expect(pm.response.json().message).to.match(/^whitelist\[0\]/));"#,
        ..step("admin-tokens-create", 400)
    },
    Step {
        query: &[("limit", "1000")],
        after: r#"
            pm.test("no list shows a token", () => pm.expect(pm.response.text()).to.not.include('"token"'));
        "#,
        ..step("admin-tokens-list", 200)
    },
    step("admin-tokens-get", 200),
    Step {
        headers: &[("If-Match", "{{tokenTag}}")],
        after: r#"
            pm.test("the whitelist is the new one", () =>
            pm.expect(pm.response.json().whitelist).to.eql(["203.0.113.7", "2001:db8::/32"]));
        "#,
        ..step("admin-tokens-change", 200)
    },
    Step {
        name: "changed meanwhile",
        headers: &[("If-Match", "{{tokenTag}}")],
        ..step("admin-tokens-change", 409)
    },
    Step { name: "another field", body: r#"{ "name": "Other" }"#, ..step("admin-tokens-change", 400) },
    step("admin-tokens-delete", 204),
    Step { name: "deleted", ..step("admin-tokens-get", 404) },
    // ------------------------------------------------------------ Roles
    Step {
        after: r#"
            pm.collectionVariables.set("newRoleId", pm.response.json().id);
            pm.collectionVariables.set("roleTag", pm.response.headers.get("etag"));
        "#,
        ..step("admin-roles-create", 201)
    },
    Step { query: &[("limit", "2")], ..step("admin-roles-list", 200) },
    Step { path: &[("roleId", "{{newRoleId}}")], ..step("admin-roles-get", 200) },
    Step {
        path: &[("roleId", "{{newRoleId}}")],
        headers: &[("If-Match", "{{roleTag}}")],
        after: r#"
            pm.test("the permissions are the new ones", () =>
            pm.expect(pm.response.json().permissions).to.eql(["buckets:view-own", "clients:create"]));
        "#,
        ..step("admin-roles-change", 200)
    },
    Step { name: "that tokens have", path: &[("roleId", "sign-up")], ..step("admin-roles-delete", 409) },
    Step { path: &[("roleId", "{{newRoleId}}")], ..step("admin-roles-delete", 204) },
    Step { name: "deleted", path: &[("roleId", "{{newRoleId}}")], ..step("admin-roles-get", 404) },
    // ------------------------------------------------------------ Buckets
    Step {
        body: r#"{ "name": "Campaigns", "affiliateID": "{{$guid}}", "sources": ["facebook_ads"] }"#,
        after: r#"
            pm.collectionVariables.set("newBucketId", pm.response.json().id);
            pm.collectionVariables.set("bucketTag", pm.response.headers.get("etag"));
        "#,
        ..step("admin-buckets-create", 201)
    },
    Step { query: &[("limit", "2"), ("affiliateID", "{{affiliateID}}")], ..step("admin-buckets-list", 200) },
    Step { path: &[("bucketId", "{{newBucketId}}")], ..step("admin-buckets-get", 200) },
    Step {
        path: &[("bucketId", "{{newBucketId}}")],
        headers: &[("If-Match", "{{bucketTag}}")],
        after: r#"
            pm.test("the sources are the new ones", () =>
            pm.expect(pm.response.json().sources).to.eql(["facebook_ads", "tiktok"]));
        "#,
        ..step("admin-buckets-change", 200)
    },
    Step {
        path: &[("bucketId", "{{newBucketId}}")],
        query: &[("limit", "10")],
        ..step("admin-buckets-route", 200)
    },
    Step {
        name: "of a bucket with leads",
        query: &[("from", "2021-01-01"), ("to", "2030-12-31T23:59:59Z")],
        ..step("admin-buckets-stats", 200)
    },
    Step { name: "with leads", ..step("admin-buckets-delete", 409) },
    Step { path: &[("bucketId", "{{newBucketId}}")], ..step("admin-buckets-delete", 204) },
    Step { name: "deleted", path: &[("bucketId", "{{newBucketId}}")], ..step("admin-buckets-get", 404) },
    // ------------------------------------------------------------ Clients
    Step { query: &[("limit", "5"), ("status", "new")], ..step("admin-clients-list", 200) },
    Step {
        after: r#"pm.collectionVariables.set("clientTag", pm.response.headers.get("etag"));"#,
        ..step("admin-clients-get", 200)
    },
    Step {
        headers: &[("If-Match", "{{clientTag}}")],
        example: "First deposit",
        after: r#"
            pm.test("the first deposit is there", () => pm.expect(pm.response.json().ftd).to.equal("2026-01-31T12:00:00.000Z"));
        "#,
        ..step("admin-clients-change", 200)
    },
    Step {
        name: "changed meanwhile",
        headers: &[("If-Match", "{{clientTag}}")],
        example: "First deposit",
        ..step("admin-clients-change", 409)
    },
    Step {
        name: "a field that is misspelt",
        body: r#"{ "stauts": "active" }"#,
        after: r#"
            pm.test("the message names it", () => pm.expect(pm.response.json().message).to.equal("stauts is not a known field"));
        "#,
        ..step("admin-clients-change", 400)
    },
    Step {
        name: "an unknown one",
        path: &[("clientId", "no-such-client")],
        ..step("admin-clients-get", 404)
    },
    // ------------------------------------------------------------ Console
    Step {
        after: r#"pm.collectionVariables.set("consoleTag", pm.response.headers.get("etag"));"#,
        ..step("console-shell", 200)
    },
    Step { name: "unchanged", headers: &[("If-None-Match", "{{consoleTag}}")], ..step("console-shell", 304) },
    Step { path: &[("path", "clients")], ..step("console-path", 200) },
    Step {
        name: "a file, by the name of an earlier deployment",
        path: &[("path", "assets/outdated/main.js")],
        ..step("console-path", 200)
    },
    Step { name: "no such file", path: &[("path", "assets/outdated/other.js")], ..step("console-path", 404) },
    // ------------------------------------------------------------ Documentation
    step("docs-page", 200),
    Step { path: &[("page", "no-such-page")], ..step("docs-pages", 404) },
    Step {
        after: r#"
            pm.collectionVariables.set("docsTag", pm.response.headers.get("etag"));
            pm.test("it is OpenAPI 3.1", () => pm.expect(pm.response.json().openapi).to.match(/^3\.1\./));
            pm.test("it has nothing for operators", () => pm.expect(pm.response.text()).to.not.include("/api/admin/"));
        "#,
        ..step("docs-document", 200)
    },
    Step { name: "unchanged", headers: &[("If-None-Match", "{{docsTag}}")], ..step("docs-document", 304) },
    step("docs-admin", 200),
    step("docs-admin-document", 200),
    Step { path: &[("file", "swagger-ui.css")], ..step("docs-asset", 200) },
    Step { name: "no such file", path: &[("file", "other.css")], ..step("docs-asset", 404) },
];
