//! What a registry says when it refuses (distribution-spec, "Error Codes"), in the words that Docker's client makes of it.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::Body;
use ureq::http::{HeaderMap, Response, StatusCode};

use super::challenge::TokenProblem;
use super::http_date;
use crate::timestamp::since_epoch;

/// Bytes of a refusal that are read.
const LONGEST_BODY: u64 = 64 << 10;
/// Characters of a registry's own words that are shown.
const LONGEST_MESSAGE: usize = 1000;

/// A refusal: an HTTP status and, where the registry gives them, its code and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    /// `MANIFEST_UNKNOWN` and the like; empty where the registry sent none.
    code: String,
    message: String,
    retry_after: Option<Duration>,
}

impl std::error::Error for Answer {}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            return write!(f, "received unexpected HTTP status: {}", self.status);
        }
        write!(f, "{}: {}", self.code.to_lowercase().replace('_', " "), self.message)
    }
}

impl Answer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The registry's code, `MANIFEST_UNKNOWN` and the like; empty where it sent none.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// How long the registry asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the same request may succeed later.
    pub(super) fn passes(&self) -> bool {
        matches!(self.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
    }

    /// The response itself when it is no refusal.
    pub(super) fn check(response: Response<Body>) -> Result<Response<Body>, Self> {
        if response.status().is_success() { Ok(response) } else { Err(Self::read(response)) }
    }

    fn read(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let mut bytes = Vec::new();
        // A refusal that breaks off is a refusal all the same.
        let _ = body.into_reader().take(LONGEST_BODY).read_to_end(&mut bytes);
        Self::new(head.status, &head.headers, &bytes)
    }

    fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let words = of_token(headers).or_else(|| of_body(status, body)).or_else(|| of_status(status));
        let (code, message) = words.unwrap_or_default();
        Self {
            status,
            code: shown(&code),
            message: shown(&message),
            retry_after: pause(headers, since_epoch().as_secs()),
        }
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date, which is compared with the registry's own clock where it tells
/// the time.
fn pause(headers: &HeaderMap, now: u64) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text("retry-after")?;
    let seconds = asked.parse().ok().or_else(|| {
        let now = text("date").and_then(|date| http_date::parse(date, now)).unwrap_or(now);
        http_date::parse(asked, now).map(|then| then.saturating_sub(now))
    });
    seconds.map(Duration::from_secs)
}

type Words = (String, String);

fn words(code: &str, message: &str) -> Words {
    let message = if message.is_empty() { default_message(code) } else { message };
    (code.to_owned(), message.to_owned())
}

fn of_token(headers: &HeaderMap) -> Option<Words> {
    let problem = TokenProblem::of(headers)?;
    let code = match problem.error.as_str() {
        "invalid_token" => "UNAUTHORIZED",
        "insufficient_scope" => "DENIED",
        _ => return None,
    };
    Some(words(code, problem.description.as_deref().unwrap_or_default()))
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<One>,
    #[serde(default)]
    details: String,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The first of the errors; authorization servers send `details` instead.
fn of_body(status: StatusCode, body: &[u8]) -> Option<Words> {
    let sent: Errors = serde_json::from_slice(body).ok()?;
    match sent.errors.first().filter(|one| !one.code.is_empty()) {
        Some(one) => Some(words(&one.code, &one.message)),
        None if sent.details.is_empty() => None,
        None => of_status(status).map(|(code, _)| (code, sent.details)),
    }
}

fn of_status(status: StatusCode) -> Option<Words> {
    let code = match status.as_u16() {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        429 => "TOOMANYREQUESTS",
        _ => return None,
    };
    Some(words(code, ""))
}

fn default_message(code: &str) -> &'static str {
    match code {
        "UNAUTHORIZED" => "authentication required",
        "DENIED" => "requested access to the resource is denied",
        "TOOMANYREQUESTS" => "too many requests",
        "MANIFEST_UNKNOWN" => "manifest unknown",
        "NAME_UNKNOWN" => "repository name not known to registry",
        "BLOB_UNKNOWN" => "blob unknown to registry",
        "UNSUPPORTED" => "The operation is unsupported.",
        _ => "unknown error",
    }
}

/// A registry's words, harmless on a terminal.
fn shown(text: &str) -> String {
    text.chars().take(LONGEST_MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (ureq::http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Answer::new(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn refusals_are_told_in_dockers_words() {
        let cases = [
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                "manifest unknown: manifest unknown",
            ),
            (403, r#"{"errors":[{"code":"DENIED"}]}"#, "denied: requested access to the resource is denied"),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "unauthorized: incorrect username or password",
            ),
            (401, "", "unauthorized: authentication required"),
            (429, "<html>", "toomanyrequests: too many requests"),
            (
                429,
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}"#,
                "toomanyrequests: You have reached your limit",
            ),
            (404, "404 page not found", "received unexpected HTTP status: 404 Not Found"),
            (500, r#"{"errors":[]}"#, "received unexpected HTTP status: 500 Internal Server Error"),
            (400, "{\"errors\":[{\"code\":\"X\",\"message\":\"a\\u001b[31mb\\nc\"}]}", "x: a [31mb c"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(answer(status, &[], body).to_string(), expected);
        }
        let long = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "y".repeat(5000));
        assert_eq!(answer(400, &[], &long).to_string().len(), "x: ".len() + LONGEST_MESSAGE);
    }

    #[test]
    fn headers_say_more_than_the_body() {
        let scope = [("www-authenticate", r#"Bearer realm="r",error="insufficient_scope""#)];
        assert_eq!(answer(401, &scope, "").to_string(), "denied: requested access to the resource is denied");
        assert_eq!(answer(429, &[("retry-after", "7")], "").retry_after(), Some(Duration::from_secs(7)));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT");
        assert_eq!(answer(429, &[date, later], "").retry_after(), Some(Duration::from_secs(23)));
        assert_eq!(answer(503, &[later], "").retry_after(), Some(Duration::ZERO), "it is over");
        for other in ["-1", "soon", "99999999999999999999999"] {
            assert_eq!(answer(429, &[("retry-after", other)], "").retry_after(), None);
        }
    }
}
