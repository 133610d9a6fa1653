//! Decisions as they are made, encoded once for everybody who waits for them.
//!
//! A settlement may wake ten thousand schedulers. What they are told is the same, so it is read and
//! written as JSON once; a request that wakes copies a reference.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::web::Bytes;
use plumbline_service::views::DecisionView;

/// Decisions kept; whoever is further behind lists in full.
const KEPT: usize = 4_096;

/// A decision as it goes out.
#[derive(Debug)]
struct Item {
    version: i64,
    target: String,
    uid: String,
    json: Bytes,
}

/// The newest decisions, and what was already put together of them.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Version of the newest allocations.
    pub(crate) version: i64,
    /// Every decision after this version is here.
    from: i64,
    items: VecDeque<Arc<Item>>,
    answers: Mutex<HashMap<i64, Bytes>>,
    frames: Mutex<HashMap<i64, Bytes>>,
}

impl News {
    /// Nothing new since `version`.
    pub(crate) fn none_since(version: i64) -> Self {
        Self {
            version,
            from: version,
            ..Self::default()
        }
    }

    /// With these decisions added, which are all that there are after [`News::version`], oldest first.
    ///
    /// # Errors
    /// When one cannot be written as JSON.
    pub(crate) fn and(&self, newer: &[DecisionView]) -> Result<Self, serde_json::Error> {
        let (mut items, mut from) = (self.items.clone(), self.from);
        for view in newer {
            items.push_back(Arc::new(Item {
                version: view.version,
                target: view.decision["target"].to_string(),
                uid: uid_of(view).to_owned(),
                json: serde_json::to_vec(view)?.into(),
            }));
        }
        while items.len() > KEPT {
            from = items.pop_front().map_or(from, |item| item.version);
        }
        Ok(Self {
            version: items.back().map_or(self.version, |item| item.version),
            from,
            items,
            ..Self::default()
        })
    }

    /// The newest decision of each target that has one after `since`, as `{version, items}`; nothing when
    /// that is too long ago.
    pub(crate) fn answer(&self, since: i64, of: &TargetFilter) -> Option<Bytes> {
        let write = |items: Vec<&Item>| self.list(items);
        if of.is_everything() {
            return self.remembered(&self.answers, since, write);
        }
        Some(write(self.after(since, of)?).into())
    }

    /// Every decision after `since` as a server-sent event; nothing when that is too long ago.
    pub(crate) fn frames(&self, since: i64, of: &TargetFilter) -> Option<Bytes> {
        if of.is_everything() {
            return self.remembered(&self.frames, since, frames);
        }
        Some(frames(self.after(since, of)?).into())
    }

    /// Whether there is a decision after `since` on one of these, so far as is known here.
    pub(crate) fn has_after(&self, since: i64, of: &TargetFilter) -> bool {
        self.after(since, of).is_none_or(|items| !items.is_empty())
    }

    fn after(&self, since: i64, of: &TargetFilter) -> Option<Vec<&Item>> {
        if since < self.from || since > self.version {
            return None;
        }
        let first = self.items.partition_point(|item| item.version <= since);
        let items = self.items.range(first..);
        let items = items.map(AsRef::as_ref);
        Some(items.filter(|item| of.includes(&item.uid)).collect())
    }

    fn list(&self, items: Vec<&Item>) -> Vec<u8> {
        let mut targets = HashSet::new();
        let newest: Vec<&Item> = items
            .into_iter()
            .rev()
            .filter(|item| targets.insert(item.target.as_str()))
            .collect();
        let mut body = format!("{{\"version\":{},\"items\":[", self.version).into_bytes();
        for (n, item) in newest.into_iter().rev().enumerate() {
            body.extend(if n > 0 { &b","[..] } else { b"" });
            body.extend(&item.json);
        }
        body.extend(b"]}");
        body
    }

    fn remembered(
        &self,
        memory: &Mutex<HashMap<i64, Bytes>>,
        since: i64,
        write: impl FnOnce(Vec<&Item>) -> Vec<u8>,
    ) -> Option<Bytes> {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = memory.get(&since) {
            return Some(bytes.clone());
        }
        let bytes = Bytes::from(write(self.after(since, &TargetFilter::default())?));
        memory.insert(since, bytes.clone());
        Some(bytes)
    }
}

fn frames(items: Vec<&Item>) -> Vec<u8> {
    let mut frames = Vec::new();
    for item in items {
        frames.extend(format!("id: {}\ndata: ", item.version).into_bytes());
        frames.extend(&item.json);
        frames.extend(b"\n\n");
    }
    frames
}

/// Identifier of the run or pool that a decision is about.
pub(crate) fn uid_of(view: &DecisionView) -> &str {
    view.decision["target"]["uid"].as_str().unwrap_or_default()
}

/// Most targets that one request may name.
const MAX_TARGETS: usize = 64;

/// The runs and pools that somebody asks about; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TargetFilter(Vec<String>);

