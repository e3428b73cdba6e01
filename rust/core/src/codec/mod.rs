//! Payload codecs. JSON is read as text with spans, never as a tree.

pub mod json;
