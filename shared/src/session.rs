//! The session cookie (CONTRACT.md, section 4).

use crate::secret::SessionKey;
use lambda_http::http::header::COOKIE;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use std::net::IpAddr;

/// The prefix makes browsers refuse the cookie from anywhere but this very host, over https.
const SECURE_NAME: &str = "__Host-wbcs-session";
const PLAIN_NAME: &str = "wbcs-session";

/// Whether the request came to this machine itself, where plain http is used: the one place where
/// the cookie goes without `Secure`.
fn is_localhost(request: &Request) -> bool {
    let host = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.domain_name.as_deref().unwrap_or_default(),
        #[allow(unreachable_patterns)]
        _ => "",
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn name(request: &Request) -> &'static str {
    if is_localhost(request) { PLAIN_NAME } else { SECURE_NAME }
}

/// `Set-Cookie` that begins a session. It has no `Max-Age`: when it ends is the record's to say.
pub fn begin_cookie(request: &Request, key: &SessionKey) -> String {
    cookie(request, key.expose(), "")
}

/// `Set-Cookie` that takes the session's cookie away.
pub fn end_cookie(request: &Request) -> String {
    cookie(request, "", "; Max-Age=0")
}

fn cookie(request: &Request, value: &str, age: &str) -> String {
    let secure = if is_localhost(request) { "" } else { "; Secure" };
    format!("{}={value}; HttpOnly{secure}; SameSite=Lax; Path=/{age}", name(request))
}

/// The session key that the request carries; `None` where there is none, or what is none by its
/// form.
pub fn key(request: &Request) -> Option<SessionKey> {
    let name = name(request);
    let headers = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        headers.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(key, value)| if key == name { SessionKey::parse(value) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
    use lambda_http::http::request;

    fn request_to(domain: &str, cookie: &str) -> Request {
        let mut context = ApiGatewayV2httpRequestContext::default();
        context.domain_name = Some(domain.to_owned());
        let built = request::Builder::new().header(COOKIE, cookie).body(lambda_http::Body::Empty).unwrap();
        built.with_request_context(RequestContext::ApiGatewayV2(context))
    }

    #[test]
    fn the_cookie_is_secure_everywhere_but_on_this_machine() {
        let key = SessionKey::generate().unwrap();
        for domain in ["localhost", "localhost:3000", "127.0.0.1:80", "[::1]:3000"] {
            let cookie = begin_cookie(&request_to(domain, ""), &key);
            assert_eq!(cookie, format!("wbcs-session={}; HttpOnly; SameSite=Lax; Path=/", key.expose()));
        }
        for domain in
            ["", "api.example.com", "localhost.example.com", "10.0.0.1", "localhost:x", "127.0.0.1.nip.io"]
        {
            let cookie = begin_cookie(&request_to(domain, ""), &key);
            let expected =
                format!("__Host-wbcs-session={}; HttpOnly; Secure; SameSite=Lax; Path=/", key.expose());
            assert_eq!(cookie, expected, "{domain}");
        }
        assert_eq!(
            end_cookie(&request_to("api.example.com", "")),
            "__Host-wbcs-session=; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=0"
        );
    }

    #[test]
    fn the_key_is_found_among_other_cookies_and_only_under_its_name() {
        let text = "a".repeat(32);
        let found =
            |domain: &str, cookie: &str| key(&request_to(domain, cookie)).map(|k| k.expose().to_owned());
        for cookie in [
            format!("__Host-wbcs-session={text}"),
            format!("x=1; __Host-wbcs-session={text};y=2"),
            format!("__Host-wbcs-session=bad; __Host-wbcs-session={text}"),
        ] {
            assert_eq!(found("api.example.com", &cookie).as_deref(), Some(text.as_str()), "{cookie}");
        }
        for cookie in [format!("wbcs-session={text}"), format!("__Host-wbcs-session={text}!"), String::new()]
        {
            assert_eq!(found("api.example.com", &cookie), None, "{cookie}");
        }
    }
}
