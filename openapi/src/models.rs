//! The schemas of requests and answers, by their names in the domain. Names of fields, limits and
//! permissions are those of `shared::model`, which reads and writes them.

use crate::schema::{
    OrNull, Properties, any_of, count, flag, formatted, list, map, model, moment, null, number_of, object,
    one_of, text,
};
use serde_json::json;
use shared::model::{
    AGREEMENTS_MAX, Billing, BucketChange, CURSOR_MAX, Email, LIMIT_DEFAULT, LIMIT_MAX, META_MAX_BYTES,
    NAME_MAX_CHARS, NewBucket, NewRole, NewToken, OFFSET_MAX, Permission, Profile, RoleChange, SOURCES_MAX,
    STATUSES_MAX, TEXT_MAX, TokenRecord, Whitelist,
};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder};
use utoipa::openapi::{RefOr, Schema};

/// What an operator names: not blank, without control characters.
const NAME: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
const NOT_BLANK: &str = r"\S";
/// 5 to 15 digits; blanks, dots, dashes and parentheses are dropped.
const PHONE: &str = r"^\s*[ \t\u00a0\u2000-\u200a\u202f\u205f\u3000.()\-\u2010-\u2015\u2212]*\+?([ \t\u00a0\u2000-\u200a\u202f\u205f\u3000.()\-\u2010-\u2015\u2212]*[0-9]){5,15}[ \t\u00a0\u2000-\u200a\u202f\u205f\u3000.()\-\u2010-\u2015\u2212]*\s*$";
/// What fits 64 bits, as text.
const MILLISECONDS: &str = r"^\s*[+\-]?[0-9]{1,18}\s*$";
pub(crate) const BUCKET_ID: &str = "^[A-Za-z0-9_-]{1,128}$";
pub(crate) const TOKEN_ID: &str = "^[0-9a-f]{32}$";

/// All of them, by name.
pub(crate) fn all() -> Vec<(&'static str, RefOr<Schema>)> {
    vec![
        ("LeadsQuery", leads_query().into()),
        (
            "Leads",
            map("Leads by their email or id (see `keyBy`), in the order of the page.", model("Lead")).into(),
        ),
        ("Lead", lead().into()),
        ("SignUp", sign_up().into()),
        ("SignedUp", signed_up().into()),
        ("OwnProfile", own_profile().into()),
        ("TokenCheck", token_check().into()),
        ("Error", error("statusCode", "The leads and admin endpoints'").into()),
        ("ProviderError", error("providerStatus", "The Traders Room endpoints'").into()),
        ("GatewayError", gateway_error().into()),
        ("Permission", permission().into()),
        ("Token", token().into()),
        ("NewToken", new_token().into()),
        ("CreatedToken", created_token().into()),
        ("WhitelistChange", whitelist_change().into()),
        ("RefusedAttempt", refused_attempt().into()),
        ("TokenPage", page("Token").into()),
        ("Role", role().into()),
        ("NewRole", role_fields(&NewRole::FIELDS, true).into()),
        ("RoleChange", role_fields(&RoleChange::FIELDS, false).into()),
        ("RolePage", page("Role").into()),
        ("Bucket", bucket().into()),
        ("NewBucket", bucket_fields(&NewBucket::FIELDS, true).into()),
        ("BucketChange", bucket_fields(&BucketChange::FIELDS, false).into()),
        ("BucketPage", page("Bucket").into()),
        ("Routing", object("Nothing: there is nothing to choose.").closed().into()),
        ("Routed", routed().into()),
        ("BucketStats", bucket_stats().into()),
        ("Client", client().into()),
        ("ClientChange", client_change().into()),
        ("ClientPage", page("Client").into()),
        ("Billing", billing(Side::Answer).into()),
        ("Agreement", agreement(Side::Answer).into()),
    ]
}

/// Requests may have `null` for what is absent; answers leave it out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    SignUp,
    Change,
    Answer,
}

/// A doc comment of the model as a description.
fn described(doc: &str) -> &str {
    doc.trim()
}

fn error(status: &str, whose: &str) -> ObjectBuilder {
    object(&format!("{whose} error. `message` is for people: it names the field and what is expected of it."))
        .must("message", text("What is wrong."))
        .must(status, number_of("The status code again.", 400, 599))
}

fn gateway_error() -> ObjectBuilder {
    object("An error of the gateway in front of the API: the request did not reach it, or was not answered in time.")
        .must("message", text("What is wrong."))
}

