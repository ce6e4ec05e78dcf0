//! Lambda entry point of `docs`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve_files("docs", docs::handle)
}
