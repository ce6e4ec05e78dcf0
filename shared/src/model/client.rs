//! Clients and their registration (CONTRACT.md, section 3).

use super::{BucketId, Email, Invalid, Object, Timestamp, time};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

const REQUIRED: &str = "Email, phone and first name are required";
/// Longest text of a field that has no limit of its own, in characters.
pub const TEXT_MAX: usize = 1024;
/// Largest `meta`, in bytes.
pub const META_MAX_BYTES: usize = 16 * 1024;
/// Most `agreements`.
pub const AGREEMENTS_MAX: usize = 50;

/// Id of a client: a UUID, or what an import brought along.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(String);

impl ClientId {
    /// Longest id, in bytes; a longer text names no client.
    pub const MAX_BYTES: usize = 128;

    /// An id as stored or given.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// A new random id (UUID, version 4: 122 random bits).
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The optional text fields of the published reference: each is declared once, and read, stored
/// and shown from that declaration.
macro_rules! texts {
    ($(#[$of:meta])* $group:ident { $(#[doc = $doc:literal] $field:ident = $name:literal,)* }) => {
        $(#[$of])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct $group {
            $(#[doc = $doc] #[serde(rename = $name, skip_serializing_if = "Option::is_none")] pub $field: Option<String>,)*
        }

        impl $group {
            /// Published names of the fields, in the reference's order.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The same names, each with what the field holds.
            pub const DESCRIBED: &'static [(&'static str, &'static str)] = &[$(($name, $doc)),*];

            fn read(object: &Object<'_>) -> Result<Self, Invalid> {
                Ok(Self { $($field: object.text($name, TEXT_MAX)?.map(|text| text.into_owned()),)* })
            }

            /// The fields that are present, by their published names.
            pub fn present(&self) -> impl Iterator<Item = (&'static str, &str)> {
                [$(($name, self.$field.as_deref())),*].into_iter().filter_map(|(name, text)| Some((name, text?)))
            }

            /// Takes over the fields that are present in `change`; an empty one takes it away.
            fn merge(&mut self, change: &Self) {
                $(if let Some(text) = &change.$field {
                    self.$field = Some(text.clone()).filter(|text| !text.is_empty());
                })*
            }

            /// Puts a field by its published name; another name changes nothing.
            pub fn set(&mut self, name: &str, text: String) {
                match name {
                    $($name => self.$field = Some(text),)*
                    _ => {}
                }
            }
        }
    };
}

texts! {
    /// What the platform stores of a client besides what it works with.
    Profile {
        /// Middle name.
        middle_name = "middleName",
        /// Last name.
        last_name = "lastName",
        /// Gender.
        gender = "gender",
        /// Date of birth, ISO 8601.
        date_of_birth = "dateOfBirth",
        /// Nationality.
        nationality = "nationality",
        /// Passport.
        passport = "passport",
        /// Secondary phone.
        additional_phone = "additionalPhone",
        /// Affiliate sub-id.
        sub_id = "subID",
        /// Campaign identifier.
        campaign_id = "campaignId",
        /// External system's user id.
        external_id = "externalId",
        /// Project identifier.
        project = "project",
        /// Desk identifier.
        desk = "desk",
        /// Manager: id, email or name.
        manager = "manager",
        /// Client type.
        kind = "type",
        /// Fee group.
        company_fee_group = "companyFeeGroup",
        /// Verification level.
        verification_level = "verificationLevel",
        /// Verification status.
        verification_status = "verificationStatus",
    }
}

texts! {
    /// `billing`
    Billing {
        /// Country.
        country = "country",
        /// Region.
        region = "region",
        /// City.
        city = "city",
        /// Post code.
        postcode = "postcode",
        /// Street address.
        address = "address",
    }
}

/// One of `agreements`: what the client signed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    /// Agreement's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Address it was signed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// When it was signed, ISO 8601, as it was given; shown as all times are (CONTRACT.md, section 0).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_moment")]
    pub signed_at: Option<String>,
}

/// A moment in the form of answers, or as it was given where it is before 1970 or after 2286.
fn shown_moment<S: Serializer>(text: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    let moment = text.as_deref().and_then(Timestamp::parse_iso).map(|moment| moment.to_string());
    moment.as_ref().or(text.as_ref()).serialize(to)
}

/// A valid Sign Up request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignUp {
    /// `email`
    pub email: Email,
    /// `phone`: digits with an optional leading `+`.
    pub phone: String,
    /// `firstName`
    pub first_name: String,
    /// `affiliateID`; a blank one counts as absent.
    pub affiliate_id: Option<String>,
    /// `sourceId`; a blank one counts as absent.
    pub source_id: Option<String>,
    /// `status`; a blank one counts as absent.
    pub status: Option<String>,
    /// `state`; a blank one counts as absent.
    pub state: Option<String>,
    /// `meta`, at most 16 KiB.
    pub meta: Option<String>,
    /// `processed`
    pub processed: Option<bool>,
    /// `allowToCreateAsset`
    pub allow_to_create_asset: Option<bool>,
    /// `sendEmail`
    pub send_email: bool,
    /// The other text fields.
    pub profile: Profile,
    /// `billing`
    pub billing: Option<Billing>,
    /// `agreements`
    pub agreements: Vec<Agreement>,
}

impl SignUp {
    /// Reads a request body. Undocumented fields, and those that the platform manages, are
    /// ignored.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Self::read(&Object::parse(body)?)
    }

