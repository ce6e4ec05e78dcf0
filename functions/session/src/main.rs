//! Lambda entry point of `session`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("session", session::handle)
}
