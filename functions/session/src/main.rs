//! Lambda entry point of `session`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve_without_tokens("session", session::handle)
}
