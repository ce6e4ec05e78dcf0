//! `/api/admin/roles`: CONTRACT.md, sections 1 and 5.

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use shared::model::{Permission, Role, RoleId};
use shared::store::DeleteRole;
use std::collections::BTreeSet;
use tests::dynamodb::Dynamodb;
use tests::proxy::Proxy;
use tests::{Answer, TestApp};

const ROLES: &str = "/api/admin/roles";

async fn call(app: &TestApp, method: &str, path: &str, body: Value) -> Answer {
    let body = Some(body).filter(|body| !body.is_null());
    app.admin(app.administrator(), method, path, body.as_ref()).await
}

async fn create(app: &TestApp, name: &str, permissions: &[&str]) -> String {
    let answer = call(app, "POST", ROLES, json!({ "name": name, "permissions": permissions })).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let path = format!("{ROLES}/{}", answer.json()["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(path.as_str()));
    path
}

fn id_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn the_whole_life_of_a_role() {
    let app = TestApp::start().await;
    let path = create(&app, " Desk ", &["clients:view", "clients:manage", "clients:view"]).await;
    let id = id_of(&path);
    let shown = call(&app, "GET", &path, Value::Null).await;
    let record = json!({ "id": id, "name": "Desk", "permissions": ["clients:view", "clients:manage"] });
    assert_eq!((shown.status, shown.json()), (200, record));
    assert_eq!(shown.header("cache-control"), Some("no-store"));

    let renamed = call(&app, "PATCH", &path, json!({ "name": "Night desk" })).await;
    let record = json!({ "id": id, "name": "Night desk", "permissions": ["clients:view", "clients:manage"] });
    assert_eq!((renamed.status, renamed.json()), (200, record));
    let changed = call(&app, "PATCH", &path, json!({ "permissions": [] })).await;
    assert_eq!(changed.json(), json!({ "id": id, "name": "Night desk", "permissions": [] }));

    let token = json!({ "name": "n", "roleId": id });
    let token = call(&app, "POST", "/api/admin/tokens", token).await.json();
    // Nothing is what an empty role allows.
    for (path, status) in
        [("/api/public/token", 200), (ROLES, 401), ("/api/admin/clients", 401), ("/api/admin/buckets", 401)]
    {
        let answer = app.admin(token["token"].as_str().unwrap(), "GET", path, None).await;
        assert_eq!(answer.status, status, "{path}");
    }
    call(&app, "DELETE", &path, Value::Null)
        .await
        .assert_error(409, "The role has tokens: delete them first");
    let token = format!("/api/admin/tokens/{}", token["id"].as_str().unwrap());
    call(&app, "DELETE", &token, Value::Null).await.assert(204, "");
    call(&app, "DELETE", &path, Value::Null).await.assert(204, "");
    for (method, body) in [("GET", Value::Null), ("DELETE", Value::Null), ("PATCH", json!({ "name": "x" }))] {
        call(&app, method, &path, body).await.assert_error(404, "There is no such role");
    }
    app.assert_consistent().await;
}

#[tokio::test]
async fn the_built_in_roles_are_there_and_like_others() {
    let app = TestApp::start().await;
    let roles = app.walk(app.administrator(), ROLES, 2).await;
    let shown: Vec<_> =
        roles.iter().map(|role| (role["name"].as_str().unwrap(), role["permissions"].clone())).collect();
    assert_eq!(
        shown,
        [
            ("Administrator", json!(Permission::ALL.map(Permission::as_str))),
            ("Partner", json!(["buckets:view-own"])),
            ("Read-only operator", json!(["buckets:view-all", "clients:view"])),
            ("Sign up", json!(["clients:create"])),
        ]
    );
    let path = format!("{ROLES}/{}", roles[1]["id"].as_str().unwrap());
    let changed = call(
        &app,
        "PATCH",
        &path,
        json!({ "name": "Affiliate", "permissions": ["buckets:view-own", "clients:create"] }),
    )
    .await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(call(&app, "GET", &path, Value::Null).await.text, changed.text);
    call(&app, "DELETE", &path, Value::Null).await.assert(204, "");
    // The administrator's own role has a token.
    assert_eq!(call(&app, "DELETE", "/api/admin/roles/administrator", Value::Null).await.status, 409);
}

#[tokio::test]
async fn what_is_given_is_checked() {
    let app = TestApp::start().await;
    let path = create(&app, "Role", &[]).await;
    let permission = format!("must be one of {}", Permission::ALL.map(Permission::as_str).join(", "));
    for (body, message) in [
        (
            json!({ "name": "x", "permissions": ["clients:view", "clients:delete"] }),
            format!("permissions[1] {permission}"),
        ),
        (json!({ "name": "x", "permissions": ["Clients:View"] }), format!("permissions[0] {permission}")),
        (
            json!({ "name": "x", "permissions": "clients:view" }),
            "permissions must be an array of strings".into(),
        ),
        (json!({ "name": "x", "permissions": [], "id": "mine" }), "id is not a known field".into()),
        (json!({ "name": 5, "permissions": [] }), "name must be a string".into()),
    ] {
        let answer = call(&app, "POST", ROLES, body.clone()).await;
        answer.assert_error(400, &message);
    }
    call(&app, "POST", ROLES, json!({ "name": "x" }))
        .await
        .assert_error(400, "permissions must be an array of permissions");
    assert_eq!(call(&app, "POST", ROLES, json!({ "permissions": [] })).await.status, 400);
    assert_eq!(call(&app, "PATCH", &path, json!({})).await.status, 400);
    assert_eq!(call(&app, "PATCH", &path, json!({ "name": "" })).await.status, 400);
    app.assert_reads_json(app.administrator(), "POST", ROLES).await;
    app.assert_reads_json(app.administrator(), "PATCH", &path).await;
    for id in ["nobody", "%20", &"x".repeat(2000)] {
        let path = format!("{ROLES}/{id}");
        call(&app, "GET", &path, Value::Null).await.assert_error(404, "There is no such role");
        call(&app, "PATCH", &path, json!({ "name": "x" })).await.assert_error(404, "There is no such role");
        call(&app, "PATCH", &path, json!({ "nam": "x" })).await.assert_error(400, "nam is not a known field");
    }
}

#[tokio::test]
async fn every_call_needs_the_permission() {
    let app = TestApp::start().await;
    let path = create(&app, "Role", &[]).await;
    app.assert_needs(
        &[Permission::SecurityManage],
        &[
            ("GET", ROLES, None),
            ("POST", ROLES, Some(json!({ "name": "n", "permissions": [] }))),
            ("GET", &path, None),
            ("PATCH", &path, Some(json!({ "name": "m" }))),
            ("DELETE", &path, None),
            ("GET", "/api/admin/roles/nobody", None),
        ],
    )
    .await;
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let app = TestApp::start().await;
    let mut names =
        BTreeSet::from(["administrator", "partner", "read-only operator", "sign up"].map(str::to_owned));
    for number in 0..12 {
        create(&app, &format!("Role {number:02}"), &[]).await;
        names.insert(format!("role {number:02}"));
    }
    for limit in [1, 5, 16, 1000] {
        let roles = app.walk(app.administrator(), ROLES, limit).await;
        let listed: Vec<_> = roles.iter().map(|role| role["name"].as_str().unwrap().to_lowercase()).collect();
        assert_eq!(listed, names.iter().cloned().collect::<Vec<_>>(), "limit {limit}");
    }
    call(&app, "GET", "/api/admin/roles?limit=0", Value::Null)
        .await
        .assert_error(400, "limit must be an integer from 1 to 1000");
    call(&app, "GET", "/api/admin/roles?cursor=x", Value::Null)
        .await
        .assert_error(400, "cursor must be the nextCursor of an answer to the same list and filters");
}

/// The role that a page ended with may be gone, or have another name, when the next page is asked for.
#[tokio::test]
async fn pages_go_on_where_they_ended_whatever_became_of_that_role() {
    let app = TestApp::start().await;
    let long = "Ä".repeat(128);
    let mut paths = Vec::new();
    for name in ["b", "c", &long, "d"] {
        paths.push(create(&app, name, &[]).await);
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|role| role["name"].as_str().unwrap().to_owned()).collect()
    };
    let next = async |page: &Value| {
        let cursor = page["nextCursor"].as_str().unwrap();
        call(&app, "GET", &format!("{ROLES}?limit=2&cursor={cursor}"), Value::Null).await.json()
    };
    let first = call(&app, "GET", &format!("{ROLES}?limit=2"), Value::Null).await.json();
    assert_eq!(names(&first), ["Administrator", "b"]);
    assert_eq!(call(&app, "DELETE", &paths[0], Value::Null).await.status, 204);
    let second = next(&first).await;
    assert_eq!(names(&second), ["c", "d"]);
    call(&app, "PATCH", &paths[3], json!({ "name": "z" })).await.assert_ok();
    let third = next(&second).await;
    assert_eq!(names(&third), ["Partner", "Read-only operator"]);
    let fourth = next(&third).await;
    assert_eq!(names(&fourth), ["Sign up", "z"]);
    let last = next(&fourth).await;
    assert_eq!((names(&last), &last["nextCursor"]), (vec![long], &Value::Null));
}

#[tokio::test]
async fn a_state_that_is_outdated_is_not_deleted() {
    let app = TestApp::start().await;
    let path = create(&app, "Role", &[]).await;
    let tag = call(&app, "GET", &path, Value::Null).await.header("etag").unwrap().to_owned();
    let id = RoleId::new(id_of(&path));
    let read = app.store().role(&id).await.unwrap().unwrap();
    call(&app, "PATCH", &path, json!({ "name": "Other" })).await.assert_ok();
    let delete = async |tag: &str| {
        app.admin_with(app.administrator(), "DELETE", &path, &[("if-match", tag)], None).await
    };
    assert_eq!(delete(&tag).await.status, 409);
    // The same where the change comes after the look.
    assert_eq!(app.store().delete_role(&id, &read.version).await.unwrap(), DeleteRole::Conflict);
    let now = call(&app, "GET", &path, Value::Null).await.header("etag").unwrap().to_owned();
    assert_eq!(delete(&now).await.status, 204);
    assert_eq!(app.store().delete_role(&id, &read.version).await.unwrap(), DeleteRole::Deleted);
}

#[tokio::test]
async fn no_edit_is_lost() {
    let app = TestApp::start().await;
    let path = create(&app, "Role", &[]).await;
    let tag = call(&app, "GET", &path, Value::Null).await.header("etag").unwrap().to_owned();
    let patch = async |number: usize| {
        let body = Some(json!({ "name": format!("Edit {number}") }).to_string());
        app.admin_with(app.administrator(), "PATCH", &path, &[("if-match", &tag)], body).await
    };
    let answers = join_all((0..16).map(patch)).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| [200, 409].contains(&answer.status)));
    assert_eq!(call(&app, "GET", &path, Value::Null).await.text, won[0].text);

    // Edits of different fields at once: what succeeded is all there.
    let rename = call(&app, "PATCH", &path, json!({ "name": "Both" }));
    let allow = call(&app, "PATCH", &path, json!({ "permissions": ["clients:view"] }));
    let (rename, allow) = join(rename, allow).await;
    let now = call(&app, "GET", &path, Value::Null).await.json();
    assert_eq!(rename.status == 200, now["name"] == "Both", "{rename:?} {now}");
    assert_eq!(allow.status == 200, now["permissions"] == json!(["clients:view"]), "{allow:?} {now}");
    assert!(rename.status == 200 || allow.status == 200);
}

