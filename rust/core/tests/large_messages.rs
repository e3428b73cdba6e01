//! A large message means the same whether it is read at once, as it is when it comes whole, or apart from its session, as when it comes in pieces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use iii_fast_core::calls::Call;
use iii_fast_core::limits::{LARGE_BYTES_MIN, Limits};
use iii_fast_core::loopback::Loopback;
use iii_fast_core::outcome::message_to_msgpack;
use iii_fast_core::peer::SessionId;
use iii_fast_core::ws;

const ID: &str = "6b5e0000-0000-4000-8000-000000000001";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Whole,
    InPieces,
}

/// A caller, and a worker that provides `f`; what each of them has been sent, and what went up.
struct Engine {
    plane: Loopback,
    peers: [SessionId; 2],
    seen: Vec<u8>,
    way: Way,
}

const CALLER: usize = 0;
const WORKER: usize = 1;

impl Engine {
    fn new(way: Way) -> Self {
        let mut plane = Loopback::new(Limits::default());
        let peers = [plane.connect(), plane.connect()];
        peers.iter().for_each(|peer| drop(plane.take(*peer)));
        let mut engine = Engine { plane, peers, seen: Vec::new(), way };
        engine.send(WORKER, ws::OPCODE_TEXT, b"{\"type\":\"registerfunction\",\"id\":\"f\"}");
        engine
    }

    fn send(&mut self, from: usize, opcode: u8, message: &[u8]) {
        let mut frame = Vec::new();
        ws::write_frame_header(&mut frame, opcode, message.len());
        frame[1] |= 0x80;
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(message);
        // A ping behind it is answered behind it.
        frame.extend_from_slice(b"\x89\x81\0\0\0\0p");
        let cut = if self.way == Way::Whole { frame.len() } else { frame.len() / 2 };
        let (first, second) = frame.split_at_mut(cut);
        self.plane.feed(self.peers[from], first);
        self.plane.feed(self.peers[from], second);
        self.collect();
    }

    fn collect(&mut self) {
        let calls = self.plane.take_calls();
        self.plane.handled();
        for call in calls {
            let text = match call {
                // Ids of workers are random.
                Call::Closed { reason, .. } => reason.into_string(),
                call => format!("{call:?}"),
            };
            self.seen.extend(text.into_bytes());
        }
        for peer in self.peers {
            self.seen.extend(self.plane.take(peer));
            self.seen.push(b'\n');
        }
    }
}

fn pad() -> String {
    "x".repeat(LARGE_BYTES_MIN)
}

/// Sends the same to two engines, one way each: both must say the same. Returns the last bytes of what they said.
fn send(messages: &[(usize, u8, Vec<u8>)]) -> String {
    let [whole, in_pieces] = [Way::Whole, Way::InPieces].map(|way| {
        let mut engine = Engine::new(way);
        for (from, opcode, message) in messages {
            engine.send(*from, *opcode, message);
        }
        let get = format!("{{\"scope\":\"s\",\"key\":\"k\",\"unknown\":\"{}\"}}", pad());
        engine.send(CALLER, ws::OPCODE_TEXT, invoke("state::get", &get, "").as_bytes());
        engine.seen
    });
    assert!(whole == in_pieces, "{}\n\n{}", shown(&whole), shown(&in_pieces));
    shown(&whole)
}

/// Without what is long.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text.replace(&pad(), "PAD")
}

/// In both codecs; as the caller.
fn call(text: &str) -> String {
    let msgpack = message_to_msgpack(text.as_bytes()).unwrap();
    send(&[(CALLER, ws::OPCODE_BINARY, msgpack)]);
    send(&[(CALLER, ws::OPCODE_TEXT, text.into())])
}

fn invoke(function: &str, data: &str, more: &str) -> String {
    format!(
        "{{\"type\":\"invokefunction\",\"invocation_id\":\"{ID}\",\"function_id\":\"{function}\",\"data\":{data}{more}}}"
    )
}

