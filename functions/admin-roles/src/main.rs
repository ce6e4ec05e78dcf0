//! Lambda entry point of `admin-roles`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("admin-roles", admin_roles::handle)
}