impl TargetFilter {
    /// From identifiers with commas between them.
    ///
    /// # Errors
    /// What is wrong, when they are none, too many or no identifiers.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let uids: Vec<String> = text
            .split(',')
            .map(|part| uuid::Uuid::try_parse(part.trim()).map(|uid| uid.to_string()))
            .collect::<Result<_, _>>()
            .map_err(|_| "targets are ids of runs or pools with commas between them".to_owned())?;
        if uids.len() > MAX_TARGETS {
            return Err(format!("targets may name {MAX_TARGETS} at most"));
        }
        Ok(Self(uids))
    }

    /// Whether nothing is left out.
    pub(crate) const fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a target is asked about.
    pub(crate) fn includes(&self, uid: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == uid)
    }

    /// What to wait for.
    pub(crate) fn topics(&self) -> Vec<String> {
        if self.0.is_empty() {
            vec!["*".to_owned()]
        } else {
            self.0.clone()
        }
    }
}

/// The full list, written once for everybody who asks between two commits.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Epoch of the store, version and body.
    written: tokio::sync::Mutex<Option<(u64, i64, Bytes)>>,
}

impl Listing {
    /// The list as of `epoch` or later, from memory or written by `write`, which only one request does at
    /// a time.
    ///
    /// # Errors
    /// Those of `write`.
    pub(crate) async fn at<E>(
        &self,
        epoch: u64,
        write: impl Future<Output = Result<(i64, Bytes), E>>,
    ) -> Result<(i64, Bytes), E> {
        let mut written = self.written.lock().await;
        if let Some((at, version, body)) = written.as_ref()
            && *at >= epoch
        {
            return Ok((*version, body.clone()));
        }
        let (version, body) = write.await?;
        *written = Some((epoch, version, body.clone()));
        Ok((version, body))
    }
}

/// What everybody who waits for decisions shares.
pub(crate) type SharedNews = Arc<News>;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    const ALL: TargetFilter = TargetFilter(Vec::new());

    fn decided(version: i64, run: &str) -> DecisionView {
        DecisionView {
            version,
            decision: json!({"target": {"uid": run}}),
            envelope: json!({}),
            target_name: run.to_owned(),
            acks: vec![],
            proof: None,
            signatures_needed: 1,
        }
    }

    fn versions(answer: Option<Bytes>) -> Option<Vec<i64>> {
        let answer: Value = serde_json::from_slice(&answer?).unwrap();
        let items = answer["items"].as_array().unwrap().clone();
        Some(
            items
                .iter()
                .map(|item| item["version"].as_i64().unwrap())
                .collect(),
        )
    }

    #[test]
    fn an_answer_has_the_newest_decision_of_each_target_that_changed() {
        let news = News::none_since(4).and(&[decided(5, "a"), decided(6, "b")]);
        let news = news.unwrap().and(&[decided(7, "a")]).unwrap();
        for (since, expected) in [
            (3, None),
            (4, Some(vec![6, 7])),
            (5, Some(vec![6, 7])),
            (6, Some(vec![7])),
            (7, Some(vec![])),
            (8, None),
        ] {
            assert_eq!(versions(news.answer(since, &ALL)), expected, "{since}");
        }
        let frames = String::from_utf8(news.frames(5, &ALL).unwrap().to_vec()).unwrap();
        assert!(frames.starts_with("id: 6\ndata: {\"version\":6,"));
        assert_eq!(frames.matches("\n\n").count(), 2);
    }

    #[test]
    fn who_names_targets_hears_of_these_alone() {
        let news = News::none_since(4).and(&[decided(5, "a"), decided(6, "b"), decided(7, "c")]);
        let (news, of) = (
            news.unwrap(),
            TargetFilter(vec!["a".to_owned(), "b".to_owned()]),
        );
        assert_eq!(versions(news.answer(4, &of)), Some(vec![5, 6]));
        assert_eq!(versions(news.answer(6, &of)), Some(vec![]));
        assert_eq!(news.frames(6, &of).unwrap(), Bytes::new());
        assert!(news.has_after(5, &of) && !news.has_after(6, &of) && news.has_after(6, &ALL));
        assert!(news.has_after(3, &of), "what is not known may be anything");
    }

    #[test]
    fn targets_are_ids_and_bounded() {
        let id = "018f0000-0000-7000-8000-000000000001";
        let two = TargetFilter::parse(&format!("{id}, {}", id.to_uppercase())).unwrap();
        assert_eq!(two.topics(), [id, id]);
        assert!(two.includes(id) && !two.includes("018f"));
        for bad in ["", "x", &format!("{id},"), &vec![id; 65].join(",")] {
            assert!(TargetFilter::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(ALL.topics(), ["*"]);
    }

    #[test]
    fn who_is_too_far_behind_lists_in_full() {
        let all: Vec<DecisionView> = (1..=5_000).map(|n| decided(n, "a")).collect();
        let news = News::none_since(0).and(&all).unwrap();
        assert_eq!(news.answer(903, &ALL), None);
        assert_eq!(versions(news.answer(904, &ALL)), Some(vec![5_000]));
    }

    #[actix_web::test]
    async fn a_list_is_written_once_between_two_commits() {
        let listing = Listing::default();
        let write = |version| async move { Ok::<_, ()>((version, Bytes::from_static(b"x"))) };
        assert_eq!(listing.at(1, write(1)).await.unwrap().0, 1);
        assert_eq!(listing.at(1, write(2)).await.unwrap().0, 1);
        assert_eq!(listing.at(2, write(3)).await.unwrap().0, 3);
        assert_eq!(listing.at(1, write(4)).await.unwrap().0, 3);
    }
}
