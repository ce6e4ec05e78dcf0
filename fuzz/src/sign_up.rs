//! Bodies of Sign Up, which are those of an import's lines and of changes of a client as well: what is read is
//! stored, shown, and read back.

use crate::{assert_known, field, plain_object, without_positions};
use serde_json::{Map, Value};
use shared::model::{
    BucketId, Client, ClientChange, Email, Invalid, Lead, OwnProfile, Profile, SignUp, Timestamp,
};
use shared::store::{PlacedLead, client_items, doors};

#[allow(dead_code, missing_docs)]
#[path = "../../local/src/import/row.rs"]
mod row;

/// Fields of `agreements`, of `billing` and of the body whose only rule is the length of their text.
const TEXTS: [&str; 28] = [
    "middleName",
    "lastName",
    "gender",
    "dateOfBirth",
    "nationality",
    "passport",
    "additionalPhone",
    "subID",
    "campaignId",
    "externalId",
    "project",
    "desk",
    "manager",
    "type",
    "companyFeeGroup",
    "verificationLevel",
    "verificationStatus",
    "phone",
    "firstName",
    "affiliateID",
    "sourceId",
    "status",
    "state",
    "billing.country",
    "billing.region",
    "billing.city",
    "billing.postcode",
    "billing.address",
];

fn is_known(message: &str) -> bool {
    let shown = without_positions(message);
    let Some((place, rest)) = shown.split_once(' ') else { return false };
    let text = ["must be a string", "must have at most 1024 characters"];
    match place {
        "Email," => shown == "Email, phone and first name are required",
        "email" => {
            rest == "must be a string" || rest == "must be a valid email address of at most 254 characters"
        }
        "meta" => rest == "must be a string" || rest == "must have at most 16384 bytes",
        "phone" if rest == "must have 5 to 15 digits and an optional leading +" => true,
        "dateOfBirth" if rest == "must be an ISO 8601 date" => true,
        "processed" | "allowToCreateAsset" | "sendEmail" => rest == "must be true or false",
        "billing" => rest == "must be an object",
        "agreements" => rest == "must be an array of objects" || rest == "must have at most 50 elements",
        "agreements[]" => rest == "must be an object",
        "agreements[].ip" if rest == "must be an IP address" => true,
        "agreements[].signedAt" if rest == "must be an ISO 8601 date-time" => true,
        "agreements[].ip" | "agreements[].signedAt" | "agreements[].label" => text.contains(&rest),
        place => TEXTS.contains(&place) && text.contains(&rest),
    }
}

/// Runs one input.
pub fn run(body: &[u8]) {
    let read = SignUp::parse(body);
    let object = plain_object(body);
    if let Err(error) = &read {
        let message = error.to_string();
        if !is_known(&message) {
            assert_known(&message, &[]);
        }
    }
    if let Some(object) = &object {
        requirements(object, &read);
    }
    if let Ok(given) = &read {
        sound(given);
        let source = given.affiliate_id.as_deref().filter(|id| !id.is_empty()).and_then(BucketId::parse);
        stored(&Client::register(given.clone(), given.affiliate_id.clone(), source));
    }
    if let Ok(change) = ClientChange::parse(body) {
        changed(&change, body);
    }
    if let Ok(row) = row::Row::from_json(body) {
        // What an import takes is a client like any other, and a change that leaves it as it is.
        sound(&row.given);
        assert!(!row.given.send_email);
        let mut client = Client::register(row.given, None, None);
        client.created_date = row.created_date.unwrap_or(client.created_date);
        client.ftd = row.ftd;
        client.id = row.id.unwrap_or(client.id);
        stored(&client);
        stored(&row.change.apply(&client));
    }
}

/// What the contract says of the required fields, and of phones and emails.
fn requirements(object: &Map<String, Value>, read: &Result<SignUp, Invalid>) {
    let text = |name: &str| field(object, name).and_then(Value::as_str);
    let filled = |name: &str| text(name).is_some_and(|text| !text.trim().is_empty());
    let required = "Email, phone and first name are required";
    match read {
        Ok(given) => {
            assert!(["email", "phone", "firstName"].into_iter().all(filled));
            let digits: String =
                text("phone").unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
            assert_eq!(given.phone.trim_start_matches('+'), digits);
            assert_eq!(Some(given.email.as_str()), text("email").map(str::trim));
            assert_eq!(Some(given.first_name.as_str()), text("firstName").map(str::trim));
            assert_eq!(
                Some(given.send_email),
                field(object, "sendEmail").map_or(Some(false), Value::as_bool)
            );
            for (name, stored) in given.profile.present() {
                assert_eq!(text(name), Some(stored));
            }
            let named = Profile::NAMES.iter().filter(|name| field(object, name).is_some()).count();
            assert_eq!(given.profile.present().count(), named);
            assert_eq!(given.meta.as_deref(), text("meta"));
            let agreements = field(object, "agreements").and_then(Value::as_array);
            assert_eq!(given.agreements.len(), agreements.map_or(0, Vec::len));
        }
        Err(error) if error.to_string() == required => {
            assert!(!["email", "phone", "firstName"].into_iter().all(filled));
        }
        Err(_) => {}
    }
}

