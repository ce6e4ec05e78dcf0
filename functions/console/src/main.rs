//! Lambda entry point of `console`.

use console::Console;
use std::sync::Arc;

fn main() -> Result<(), lambda_http::Error> {
    let console = Arc::new(Console::from_env()?);
    shared::serve_files("console", |request| console::handle(console.clone(), request))
}