#[tokio::test]
async fn no_token_has_a_role_that_is_deleted_meanwhile() {
    let app = TestApp::start().await;
    for _ in 0..10 {
        let path = create(&app, "Role", &[]).await;
        let token = json!({ "name": "n", "roleId": id_of(&path) });
        let tokens = join_all((0..6).map(|_| call(&app, "POST", "/api/admin/tokens", token.clone())));
        let (created, deleted) = join(tokens, call(&app, "DELETE", &path, Value::Null)).await;
        let made = created.iter().filter(|answer| answer.status == 201).count();
        for answer in created.iter().filter(|answer| answer.status != 201) {
            answer.assert_error(400, "roleId must be the id of a role");
        }
        assert_eq!(deleted.status, if made == 0 { 204 } else { 409 }, "{made} tokens, {deleted:?}");
    }
    app.assert_consistent().await;
}

/// A built-in role has the same id when it is made again.
#[tokio::test]
async fn a_late_deletion_or_change_does_not_concern_the_role_that_was_made_again() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    let path = format!("{ROLES}/{}", Role::PARTNER);
    let built_in = call(&app, "GET", &path, Value::Null).await.json();
    for change in [false, true] {
        if change {
            proxy.delay("UpdateItem", "RolesTable");
            call(&app, "PATCH", &path, json!({ "name": "Changed" })).await.assert_ok();
        }
        proxy.delay("DeleteItem", "RolesTable");
        assert_eq!(call(&app, "DELETE", &path, Value::Null).await.status, 204);
        local::bootstrap::create_roles(app.store()).await.unwrap();
        assert_eq!(proxy.deliver_late().await, 1 + usize::from(change));
        let found = call(&app, "GET", &path, Value::Null).await;
        found.assert_ok();
        assert_eq!(found.json(), built_in);
    }
    drop(app);
    dynamodb.stop().await;
}