#[test]
fn state_calls() {
    let pad = pad();
    for (function, data) in [
        ("state::set", format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{pad}\"}}")),
        ("state::set", format!("{{\"scope\":\"s\",\"key\":\"k\",\"data\":[\"{pad}\",1.5]}}")),
        ("state::set", format!("{{\"scope\":\"{pad}\",\"key\":\"k\",\"value\":1}}")),
        ("state::set", format!("{{\"scope\":1,\"key\":\"k\",\"value\":\"{pad}\"}}")),
        ("state::set", format!("{{\"key\":\"k\",\"value\":\"{pad}\"}}")),
        ("state::set", format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{pad}\",\"durable\":true}}")),
        ("state::set", format!("[\"{pad}\"]")),
        ("state::compare-and-set", format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{pad}\",\"expected\":null}}")),
        ("state::compare-and-set", format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{pad}\",\"version\":7}}")),
        ("state::set_many", format!("{{\"scope\":\"s\",\"entries\":[{{\"key\":\"k\",\"value\":\"{pad}\"}}]}}")),
        ("state::set_many", format!("{{\"scope\":\"s\",\"entries\":[{{\"key\":\"k\",\"value\":\"{pad}\"}},{{}}]}}")),
        (
            "state::update",
            format!(
                "{{\"scope\":\"s\",\"key\":\"k\",\"ops\":[{{\"type\":\"set\",\"path\":\"a\",\"value\":\"{pad}\"}}]}}"
            ),
        ),
        (
            "state::transact",
            format!(
                "{{\"ops\":[{{\"type\":\"set\",\"scope\":\"s\",\"key\":\"k\",\"value\":\"{pad}\"}}],\"checks\":[]}}"
            ),
        ),
        ("state::delete", format!("{{\"scope\":\"s\",\"key\":\"k\",\"unknown\":\"{pad}\"}}")),
        ("state::nothing", format!("\"{pad}\"")),
    ] {
        let void = ",\"action\":{\"type\":\"void\"}";
        for more in [void, ",\"action\":1", ",\"namespace\":\"other\"", ",\"namespace\":\"default\"", ""] {
            call(&invoke(function, &data, more));
        }
        let enqueue = ",\"action\":{\"type\":\"enqueue\",\"queue\":\"q\"}";
        call(&invoke(function, &data, enqueue));
    }
    // Without input.
    let ids = format!("\"invocation_id\":\"{ID}\",\"function_id\":\"state::list_groups\"");
    call(&format!("{{\"type\":\"invokefunction\",{ids},\"unknown\":\"{pad}\"}}"));
    let set = format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{pad}\"}}");
    let seen = call(&invoke("state::set", &set, ""));
    assert!(seen.ends_with("\"result\":\"PAD\"}\u{fffd}\u{1}p\n\n"), "{seen}");
}

