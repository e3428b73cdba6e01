//! State calls on a Redis that is played by hand: what is sent, what is made of each answer, and what callers are told when it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use iii_fast_core::calls::{Call, Wake};
use iii_fast_core::codec::Value;
use iii_fast_core::core::Core;
use iii_fast_core::dispatch::Router;
use iii_fast_core::http::ExchangeId;
use iii_fast_core::invocation::InvocationId;
use iii_fast_core::limits::Limits;
use iii_fast_core::log::Receipt;
use iii_fast_core::outbox::Outbox;
use iii_fast_core::outcome::Settlement;
use iii_fast_core::peer::{Peer, SessionId};
use iii_fast_core::remote::resp::{Reply, Scanner};
use iii_fast_core::remote::scripts::Script;
use iii_fast_core::remote::{Address, Caller, Pipeline, Progress, Remote};
use iii_fast_core::state::StateCall;
use iii_fast_core::ws;
use std::sync::Arc;

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// One worker's outbox.
#[derive(Default)]
struct One(Outbox);

impl Router for One {
    fn outbox(&mut self, _to: SessionId, _invocation: Option<InvocationId>) -> Option<&mut Outbox> {
        Some(&mut self.0)
    }
    fn outbox_after(&mut self, _to: SessionId, _receipt: Receipt) -> Option<&mut Outbox> {
        None
    }
    fn holds(&self, _: SessionId, _: Receipt) -> bool {
        false
    }
    fn hold(&mut self, _receipt: Receipt, _call: Call) {}
    fn await_journal(&mut self) {}
    fn pipeline(&mut self) -> Option<&mut Pipeline> {
        None
    }
    fn is_another_ready(&self, _session: SessionId) -> bool {
        false
    }
    fn is_pipeline_full(&self) -> bool {
        false
    }
    fn waiting(&self, _session: SessionId) -> usize {
        0
    }
    fn respond(&mut self, _core: &Core, _to: ExchangeId, _outcome: Settlement<'_>) {}
    fn grant(&mut self, _to: ExchangeId) {}
    fn close(&mut self, _session: SessionId, _code: u16, _reason: &'static str) {}
}

struct Played {
    core: Core,
    peer: Arc<Peer>,
    router: One,
    pipeline: Pipeline,
}

impl Played {
    /// Not connected yet.
    fn new(password: Option<&str>, database: u32) -> Self {
        let (host, password) = ("redis.test".to_owned(), password.map(str::to_owned));
        let address = Address { host, port: 6379, user: None, password, database };
        let core = Core::with_remote(Limits::default(), Box::new(Nobody), Some(Remote::new(address, 1)));
        core.advance_clock(1_000_000);
        let peer = core.connect(SessionId::new(0, 1, 1), "here", 0);
        Played { core, peer, router: One::default(), pipeline: Pipeline::new(0) }
    }

    fn open() -> Self {
        let mut played = Played::new(None, 0);
        played.pipeline.connected(played.core.remote.as_ref().unwrap());
        played.sent();
        assert_eq!(played.replies(&loaded()), Ok(Progress::Opened));
        played
    }

    /// The commands that were sent, as words.
    fn sent(&mut self) -> Vec<String> {
        self.pipeline.prepare(&self.core, self.core.remote.as_ref().unwrap());
        let bytes = self.pipeline.outgoing().to_vec();
        self.pipeline.advance(bytes.len());
        let (mut rest, mut commands) = (bytes.as_slice(), Vec::new());
        while let Ok(Some(end)) = Scanner::default().scan(rest) {
            let Ok(Reply::Array(words)) = Reply::read(&rest[..end]) else { panic!("no command") };
            let word = |word: &Reply<'_>| match word {
                Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => panic!("{other:?} in a command"),
            };
            commands.push(words.iter().map(word).collect::<Vec<_>>().join(" "));
            rest = &rest[end..];
        }
        assert!(rest.is_empty());
        commands
    }

    fn replies(&mut self, bytes: &[u8]) -> Result<Progress, String> {
        let mut progress = Ok(Progress::Same);
        for piece in bytes.chunks(7) {
            self.pipeline.space()[..piece.len()].copy_from_slice(piece);
            let remote = self.core.remote.as_ref().unwrap();
            match self.pipeline.received(piece.len(), &self.core, remote, &mut self.router) {
                Ok(Progress::Same) => {}
                other => progress = other,
            }
        }
        progress
    }

    fn call(&mut self, call: StateCall, data: &str) -> Result<(), String> {
        let remote = self.core.remote.as_ref().unwrap();
        let caller = || Caller::worker(&self.peer, Value::Json("\"1\""), Value::Json("\"f\""));
        self.pipeline.submit(&self.core, remote, caller, call, Value::Json(data)).map_err(|error| error.to_string())
    }

    fn lost(&mut self, reason: &str) -> bool {
        let remote = self.core.remote.as_ref().unwrap();
        self.pipeline.lost(&self.core, remote, &mut self.router, reason)
    }

    /// The ends of the messages that the worker was sent.
    fn told(&mut self) -> Vec<String> {
        let bytes = self.router.0.take_bytes();
        let mut rest = bytes.as_slice();
        let mut told = Vec::new();
        while let Some((message, after)) = ws::split_frame(rest) {
            let text = std::str::from_utf8(message).unwrap();
            let head = r#"{"type":"invocationresult","invocation_id":"1","function_id":"f""#;
            told.push(text.strip_prefix(head).unwrap().to_owned());
            rest = after;
        }
        told
    }
}

/// Answers to the scripts: their names are `s0`, `s1`, ...
fn loaded() -> Vec<u8> {
    (0..Script::ALL.len()).flat_map(|index| format!("$2\r\ns{index}\r\n").into_bytes()).collect()
}

#[test]
fn calls_wait_for_the_first_connection_and_its_setup() {
    let mut played = Played::new(Some("secret"), 7);
    played.call(StateCall::Get, r#"{"scope":"s","key":"k"}"#).unwrap();
    assert!(played.sent().is_empty());
    played.pipeline.connected(played.core.remote.as_ref().unwrap());
    let setup = played.sent();
    assert_eq!(setup[..2], ["AUTH secret", "SELECT 7"]);
    assert_eq!(setup.iter().filter(|command| command.starts_with("SCRIPT LOAD")).count(), Script::ALL.len());
    assert_eq!(played.replies(&[b"+OK\r\n+OK\r\n".to_vec(), loaded()].concat()), Ok(Progress::Opened));
    assert_eq!(played.sent(), ["HMGET iii-fast:state:s k"]);
    played.replies(b"*1\r\n$11\r\n12 3 0 [{}]\r\n").unwrap();
    assert_eq!(played.told(), [r#","result":[{}]}"#]);
    assert!(played.core.remote.as_ref().unwrap().is_connected());
}

#[test]
fn a_refusal_at_the_beginning_ends_the_connection() {
    let mut played = Played::new(Some("secret"), 0);
    played.call(StateCall::Get, r#"{"scope":"s","key":"k"}"#).unwrap();
    played.pipeline.connected(played.core.remote.as_ref().unwrap());
    let refused = played.replies(b"-WRONGPASS no\r\n");
    assert_eq!(refused, Err("it answered AUTH with: WRONGPASS no".to_owned()));
    assert!(!played.lost(&refused.unwrap_err()));
    let text = "Redis at redis.test:6379/0 is away since 1970-01-01 00:16:40 UTC: it answered AUTH with: WRONGPASS no";
    assert_eq!(played.told(), [format!(r#","error":{{"code":"STORAGE_UNAVAILABLE","message":"{text}"}}}}"#)]);
    let error = played.call(StateCall::List, r#"{"scope":"s"}"#);
    assert_eq!(error, Err(format!("STORAGE_UNAVAILABLE: {text}")));
    assert_eq!(played.core.remote.as_ref().unwrap().failure().as_deref(), Some(text));
}

#[test]
fn replies_go_to_those_who_asked_in_order() {
    let mut played = Played::open();
    for (scope, key) in [("s", "a"), ("s", "b"), ("s", "c"), ("t", "d")] {
        played.call(StateCall::Get, &format!(r#"{{"scope":"{scope}","key":"{key}"}}"#)).unwrap();
    }
    played.call(StateCall::Delete, r#"{"scope":"s","key":"e"}"#).unwrap();
    played.call(StateCall::Get, r#"{"scope":"s","key":"f"}"#).unwrap();
    let sent = played.sent();
    assert_eq!(sent[..2], ["HMGET iii-fast:state:s a b c", "HMGET iii-fast:state:t d"]);
    assert!(sent[2].ends_with(" 0 s e 1000000"));
    assert_eq!(sent[3], "HMGET iii-fast:state:s f");
    // The third has expired at this instant.
    played.replies(b"*3\r\n$9\r\n1 1 0 \"a\"\r\n$-1\r\n$13\r\n1 1 1000000 1\r\n-LOADING soon\r\n").unwrap();
    played.replies(b"*1\r\n$1\r\n0\r\n*1\r\n$7\r\n1 1 0 5\r\n").unwrap();
    let text = "Redis at redis.test:6379/0 answered: LOADING soon";
    let error = format!(r#","error":{{"code":"STORAGE_UNAVAILABLE","message":"{text}"}}}}"#);
    assert_eq!(played.told(), [r#","result":"a"}"#, "}", "}", &error, "}", r#","result":5}"#]);
    assert_eq!(played.pipeline.pending(), 0);
}

#[test]
fn an_update_is_worked_out_anew_on_what_others_have_written() {
    let mut played = Played::open();
    let data = r#"{"scope":"s","key":"k","ops":[{"type":"increment","path":"n","by":2}]}"#;
    played.call(StateCall::Update, data).unwrap();
    assert_eq!(played.sent(), ["HGET iii-fast:state:s k"]);
    played.replies(b"$13\r\n5 4 0 {\"n\":1}\r\n").unwrap();
    let commit = Script::ALL.iter().position(|script| *script == Script::Commit).unwrap();
    assert_eq!(played.sent(), [format!(r#"EVALSHA s{commit} 0 1 1 s k 5 S s k 1 4 0 0 {{"n":3}}"#)]);
    played.replies(b"*2\r\n:0\r\n$15\r\n9 4 0 {\"n\": 40}\r\n").unwrap();
    assert_eq!(played.sent(), [format!(r#"EVALSHA s{commit} 0 1 1 s k 9 S s k 1 4 0 0 {{"n": 42}}"#)]);
    played.replies(b"*2\r\n:0\r\n$-1\r\n").unwrap();
    assert_eq!(played.sent(), [format!(r#"EVALSHA s{commit} 0 1 1 s k 0 S s k 1 1 0 1 {{"n":2}}"#)]);
    assert!(played.told().is_empty());
    played.replies(b"*2\r\n:1\r\n$2\r\n11\r\n").unwrap();
    assert_eq!(played.told(), [r#","result":{"old_value":null,"new_value":{"n":2}}}"#]);
    assert_eq!(played.pipeline.pending(), 0);
}

#[test]
fn a_commit_counts_its_positions_as_the_map_does() {
    let mut played = Played::open();
    let ops = r#"[{"type":"delete","scope":"s","key":"a"},{"type":"set","scope":"s","key":"a","value":1},
        {"type":"set","scope":"s","key":"b","value":2,"expires_at":5},{"type":"delete","scope":"s","key":"c"}]"#;
    played.call(StateCall::Transact, &format!(r#"{{"ops":{ops}}}"#)).unwrap();
    assert!(played.sent()[0].ends_with(" 0 s a s b s c"));
    // b has expired; c is not there.
    played.replies(b"*3\r\n$7\r\n7 6 0 0\r\n$8\r\n8 8 10 0\r\n$-1\r\n").unwrap();
    // Four positions before and in the commit (one for b's end), and one for b's next end; a is created by the second operation.
    assert!(played.sent()[0].ends_with(" 0 5 3 s a 7 s b 8 s c 0 S s a 4 3 0 1 1 D s b"));
    played.replies(b"*2\r\n:1\r\n$3\r\n100\r\n").unwrap();
    let results = r#"[0,{"old_value":null,"new_value":1},{"old_value":null,"new_value":2},null]"#;
    assert_eq!(played.told(), [format!(r#","result":{{"committed":true,"version":104,"results":{results}}}}}"#)]);
}

#[test]
fn scripts_that_are_lost_are_brought_again_in_front_of_the_call() {
    let mut played = Played::open();
    played.call(StateCall::Delete, r#"{"scope":"s","key":"k"}"#).unwrap();
    let before = played.sent();
    played.replies(b"-NOSCRIPT No matching script.\r\n").unwrap();
    let after = played.sent();
    assert_eq!(after.len(), Script::ALL.len() + 1);
    assert_eq!(after.last(), before.last());
    played.replies(&[loaded(), b"*2\r\n$1\r\n9\r\n$7\r\n1 1 0 7\r\n".to_vec()].concat()).unwrap();
    assert_eq!(played.told(), [r#","result":7}"#]);
}

#[test]
fn who_waits_when_the_connection_ends_is_told_what_may_have_happened() {
    let mut played = Played::open();
    played.call(StateCall::Get, r#"{"scope":"s","key":"k"}"#).unwrap();
    played.call(StateCall::Set, r#"{"scope":"s","key":"k","value":1}"#).unwrap();
    played.call(StateCall::Update, r#"{"scope":"s","key":"k","ops":[{"type":"set","path":"","value":1}]}"#).unwrap();
    assert!(played.lost("cut"));
    let told = played.told();
    let text = "Redis at redis.test:6379/0 went away while this call was under way: cut";
    let ends = told.iter().map(|one| one.split(text).nth(1).unwrap());
    assert_eq!(ends.collect::<Vec<_>>(), [r#""}}"#, r#"; the write may have happened"}}"#, r#""}}"#]);
    assert_eq!(played.pipeline.pending(), 0);
    assert!(played.pipeline.outgoing().is_empty());
}

#[test]
fn what_nobody_asked_for_and_what_is_not_ours_is_noticed() {
    let mut played = Played::open();
    assert_eq!(played.replies(b"+OK\r\n"), Err("it answers what nobody asked".to_owned()));
    let mut played = Played::open();
    for (entry, call) in
        [("*1\r\n$3\r\nabc\r\n", StateCall::Get), (":5\r\n", StateCall::Get), ("+OK\r\n", StateCall::List)]
    {
        played.call(call, r#"{"scope":"s","key":"k"}"#).unwrap();
        played.sent();
        played.replies(entry.as_bytes()).unwrap();
        assert!(played.told()[0].contains("was not written by this engine"), "{entry}");
    }
}

#[test]
fn what_the_control_plane_has_forgotten_is_not_settled() {
    let mut played = Played::open();
    for ticket in [1, 2] {
        let remote = played.core.remote.as_ref().unwrap();
        let data = r#"{"scope":"s","key":"k"}"#;
        played
            .pipeline
            .submit(&played.core, remote, || Caller::Control(ticket), StateCall::Get, Value::Json(data))
            .unwrap();
    }
    played.pipeline.forget(1);
    played.sent();
    played.replies(b"*2\r\n$-1\r\n$-1\r\n").unwrap();
    let settled = played.core.calls.take(9);
    assert!(matches!(settled[..], [Call::Settled { ticket: 2, .. }]), "{settled:?}");
}
