//! `GET /docs` and what belongs to it: the documents, the interactive page and its files.

use hyper::Method;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tests::{Answer, TestApp};

fn checked_in(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(name))
        .unwrap()
}

async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    app.send(Method::GET, path, headers, "").await
}

#[tokio::test]
async fn the_documents_are_those_that_are_checked_in() {
    let app = TestApp::start().await;
    for (path, name) in
        [("/docs/openapi.json", "openapi-partner.json"), ("/docs/openapi-admin.json", "openapi.json")]
    {
        let answer = get(&app, path, &[]).await;
        answer.assert(200, &checked_in(name));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-encoding"), None);
    }
    assert!(!checked_in("openapi-partner.json").contains("/api/admin/"));
}

#[tokio::test]
async fn files_are_kept_and_asked_for_again_by_their_tags() {
    let app = TestApp::start().await;
    let mut tags = BTreeSet::new();
    let assets = ["swagger-ui-bundle.js", "swagger-ui.css", "page.js", "page.css"];
    let assets = assets.map(|name| format!("/docs/assets/{name}"));
    let others = ["/docs", "/docs/admin", "/docs/openapi.json", "/docs/openapi-admin.json"];
    for path in others.into_iter().chain(assets.iter().map(String::as_str)) {
        let whole = get(&app, path, &[]).await;
        assert_eq!(whole.status, 200, "{path}");
        assert_eq!(whole.header("cache-control"), Some("public, max-age=300"), "{path}");
        assert_eq!(whole.header("vary"), Some("accept-encoding"), "{path}");
        assert_eq!(whole.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(whole.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path}");
        let tag = whole.header("etag").unwrap();
        assert!(tags.insert(tag.to_owned()), "{path} has another file's tag");
        for named in
            [tag.to_owned(), format!("\"x\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()]
        {
            let unchanged = get(&app, path, &[("if-none-match", &named)]).await;
            unchanged.assert(304, "");
            assert_eq!(
                (unchanged.header("etag"), unchanged.header("content-type")),
                (Some(tag), None),
                "{path}"
            );
        }
        let changed = get(&app, path, &[("if-none-match", "W/\"another\"")]).await;
        assert_eq!((changed.status, &changed.text), (200, &whole.text), "{path}");
    }
    assert_eq!(get(&app, "/docs/", &[]).await.text, get(&app, "/docs", &[]).await.text);
}

#[tokio::test]
async fn compressed_only_for_those_who_take_it() {
    let app = TestApp::start().await;
    let plain = get(&app, "/docs/assets/swagger-ui-bundle.js", &[("accept-encoding", "br, gzip;q=0")]).await;
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    assert!(plain.text.len() > 1_000_000 && plain.text.contains("SwaggerUIBundle"));
    let path = "/docs/assets/swagger-ui-bundle.js";
    let (parts, body) = app.send_for_bytes(Method::GET, path, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(parts.headers["content-encoding"], "gzip");
    assert_eq!(parts.headers["content-type"], "text/javascript; charset=utf-8");
    assert!(body.starts_with(&[0x1f, 0x8b]) && body.len() < 500_000, "{}", body.len());
}

/// The page loads what the function itself serves, and nothing else.
#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_runs_no_script_of_its_own() {
    let app = TestApp::start().await;
    for (path, document) in [("/docs", "/docs/openapi.json"), ("/docs/admin", "/docs/openapi-admin.json")] {
        let page = get(&app, path, &[]).await;
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.text.contains(&format!("data-document=\"{document}\"")), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(
            !page.text.contains("//") && !page.text.contains("<style"),
            "{path} names another host, or has styles"
        );
        let mut loaded = 0;
        for part in page.text.split(['"']).filter(|part| part.starts_with("/docs")) {
            assert_eq!(get(&app, part, &[]).await.status, 200, "{part}");
            loaded += 1;
        }
        assert!(loaded >= 7, "{loaded}");
        let scripts = page.text.matches("<script").count();
        assert_eq!(scripts, page.text.matches("<script src=\"/docs/assets/").count());
        assert_eq!(page.text.matches("<script src").count(), page.text.matches("\"></script>").count());
    }
}

#[tokio::test]
async fn there_is_nothing_else() {
    let app = TestApp::start().await;
    for path in [
        "/docs/assets/other.js",
        "/docs/assets/page",
        "/docs/assets/..%2Fadmin",
        "/docs/assets/%00",
        "/docs/assets/",
        "/docs/assets/page.js/",
        "/docs/other",
        "/docs//",
        "/docs/page",
    ] {
        get(&app, path, &[]).await.assert_error(404, "There is no such file");
    }
    assert_eq!(app.send(Method::POST, "/docs", &[], "{}").await.status, 404);
}
