//! Lambda entry point of `autologin`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve_without_tokens("autologin", autologin::handle)
}