    /// As [`SignUp::parse`], from an object that was read already.
    ///
    /// # Errors
    /// As [`SignUp::parse`].
    pub fn read(object: &Object<'_>) -> Result<Self, Invalid> {
        let trimmed = |name| {
            let text = object.text(name, TEXT_MAX)?;
            Ok::<_, Invalid>(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
        };
        let (email, phone, first_name) =
            match (object.text("email", usize::MAX)?, trimmed("phone")?, trimmed("firstName")?) {
                (Some(email), Some(phone), Some(name)) if !email.trim().is_empty() => (email, phone, name),
                _ => return Err(Invalid::new(REQUIRED)),
            };
        let email = read_email(&email)?;
        let phone = valid_phone(&phone)?;
        let profile = Profile::read(object)?;
        if profile.date_of_birth.as_deref().is_some_and(|text| !time::is_iso(text)) {
            return Err(not_a_date());
        }
        let meta = read_meta(object)?;
        let agreements = object.objects("agreements", AGREEMENTS_MAX)?.unwrap_or_default();
        Ok(Self {
            email,
            phone,
            first_name,
            affiliate_id: trimmed("affiliateID")?,
            source_id: trimmed("sourceId")?,
            status: trimmed("status")?,
            state: trimmed("state")?,
            meta,
            processed: object.boolean("processed")?,
            allow_to_create_asset: object.boolean("allowToCreateAsset")?,
            send_email: object.boolean("sendEmail")?.unwrap_or(false),
            profile,
            billing: object.object("billing")?.map(|billing| Billing::read(&billing)).transpose()?,
            agreements: agreements.iter().map(read_agreement).collect::<Result<_, _>>()?,
        })
    }
}

fn read_email(text: &str) -> Result<Email, Invalid> {
    Email::parse(text).ok_or_else(|| {
        Invalid::new(format!(
            "email must be a valid email address of at most {} characters",
            Email::MAX_CHARS
        ))
    })
}

fn valid_phone(text: &str) -> Result<String, Invalid> {
    read_phone(text).ok_or_else(|| Invalid::new("phone must have 5 to 15 digits and an optional leading +"))
}

fn not_a_date() -> Invalid {
    Invalid::new("dateOfBirth must be an ISO 8601 date")
}

fn read_meta(object: &Object<'_>) -> Result<Option<String>, Invalid> {
    match object.text("meta", usize::MAX)? {
        Some(meta) if meta.len() > META_MAX_BYTES => {
            Err(Invalid::new(format!("meta must have at most {META_MAX_BYTES} bytes")))
        }
        meta => Ok(meta.map(Cow::into_owned)),
    }
}

/// Blanks, dots, dashes and parentheses are dropped, of whatever width they are; what is left must be 5 to 15 digits
/// with an optional leading `+`.
fn read_phone(text: &str) -> Option<String> {
    let is_blank = |c| {
        matches!(c, ' ' | '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
    };
    let is_dash = |c| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    let kept: String =
        text.chars().filter(|c| !is_blank(*c) && !is_dash(*c) && !matches!(c, '.' | '(' | ')')).collect();
    let digits = kept.strip_prefix('+').unwrap_or(&kept);
    let valid = (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then_some(kept)
}

fn read_agreement(object: &Object<'_>) -> Result<Agreement, Invalid> {
    let text = |name| Ok::<_, Invalid>(object.text(name, TEXT_MAX)?.map(|text| text.into_owned()));
    let (label, ip, signed_at) = (text("label")?, text("ip")?, text("signedAt")?);
    if ip.as_deref().is_some_and(|ip| ip.parse::<IpAddr>().is_err()) {
        return Err(Invalid::new(format!("{} must be an IP address", object.place("ip"))));
    }
    if signed_at.as_deref().is_some_and(|text| !time::is_iso(text)) {
        return Err(Invalid::new(format!("{} must be an ISO 8601 date-time", object.place("signedAt"))));
    }
    Ok(Agreement { label, ip, signed_at })
}

/// A registered client: what was given at sign-up and what the platform manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Id.
    pub id: ClientId,
    /// What was given.
    pub given: SignUp,
    /// Status; `new` where none was given.
    pub status: String,
    /// State; `active` where none was given.
    pub state: String,
    /// The affiliate, from the request or from the token.
    pub affiliate_id: Option<String>,
    /// The bucket it was routed to.
    pub bucket_id: Option<BucketId>,
    /// When it was registered.
    pub created_date: Timestamp,
    /// When it was last changed.
    pub updated_date: Timestamp,
    /// When it made its first deposit.
    pub ftd: Option<Timestamp>,
    /// The import and the record that brought it, by which that import recognises it after a crash.
    pub import_id: Option<String>,
}

impl Client {
    /// A client that registers now.
    pub fn register(given: SignUp, affiliate_id: Option<String>, bucket_id: Option<BucketId>) -> Self {
        let now = Timestamp::now();
        Self {
            id: ClientId::generate(),
            status: given.status.clone().unwrap_or_else(|| "new".to_owned()),
            state: given.state.clone().unwrap_or_else(|| "active".to_owned()),
            given,
            affiliate_id,
            bucket_id,
            created_date: now,
            updated_date: now,
            ftd: None,
            import_id: None,
        }
    }
}

/// A client as it sees itself in the Traders Room (CONTRACT.md, section 4): what it told of itself
/// and how far it is verified; nothing of affiliates, campaigns and how the platform handles it.
#[derive(Clone, Copy, Debug)]
pub struct OwnProfile<'a>(pub &'a Client);

impl OwnProfile<'_> {
    /// The fields of [`Profile`] that are shown.
    pub const SHOWN: [&'static str; 9] = [
        "middleName",
        "lastName",
        "gender",
        "dateOfBirth",
        "nationality",
        "passport",
        "additionalPhone",
        "verificationLevel",
        "verificationStatus",
    ];
}

