//! Which trigger serves which path: a trie by path segment. A lookup costs as much as the path is long.
//!
//! A route is a method and a path. Static segments win over parameters, parameters over wildcards, per method; of several triggers
//! on one route the newest serves, and when it leaves the one before it serves again.

use super::decode::percent;
use super::pattern::{Pattern, Segment};
use crate::codec::json;
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// What is served; a route may have another method, and is never found.
pub const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A bound trigger.
#[derive(Debug)]
pub struct Route {
    /// The control plane's number for it.
    pub id: u64,
    /// Upper case.
    pub method: Box<str>,
    /// Its path, read.
    pub pattern: Pattern,
    /// What serves it.
    pub function_id: Box<str>,
    /// JSON text that goes along with every call.
    pub metadata: Option<Box<str>>,
    /// Whether nothing but the function decides: no condition, no middleware.
    pub is_direct: bool,
    /// `"name":` of each parameter.
    pub(super) names_json: Vec<Box<[u8]>>,
    /// `"path":…` of the request object.
    pub(super) path_json: Box<[u8]>,
    /// `"trigger":…` of the request object.
    pub(super) trigger_json: Box<[u8]>,
}

impl Route {
    /// Reads the path.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn new(
        id: u64,
        method: &str,
        api_path: &str,
        function_id: &str,
        metadata: Option<Box<str>>,
        is_direct: bool,
    ) -> Result<Self, String> {
        let pattern = Pattern::parse(api_path)?;
        let named = |name: &str| {
            let mut text = Vec::new();
            json::write_string(&mut text, name);
            text.push(b':');
            text.into()
        };
        let names_json = pattern.names.iter().map(|name| named(name)).collect();
        let mut path_json = Vec::new();
        json::write_string(&mut path_json, api_path);
        let mut trigger_json = b"{\"type\":\"http\",\"method\":".to_vec();
        json::write_string(&mut trigger_json, method);
        trigger_json.extend_from_slice(b",\"path\":");
        trigger_json.extend_from_slice(&path_json);
        trigger_json.push(b'}');
        Ok(Route {
            id,
            method: method.into(),
            pattern,
            function_id: function_id.into(),
            metadata,
            is_direct,
            names_json,
            path_json: path_json.into(),
            trigger_json: trigger_json.into(),
        })
    }
}

/// The values of a path's parameters, in order.
pub type Values<'p> = Vec<Cow<'p, str>>;

/// Owners of one path by method, the newest last.
type Owners = Vec<(Box<str>, Vec<Arc<Route>>)>;

#[derive(Debug, Default)]
struct Node {
    statics: HashMap<Box<str>, Node, RandomState>,
    parameter: Option<Box<Node>>,
    /// Of a wildcard in this place.
    wildcard: Owners,
    owners: Owners,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.statics.is_empty() && self.parameter.is_none() && self.wildcard.is_empty() && self.owners.is_empty()
    }
}

/// All routes.
#[derive(Debug, Default)]
pub struct Routes {
    root: Node,
    by_id: HashMap<u64, Arc<Route>, RandomState>,
}

impl Routes {
    /// Makes `route` serve.
    ///
    /// # Errors
    /// A route of the same method and shape has other parameter names.
    pub fn add(&mut self, route: Route) -> Result<(), String> {
        let route = Arc::new(route);
        let owners = owners_mut(&mut self.root, &route.pattern.segments);
        let place = match owners.iter().position(|(method, _)| *method == route.method) {
            Some(place) => place,
            None => {
                owners.push((route.method.clone(), Vec::new()));
                owners.len() - 1
            }
        };
        let known = &mut owners[place].1;
        if let Some(newest) = known.last().filter(|newest| newest.pattern.names != route.pattern.names) {
            let names = newest.pattern.names.join(", ");
            return Err(format!("api_path conflicts with a route of the same shape with the parameter names {names}"));
        }
        known.push(route.clone());
        self.by_id.insert(route.id, route);
        Ok(())
    }

    /// Takes a route out; the owner before it serves again.
    pub fn remove(&mut self, id: u64) {
        if let Some(route) = self.by_id.remove(&id) {
            remove(&mut self.root, &route.pattern.segments, &route);
        }
    }

