//! The API's documents as they stand, for programs that pass them on whole.

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::Client;
use crate::error::ClientError;

impl Client {
    /// A document, by the segments of its path below `/api/v1`.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn document(&self, path: &[&str]) -> Result<Value, ClientError> {
        self.get(&below(path), Vec::new()).await
    }

    /// Every document of a list, page after page; `query` narrows it.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn documents(
        &self,
        path: &[&str],
        query: Vec<(&'static str, String)>,
    ) -> Result<Vec<Value>, ClientError> {
        self.list(&below(path), query).await
    }

    /// One page of a list, as the service gives it: `items` and `next_cursor`; `query` narrows it.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn page(
        &self,
        path: &[&str],
        query: Vec<(&'static str, String)>,
    ) -> Result<Value, ClientError> {
        self.get(&below(path), query).await
    }

    /// A list that comes whole, without pages.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn rows(&self, path: &[&str]) -> Result<Vec<Value>, ClientError> {
        let answer = self.send(&self.request(Method::GET, &below(path))).await?;
        answer.rows(&["items"])
    }

    /// An answer that is text, such as CSV.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn text(&self, path: &[&str]) -> Result<String, ClientError> {
        let answer = self.send(&self.request(Method::GET, &below(path))).await?;
        let why = "is not UTF-8".to_owned();
        String::from_utf8(answer.body.clone()).map_err(|_| answer.malformed(why))
    }

    /// What a POST of `body` made.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn make(&self, path: &[&str], body: &impl Serialize) -> Result<Value, ClientError> {
        self.post(&below(path), body).await
    }

    /// The same under a key of the caller's own: a repeat with it makes nothing twice. The key
    /// must be visible ASCII; one is made up without it.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn make_once(
        &self,
        path: &[&str],
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<Value, ClientError> {
        let path = below(path);
        let mut request = self.post_request(&path, body)?;
        if let Some(key) = key {
            request.key = Some(key.to_owned());
        }
        self.send(&request).await?.json()
    }

    /// Takes something back; the answer is how it ended.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn take_back(&self, path: &[&str]) -> Result<Value, ClientError> {
        let path = below(path);
        self.send(&self.request(Method::DELETE, &path))
            .await?
            .json()
    }

    /// Removes something, where the answer has no body.
    ///
    /// # Errors
    /// As every call: see [`ClientError`].
    pub async fn remove(&self, path: &[&str]) -> Result<(), ClientError> {
        let path = below(path);
        self.send(&self.request(Method::DELETE, &path)).await?;
        Ok(())
    }
}

fn below<'a>(path: &[&'a str]) -> Vec<&'a str> {
    [&["api", "v1"], path].concat()
}