impl Serialize for OwnProfile<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (client, given) = (self.0, &self.0.given);
        let mut shown = to.serialize_map(None)?;
        shown.serialize_entry("id", client.id.as_str())?;
        shown.serialize_entry("email", given.email.as_str())?;
        shown.serialize_entry("phone", &given.phone)?;
        shown.serialize_entry("firstName", &given.first_name)?;
        for (name, text) in given.profile.present().filter(|(name, _)| Self::SHOWN.contains(name)) {
            shown.serialize_entry(name, text)?;
        }
        if let Some(billing) = &given.billing {
            shown.serialize_entry("billing", billing)?;
        }
        shown.serialize_entry("createdDate", &client.created_date.to_string())?;
        shown.end()
    }
}

impl Serialize for Client {
    /// The record of the admin API (CONTRACT.md, section 5): the fields of Sign Up by their
    /// published names, and what the platform manages.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let given = &self.given;
        let mut shown = to.serialize_map(None)?;
        shown.serialize_entry("id", self.id.as_str())?;
        shown.serialize_entry("email", given.email.as_str())?;
        shown.serialize_entry("phone", &given.phone)?;
        shown.serialize_entry("firstName", &given.first_name)?;
        for (name, text) in given.profile.present() {
            shown.serialize_entry(name, text)?;
        }
        shown.serialize_entry("affiliateID", &self.affiliate_id)?;
        shown.serialize_entry("sourceId", &given.source_id)?;
        shown.serialize_entry("bucketId", &self.bucket_id.as_ref().map(BucketId::as_str))?;
        shown.serialize_entry("status", &self.status)?;
        shown.serialize_entry("state", &self.state)?;
        if let Some(meta) = &given.meta {
            shown.serialize_entry("meta", meta)?;
        }
        let flags = [("processed", given.processed), ("allowToCreateAsset", given.allow_to_create_asset)];
        for (name, flag) in flags.into_iter().filter_map(|(name, flag)| Some((name, flag?))) {
            shown.serialize_entry(name, &flag)?;
        }
        if let Some(billing) = &given.billing {
            shown.serialize_entry("billing", billing)?;
        }
        if !given.agreements.is_empty() {
            shown.serialize_entry("agreements", &given.agreements)?;
        }
        shown.serialize_entry("sendEmail", &given.send_email)?;
        shown.serialize_entry("createdDate", &self.created_date.to_string())?;
        shown.serialize_entry("updatedDate", &self.updated_date.to_string())?;
        shown.serialize_entry("ftd", &self.ftd.map(|ftd| ftd.to_string()))?;
        shown.end()
    }
}

