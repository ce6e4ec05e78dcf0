//! Lambda entry point of `token`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("token", token::handle)
}