fn page(of: &str) -> ObjectBuilder {
    object("A page of a list.")
        .must("items", list("Fewer than `limit` is no sign of the end.", model(of)))
        .must(
            "nextCursor",
            text("The next page's `cursor`; `null` on the last page, and only there.").or_null(),
        )
}

// ---------------------------------------------------------------- Leads

fn leads_query() -> ObjectBuilder {
    let moments = |description: &str| {
        let moment = any_of(
            None,
            [
                text("Epoch milliseconds as text.").pattern(Some(MILLISECONDS)),
                ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::Integer)
                    .minimum(Some(i64::MIN as isize))
                    .maximum(Some(i64::MAX as isize)),
                null().description(Some("This side is open.")),
            ],
        );
        list(description, moment).min_items(Some(2)).max_items(Some(2)).or_null()
    };
    let filters = object("A lead must pass all of them.")
        .may("createdDate", moments("`[from, to]` of the registration, both included, `from` not after `to`."))
        .may(
            "updatedDate",
            moments(
                "`[from, to]` of the last change, of the same form. With it the order is that of `updatedDate`: ask for what \
                 changed since your last poll.",
            ),
        )
        .may(
            "status",
            list(
                &format!("Statuses, at most {STATUSES_MAX} different ones; an empty list counts as absent."),
                text("A status, as leads have it."),
            )
            .or_null(),
        );
    object("Which leads, and which of them on this page. An empty body asks for the first 100 of all.")
        .may(
            "emails",
            list(
                &format!(
                    "Emails, compared without regard to case and surrounding blanks. Together with `ids` at most {LIMIT_MAX} \
                     different ones; given both, the leads of either. Both absent or empty: all leads of the bucket."
                ),
                text("An email."),
            )
            .or_null(),
        )
        .may("ids", list("Client ids, as Sign Up answers them.", text("A client's id.")).or_null())
        .may(
            "keyBy",
            one_of("What the answer is keyed by; a record that has no id is under its email.", ["email", "id"])
                .default(Some(json!("email")))
                .or_null(),
        )
        .may("filters", filters.or_null())
        .may(
            "limit",
            number_of("Most leads of a page. A page of very large leads ends early.", 1, LIMIT_MAX)
                .default(Some(json!(LIMIT_DEFAULT)))
                .or_null(),
        )
        .may(
            "offset",
            number_of("How many matching leads to skip.", 0, usize::try_from(OFFSET_MAX).unwrap_or(usize::MAX))
                .default(Some(json!(0)))
                .or_null(),
        )
        .may(
            "cursor",
            text(
                "`x-next-cursor` of the page before, instead of `offset`: cheaper, and right also while leads arrive. It belongs \
                 to the same path, emails, ids and filters; `limit` and `keyBy` may change.",
            )
            .max_length(Some(CURSOR_MAX))
            .or_null(),
        )
}

fn lead() -> ObjectBuilder {
    object("A client as partners see it.")
        .must("id", text("The client's id."))
        .must("email", text("Email as it was given."))
        .must("affiliateID", text("The affiliate it belongs to."))
        .must("status", text("Sales status."))
        .must("createdDate", moment("When the client was registered."))
        .must("ftd", moment("When the client made the first deposit; `null` before.").or_null())
}

// ---------------------------------------------------------------- Sign Up, clients

fn short(description: &str) -> ObjectBuilder {
    text(description).max_length(Some(TEXT_MAX))
}

fn email(description: &str) -> ObjectBuilder {
    formatted(description, "email").max_length(Some(Email::MAX_CHARS))
}

fn phone() -> ObjectBuilder {
    short(
        "Phone number: 5 to 15 digits with an optional leading `+`. Blanks, dots, dashes and parentheses are dropped.",
    )
    .pattern(Some(PHONE))
}

/// A date or date-time; where `removable`, an empty text as well.
fn iso(description: &str, removable: bool) -> utoipa::openapi::schema::AnyOfBuilder {
    let dates =
        [formatted("A date.", "date"), formatted("A date-time; one without an offset is UTC.", "date-time")];
    let empty = removable.then(|| text("Takes it away.").max_length(Some(0)));
    any_of(Some(description), dates.into_iter().chain(empty))
}

fn agreement(side: Side) -> ObjectBuilder {
    let fields = object("An agreement that the client signed.");
    let (label, signed_at) = (short("Name of the agreement."), "When it was signed, ISO 8601.");
    let addresses =
        [formatted("", "ipv4").description(None::<&str>), formatted("", "ipv6").description(None::<&str>)];
    let ip = any_of(Some("Address that it was signed from."), addresses);
    match side {
        Side::Answer => fields.may("label", label).may("ip", ip).may("signedAt", iso(signed_at, false)),
        Side::SignUp | Side::Change => fields
            .may("label", label.or_null())
            .may("ip", ip.or_null())
            .may("signedAt", iso(signed_at, false).or_null()),
    }
}