/// What an operator changes of a client (CONTRACT.md, section 5); absent fields stay as they are.
/// An empty text takes an optional field away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientChange {
    email: Option<Email>,
    phone: Option<String>,
    first_name: Option<String>,
    status: Option<String>,
    state: Option<String>,
    /// `affiliateID`: without `bucketId` the client is routed anew.
    pub affiliate_id: Option<Option<String>>,
    source_id: Option<Option<String>>,
    /// `bucketId`
    pub bucket_id: Option<Option<BucketId>>,
    ftd: Option<Option<Timestamp>>,
    meta: Option<Option<String>>,
    processed: Option<bool>,
    allow_to_create_asset: Option<bool>,
    profile: Profile,
    billing: Option<Billing>,
    agreements: Option<Vec<Agreement>>,
}

impl ClientChange {
    /// Fields that can be changed, besides those of [`Profile`].
    const NAMES: [&'static str; 14] = [
        "email",
        "phone",
        "firstName",
        "status",
        "state",
        "affiliateID",
        "sourceId",
        "bucketId",
        "ftd",
        "meta",
        "processed",
        "allowToCreateAsset",
        "billing",
        "agreements",
    ];

    /// Reads a request body.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected, is not known or cannot be
    /// changed.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        super::refuse_unchangeable(&object, &["id", "createdDate", "updatedDate", "sendEmail"])?;
        Self::only_known(&object, &[])?;
        let change = Self::read(&object)?;
        if change == Self::default() {
            return Err(Invalid::new("body must have a field to change; an empty text takes one away"));
        }
        Ok(change)
    }

    /// Refuses fields, nested ones included, that can't be changed and are not among `besides`.
    ///
    /// # Errors
    /// Names the first one.
    pub fn only_known(object: &Object<'_>, besides: &[&str]) -> Result<(), Invalid> {
        let known: Vec<_> = Self::NAMES.iter().chain(Profile::NAMES).chain(besides).copied().collect();
        object.only(&known)?;
        if let Some(billing) = object.object("billing")? {
            billing.only(Billing::NAMES)?;
        }
        for agreement in object.objects("agreements", AGREEMENTS_MAX)?.unwrap_or_default() {
            agreement.only(&["label", "ip", "signedAt"])?;
        }
        Ok(())
    }

    /// Names of all fields that can be changed; those of `billing` as `billing.city`.
    pub fn names() -> impl Iterator<Item = String> {
        let own = Self::NAMES.iter().chain(Profile::NAMES).filter(|name| **name != "billing");
        own.map(|name| (*name).to_owned()).chain(Billing::NAMES.iter().map(|name| format!("billing.{name}")))
    }

    /// Reads the fields that can be changed, and no others.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected.
    pub fn read(object: &Object<'_>) -> Result<Self, Invalid> {
        let trimmed = |name| {
            let text = object.text(name, TEXT_MAX)?;
            Ok::<_, Invalid>(text.map(|text| text.trim().to_owned()))
        };
        let filled = |name: &'static str| match trimmed(name)? {
            Some(text) if text.is_empty() => Err(Invalid::new(format!("{name} must not be blank"))),
            text => Ok(text),
        };
        let optional =
            |name| Ok::<_, Invalid>(trimmed(name)?.map(|text| Some(text).filter(|t| !t.is_empty())));
        let email = object.text("email", usize::MAX)?;
        let phone = trimmed("phone")?;
        let profile = Profile::read(object)?;
        if profile.date_of_birth.as_deref().is_some_and(|text| !text.is_empty() && !time::is_iso(text)) {
            return Err(not_a_date());
        }
        Ok(Self {
            email: email.map(|text| read_email(&text)).transpose()?,
            phone: phone.map(|text| valid_phone(&text)).transpose()?,
            first_name: filled("firstName")?,
            status: filled("status")?,
            state: filled("state")?,
            affiliate_id: optional("affiliateID")?,
            source_id: optional("sourceId")?,
            bucket_id: match optional("bucketId")? {
                Some(Some(id)) => Some(Some(
                    BucketId::parse(&id)
                        .ok_or_else(|| Invalid::new("bucketId must be the id of a bucket"))?,
                )),
                Some(None) => Some(None),
                None => None,
            },
            ftd: match optional("ftd")? {
                Some(Some(text)) => {
                    Some(Some(Timestamp::parse_iso(&text).ok_or_else(|| {
                        Invalid::new("ftd must be an ISO 8601 date-time from 1970 to 2286")
                    })?))
                }
                Some(None) => Some(None),
                None => None,
            },
            meta: read_meta(object)?.map(|meta| Some(meta).filter(|meta| !meta.is_empty())),
            processed: object.boolean("processed")?,
            allow_to_create_asset: object.boolean("allowToCreateAsset")?,
            profile,
            billing: object.object("billing")?.map(|billing| Billing::read(&billing)).transpose()?,
            agreements: match object.objects("agreements", AGREEMENTS_MAX)? {
                Some(agreements) => Some(agreements.iter().map(read_agreement).collect::<Result<_, _>>()?),
                None => None,
            },
        })
    }

    /// The client with the change; `updated_date` is the caller's to set.
    #[must_use]
    pub fn apply(&self, client: &Client) -> Client {
        let mut changed = client.clone();
        let given = &mut changed.given;
        put(&mut given.email, &self.email);
        put(&mut given.phone, &self.phone);
        put(&mut given.first_name, &self.first_name);
        put(&mut given.source_id, &self.source_id);
        put(&mut given.meta, &self.meta);
        put(&mut given.agreements, &self.agreements);
        given.processed = self.processed.or(given.processed);
        given.allow_to_create_asset = self.allow_to_create_asset.or(given.allow_to_create_asset);
        given.profile.merge(&self.profile);
        if let Some(billing) = &self.billing {
            let mut merged = given.billing.take().unwrap_or_default();
            merged.merge(billing);
            given.billing = Some(merged).filter(|billing| *billing != Billing::default());
        }
        put(&mut changed.status, &self.status);
        put(&mut changed.state, &self.state);
        put(&mut changed.affiliate_id, &self.affiliate_id);
        put(&mut changed.bucket_id, &self.bucket_id);
        put(&mut changed.ftd, &self.ftd);
        changed
    }
}

