//! Lambda entry point of `signup`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("signup", signup::handle)
}
