//! Clients as items: writing, reading, and the short form that leads have.

use super::item::{Item, Reader, item, n, s};
use super::leads::PlacedLead;
use super::{Store, StoreError, keys};
use crate::model::{
    Agreement, Billing, BucketId, Client, ClientId, Email, Lead, Profile, SignUp, Stored, Version,
};
use aws_sdk_dynamodb::types::{AttributeValue, Get, TransactGetItem};
use std::collections::HashMap;

/// A client's own item stays below one read unit; a larger profile is stored apart.
const INLINE_MAX_BYTES: usize = 3_500;
/// Attribute of a changed record's state.
pub(super) const VERSION: &str = "rev";

impl Store {
    /// A client by id, strongly consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Stored<Client>>, StoreError> {
        if id.as_str().is_empty() || id.as_str().len() > ClientId::MAX_BYTES {
            return Ok(None);
        }
        let found = self
            .sdk()
            .get_item()
            .table_name(&self.tables.clients)
            .key("pk", s(keys::client(id.as_str())))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("client", &error))?;
        let Some(own) = found.item else { return Ok(None) };
        if !own.contains_key(DETAILS) {
            return client_from(&own, None).map(Some);
        }
        // Both items as they were at one moment.
        let get = |pk: String| {
            let get = Get::builder().table_name(&self.tables.clients).key("pk", s(pk)).build();
            let get = get.map_err(|_| StoreError::new("client", "request could not be built"))?;
            Ok::<_, StoreError>(TransactGetItem::builder().get(get).build())
        };
        let gets = vec![get(keys::client(id.as_str()))?, get(keys::client_details(id))?];
        let read = self.sdk().transact_get_items().set_transact_items(Some(gets)).send().await;
        let read = read.map_err(|error| StoreError::of("client with details", &error))?;
        let mut items = read.responses.unwrap_or_default().into_iter().map(|response| response.item);
        let (own, details) = (items.next().flatten(), items.next().flatten());
        own.map(|own| client_from(&own, details.as_ref())).transpose()
    }

    /// The client with this email, strongly consistent.
    ///
    /// # Errors
    /// As [`Store::client`].
    pub async fn client_by_email(&self, email: &Email) -> Result<Option<Stored<Client>>, StoreError> {
        let found = self
            .sdk()
            .get_item()
            .table_name(&self.tables.clients)
            .key("pk", s(keys::lead(email.key())))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("client by email", &error))?;
        let Some(stored) = found.item else { return Ok(None) };
        self.client(&PlacedLead::from_item(&stored)?.lead.id).await
    }

    /// The clients with these ids, in the order given; those that are not there are left out.
    /// Eventually consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, went on leaving keys unprocessed, or an item is malformed.
    pub async fn clients(&self, ids: &[ClientId]) -> Result<Vec<Client>, StoreError> {
        let by_key = |items: Vec<Item>| -> HashMap<String, Item> {
            let keyed =
                items.into_iter().filter_map(|item| Some((item.get("pk")?.as_s().ok()?.clone(), item)));
            keyed.collect()
        };
        let table = &self.tables.clients;
        let wanted = ids.iter().map(|id| item([("pk", s(keys::client(id.as_str())))])).collect();
        let own = by_key(self.batch_get("clients", table, wanted).await?);
        let large = ids
            .iter()
            .filter(|id| own.get(&keys::client(id.as_str())).is_some_and(|own| own.contains_key(DETAILS)));
        let wanted: Vec<_> = large.map(|id| item([("pk", s(keys::client_details(id)))])).collect();
        let details = by_key(self.batch_get("client details", table, wanted).await?);
        let found = ids.iter().filter_map(|id| {
            let own = own.get(&keys::client(id.as_str()))?;
            // One that was deleted or shrunk between the two reads is shown without.
            Some(client_from(own, details.get(&keys::client_details(id))).map(|stored| stored.value))
        });
        found.collect()
    }
}

/// The items of a client in the clients table, without counters: for bulk loads.
pub fn client_items(client: &Client) -> Vec<Item> {
    let placed = PlacedLead::of(client);
    let (own, details) = client_item(client, &placed);
    [own, placed.to_item()].into_iter().chain(details).collect()
}

