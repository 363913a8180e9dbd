//! A photo with what is written beside it, and where photos go.

use serde_json::{Map, Value, json};

use super::error::ShardError;
use super::row::Row;
use super::status::StatusRow;

/// A photo with what is written beside it.
pub(crate) struct Photo<'a> {
    pub(crate) key: &'a str,
    pub(crate) row: &'a Row,
    pub(crate) status: &'a StatusRow,
    pub(crate) bytes: &'a [u8],
}

impl Photo<'_> {
    /// Its extension.
    pub(crate) fn extension(&self) -> &str {
        self.status.extension.as_deref().unwrap_or("jpg")
    }

    /// What `KEY.json` holds, in img2dataset's words.
    pub(crate) fn json(&self) -> Vec<u8> {
        let status = self.status;
        let mut map = Map::new();
        let mut add = |key: &str, value: Value| map.insert(key.to_owned(), value);
        add("key", json!(self.key));
        add("url", json!(self.row.url));
        add("caption", json!(self.row.caption));
        add("status", json!(status.class()));
        add("error_message", Value::Null);
        add("width", json!(status.width));
        add("height", json!(status.height));
        add("original_width", json!(status.original_width));
        add("original_height", json!(status.original_height));
        add("sha256", json!(status.sha256));
        for (name, score) in self.row.scores() {
            if let Some(score) = score {
                add(name, json!(score));
            }
        }
        if let Some(nsfw) = &self.row.nsfw {
            add("nsfw", json!(nsfw));
        }
        let mut text = Value::Object(map).to_string().into_bytes();
        text.push(b'\n');
        text
    }
}

/// Where a shard's photos go, in the order of their rows.
pub(crate) trait Photos {
    /// Adds a photo.
    fn push(&mut self, photo: &Photo) -> Result<(), ShardError>;
    /// Makes the photos appear. Dropped before, nothing does.
    fn finish(self: Box<Self>) -> Result<(), ShardError>;
}
