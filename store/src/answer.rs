//! What an answer of the store means. The answers themselves stand in [`crate::influx`].

use telemetry::time::EventTime;

use crate::delivery::retry_after;
use crate::{DETAIL_MAX, RejectReason, WriteError, cut};

/// An HTTP answer, as far as it counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Retry-After`, as sent.
    pub(crate) retry_after: Option<String>,
    /// `Location`, as sent.
    pub(crate) location: Option<String>,
    /// `Date`: the store's clock.
    pub(crate) date: Option<EventTime>,
    pub(crate) body: Vec<u8>,
    /// The body was longer than the bound of its request.
    pub(crate) truncated: bool,
}

impl Answer {
    /// Returns the store's words: `message` or `error` of a JSON body, else the body as text.
    pub(crate) fn message(&self) -> String {
        let json = serde_json::from_slice::<serde_json::Value>(&self.body).ok();
        let named =
            json.as_ref().and_then(|json| json.get("message").or_else(|| json.get("error")));
        let text = named.and_then(serde_json::Value::as_str).map(str::to_owned);
        text.unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim().to_owned())
    }

    /// Says whether `sent` bytes were taken. `now` is our clock, for where the store tells no time.
    ///
    /// # Errors
    ///
    /// What the status and the words mean.
    pub(crate) fn judge(&self, sent: usize, now: EventTime) -> Result<(), WriteError> {
        let status = self.status;
        match status {
            200 | 204 => return Ok(()),
            400 | 422 => {
                let store_nanos = self.date.map(EventTime::as_nanos);
                return Err(WriteError::Refused {
                    status,
                    message: self.message().into(),
                    store_nanos,
                });
            }
            _ => {}
        }
        let message = || Box::from(cut(&self.message(), DETAIL_MAX));
        Err(match status {
            401 => WriteError::Unauthorized,
            403 => WriteError::Forbidden { message: message() },
            404 | 405 => self.missing(),
            413 => WriteError::TooLarge { bytes: sent },
            429 | 503 => {
                let asked = self.retry_after.as_deref();
                let retry_after =
                    asked.and_then(|value| retry_after(value, self.date.unwrap_or(now)));
                WriteError::Busy { status, retry_after }
            }
            // A redirect loses the body of a POST: the URL is to be corrected, not followed.
            300..=399 => {
                let to = self.location.as_deref().unwrap_or("?");
                WriteError::RequestRefused {
                    status,
                    message: format!("-> {}", cut(to, DETAIL_MAX)).into(),
                }
            }
            // 408 and 425 are said of one try, not of the request.
            400..=499 if status != 408 && status != 425 => {
                WriteError::RequestRefused { status, message: message() }
            }
            _ => WriteError::Failed { status, message: message() },
        })
    }

    /// Tells a missing bucket and a missing organisation from a path that leads nowhere.
    pub(crate) fn missing(&self) -> WriteError {
        let message = self.message();
        if message.starts_with("organization") {
            WriteError::OrgMissing
        } else if message.contains("bucket") || message.contains("database not found") {
            WriteError::NoBucket
        } else {
            WriteError::NoSuchPath
        }
    }
}

/// Returns why a point is not taken, by the store's words about it alone.
pub(crate) fn reason(message: &str) -> RejectReason {
    // InfluxDB 1 and 2 say the first, InfluxDB 3 the second.
    if message.contains("field type conflict") || message.contains("invalid column type") {
        RejectReason::TypeConflict
    } else if message.to_ascii_lowercase().contains("retention policy") {
        RejectReason::OutsideRetention
    } else {
        RejectReason::StoreRejected
    }
}

/// Returns N of `dropped=N`: at least so many points of the body were not taken.
pub(crate) fn dropped(message: &str) -> Option<usize> {
    let (_, tail) = message.rsplit_once("dropped=")?;
    let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
    tail.get(..digits)?.parse().ok()
}

