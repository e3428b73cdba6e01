//! An object that is being edited: its text, and the few members that the update mentions.

use std::ops::Range;

use hashbrown::HashMap;

use super::names::{NameId, Names};
use super::node::Node;
use crate::codec::json::{JsonError, Members, write_string};
use crate::limits::JSON_DEPTH_MAX;

/// An object opened for editing. What is not edited is copied from `text` when it is written (the wire's rule 19).
#[derive(Debug)]
pub(super) struct Object<'a> {
    text: &'a str,
    /// What is between `{` and the first name; empty when there are no members.
    lead: Range<usize>,
    /// What is between the last value and `}`.
    tail: Range<usize>,
    /// Mentioned members, found or added, in no particular order except that added ones follow each other.
    members: Vec<Member<'a>>,
    live: HashMap<NameId, usize, foldhash::fast::RandomState>,
    /// Members that the object has now, duplicates counted one by one.
    count: usize,
    /// A member was added when there was none: it went right behind `{`, in front of the lead.
    lead_behind: bool,
}

#[derive(Debug)]
struct Member<'a> {
    name: NameId,
    /// None for one that was added.
    source: Option<Source>,
    node: Node<'a>,
    edited: bool,
    gone: bool,
}

/// Where a member stands in the text. A unit is what goes when a member is removed: from the end of the value before it (or
/// from its own name, if it is the first) to its own end.
#[derive(Debug)]
struct Source {
    unit: Range<usize>,
    value: Range<usize>,
    /// Units of members of the same name before it, which only a removal touches.
    earlier: Vec<Range<usize>>,
}

impl<'a> Object<'a> {
    /// Reads the object `text` once and notes the members whose names are in `names`.
    pub(super) fn open(text: &'a str, names: &Names<'_>) -> Result<Self, JsonError> {
        let mut object = Object {
            text,
            lead: 1..1,
            tail: 1..text.len() - 1,
            members: Vec::new(),
            live: HashMap::default(),
            count: 0,
            lead_behind: false,
        };
        let mut members = Members::new(text, JSON_DEPTH_MAX)?;
        while let Some(member) = members.next()? {
            let begin = offset(text, member.key);
            let value = offset(text, member.value)..offset(text, member.value) + member.value.len();
            if object.count == 0 {
                object.lead = 1..begin;
                object.tail.start = begin;
            }
            let unit = object.tail.start..value.end;
            object.tail.start = value.end;
            object.count += 1;
            if let Some(name) = names.find(member.key)? {
                object.found(name, unit, value);
            }
        }
        Ok(object)
    }

    fn found(&mut self, name: NameId, unit: Range<usize>, value: Range<usize>) {
        let node = Node::text(&self.text[value.clone()]);
        if let Some(&at) = self.live.get(&name)
            && let Some(source) = &mut self.members[at].source
        {
            source.earlier.push(std::mem::replace(&mut source.unit, unit));
            source.value = value;
            self.members[at].node = node;
            return;
        }
        self.live.insert(name, self.members.len());
        let source = Some(Source { unit, value, earlier: Vec::new() });
        self.members.push(Member { name, source, node, edited: false, gone: false });
    }

    /// The value of a member, to be looked at.
    pub(super) fn get(&mut self, name: NameId) -> Option<&mut Node<'a>> {
        let at = *self.live.get(&name)?;
        Some(&mut self.members[at].node)
    }

    /// The value of a member, to be edited; one that is missing is added at the end as `{}`.
    pub(super) fn edit_or_add(&mut self, name: NameId) -> &mut Node<'a> {
        let at = match self.live.get(&name) {
            Some(&at) => at,
            None => self.add(name),
        };
        self.members[at].edited = true;
        &mut self.members[at].node
    }

    fn add(&mut self, name: NameId) -> usize {
        self.lead_behind |= self.count == 0;
        self.count += 1;
        let at = self.members.len();
        self.live.insert(name, at);
        self.members.push(Member { name, source: None, node: Node::empty_object(), edited: true, gone: false });
        at
    }

    /// Removes all members of a name; says whether there was one.
    pub(super) fn remove(&mut self, name: NameId) -> bool {
        let Some(at) = self.live.remove(&name) else { return false };
        let member = &mut self.members[at];
        member.gone = true;
        self.count -= 1 + member.source.as_ref().map_or(0, |source| source.earlier.len());
        true
    }

    /// Appends the object's text as it is now.
    pub(super) fn write(&self, names: &Names<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        if !self.lead_behind {
            out.extend_from_slice(self.slice(&self.lead));
        }
        let mut any = self.write_found(names, out);
        for member in self.members.iter().filter(|member| member.source.is_none() && !member.gone) {
            if any {
                out.push(b',');
            }
            any = true;
            write_string(out, names.text(member.name));
            out.push(b':');
            member.node.write(names, out);
        }
        if self.lead_behind {
            out.extend_from_slice(self.slice(&self.lead));
        }
        out.extend_from_slice(self.slice(&self.tail));
        out.push(b'}');
    }

    /// Appends the members of the text that are left, and says whether there are any.
    fn write_found(&self, names: &Names<'_>, out: &mut Vec<u8>) -> bool {
        let (mut any, mut cursor) = (false, self.lead.end);
        for (cut, node) in self.cuts() {
            any |= self.write_run(cursor..cut.start, any, out);
            if let Some(node) = node {
                node.write(names, out);
            }
            cursor = cut.end;
        }
        self.write_run(cursor..self.tail.start, any, out) || any
    }

    /// Spans of the text to be left out, with what is written in their place, by position.
    fn cuts(&self) -> Vec<(Range<usize>, Option<&Node<'a>>)> {
        let mut cuts = Vec::new();
        for member in &self.members {
            let Some(source) = &member.source else { continue };
            if member.gone {
                cuts.extend(source.earlier.iter().chain([&source.unit]).map(|unit| (unit.clone(), None)));
            } else if member.edited {
                cuts.push((source.value.clone(), Some(&member.node)));
            }
        }
        cuts.sort_unstable_by_key(|(cut, _)| cut.start);
        cuts
    }

    /// Copies a run of the text; the first member that is left loses the comma in front of it.
    fn write_run(&self, run: Range<usize>, any: bool, out: &mut Vec<u8>) -> bool {
        let run = &self.text[run];
        let white = [' ', '\t', '\n', '\r', ','];
        out.extend_from_slice(if any { run } else { run.trim_start_matches(white) }.as_bytes());
        !run.is_empty()
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        &self.text.as_bytes()[range.clone()]
    }
}

/// Where `part`, a slice of `text`, begins in it.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}