fn put<T: Clone>(field: &mut T, change: &Option<T>) {
    if let Some(change) = change {
        field.clone_from(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<SignUp, String> {
        SignUp::parse(body.as_bytes()).map_err(|error| error.to_string())
    }

    fn with(fields: &str) -> Result<SignUp, String> {
        parse(&format!(r#"{{"email":"user@example.com","phone":"+1234567890","firstName":"Jane",{fields}}}"#))
    }

    #[test]
    fn the_required_fields_come_first() {
        for body in [
            "{}",
            "",
            r#"{"email":"user@example.com","phone":"+1234567890"}"#,
            r#"{"email":"user@example.com","phone":"+1234567890","firstName":" "}"#,
            r#"{"email":null,"phone":"+1234567890","firstName":"Jane"}"#,
            r#"{"email":"","phone":"+1234567890","firstName":"Jane","billing":7}"#,
            r#"{"email":"not an address","phone":"","firstName":"Jane"}"#,
        ] {
            assert_eq!(parse(body).unwrap_err(), "Email, phone and first name are required", "{body}");
        }
    }

    /// CONTRACT.md, section 0: times in answers have one form.
    #[test]
    fn moments_of_agreements_are_shown_in_the_one_form() {
        for (given, shown) in [
            ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000Z"),
            ("2026-01-01T14:00:00.5+02:00", "2026-01-01T12:00:00.500Z"),
            ("2026-01-01", "2026-01-01T00:00:00.000Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
        ] {
            let agreement = Agreement { signed_at: Some(given.to_owned()), ..Agreement::default() };
            let expected = serde_json::json!({ "signedAt": shown });
            assert_eq!(serde_json::to_value(&agreement).unwrap(), expected, "{given}");
        }
        assert_eq!(serde_json::to_value(Agreement::default()).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn phones() {
        for (given, kept) in [
            ("+1234567890", Some("+1234567890")),
            ("(030) 123-45.67", Some("0301234567")),
            ("12345", Some("12345")),
            ("+33\u{202f}6\u{2009}12\u{3000}34", Some("+3361234")),
            ("555\u{2011}123\u{2013}4567\u{2212}8", Some("55512345678")),
            ("123\n45", None),
            ("123\u{200b}45", None),
            ("+123456789012345", Some("+123456789012345")),
            ("1234", None),
            ("+1234567890123456", None),
            ("12+345678", None),
            ("++12345678", None),
            ("12345x", None),
            ("١٢٣٤٥٦", None),
        ] {
            assert_eq!(read_phone(given).as_deref(), kept, "{given}");
        }
    }

    #[test]
    fn the_whole_published_reference_is_read() {
        let texts: String = Profile::NAMES
            .iter()
            .map(|name| match *name {
                "dateOfBirth" => r#""dateOfBirth":"1990-05-01","#.to_owned(),
                name => format!(r#""{name}":"{name}-value","#),
            })
            .collect();
        let given = with(&format!(
            r#"{texts}"affiliateID":"AFF-123","sourceId":"facebook_ads","status":"s","state":"live","meta":"m",
               "processed":true,"allowToCreateAsset":false,"sendEmail":true,"createdDate":"x","id":"y","ftd":5,
               "billing":{{"country":"US","region":"NY","city":"New York","postcode":"10001","address":"Wall Street 1"}},
               "agreements":[{{"label":"Terms and Conditions","ip":"127.0.0.1","signedAt":"2026-01-01T12:00:00Z"}}]"#
        ))
        .unwrap();
        assert_eq!(given.profile.present().count(), Profile::NAMES.len());
        assert_eq!(given.profile.kind.as_deref(), Some("type-value"));
        assert_eq!(given.billing.unwrap().present().count(), 5);
        assert_eq!(given.agreements[0].signed_at.as_deref(), Some("2026-01-01T12:00:00Z"));
        assert_eq!(
            (given.processed, given.allow_to_create_asset, given.send_email),
            (Some(true), Some(false), true)
        );
        assert_eq!(given.affiliate_id.as_deref(), Some("AFF-123"));
    }

    #[test]
    fn messages_name_the_field() {
        let long = "x".repeat(1025);
        for (fields, message) in [
            (
                r#""email":"nobody""#.to_owned(),
                "email must be a valid email address of at most 254 characters",
            ),
            (r#""email":5"#.into(), "email must be a string"),
            (r#""phone":"123""#.into(), "phone must have 5 to 15 digits and an optional leading +"),
            (format!(r#""lastName":"{long}""#), "lastName must have at most 1024 characters"),
            (format!(r#""firstName":"{long}""#), "firstName must have at most 1024 characters"),
            (format!(r#""meta":"{}""#, "é".repeat(8193)), "meta must have at most 16384 bytes"),
            (r#""dateOfBirth":"01/05/1990""#.into(), "dateOfBirth must be an ISO 8601 date"),
            (r#""sendEmail":"yes""#.into(), "sendEmail must be true or false"),
            (r#""billing":{"city":5}"#.into(), "billing.city must be a string"),
            (r#""agreements":{}"#.into(), "agreements must be an array of objects"),
            (r#""agreements":[{"ip":"localhost"}]"#.into(), "agreements[0].ip must be an IP address"),
            (
                r#""agreements":[{},{"signedAt":"now"}]"#.into(),
                "agreements[1].signedAt must be an ISO 8601 date-time",
            ),
            (
                format!(r#""agreements":[{}]"#, ["{}"; 51].join(",")),
                "agreements must have at most 50 elements",
            ),
        ] {
            assert_eq!(with(&fields).unwrap_err(), message, "{fields}");
        }
        assert!(with(&format!(r#""lastName":"{}""#, "é".repeat(1024))).is_ok());
    }

    #[test]
    fn defaults_and_blanks() {
        let given = with(r#""affiliateID":" ","sourceId":"","status":"","state":null"#).unwrap();
        assert_eq!((&given.affiliate_id, &given.source_id), (&None, &None));
        let client = Client::register(given, None, None);
        assert_eq!((client.status.as_str(), client.state.as_str()), ("new", "active"));
        assert_eq!(client.created_date, client.updated_date);
        assert_eq!(client.id.as_str().len(), 36);
    }
}