#[test]
fn calls_of_workers_and_their_results() {
    let pad = pad();
    let invocation = invoke("f", &format!("\"{pad}\""), ",\"metadata\":{\"m\":1}");
    let small = invoke("f", "1", "");
    let answer = |rest: &str| {
        format!("{{\"type\":\"invocationresult\",\"invocation_id\":\"{ID}\",\"function_id\":\"f\",{rest}}}")
    };
    let text = |from, text: &str| (from, ws::OPCODE_TEXT, text.as_bytes().to_vec());
    let msgpack = |from, text: &str| (from, ws::OPCODE_BINARY, message_to_msgpack(text.as_bytes()).unwrap());
    let ping = "{\"type\":\"ping\"}";
    let results = [
        format!("\"result\":\"{pad}\""),
        format!("\"result\":null,\"unknown\":\"{pad}\""),
        format!("\"error\":{{\"code\":\"C\",\"message\":\"{pad}\"}}"),
        format!("\"error\":\"{pad}\""),
    ];
    for result in results.iter().map(|result| answer(result)) {
        send(&[text(CALLER, &invocation), text(WORKER, &result)]);
        send(&[text(CALLER, &small), text(WORKER, &result)]);
        send(&[msgpack(WORKER, ping), text(CALLER, &invocation), msgpack(WORKER, &result)]);
        send(&[msgpack(WORKER, ping), msgpack(CALLER, &invocation), msgpack(WORKER, &result)]);
        send(&[msgpack(CALLER, &small), text(WORKER, &result)]);
        // Not the one that was asked.
        send(&[text(CALLER, &invocation), text(CALLER, &result), text(WORKER, &result)]);
    }
    let seen = send(&[text(CALLER, &small), text(WORKER, &answer(&results[0]))]);
    assert!(seen.contains("\"function_id\":\"f\",\"result\":\"PAD\"}"), "{seen}");
    // Binary has no JSON.
    let mut binary = b"\x84\xa4type\xaeinvokefunction\xadinvocation_id\xd9\x24".to_vec();
    binary.extend_from_slice(ID.as_bytes());
    binary.extend_from_slice(b"\xabfunction_id\xa1f\xa4data\xc6\x00\x10\x00\x00");
    binary.resize(binary.len() + LARGE_BYTES_MIN, 1);
    let seen = send(&[(CALLER, ws::OPCODE_BINARY, binary)]);
    assert!(seen.contains("not_expressible"), "{seen}");
}

#[test]
fn what_is_not_as_it_should_be() {
    let pad = pad();
    let deep = format!("{}\"{pad}\"{}", "[".repeat(121), "]".repeat(121));
    for data in [format!("[NaN,\"{pad}\"]"), format!("[\"\\ud800\",\"{pad}\"]"), deep.clone(), format!("[\"{pad}\",]")]
    {
        for function in ["state::set", "f", "unknown"] {
            let message = invoke(function, &data, "");
            send(&[(CALLER, ws::OPCODE_TEXT, message.clone().into())]);
            send(&[(CALLER, ws::OPCODE_TEXT, format!("{message} x").into())]);
            send(&[(CALLER, ws::OPCODE_TEXT, message[..message.len() - 2].into())]);
        }
    }
    let seen = send(&[(CALLER, ws::OPCODE_TEXT, invoke("f", &deep, "").into())]);
    assert!(seen.contains("invalid_message") && seen.contains("Invalid JSON"), "{seen}");
    let invalid_text = [invoke("f", &format!("\"{pad}"), "").into_bytes(), b"\xff\"}".to_vec()].concat();
    let mut msgpack = message_to_msgpack(invoke("f", &format!("\"{pad}\""), "").as_bytes()).unwrap();
    send(&[(CALLER, ws::OPCODE_BINARY, msgpack[..msgpack.len() - 1].to_vec())]);
    *msgpack.last_mut().unwrap() = 0xc1;
    send(&[(CALLER, ws::OPCODE_BINARY, msgpack)]);
    for message in [invalid_text, pad.clone().into(), format!("OTLP{pad}").into(), format!("{{\"{pad}\":1}}").into()] {
        send(&[(CALLER, ws::OPCODE_BINARY, message.clone())]);
        // Text that is no UTF-8 ends the connection.
        send(&[(CALLER, ws::OPCODE_TEXT, message)]);
    }
}

#[test]
fn other_messages() {
    let pad = pad();
    call(&format!("{{\"type\":\"registerfunction\",\"id\":\"g\",\"description\":\"{pad}\"}}"));
    call(&format!("{{\"type\":\"registertrigger\",\"id\":\"t\",\"config\":\"{pad}\"}}"));
    call(&format!("{{\"type\":\"unregisterfunction\",\"id\":\"{pad}\"}}"));
    call(&format!("{{\"type\":\"ping\",\"unknown\":\"{pad}\"}}"));
    call(&format!("{{\"type\":\"{pad}\"}}"));
}