fn billing(side: Side) -> ObjectBuilder {
    Billing::DESCRIBED.iter().fold(object("Billing address."), |fields, (name, doc)| {
        let field = short(described(doc));
        fields.may(name, if side == Side::Answer { field } else { field.or_null() })
    })
}

fn agreements(side: Side) -> ArrayBuilder {
    let item = match side {
        Side::Answer => model("Agreement"),
        Side::SignUp => agreement(side).into(),
        Side::Change => agreement(side).closed().into(),
    };
    list("Signed agreements.", item).max_items(Some(AGREEMENTS_MAX))
}

/// The published text fields that the platform only keeps.
fn profile(fields: ObjectBuilder, side: Side) -> ObjectBuilder {
    Profile::DESCRIBED.iter().fold(fields, |fields, (name, doc)| match (*name, side) {
        ("dateOfBirth", Side::Answer) => fields.may(name, iso(described(doc), false)),
        ("dateOfBirth", _) => fields.may(name, iso(described(doc), side == Side::Change).or_null()),
        (_, Side::Answer) => fields.may(name, short(described(doc))),
        _ => fields.may(name, short(described(doc)).or_null()),
    })
}

fn meta() -> ObjectBuilder {
    text(&format!("Additional metadata, at most {META_MAX_BYTES} bytes (UTF-8)."))
        .max_length(Some(META_MAX_BYTES))
}

fn flags(fields: ObjectBuilder, side: Side) -> ObjectBuilder {
    [("processed", "Used in custom flows."), ("allowToCreateAsset", "Allow asset creation.")]
        .into_iter()
        .fold(fields, |fields, (name, description)| {
            let field = flag(description);
            fields.may(name, if side == Side::Answer { field } else { field.or_null() })
        })
}

fn sign_up() -> ObjectBuilder {
    let fields = object(
        "A new client. Fields that are not listed, and those that the platform manages (`id`, `createdDate`, `ftd`, `bucketId`, \
         …), are ignored. `null` counts as absent.",
    )
    .must("email", email("Email; unique, without regard to case."))
    .must("phone", phone())
    .must("firstName", short("First name.").pattern(Some(NOT_BLANK)));
    let fields = profile(fields, Side::SignUp)
        .may(
            "affiliateID",
            short(
                "Affiliate identifier. A key that is bound to affiliates signs up for these only; where it is bound to one, \
                 that one is the default.",
            )
            .or_null(),
        )
        .may("sourceId", short("Traffic source. Decides on the bucket, where one of the affiliate's has it.").or_null())
        .may("status", short("Client status.").default(Some(json!("new"))).or_null())
        .may("state", short("Client state (`active`, `live`, etc.).").default(Some(json!("active"))).or_null())
        .may("meta", meta().or_null());
    flags(fields, Side::SignUp)
        .may("sendEmail", flag("Send a registration email.").default(Some(json!(false))).or_null())
        .may("billing", billing(Side::SignUp).or_null())
        .may("agreements", agreements(Side::SignUp).or_null())
}

fn signed_up() -> ObjectBuilder {
    object("The new client.")
        .must("id", formatted("The client's id: store it; Leads takes it in `ids`.", "uuid"))
        .may(
            "url",
            formatted(
                "Autologin link: send the client's browser there. It works once and for ten minutes, unless the deployment says \
                 otherwise. Absent where autologin is off.",
                "uri",
            ),
        )
}

fn own_profile() -> ObjectBuilder {
    let shown = shared::model::OwnProfile::SHOWN;
    let fields = object("The signed-in client as it sees itself.")
        .must("id", text("The client's id."))
        .must("email", text("Email."))
        .must("phone", text("Phone number."))
        .must("firstName", text("First name."));
    let profile = profile(object(""), Side::Answer).build();
    let fields = profile
        .properties
        .into_iter()
        .filter(|(name, _)| shown.contains(&name.as_str()))
        .fold(fields, |fields, (name, schema)| fields.may(&name, schema));
    fields.may("billing", model("Billing")).must("createdDate", moment("When the client was registered."))
}