impl PlacedLead {
    /// A client's short form, in the list of its bucket or of those that have none.
    pub fn of(client: &Client) -> Self {
        let list = match &client.bucket_id {
            Some(bucket) => keys::bucket_list(bucket),
            None => keys::unassigned_list(client.affiliate_id.as_deref(), &client.id),
        };
        Self {
            lead: Lead {
                id: client.id.clone(),
                email: client.given.email.as_str().to_owned(),
                status: client.status.clone(),
                created_date: client.created_date,
                updated_date: client.updated_date,
                ftd: client.ftd,
            },
            source_list: client.given.source_id.as_deref().map(|source| keys::source_list(&list, source)),
            list,
        }
    }
}

/// Marks a client's item whose profile is stored apart.
const DETAILS: &str = "details";

/// Reads a client's item and, where its profile is stored apart, that.
pub(super) fn client_from(own: &Item, details: Option<&Item>) -> Result<Stored<Client>, StoreError> {
    let reader = Reader::new("client", own);
    let rest = Reader::new("client", details.unwrap_or(own));
    let email = Email::parse(reader.text("email")?).ok_or_else(|| reader.malformed())?;
    let status = reader.text("status")?.to_owned();
    let state = rest.optional_text("state").unwrap_or_default().to_owned();
    let owned = |name: &str| rest.optional_text(name).map(str::to_owned);
    let affiliate_id = owned("affiliateID");
    let mut profile = Profile::default();
    for name in Profile::NAMES {
        if let Some(text) = rest.optional_text(name) {
            profile.set(name, text.to_owned());
        }
    }
    let given = SignUp {
        email,
        phone: owned("phone").unwrap_or_default(),
        first_name: reader.text("firstName")?.to_owned(),
        affiliate_id: affiliate_id.clone(),
        source_id: owned("sourceId"),
        status: Some(status.clone()),
        state: Some(state.clone()),
        meta: owned("meta"),
        processed: rest.optional_flag("processed"),
        allow_to_create_asset: rest.optional_flag("allowToCreateAsset"),
        send_email: reader.optional_flag("sendEmail").unwrap_or(false),
        profile,
        billing: rest.map("billing").map(|fields| {
            let mut billing = Billing::default();
            for (name, value) in fields {
                if let Ok(text) = value.as_s() {
                    billing.set(name, text.clone());
                }
            }
            billing
        }),
        agreements: rest.maps("agreements").map(read_agreement).collect(),
    };
    let bucket_id = match reader.optional_text("bucketId") {
        Some(id) => Some(BucketId::parse(id).ok_or_else(|| reader.malformed())?),
        None => None,
    };
    let client = Client {
        id: ClientId::new(reader.text("id")?),
        given,
        status,
        state,
        affiliate_id,
        bucket_id,
        created_date: reader.moment("createdDate")?,
        updated_date: reader.moment("updatedDate")?,
        ftd: reader.optional_moment("ftd")?,
        import_id: reader.optional_text("importId").map(str::to_owned),
    };
    Ok(Stored { value: client, version: Version::stored(reader.optional_text(VERSION)) })
}

fn read_agreement(fields: &Item) -> Agreement {
    let text = |name: &str| fields.get(name)?.as_s().ok().cloned();
    Agreement { label: text("label"), ip: text("ip"), signed_at: text("signedAt") }
}

