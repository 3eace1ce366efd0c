//! The bucket: whether it is there, how long it keeps, and creating it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::answer::Answer;
use crate::link::{Ask, Link, now};
use crate::{DETAIL_MAX, WriteError, cut};

/// What is known of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketState {
    /// It is there.
    Present {
        /// How long it keeps points; `None`: for ever.
        retention: Option<Duration>,
    },
    /// It was missing and is there now, keeping for ever.
    Created,
    /// The token may not look, or the store has no buckets: only a write tells.
    Unknown,
    /// It is not there; the first write creates it where the token may. Never returned by `ensure_bucket`.
    Missing,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bucket {
    #[serde(default)]
    retention_rules: Vec<RetentionRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetentionRule {
    #[serde(default)]
    every_seconds: u64,
}

#[derive(Deserialize)]
struct Orgs {
    orgs: Vec<Org>,
}

#[derive(Deserialize)]
struct Org {
    id: String,
}

/// Looks for the bucket.
pub(super) async fn look_up(link: &Link) -> Result<BucketState, WriteError> {
    let place = link.place();
    let query = [("org", place.org.as_str()), ("name", place.bucket.as_str())];
    let answer = link.ask(Ask::get("api/v2/buckets", &query)).await?;
    state(&answer)
}

fn state(answer: &Answer) -> Result<BucketState, WriteError> {
    match answer.status {
        200 => {
            // Not JSON of this shape: a store without a bucket API that answers 200 to anything.
            let Ok(found) = serde_json::from_slice::<Buckets>(&answer.body) else {
                return Ok(BucketState::Unknown);
            };
            let Some(bucket) = found.buckets.first() else { return Ok(BucketState::Unknown) };
            let rules = bucket.retention_rules.iter();
            let shortest = rules.map(|rule| rule.every_seconds).filter(|secs| *secs > 0).min();
            Ok(BucketState::Present { retention: shortest.map(Duration::from_secs) })
        }
        401 => Err(WriteError::Unauthorized),
        404 => {
            let missing = answer.missing();
            if matches!(missing, WriteError::OrgMissing) {
                return Err(missing);
            }
            // Other stores have no such API.
            let tells = matches!(missing, WriteError::NoBucket);
            Ok(if tells { BucketState::Missing } else { BucketState::Unknown })
        }
        429 | 500.. => answer.judge(0, now()).map(|()| BucketState::Unknown),
        _ => Ok(BucketState::Unknown),
    }
}

/// Creates the bucket without a limit of age.
pub(super) async fn create(link: &Link) -> Result<(), WriteError> {
    let place = link.place();
    let answer = link.ask(Ask::get("api/v2/orgs", &[("org", place.org.as_str())])).await?;
    let org = match answer.status {
        200 => serde_json::from_slice::<Orgs>(&answer.body)
            .ok()
            .and_then(|found| found.orgs.into_iter().next()),
        429 | 500.. => return answer.judge(0, now()),
        404 if matches!(answer.missing(), WriteError::OrgMissing) => {
            return Err(WriteError::OrgMissing);
        }
        _ => None,
    };
    let Some(org) = org else {
        return Err(WriteError::BucketMissing {
            message: "the token may not read the organisation".into(),
        });
    };
    let wanted = json!({ "orgID": org.id, "name": place.bucket, "retentionRules": [] }).to_string();
    let answer =
        link.ask(Ask::post("api/v2/buckets", &[], "application/json", wanted.into())).await?;
    match answer.status {
        201 | 200 => {
            tracing::info!(bucket = %place.bucket, "created the bucket");
            Ok(())
        }
        // Somebody else created it in between.
        422 if answer.message().contains("already exists") => Ok(()),
        429 | 500.. => answer.judge(0, now()),
        _ => Err(WriteError::BucketMissing { message: cut(&answer.message(), DETAIL_MAX).into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bucket_api_answers_is_told_apart() {
        let rule = |secs| {
            format!(
                r#"{{"buckets":[{{"name":"b","retentionRules":[{{"type":"expire","everySeconds":{secs}}}]}}]}}"#
            )
        };
        let day = Some(Duration::from_hours(24));
        for (status, body, expected) in [
            (200, rule(86_400).as_str(), Some(BucketState::Present { retention: day })),
            (200, rule(0).as_str(), Some(BucketState::Present { retention: None })),
            (200, r#"{"buckets":[{"name":"b"}]}"#, Some(BucketState::Present { retention: None })),
            (200, r#"{"buckets":[]}"#, Some(BucketState::Unknown)),
            (200, "OK", Some(BucketState::Unknown)),
            (
                404,
                r#"{"code":"not found","message":"bucket \"b\" not found"}"#,
                Some(BucketState::Missing),
            ),
            (404, r#"{"code":"not found","message":"organization name \"o\" not found"}"#, None),
            (404, "unsupported path", Some(BucketState::Unknown)),
            (403, "", Some(BucketState::Unknown)),
            (401, "", None),
            (500, "", None),
        ] {
            let answer = Answer { status, body: body.into(), ..Answer::default() };
            assert_eq!(state(&answer).ok(), expected, "{status} {body}");
        }
    }
}
