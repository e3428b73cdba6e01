//! JSON as text.
