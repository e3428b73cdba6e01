//! Keys and pages of a scope, in insertion order across stripes.

use super::scope_part::NONE;
use super::stored::Stored;
use super::stripe::Stripe;
use super::striped_map::StripedMap;
use crate::codec::json::write_string;
use crate::error::{WireError, code};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Entries that one page looks at, with or without the prefix: how long it may hold the locks.
pub(crate) const PAGE_LOOKED_MAX: usize = 10_000;

/// One page of a scope.
#[derive(Debug, Clone)]
pub struct Page {
    /// Keys and values.
    pub entries: Vec<(Box<str>, Stored)>,
    /// Insertion number of the last entry that was looked at; none when nothing was left behind this page.
    pub next: Option<u64>,
    /// Keys of the scope.
    pub total: u64,
}

/// The first entry of a page is larger than the page may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTooLarge {
    /// Its key.
    pub key: Box<str>,
    /// Bytes of its text.
    pub bytes: usize,
}

impl RowTooLarge {
    /// What the caller is told who allowed `bytes_max`.
    #[cold]
    pub(crate) fn into_error(self, bytes_max: usize) -> WireError {
        let RowTooLarge { key, bytes } = self;
        let mut name = Vec::new();
        write_string(&mut name, &key);
        let name = String::from_utf8_lossy(&name);
        WireError::new(code::ROW_TOO_LARGE, format!("entry {name} has {bytes} bytes, field `max_bytes` is {bytes_max}"))
    }
}

/// What a page is to hold.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// Of which scope.
    pub scope: &'a str,
    /// Only keys that begin so.
    pub prefix: Option<&'a str>,
    /// Only entries with a greater insertion number.
    pub after: Option<u64>,
    /// Entries.
    pub limit: usize,
    /// Bytes of their JSON texts `[key,value]` and the commas between them.
    pub bytes_max: usize,
}

/// The chains of one scope, merged by insertion number.
struct Merge<'a> {
    stripes: &'a [&'a Stripe],
    now_ms: u64,
    /// The next live entry of each stripe: (seq, stripe, slot).
    heads: BinaryHeap<Reverse<(u64, usize, u32)>>,
}

impl<'a> Merge<'a> {
    fn new(stripes: &'a [&'a Stripe], hash: u64, scope: &str, after: Option<u64>, now_ms: u64) -> Self {
        let mut merge = Merge { stripes, now_ms, heads: BinaryHeap::new() };
        for (number, stripe) in stripes.iter().enumerate() {
            let Some(part) = stripe.part(hash, scope) else { continue };
            let first = after.and_then(|seq| stripe.marks.before(part, seq)).unwrap_or(stripe.parts[part].first);
            let behind = stripe.chain(first).find(|(_, slot)| after.is_none_or(|seq| slot.seq > seq));
            merge.push(number, behind.map_or(NONE, |(id, _)| id));
        }
        merge
    }

    /// Adds the first live entry of a chain.
    fn push(&mut self, number: usize, from: u32) {
        let stripe = self.stripes[number];
        if let Some((id, slot)) = stripe.chain(from).find(|&(id, _)| stripe.is_live(id, self.now_ms)) {
            self.heads.push(Reverse((slot.seq, number, id)));
        }
    }

    fn peek(&self) -> Option<(usize, u32)> {
        self.heads.peek().map(|&Reverse((_, number, id))| (number, id))
    }

    fn advance(&mut self) {
        if let Some(Reverse((_, number, id))) = self.heads.pop() {
            self.push(number, self.stripes[number].slots[id].after);
        }
    }
}

impl StripedMap {
    /// The keys of a scope that begin with `prefix`, at one instant.
    pub(super) fn list_keys(&self, scope: &str, prefix: Option<&str>) -> Vec<Box<str>> {
        let hash = self.seed.scope(scope.as_bytes());
        let now_ms = self.now_ms();
        let mut keys: Vec<(u64, Box<str>)> = Vec::new();
        {
            let guards = self.read_all();
            for stripe in &guards {
                let matching =
                    stripe.scope_slots(hash, scope, now_ms).filter(|(_, slot)| begins(slot.key.bytes(), prefix));
                keys.extend(matching.map(|(_, slot)| (slot.seq, slot.key.text())));
            }
        }
        keys.sort_by_key(|&(seq, _)| seq);
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// One page of a scope, at one instant.
    pub(super) fn page(&self, request: PageRequest<'_>) -> Result<Page, RowTooLarge> {
        let PageRequest { scope, prefix, after, limit, bytes_max } = request;
        let hash = self.seed.scope(scope.as_bytes());
        let now_ms = self.now_ms();
        let guards = self.read_all();
        let stripes: Vec<&Stripe> = guards.iter().map(|guard| &**guard).collect();
        let mut merge = Merge::new(&stripes, hash, scope, after, now_ms);
        let mut page = Page { entries: Vec::new(), next: after, total: total(&stripes, hash, scope, now_ms) };
        let (mut looked, mut bytes) = (0, 0);
        let mut text = Vec::new();
        while let Some((number, id)) = merge.peek() {
            if looked == PAGE_LOOKED_MAX || page.entries.len() == limit {
                return Ok(page);
            }
            let slot = &stripes[number].slots[id];
            if begins(slot.key.bytes(), prefix) {
                text.clear();
                let key = slot.key.text();
                write_string(&mut text, &key);
                let row = text.len() + slot.stored.len() + 3;
                let comma = usize::from(!page.entries.is_empty());
                if bytes + comma + row > bytes_max {
                    return if comma == 0 { Err(RowTooLarge { key, bytes: row }) } else { Ok(page) };
                }
                bytes += comma + row;
                page.entries.push((key, slot.stored.clone()));
            }
            looked += 1;
            page.next = Some(slot.seq);
            merge.advance();
        }
        page.next = None;
        Ok(page)
    }
}

fn begins(key: &[u8], prefix: Option<&str>) -> bool {
    prefix.is_none_or(|prefix| key.starts_with(prefix.as_bytes()))
}

/// Live keys of a scope.
fn total(stripes: &[&Stripe], hash: u64, scope: &str, now_ms: u64) -> u64 {
    let in_stripe = |stripe: &&Stripe| {
        if stripe.has_due(now_ms) {
            stripe.scope_slots(hash, scope, now_ms).count()
        } else {
            stripe.scope_len(hash, scope)
        }
    };
    stripes.iter().map(in_stripe).sum::<usize>() as u64
}