/// The client's item and, where its profile is large, the item with the rest of it.
pub(super) fn client_item(client: &Client, placed: &PlacedLead) -> (Item, Option<Item>) {
    let given = &client.given;
    let mut own = item([
        ("pk", s(keys::client(client.id.as_str()))),
        ("id", s(client.id.as_str())),
        ("email", s(given.email.as_str())),
        ("status", s(&client.status)),
        ("createdDate", n(client.created_date.millis())),
        ("updatedDate", n(client.updated_date.millis())),
        ("list", s(&placed.list)),
        ("firstName", s(&given.first_name)),
        ("sendEmail", AttributeValue::Bool(given.send_email)),
    ]);
    if let Some(ftd) = client.ftd {
        own.insert("ftd".into(), n(ftd.millis()));
    }
    if let Some(list) = &placed.source_list {
        own.insert("sourceList".into(), s(list));
    }
    if let Some(bucket) = client.bucket_id.as_ref().map(BucketId::as_str) {
        own.insert("bucketId".into(), s(bucket));
    }
    if let Some(import) = &client.import_id {
        own.insert("importId".into(), s(import));
    }

    let mut rest = item([("phone", s(&given.phone)), ("state", s(&client.state))]);
    let texts = [
        ("affiliateID", client.affiliate_id.as_deref()),
        ("sourceId", given.source_id.as_deref()),
        ("meta", given.meta.as_deref()),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    rest.extend(texts.chain(given.profile.present()).map(|(name, text)| (name.to_owned(), s(text))));
    let flags = [("processed", given.processed), ("allowToCreateAsset", given.allow_to_create_asset)];
    rest.extend(
        flags.into_iter().filter_map(|(name, flag)| Some((name.to_owned(), AttributeValue::Bool(flag?)))),
    );
    if let Some(billing) = &given.billing {
        rest.insert("billing".into(), billing_value(billing));
    }
    if !given.agreements.is_empty() {
        rest.insert(
            "agreements".into(),
            AttributeValue::L(given.agreements.iter().map(agreement_value).collect()),
        );
    }

    let bytes = |item: &Item| item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
    if bytes(&own) + bytes(&rest) <= INLINE_MAX_BYTES {
        own.extend(rest);
        return (own, None);
    }
    own.insert(DETAILS.into(), AttributeValue::Bool(true));
    rest.insert("pk".into(), s(keys::client_details(&client.id)));
    (own, Some(rest))
}

fn billing_value(billing: &Billing) -> AttributeValue {
    AttributeValue::M(billing.present().map(|(name, text)| (name.to_owned(), s(text))).collect())
}

fn agreement_value(agreement: &Agreement) -> AttributeValue {
    let fields = [("label", &agreement.label), ("ip", &agreement.ip), ("signedAt", &agreement.signed_at)];
    let present = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), s(text.as_deref()?))));
    AttributeValue::M(present.collect())
}

/// About what DynamoDB counts for a value.
pub(super) fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + size(value)).sum::<usize>(),
        AttributeValue::M(values) => {
            3 + values.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SignUp;

    fn client(meta: usize) -> Client {
        let body = format!(
            r#"{{"email":"User@Example.com","phone":"+1234567890","firstName":"Jane","sourceId":"s","meta":"{}"}}"#,
            "m".repeat(meta)
        );
        let given = SignUp::parse(body.as_bytes()).unwrap();
        Client::register(given, Some("AFF-123".into()), BucketId::parse("b1"))
    }

    #[test]
    fn a_large_profile_is_stored_apart_and_the_clients_own_item_stays_small() {
        assert_eq!(client_items(&client(10)).len(), 2);
        let items = client_items(&client(10_000));
        assert_eq!(items.len(), 3);
        assert!(!items[0].contains_key("meta") && items[2].contains_key("meta"));
        assert!(items[0].contains_key("firstName") && items[0].contains_key("email"));
    }

    #[test]
    fn only_the_lead_is_in_the_indexes() {
        let items = client_items(&client(10_000));
        for (at, item) in items.iter().enumerate() {
            for attribute in ["b", "bs", "bt", "c", "u"] {
                assert_eq!(item.contains_key(attribute), at == 1, "{attribute} of item {at}");
            }
        }
    }

    #[test]
    fn both_forms_of_a_lead_read_back_the_same() {
        let client = client(10);
        let items = client_items(&client);
        let placed = PlacedLead::of(&client);
        assert_eq!(PlacedLead::from_item(&items[0]).unwrap(), placed);
        assert_eq!(PlacedLead::from_item(&items[1]).unwrap(), placed);
        assert_eq!(placed.lead.email, "User@Example.com");
    }

    #[test]
    fn a_client_reads_back_whole() {
        let body = r#"{"email":"User@Example.com","phone":"+1234567890","firstName":"Jane","lastName":"Doe","type":"t",
            "sourceId":"s","meta":"m","processed":false,"allowToCreateAsset":true,"sendEmail":true,
            "billing":{"city":"New York"},"agreements":[{"label":"Terms","ip":"127.0.0.1"},{}]}"#;
        for meta in [10, 10_000] {
            let given = SignUp::parse(body.replace("\"m\"", &format!("\"{}\"", "m".repeat(meta))).as_bytes());
            let mut client = Client::register(given.unwrap(), Some("A".into()), BucketId::parse("b1"));
            client.ftd = Some(client.created_date);
            client.import_id = Some("import".into());
            // What a default stood in for reads back as if it had been given.
            client.given.affiliate_id = client.affiliate_id.clone();
            client.given.status = Some(client.status.clone());
            client.given.state = Some(client.state.clone());
            let (own, details) = client_item(&client, &PlacedLead::of(&client));
            assert_eq!(details.is_some(), meta > 4000);
            let read = client_from(&own, details.as_ref()).unwrap();
            assert_eq!(read, Stored { value: client, version: Version::default() });
        }
    }
}