fn client() -> ObjectBuilder {
    let fields = object("A client: the fields of Sign Up, and what the platform manages.")
        .must("id", text("Id."))
        .must("email", text("Email."))
        .must("phone", text("Phone number, without blanks and punctuation."))
        .must("firstName", text("First name."));
    let fields = profile(fields, Side::Answer)
        .must("affiliateID", text("The affiliate it belongs to.").or_null())
        .must("sourceId", text("Traffic source.").or_null())
        .must("bucketId", text("The bucket that it is in.").or_null())
        .must("status", text("Status."))
        .must("state", text("State."))
        .may("meta", meta());
    flags(fields, Side::Answer)
        .may("billing", model("Billing"))
        .may("agreements", agreements(Side::Answer))
        .must("sendEmail", flag("Whether a registration email was asked for."))
        .must("createdDate", moment("When the client was registered."))
        .must("updatedDate", moment("When the client was last changed."))
        .must("ftd", moment("When the client made the first deposit; `null` before.").or_null())
}

fn client_change() -> ObjectBuilder {
    let filled = |description: &str| short(description).pattern(Some(NOT_BLANK)).or_null();
    let fields = object(
        "What to change; absent fields stay as they are. An empty text takes an optional field away. `null` counts as absent.",
    )
    .may("email", email("Email; unique, without regard to case.").or_null())
    .may("phone", phone().or_null())
    .may("firstName", filled("First name."));
    let fields = profile(fields, Side::Change)
        .may(
            "affiliateID",
            short("The affiliate. Without `bucketId` the client goes where a sign-up of that affiliate would go.").or_null(),
        )
        .may("sourceId", short("Traffic source.").or_null())
        .may(
            "bucketId",
            text("A bucket of the client's affiliate; empty: none.")
                .pattern(Some(r"^\s*([A-Za-z0-9_-]{1,128})?\s*$"))
                .max_length(Some(TEXT_MAX))
                .or_null(),
        )
        .may("status", filled("Status."))
        .may("state", filled("State."))
        .may("ftd", iso("First deposit, from 1970 on.", true).or_null())
        .may("meta", meta().or_null());
    flags(fields, Side::Change)
        .may("billing", billing(Side::Change).closed().or_null())
        .may("agreements", agreements(Side::Change).or_null())
        .closed()
        .min_properties(Some(1))
}

// ---------------------------------------------------------------- Tokens and roles

fn permission() -> ObjectBuilder {
    one_of("What a role lets its tokens do.", Permission::ALL.map(Permission::as_str))
}

fn whitelist(description: &str) -> ArrayBuilder {
    let entry =
        formatted("An IPv4 or IPv6 address, or a CIDR block: `203.0.113.7`, `2001:db8::/32`.", "ip-or-cidr");
    list(description, entry).max_items(Some(Whitelist::MAX))
}

fn name(description: &str) -> ObjectBuilder {
    text(description).min_length(Some(1)).max_length(Some(NAME_MAX_CHARS)).pattern(Some(NAME))
}

fn token_check() -> ObjectBuilder {
    object("What your token may do, for how long, and from where.")
        .must("name", text("Name, as operators see it."))
        .must("permissions", list("What its role allows.", model("Permission")).unique_items(true))
        .must(
            "affiliateIDs",
            list(
                "The affiliates whose business it may do; empty: see the permissions.",
                text("An affiliate."),
            ),
        )
        .must("expiresAt", moment("When it stops being valid; `null`: never.").or_null())
        .must(
            "whitelist",
            list("The addresses that it may be used from; empty: any.", text("An address or CIDR block.")),
        )
        .must("address", text("Your address, as the API sees it.").or_null())
}

fn token() -> ObjectBuilder {
    object("An identification token's record; the token itself is shown once, by the call that creates it.")
        .must("id", text("Id; not secret.").pattern(Some(TOKEN_ID)))
        .must("name", text("Name, as operators see it."))
        .must("roleId", text("The role that gives its permissions."))
        .must("hint", text("The token's first characters, to tell tokens apart."))
        .must(
            "whitelist",
            list("The addresses that it may be used from; empty: any.", text("An address or CIDR block.")),
        )
        .must("affiliateIDs", list("The affiliates whose business it may do.", text("An affiliate.")))
        .must("expiresAt", moment("When it stops being valid; `null`: never.").or_null())
        .must("createdDate", moment("When it was made."))
        .must("lastUsedDate", moment("When it was last used, up to an hour behind; `null`: never.").or_null())
        .must(
            "lastRefused",
            list("The last refused attempts of the last 30 days, latest first.", model("RefusedAttempt")),
        )
}

fn refused_attempt() -> ObjectBuilder {
    object("A use of a token that was refused; one an address and reason.")
        .must("address", text("The caller's address."))
        .must("reason", text("Why; the caller is not told."))
        .must("date", moment("When, last."))
}

