//! The web console.

use crate::documentation::file;
use crate::operation::Described;
use shared::ApiError;
use shared::http::Envelope;
use utoipa::openapi::HttpMethod;

pub(crate) const CONSOLE: &str = "Console";

pub(crate) fn operations() -> Vec<Described> {
    const HTML: &str = "text/html; charset=utf-8";
    vec![
        Described::new("console-redirect", HttpMethod::Get, "/console", CONSOLE, Envelope::Platform)
            .open()
            .about("To the web console", "")
            .ends(308, "The console is at the path with a slash.", &["location", "cache-control"]),
        file("console-shell", "/console/", CONSOLE, "The web console", HTML),
        file(
            "console-path",
            "/console/{path}",
            CONSOLE,
            "A page of the web console, or one of its files",
            "*/*",
        )
        .refuses(404, "There is no such file.", &[ApiError::NotFound("There is no such file")]),
    ]
}