/// Returns whether a refusal is surely about points and not about the request around them.
pub(crate) fn names_points(status: u16, message: &str) -> bool {
    status == 422
        || ["unable to parse", "partial write", "line protocol"]
            .iter()
            .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RETRY_AFTER_MAX, Remedy};
    use std::time::Duration;

    fn judge(status: u16, body: &str, retry_after: Option<&str>) -> Result<(), WriteError> {
        let retry_after = retry_after.map(str::to_owned);
        let location = Some("https://elsewhere/".to_owned());
        let answer =
            Answer { status, retry_after, location, body: body.into(), ..Answer::default() };
        answer.judge(9, EventTime::from_nanos(0))
    }

    #[test]
    fn every_answer_has_one_code_and_one_remedy() {
        let (no_bucket, no_org) = (
            r#"{"code":"not found","message":"bucket \"nope\" not found"}"#,
            r#"{"code":"not found","message":"organization name \"none\" not found"}"#,
        );
        let soon = Remedy::After(Duration::from_secs(7));
        for (status, body, retry_after, code, remedy) in [
            (400, "", None, "refused", Remedy::Isolate),
            (422, "", None, "refused", Remedy::Isolate),
            (401, "", None, "unauthorized", Remedy::Halt),
            (403, "", None, "forbidden", Remedy::Halt),
            (404, no_bucket, None, "bucket_missing", Remedy::CreateBucket),
            (
                404,
                r#"{"error":"database not found: \"x\""}"#,
                None,
                "bucket_missing",
                Remedy::CreateBucket,
            ),
            (404, no_org, None, "org_missing", Remedy::Halt),
            (404, "no assets included in binary", None, "no_such_path", Remedy::Halt),
            (405, "", None, "no_such_path", Remedy::Halt),
            (413, "", None, "too_large", Remedy::Split),
            (429, "", Some("7"), "busy", soon),
            (429, "", None, "busy", Remedy::Backoff),
            (429, "", Some("soon"), "busy", Remedy::Backoff),
            (503, "", Some("Thu, 01 Jan 1970 00:00:07 GMT"), "busy", soon),
            (503, "", Some("86400"), "busy", Remedy::After(RETRY_AFTER_MAX)),
            (500, "", Some("7"), "failed", Remedy::Backoff),
            (502, "", None, "failed", Remedy::Backoff),
            (408, "", None, "failed", Remedy::Backoff),
            (201, "", None, "failed", Remedy::Backoff),
            (301, "", None, "request_refused", Remedy::Halt),
            (415, "", None, "request_refused", Remedy::Halt),
        ] {
            let error = judge(status, body, retry_after).unwrap_err();
            assert_eq!((error.code(), error.remedy()), (code, remedy), "{status} {body}");
        }
        assert!(judge(204, "", None).is_ok() && judge(200, "", None).is_ok());
    }

    #[test]
    fn the_words_of_the_store_give_the_reason_of_one_point() {
        let partial = "failure writing points to database: partial write: ";
        for (words, expected, count) in [
            (
                "field type conflict: input field \"x\" on measurement \"m\" is type string, already exists as \
                 type float dropped=3",
                RejectReason::TypeConflict,
                Some(3),
            ),
            (
                "dropped 1 points outside retention policy of duration 24h0m0s - oldest point m at T dropped \
                 because it violates a Retention Policy Lower Bound at U dropped=1 for database: d for retention \
                 policy: autogen",
                RejectReason::OutsideRetention,
                Some(1),
            ),
            (
                "invalid field name: input field \"time\" on measurement \"m\" is invalid dropped=1",
                RejectReason::StoreRejected,
                Some(1),
            ),
            ("unable to parse 'm x= 1': missing field value", RejectReason::StoreRejected, None),
            ("dropped=many", RejectReason::StoreRejected, None),
            ("", RejectReason::StoreRejected, None),
        ] {
            let message = format!("{partial}{words}");
            assert_eq!((reason(&message), dropped(&message)), (expected, count), "{words}");
        }
    }

    #[test]
    fn the_message_is_found_in_json_of_both_kinds_and_in_plain_text() {
        for (body, message) in [
            (r#"{"code":"invalid","message":"a"}"#, "a"),
            (r#"{"error":"b"}"#, "b"),
            (r#"{"error":{"c":1}}"#, r#"{"error":{"c":1}}"#),
            (" plain \n", "plain"),
            ("", ""),
        ] {
            assert_eq!(Answer { body: body.into(), ..Answer::default() }.message(), message);
        }
        let hostile = Answer { body: vec![0xff, 0xfe], ..Answer::default() };
        assert_eq!(hostile.message(), "\u{fffd}\u{fffd}");
    }
}
