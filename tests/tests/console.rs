//! `GET /console` and what belongs to it: the page, its files, and the headers that fence it in.

use hyper::Method;
use tests::{Answer, TestApp};

/// On every answer of the function, to the letter.
const ALWAYS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), clipboard-write=(self), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];
const FOR_EVER: &str = "public, max-age=31536000, immutable";

async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = app.send(Method::GET, path, headers, "").await;
    for (name, value) in ALWAYS {
        assert_eq!(answer.header(name), Some(value), "{path}: {name}");
    }
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path}");
    answer
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').unwrap().1 {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        other => panic!("{other}"),
    }
}

/// The folder that the page names its files in.
fn folder(shell: &str) -> String {
    let (_, rest) = shell.split_once("\"/console/assets/").unwrap();
    let digest = rest.split('/').next().unwrap();
    assert_eq!(digest.len(), 16, "{digest}");
    format!("/console/assets/{digest}")
}

/// The attributes of a tag, and their values where they have one.
fn attributes(tag: &str) -> Vec<(String, &str)> {
    let parts: Vec<&str> = tag.split('"').collect();
    let mut found = Vec::new();
    for (at, part) in parts.iter().enumerate().step_by(2) {
        for word in part.split_ascii_whitespace().skip(usize::from(at == 0)) {
            let (key, unquoted) = word.split_once('=').unwrap_or((word, ""));
            let is_quoted = word.ends_with('=');
            let value = if is_quoted { parts.get(at + 1).copied().unwrap_or_default() } else { unquoted };
            found.push((key.to_ascii_lowercase(), value));
        }
    }
    found
}

#[tokio::test]
async fn every_page_is_the_shell() {
    let app = TestApp::start().await;
    let shell = get(&app, "/console", &[]).await;
    assert_eq!(shell.status, 200);
    assert_eq!(shell.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(shell.header("cache-control"), Some("no-cache"));
    assert_eq!(shell.header("vary"), Some("accept-encoding"));
    assert_eq!(shell.header("set-cookie"), None);
    let comparable = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.retain(|name, _| !["date", "x-request-id"].contains(&name.as_str()));
        (answer.status, headers, answer.text.clone())
    };
    for path in [
        "/console/",
        "/console/clients",
        "/console/clients/69ce524d741e8f2238329fff?tab=raw",
        "/console/a/b/c/",
        "/console/main.js",
        "/console/assets",
        "/console/index.html",
        "/console/%2e%2e%2fdocs",
        "/console/%00%f0",
        "/console/Assets/x/main.js",
    ] {
        assert_eq!(comparable(&get(&app, path, &[]).await), comparable(&shell), "{path}");
    }
}

#[tokio::test]
async fn the_page_names_files_of_its_own_only_and_runs_and_styles_nothing_itself() {
    let app = TestApp::start().await;
    let shell = get(&app, "/console", &[]).await.text;
    let folder = folder(&shell);
    let mut named = 0;
    for tag in shell.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split_ascii_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        if name.starts_with('!') {
            continue;
        }
        let is_script_of_ours = name != "script" || tag.contains(&format!(" src=\"{folder}/"));
        assert!(is_script_of_ours && name != "style" && name != "base", "<{tag}>");
        for (key, value) in attributes(tag) {
            assert!(!key.starts_with("on") && key != "style" && !value.contains("javascript:"), "<{tag}>");
            if key == "src" || (key == "href" && name == "link") {
                let file = value.strip_prefix(&format!("{folder}/")).unwrap_or_else(|| panic!("<{tag}>"));
                let answer = get(&app, value, &[]).await;
                assert_eq!((answer.status, answer.header("cache-control")), (200, Some(FOR_EVER)), "{value}");
                assert_eq!(answer.header("content-type"), Some(content_type(file)), "{value}");
                named += 1;
            }
        }
    }
    assert!(named >= 4, "{named}");
    for placeholder in ["{assets}", "{emails}"] {
        assert!(!shell.contains(placeholder), "{placeholder}");
    }
}

