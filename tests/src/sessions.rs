//! Autologin links and sessions, as a browser has them and as they are stored.

use crate::{Answer, TestApp};
use aws_sdk_dynamodb::types::AttributeValue;
use hyper::Method;
use serde_json::json;
use shared::model::Timestamp;
use shared::secret::{Link, SessionKey};
use shared::store::{Item, keys};

/// The session page's address.
pub const ROOM: &str = "/tradersroom";
/// The signed-in client's profile.
pub const ME: &str = "/tradersroom/api/auth/me";
/// The end of a session.
pub const LOGOUT: &str = "/tradersroom/api/auth/logout";

/// Epoch seconds.
pub fn now() -> i64 {
    Timestamp::now().millis() / 1000
}

/// The path of an autologin url.
pub fn path(url: &str) -> &str {
    &url[url.find("/autologin/").unwrap()..]
}

/// `name=value` of a `Set-Cookie`.
pub fn pair(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap()
}

/// Key of a link's record.
pub fn link_record(url: &str) -> String {
    let link = path(url).trim_start_matches("/autologin/").trim_end_matches('/');
    keys::link(&Link::parse(link).unwrap().digest())
}

/// Key of a session's record.
pub fn session_record(cookie: &str) -> String {
    keys::session(&SessionKey::parse(pair(cookie).split_once('=').unwrap().1).unwrap().digest())
}

impl TestApp {
    /// Signs a client up and gives its id and autologin url.
    pub async fn signed_up_with_link(&self, email: &str) -> (String, String) {
        let key = self.sign_up_key(&[]).await;
        let body = json!({ "email": email, "phone": "+1234567890", "firstName": "Jane", "lastName": "Doe" });
        let answer = self.sign_up(&key, &body).await;
        answer.assert_ok();
        let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
        (text("id"), text("url"))
    }

    /// Uses a link up and gives the session's cookie, as `Set-Cookie` has it.
    pub async fn signed_in(&self, url: &str) -> String {
        let answer = self.send(Method::POST, path(url), &[], "").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("set-cookie").unwrap().to_owned()
    }

    /// A request with a session's cookie.
    pub async fn with_cookie(&self, method: Method, path: &str, cookie: &str) -> Answer {
        self.send(method, path, &[("cookie", pair(cookie))], "").await
    }

    /// A record of the table of what expires.
    pub async fn record(&self, pk: &str) -> Option<Item> {
        let get = self.store().sdk().get_item().table_name(&self.store().tables().expiring);
        get.key("pk", AttributeValue::S(pk.to_owned())).consistent_read(true).send().await.unwrap().item
    }

    /// Sets a moment of a record, in epoch seconds.
    pub async fn set_record(&self, pk: &str, attribute: &str, seconds: i64) {
        let update = self.store().sdk().update_item().table_name(&self.store().tables().expiring);
        update
            .key("pk", AttributeValue::S(pk.to_owned()))
            .update_expression("SET #a = :s")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":s", AttributeValue::N(seconds.to_string()))
            .send()
            .await
            .unwrap();
    }

    /// Everything that is stored, as text.
    pub async fn stored_text(&self) -> String {
        let tables = self.store().tables();
        let all = [
            &tables.tokens,
            &tables.roles,
            &tables.buckets,
            &tables.clients,
            &tables.expiring,
            &tables.activity,
        ];
        let mut text = String::new();
        for table in all {
            let mut pages = self.store().sdk().scan().table_name(table).into_paginator().send();
            while let Some(page) = pages.next().await {
                text.push_str(&format!("{:?}", page.unwrap().items()));
            }
        }
        text
    }
}

/// A moment of a record, in epoch seconds.
pub fn moment(record: &Item, attribute: &str) -> i64 {
    record[attribute].as_n().unwrap().parse().unwrap()
}
