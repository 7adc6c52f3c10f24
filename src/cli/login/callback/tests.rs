//! Tests of the page that a browser comes back to.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

const HOST: &str = "127.0.0.1:4711";
const GOOD: &str = "code=c0de&state=5tate&iss=https%3A%2F%2Flogin.test";

fn gate() -> Gate {
    let expected = Expected {
        state: "5tate".to_owned(),
        issuer: "https://login.test".to_owned(),
        names_itself: true,
    };
    Gate { host: HOST.to_owned(), expected }
}

fn visit(query: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(format!("{PATH}?{query}")).header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn judged(request: &Request<()>) -> (StatusCode, Option<Result<String, String>>) {
    let (page, answer) = gate().judge(request);
    (page.status(), answer.map(|answer| answer.map_err(|failure| failure.to_string())))
}

#[test]
fn the_answer_to_this_login_is_its_code() {
    let browser = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    for headers in [&browser[..], &[]] {
        let (status, answer) = judged(&visit(GOOD, headers));
        assert_eq!((status, answer), (StatusCode::OK, Some(Ok("c0de".to_owned()))));
    }
}

#[test]
fn b09_a_callback_with_another_state_or_none_ends_nothing() {
    for bad in [
        "code=c0de&iss=https%3A%2F%2Flogin.test",
        "code=c0de&state=&iss=https%3A%2F%2Flogin.test",
        "code=c0de&state=5tat&iss=https%3A%2F%2Flogin.test",
        "code=c0de&state=5tate2&iss=https%3A%2F%2Flogin.test",
        "code=c0de&state=5tate&state=other&iss=https%3A%2F%2Flogin.test",
        "code=c0de&state=5tate&code=another&iss=https%3A%2F%2Flogin.test",
        "state=5tate&iss=https%3A%2F%2Flogin.test",
        "error=access_denied&state=wrong&iss=https%3A%2F%2Flogin.test",
        "",
    ] {
        assert_eq!(judged(&visit(bad, &[])), (StatusCode::BAD_REQUEST, None), "{bad}");
    }
}

#[test]
fn b09_a_callback_that_another_site_sent_by_a_frame_script_or_name_ends_nothing() {
    for headers in [
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")][..],
        &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
        &[("sec-fetch-mode", "cors")],
        &[("origin", "https://evil.test")],
        &[("host", "evil.test")],
    ] {
        assert_eq!(judged(&visit(GOOD, headers)), (StatusCode::BAD_REQUEST, None), "{headers:?}");
    }
    let mut rebound = visit(GOOD, &[]);
    rebound.headers_mut().insert("host", http::HeaderValue::from_static("evil.test:4711"));
    assert_eq!(judged(&rebound).1, None);
    let mut posted = visit(GOOD, &[]);
    *posted.method_mut() = Method::POST;
    assert_eq!(judged(&posted).1, None);
    let elsewhere = Request::get(format!("/?{GOOD}")).header("host", HOST).body(()).unwrap();
    assert_eq!(judged(&elsewhere), (StatusCode::NOT_FOUND, None));
}

#[test]
fn a06_an_answer_that_names_another_issuer_or_none_is_refused() {
    for bad in ["code=c&state=5tate&iss=https%3A%2F%2Flogin.test%2F", "code=c&state=5tate"] {
        let (_, answer) = judged(&visit(bad, &[]));
        assert!(answer.unwrap().unwrap_err().contains("another issuer, or none"), "{bad}");
    }
    let mut quiet = gate();
    quiet.expected.names_itself = false;
    let (_, answer) = quiet.judge(&visit("code=c&state=5tate", &[]));
    assert_eq!(answer.unwrap().unwrap(), "c");
}

#[test]
fn b09_what_the_issuer_says_is_shown_harmlessly_in_the_terminal_and_never_on_the_page() {
    let refusal = "error=access_denied&error_description=%1b%5b2J%0aerror%3a+hello&state=5tate\
                   &iss=https%3A%2F%2Flogin.test";
    let (page, answer) = gate().judge(&visit(refusal, &[]));
    let said = answer.unwrap().unwrap_err().to_string();
    assert!(said.contains("access_denied: \\u{001b}[2J\\nerror: hello"), "{said}");
    assert_eq!(
        page.headers()["content-security-policy"],
        "default-src 'none'; frame-ancestors 'none'"
    );
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
}
