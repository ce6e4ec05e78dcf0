//! The black-box tests that need no process of their own: one program, which is built and linked once, and in which
//! they run side by side. Each file is a module here, and `cargo test -p tests --test api signup::` runs one of them.

mod admin_buckets;
mod admin_clients;
mod admin_input;
mod admin_model;
mod admin_roles;
mod admin_tokens;
mod autologin;
mod console;
mod docs;
mod dynamodb_calls;
mod events;
mod forged;
mod forwarded;
mod hostile_text;
mod isolation;
mod leads;
mod leads_by_source;
mod leads_model;
mod local_emails;
mod names;
mod openapi;
mod policies;
mod registration_email;
mod session;
mod signup;
mod signup_faults;
mod template;
mod token;