#[tokio::test]
async fn a_visit_is_five_requests_and_the_next_one_is_one() {
    let app = TestApp::start().await;
    let shell = get(&app, "/console", &[]).await.text;
    let folder = folder(&shell);
    assert_eq!(shell.matches(folder.as_str()).count(), 4, "each file is an invocation");
    for name in ["main.js", "style.css", "theme.js", "icon.svg"] {
        let path = format!("{folder}/{name}");
        let file = get(&app, &path, &[]).await;
        assert_eq!((file.status, file.header("cache-control")), (200, Some(FOR_EVER)), "{name}");
        assert_eq!(file.header("content-type"), Some(content_type(name)), "{name}");
        assert_eq!((file.header("vary"), file.header("content-encoding")), (Some("accept-encoding"), None));
        // Neither a script nor a sheet asks for another one.
        let asks = |line: &str| line.starts_with("import ") || line.starts_with("@import");
        assert!(!file.text.lines().any(asks), "{name}");

        let unchanged = get(&app, &path, &[("if-none-match", file.header("etag").unwrap())]).await;
        unchanged.assert(304, "");
        assert_eq!(unchanged.header("cache-control"), Some(FOR_EVER), "{name}");
    }
}

#[tokio::test]
async fn compressed_only_for_those_who_take_it() {
    let app = TestApp::start().await;
    let shell = get(&app, "/console", &[]).await.text;
    for path in ["/console".to_owned(), format!("{}/main.js", folder(&shell))] {
        let plain = get(&app, &path, &[("accept-encoding", "br, gzip;q=0")]).await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "{path}");
        let (parts, body) = app.send_for_bytes(Method::GET, &path, &[("accept-encoding", "gzip")], "").await;
        assert_eq!(parts.headers["content-encoding"], "gzip", "{path}");
        assert_eq!(parts.headers["etag"].to_str().ok(), plain.header("etag"), "{path}");
        let mut unzipped = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut unzipped).unwrap();
        assert_eq!(unzipped, plain.text, "{path}");
    }
}

#[tokio::test]
async fn the_page_is_asked_for_again_by_its_tag() {
    let app = TestApp::start().await;
    let shell = get(&app, "/console", &[]).await;
    let tag = shell.header("etag").unwrap();
    for path in ["/console", "/console/clients"] {
        let unchanged = get(&app, path, &[("if-none-match", tag)]).await;
        unchanged.assert(304, "");
        assert_eq!(
            (unchanged.header("etag"), unchanged.header("cache-control")),
            (Some(tag), Some("no-cache"))
        );
        let changed = get(&app, path, &[("if-none-match", "W/\"another\"")]).await;
        assert_eq!((changed.status, &changed.text), (200, &shell.text));
    }
}

#[tokio::test]
async fn a_page_of_an_earlier_deployment_gets_the_files_of_now_and_keeps_none() {
    let app = TestApp::start().await;
    let folder = folder(&get(&app, "/console", &[]).await.text);
    let current = get(&app, &format!("{folder}/main.js"), &[]).await;
    for outdated in ["/console/assets/outdated", "/console/assets/AAAAAAAAAAAAAAAA"] {
        let answer = get(&app, &format!("{outdated}/main.js"), &[]).await;
        assert_eq!((answer.status, &answer.text), (200, &current.text));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), current.header("content-type"));
    }
}

#[tokio::test]
async fn there_is_nothing_else() {
    let app = TestApp::start().await;
    let folder = folder(&get(&app, "/console", &[]).await.text);
    let unknown = [
        "other.js",
        "",
        "main",
        "main.js/",
        "..%2fmain.js",
        "x/..%2f..%2fmain.js",
        "%00",
        "index.html",
        "shell",
    ];
    let unknown = unknown.map(|name| format!("{folder}/{name}"));
    let folders = ["/console/assets/", "/console/assets/main.js", "/console/assets//", &folder];
    for path in unknown.iter().map(String::as_str).chain(folders) {
        let answer = get(&app, path, &[]).await;
        answer.assert_error(404, "There is no such file");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
    for (method, path) in [(Method::HEAD, "/console"), (Method::POST, "/console"), (Method::GET, "/consoles")]
    {
        assert_eq!(app.send(method, path, &[], "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn it_names_the_emails_where_the_stack_keeps_them() {
    const NAMED: &str = "<meta name=\"wbcs-emails\" content=\"/local/emails\">\n";
    let keeps = TestApp::start().await;
    let sends = TestApp::start_set(&[("AWS_ENDPOINT_URL_SESV2", "http://127.0.0.1:9")]).await;
    let (with, without) = (get(&keeps, "/console", &[]).await, get(&sends, "/console", &[]).await);
    assert_eq!((with.text.matches(NAMED).count(), without.text.matches("wbcs-emails").count()), (1, 0));
    assert_eq!(with.text.replace(NAMED, ""), without.text);
    assert_ne!(with.header("etag"), without.header("etag"));
    // Nobody has the one for the other.
    let tag = with.header("etag").unwrap();
    assert_eq!(get(&sends, "/console", &[("if-none-match", tag)]).await.status, 200);
}
