//! Lambda entry point of `registration-email`.

fn main() -> Result<(), lambda_runtime::Error> {
    registration_email::serve("registration-email")
}
