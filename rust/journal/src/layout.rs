//! What the running journal knows of its own files: how much there is, and what is not needed any more.

use crate::catalog::{Catalog, SegmentFile};
use crate::part::PartId;
use std::collections::{BTreeMap, VecDeque};

/// How often it is looked whether a snapshot would pay, while as much as a segment is written.
const LOOKS_PER_SEGMENT: u64 = 16;

/// The files of a running journal.
pub(crate) struct Layout {
    /// By their first positions; the last one is being written.
    segments: VecDeque<SegmentFile>,
    parts: BTreeMap<PartId, u64>,
    /// Up to where a whole snapshot makes the journal unnecessary.
    start: u64,
    /// Bytes of segments with something behind `start`.
    behind: u64,
    /// No round begins before there is as much behind `start`.
    behind_min: u64,
}

impl Layout {
    /// What a start has found, and the segment it has begun.
    pub(crate) fn new(catalog: &Catalog, start: u64, current: SegmentFile) -> Self {
        let before = catalog.segments.iter().copied().filter(|segment| segment.first < current.first);
        let segments = before.chain([current]).collect();
        let mut layout = Layout { segments, parts: catalog.parts.clone(), start, behind: 0, behind_min: 0 };
        layout.count();
        layout
    }

    fn count(&mut self) {
        self.behind = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            if self.segments.get(at + 1).is_none_or(|next| next.first > self.start + 1) {
                self.behind += segment.bytes;
            }
        }
    }

    /// Position of the first record of the segment that is being written.
    pub(crate) fn current_first(&self) -> u64 {
        self.segments.back().map_or(1, |current| current.first)
    }

    /// Bytes of the segment that is being written.
    pub(crate) fn current_bytes(&self) -> u64 {
        self.segments.back().map_or(0, |current| current.bytes)
    }

    /// The segment that is being written has grown.
    pub(crate) fn grew(&mut self, bytes: u64) {
        if let Some(current) = self.segments.back_mut() {
            current.bytes += bytes;
            self.behind += bytes;
        }
    }

    /// Another segment has been begun.
    pub(crate) fn began(&mut self, segment: SegmentFile) {
        self.behind += segment.bytes;
        self.segments.push_back(segment);
    }

    /// Whether it has to be looked whether a snapshot would pay.
    pub(crate) fn may_want_round(&self, segment_bytes: u64) -> bool {
        self.behind >= segment_bytes.max(self.behind_min)
    }

    /// Whether a snapshot would pay, with `live_bytes` of data. If not, that is looked at again only a part of a segment later.
    pub(crate) fn wants_round(&mut self, segment_bytes: u64, live_bytes: impl FnOnce() -> u64) -> bool {
        if !self.may_want_round(segment_bytes) {
            return false;
        }
        if self.behind > live_bytes() / 3 {
            return true;
        }
        self.behind_min = self.behind + segment_bytes / LOOKS_PER_SEGMENT;
        false
    }

    /// Bytes of segments that the last whole snapshot does not make unnecessary.
    pub(crate) fn behind(&self) -> u64 {
        self.behind
    }

    /// A round has failed: the next one is not tried before there is another `bytes` behind the snapshot.
    pub(crate) fn postpone(&mut self, bytes: u64) {
        self.behind_min = self.behind + bytes;
    }

    /// A part has been written.
    pub(crate) fn wrote_part(&mut self, id: PartId, bytes: u64) {
        self.parts.insert(id, bytes);
    }

    /// All parts of `generation` are there, with everything up to `start`; the parts of others, which are not needed.
    pub(crate) fn finished(&mut self, generation: u32, start: u64) -> Vec<PartId> {
        self.start = start;
        self.behind_min = 0;
        self.count();
        self.parts.keys().copied().filter(|id| id.generation != generation).collect()
    }

    /// First positions of the segments that neither the snapshot nor a history of `history_bytes` needs.
    pub(crate) fn unneeded(&self, history_bytes: u64) -> Vec<u64> {
        let mut later: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let pairs = self.segments.iter().zip(self.segments.iter().skip(1));
        let unneeded = pairs.take_while(|(oldest, next)| {
            later -= oldest.bytes;
            next.first <= self.start + 1 && later >= history_bytes
        });
        unneeded.map(|(oldest, _)| oldest.first).collect()
    }

    /// A part is gone.
    pub(crate) fn removed_part(&mut self, id: PartId) {
        self.parts.remove(&id);
    }

    /// A segment is gone. What could not be removed stays known, and its time comes again with the next round.
    pub(crate) fn removed_segment(&mut self, first: u64) {
        self.segments.retain(|segment| segment.first != first);
    }

    /// Bytes of all files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + self.parts.values().sum::<u64>()
    }
}