    /// A route by its number.
    pub fn get(&self, id: u64) -> Option<&Arc<Route>> {
        self.by_id.get(&id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    /// The route that serves a path (as it came) and the values of its parameters; `HEAD` falls back to `GET`.
    pub fn find<'p>(&self, method: &str, path: &'p str) -> Option<(&Arc<Route>, Values<'p>)> {
        if !METHODS.contains(&method) {
            return None;
        }
        let found = self.find_exactly(method, path);
        if found.is_none() && method == "HEAD" { self.find_exactly("GET", path) } else { found }
    }

    fn find_exactly<'p>(&self, method: &str, path: &'p str) -> Option<(&Arc<Route>, Values<'p>)> {
        let mut values = Vec::new();
        let mut found = None;
        let rest = Some(path.strip_prefix('/').unwrap_or(path));
        visit(&self.root, rest, &mut values, &mut |owners| {
            found = owners.iter().find(|(known, _)| **known == *method).and_then(|(_, owners)| owners.last());
            found.is_some()
        });
        // They were left as they were when the search ended.
        found.map(|route| (route, values))
    }

    /// What a path can be asked with, for `Allow`: sorted, empty when nothing is there.
    pub fn methods(&self, path: &str) -> Vec<&'static str> {
        let mut served = [false; METHODS.len()];
        let mut any = false;
        let rest = Some(path.strip_prefix('/').unwrap_or(path));
        visit(&self.root, rest, &mut Vec::new(), &mut |owners| {
            for (method, _) in owners {
                any = true;
                METHODS
                    .iter()
                    .zip(&mut served)
                    .filter(|(known, _)| ***known == **method)
                    .for_each(|(_, one)| *one = true);
            }
            false
        });
        let has_get = METHODS.iter().zip(&served).any(|(method, one)| *one && *method == "GET");
        let allowed = |method: &str, one: bool| one || (any && method == "OPTIONS") || (has_get && method == "HEAD");
        METHODS
            .into_iter()
            .zip(served)
            .filter(|(method, one)| allowed(method, *one))
            .map(|(method, _)| method)
            .collect()
    }
}

fn owners_mut<'n>(node: &'n mut Node, segments: &[Segment]) -> &'n mut Owners {
    let Some((first, rest)) = segments.split_first() else { return &mut node.owners };
    match first {
        Segment::Static(text) => owners_mut(node.statics.entry(text.clone()).or_default(), rest),
        Segment::Parameter => owners_mut(node.parameter.get_or_insert_default(), rest),
        Segment::Wildcard => &mut node.wildcard,
    }
}

/// Takes `route` out below `node`, and the nodes that nothing is left of.
fn remove(node: &mut Node, segments: &[Segment], route: &Arc<Route>) {
    match segments.split_first() {
        None => leave(&mut node.owners, route),
        Some((Segment::Wildcard, _)) => leave(&mut node.wildcard, route),
        Some((Segment::Static(text), rest)) => {
            if let Some(child) = node.statics.get_mut(text) {
                remove(child, rest, route);
                if child.is_empty() {
                    node.statics.remove(text);
                }
            }
        }
        Some((Segment::Parameter, rest)) => {
            if let Some(child) = &mut node.parameter {
                remove(child, rest, route);
                if child.is_empty() {
                    node.parameter = None;
                }
            }
        }
    }
}

fn leave(owners: &mut Owners, route: &Arc<Route>) {
    for (_, known) in owners.iter_mut().filter(|(method, _)| *method == route.method) {
        known.retain(|one| one.id != route.id);
    }
    owners.retain(|(_, known)| !known.is_empty());
}

/// Shows `look` the owners of every pattern that a path matches, the most static first, until it says that it has seen enough; `values`
/// are then those of that pattern. Goes only as deep as there are routes, however long the path is.
fn visit<'n, 'p>(
    node: &'n Node,
    rest: Option<&'p str>,
    values: &mut Values<'p>,
    look: &mut impl FnMut(&'n Owners) -> bool,
) -> bool {
    let Some(rest) = rest else { return !node.owners.is_empty() && look(&node.owners) };
    let (segment, left) = match memchr::memchr(b'/', rest.as_bytes()) {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest, None),
    };
    let decoded = percent(segment);
    if let Some(child) = node.statics.get(&*decoded)
        && visit(child, left, values, look)
    {
        return true;
    }
    if let Some(child) = node.parameter.as_ref().filter(|_| !segment.is_empty()) {
        values.push(decoded);
        if visit(child, left, values, look) {
            return true;
        }
        values.pop();
    }
    if !node.wildcard.is_empty() && !rest.is_empty() {
        values.push(percent(rest));
        if look(&node.wildcard) {
            return true;
        }
        values.pop();
    }
    false
}