fn created_token() -> ObjectBuilder {
    let mut created: ObjectBuilder = token();
    created = created.description(Some(
        "The new token's record, and the token itself: store it now, it is not shown again.",
    ));
    created.must(
        "token",
        text("The token, as `Authorization` or `x-api-key` takes it.").pattern(Some("^wbcs_[0-9A-Za-z]+$")),
    )
}

fn new_token() -> ObjectBuilder {
    let fields = object("A new token.").closed();
    NewToken::FIELDS.iter().fold(fields, |fields, field| match *field {
        "name" => fields.must("name", name("Name, as operators see it.")),
        "roleId" => fields.must("roleId", name("Id of the role that gives its permissions.")),
        "expiresAt" => fields.may(
            "expiresAt",
            iso("When it stops being valid: a moment of the future, before 2286. Absent: never.", false).or_null(),
        ),
        "whitelist" => {
            fields.may("whitelist", whitelist("The addresses that it may be used from; absent or empty: any.").or_null())
        }
        _ => fields.may(
            field,
            list(
                &format!(
                    "The affiliates whose business it may do, at most {}. A role with `buckets:view-own` and without \
                     `buckets:view-all` needs at least one.",
                    TokenRecord::AFFILIATES_MAX
                ),
                name("An affiliate."),
            )
            .or_null(),
        ),
    })
}

fn whitelist_change() -> ObjectBuilder {
    object("The whitelist, whole: nothing else of a token can be changed.")
        .must("whitelist", whitelist("The addresses that it may be used from; empty: any."))
        .closed()
}

fn role() -> ObjectBuilder {
    object("A named set of permissions. Changing it changes every token that has it, within 60 seconds.")
        .must("id", text("Id."))
        .must("name", text("Name, as operators see it."))
        .must("permissions", list("What it allows.", model("Permission")).unique_items(true))
}

fn role_fields(fields: &[&str], new: bool) -> ObjectBuilder {
    let empty =
        object(if new { "A new role." } else { "What to change; absent fields stay as they are." }).closed();
    let shape = fields.iter().fold(empty, |shape, field| match (*field, new) {
        ("name", true) => shape.must("name", name("Name, as operators see it.")),
        ("name", false) => shape.may("name", name("Name, as operators see it.").or_null()),
        (other, true) => shape.must(other, list("What it allows, whole.", model("Permission"))),
        (other, false) => shape.may(other, list("What it allows, whole.", model("Permission")).or_null()),
    });
    if new { shape } else { shape.min_properties(Some(1)) }
}

// ---------------------------------------------------------------- Buckets

fn bucket() -> ObjectBuilder {
    object("A container of one affiliate's leads.")
        .must("id", text("Id.").pattern(Some(BUCKET_ID)))
        .must("name", text("Name, as operators see it."))
        .must("affiliateID", text("The affiliate it belongs to, for good."))
        .must("sources", list("Its assigned sources.", text("A source.")))
        .must("createdDate", moment("When it was made."))
}

fn bucket_fields(fields: &[&str], new: bool) -> ObjectBuilder {
    let empty = object(if new { "A new bucket." } else { "What to change; absent fields stay as they are." })
        .closed();
    let sources = || {
        let description = format!(
            "Its sources, whole, at most {SOURCES_MAX} different ones; each can be assigned to one bucket of an affiliate. An \
             affiliate's oldest bucket without sources takes what no other does."
        );
        list(&description, name("A source.")).or_null()
    };
    let shape = fields.iter().fold(empty, |shape, field| match (*field, new) {
        ("name", true) => shape.must("name", name("Name, as operators see it.")),
        ("name", false) => shape.may("name", name("Name, as operators see it.").or_null()),
        ("sources", _) => shape.may("sources", sources()),
        (other, _) => shape.must(other, name("The affiliate; it cannot be changed later.")),
    });
    if new { shape } else { shape.min_properties(Some(1)) }
}

fn routed() -> ObjectBuilder {
    object("A page of clients that had no bucket.")
        .must("routed", count("How many of them got one."))
        .must("nextCursor", text("The next page's `cursor`; `null` on the last page.").or_null())
}

fn bucket_stats() -> ObjectBuilder {
    let leads = || count("How many leads.");
    let day = object("A day.").must("day", formatted("The day (UTC).", "date")).must("leads", leads());
    let status = object("A status.").must("status", text("The status.")).must("leads", leads());
    object("How many leads a bucket has, by day and by status.")
        .must("total", count("All of them, whatever `from` and `to`."))
        .must("days", list("Days that have leads, by `createdDate`, in order.", day))
        .must("statuses", list("Statuses that leads have now, the most frequent first.", status))
}
