//! Items of DynamoDB past the store: as tests read and damage them.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::store::{Item, Store};

pub(crate) fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(crate) fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A key of one or two attributes.
pub(crate) fn key<const N: usize>(parts: [(&str, &str); N]) -> Item {
    parts.into_iter().map(|(name, text)| (name.to_owned(), s(text))).collect()
}

pub(crate) fn pk(pk: &str) -> Item {
    key([("pk", pk)])
}

pub(crate) fn pk_sk(pk: &str, sk: &str) -> Item {
    key([("pk", pk), ("sk", sk)])
}

pub(crate) async fn get(store: &Store, table: &str, key: &Item) -> Option<Item> {
    store.sdk().get_item().table_name(table).set_key(Some(key.clone())).send().await.unwrap().item
}

pub(crate) async fn put(store: &Store, table: &str, item: Item) {
    store.sdk().put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
}

/// Takes an item away that is there.
pub(crate) async fn delete(store: &Store, table: &str, key: &Item) {
    let deleted = store.sdk().delete_item().table_name(table).set_key(Some(key.clone()));
    let deleted = deleted.return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld).send().await.unwrap();
    assert!(deleted.attributes.is_some(), "there is no {key:?}");
}
