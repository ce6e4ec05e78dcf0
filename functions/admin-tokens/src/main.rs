//! Lambda entry point of `admin-tokens`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("admin-tokens", admin_tokens::handle)
}
