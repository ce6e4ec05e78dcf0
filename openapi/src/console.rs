//! The web console.

use crate::documentation::file;
use crate::operation::Described;
use shared::ApiError;

pub(crate) const CONSOLE: &str = "Console";

pub(crate) fn operations() -> Vec<Described> {
    const HTML: &str = "text/html; charset=utf-8";
    vec![
        file("console-shell", "/console", CONSOLE, "The web console", HTML),
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