/// What is true of every sign-up that was read.
fn sound(given: &SignUp) {
    let digits = given.phone.strip_prefix('+').unwrap_or(&given.phone);
    assert!((5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
    email(&given.email);
    assert!(!given.first_name.trim().is_empty());
    for text in [&given.affiliate_id, &given.source_id, &given.status, &given.state].into_iter().flatten() {
        assert!(!text.is_empty() && text.trim() == text && text.chars().count() <= 1024);
    }
    assert!(given.meta.as_ref().is_none_or(|meta| meta.len() <= 16 * 1024));
    assert!(given.agreements.len() <= 50);
}

/// What is true of every email.
pub(crate) fn email(email: &Email) {
    let text = email.as_str();
    assert!(text.chars().count() <= Email::MAX_CHARS && text.trim() == text);
    assert!(!text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '"' || c == '<' || c == '>'));
    let (user, domain) = text.rsplit_once('@').expect("an email has an @");
    assert!(!user.is_empty() && domain.contains('.'));
    assert_eq!(Email::parse(text).as_ref(), Some(email));
    assert_eq!(Email::key_of(email.key()), email.key(), "{text}");
    assert_eq!(Email::key_of(&format!(" {text}\t")), email.key());
    if text.is_ascii() {
        assert_eq!(Email::key_of(&text.to_ascii_uppercase()), email.key());
    }
    // Look-ups leave out what is longer than an email can be.
    assert!(email.key().chars().count() <= Email::KEY_MAX_CHARS, "no look-up finds {text}");
    if let Some(ascii) = email.to_ascii() {
        assert!(
            ascii.is_ascii() && !ascii.bytes().any(|byte| byte.is_ascii_control() || byte == b' '),
            "{ascii}"
        );
    }
}

/// Stores a client, and reads it back by each way.
fn stored(client: &Client) {
    let items = client_items(client);
    let [own, lead, details @ ..] = items.as_slice() else { panic!("a client has two items") };
    let read = doors::client(own, details.first()).expect("a client is read as it was written");
    let mut expected = client.clone();
    expected.given.status = Some(client.status.clone());
    expected.given.state = Some(client.state.clone());
    expected.given.affiliate_id = client.affiliate_id.clone();
    assert_eq!(read, expected);

    let placed = PlacedLead::of(client);
    assert_eq!(doors::lead(lead).expect("a lead"), placed);
    assert_eq!(doors::lead(own).expect("a client's short form"), placed);
    let (lead, own) = (doors::written(lead), doors::written(own));
    let page = format!(r#"{{"Items":[{lead}],"Count":1}}"#);
    let (page, next) = doors::page(page.as_bytes()).expect("an answer").expect("leads");
    assert!(next.is_none());
    assert_eq!(page, std::slice::from_ref(&placed));
    let batch = format!(r#"{{"Responses":{{"t":[{lead},{own}]}},"UnprocessedKeys":{{}}}}"#);
    let (batch, left) = doors::batch(batch.as_bytes()).expect("an answer").expect("leads");
    assert!(left.is_empty());
    assert_eq!(batch, [placed.clone(), placed.clone()]);
    shown(client, &placed.lead);
}

/// What partners, operators and the client itself see is JSON, and says what was given.
fn shown(client: &Client, lead: &Lead) {
    let mut text = Vec::new();
    lead.write(br#""affiliate""#, &mut text);
    let value: Value = serde_json::from_slice(&text).expect("a lead is JSON");
    assert_eq!(value["email"], client.given.email.as_str());
    assert_eq!(value["status"], client.status.as_str());
    assert_eq!(value["id"], client.id.as_str());
    let own = serde_json::to_string(&OwnProfile(client)).expect("a profile is JSON");
    for hidden in ["affiliateID", "sourceId", "status", "meta", "manager", "desk"] {
        let own: Value = serde_json::from_str(&own).expect("a profile is JSON");
        assert!(own.get(hidden).is_none());
    }
    let record = serde_json::to_vec(client).expect("a record is JSON");
    let again = SignUp::parse(&record).expect("a record's fields are those of Sign Up");
    let mut expected = client.given.clone();
    expected.status = Some(client.status.clone());
    expected.state = Some(client.state.clone());
    expected.affiliate_id = client.affiliate_id.clone();
    // Moments are shown in one form.
    for signed_at in expected.agreements.iter_mut().filter_map(|agreement| agreement.signed_at.as_mut()) {
        if let Some(moment) = Timestamp::parse_iso(signed_at) {
            *signed_at = moment.to_string();
        }
    }
    assert_eq!(again, expected);
}

/// A change does to a client what it says, and the same when it is made twice.
fn changed(change: &ClientChange, body: &[u8]) {
    let given = SignUp::parse(br#"{"email":"a@example.com","phone":"12345","firstName":"A"}"#);
    let before = Client::register(given.expect("a sign-up"), None, None);
    let after = change.apply(&before);
    assert_eq!(change.apply(&after), after);
    sound(&after.given);
    assert!(!after.status.is_empty() && !after.state.is_empty());
    assert_eq!((&after.id, after.created_date), (&before.id, before.created_date));
    stored(&after);
    if let Some(object) = plain_object(body) {
        for name in ["id", "createdDate", "updatedDate", "sendEmail"] {
            assert!(!object.contains_key(name), "{name} was changed");
        }
        let known: Vec<String> = ClientChange::names().collect();
        for name in object.keys().filter(|name| *name != "billing") {
            assert!(known.contains(name), "{name} is not known, and was taken");
        }
        if let Some(ftd) = field(&object, "ftd").and_then(Value::as_str) {
            assert_eq!(after.ftd, Timestamp::parse_iso(ftd.trim()));
        }
    }
}
