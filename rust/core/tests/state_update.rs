//! The six operations: every combination of operation, path and what is there; bounds; text that stays.
#![allow(clippy::unwrap_used)]

mod state_support;

use state_support::{NOTHING, Outcome, apply, error, refused, unchanged, wrote};

/// Applies `ops` to `stored` (`NOTHING` for no key) and compares.
#[track_caller]
fn check(stored: &str, ops: &str, expected: &Outcome) {
    assert_eq!(&apply(stored, ops), expected, "{stored} {ops}");
}

/// One operation on everything that can be at the root: nothing, each kind of scalar, an array, an object.
#[track_caller]
fn on_every_root(op: &str, expected: [&Outcome; 8]) {
    let roots = [NOTHING, "null", "true", "5", "\"s\"", "[1]", "{}", r#"{"a":1}"#];
    for (root, expected) in roots.into_iter().zip(expected) {
        check(root, &format!("[{op}]"), expected);
    }
}

fn no_object(op: &str, path: &str, found: &str) -> Outcome {
    let text = format!("Cannot {op} at path '{path}': target is {found}, expected object.");
    error(&format!("{op}.target_not_object"), &text)
}

fn no_number(op: &str, path: &str, found: &str) -> Outcome {
    error(&format!("{op}.not_number"), &format!("Expected number at path '{path}', got {found}."))
}

fn no_target(path: &str, found: &str) -> Outcome {
    let expected = "expected array, string, null, or missing field";
    error("append.type_mismatch", &format!("Cannot append at path '{path}': target is {found}, {expected}."))
}

#[test]
fn set_on_every_root() {
    let value = wrote("[7]");
    on_every_root(r#"{"type":"set","path":"","value":[7]}"#, [&value; 8]);
    let member = wrote(r#"{"p":[7]}"#);
    let no = |found| no_object("set", "p", found);
    on_every_root(
        r#"{"type":"set","path":"p","value":[7]}"#,
        [
            &member,
            &no("null"),
            &no("boolean"),
            &no("number"),
            &no("string"),
            &no("array"),
            &member,
            &wrote(r#"{"a":1,"p":[7]}"#),
        ],
    );
    check(r#"{"a":1}"#, r#"[{"type":"set","path":"a"}]"#, &wrote(r#"{"a":null}"#));
}

#[test]
fn merge_on_every_root() {
    let merged = wrote(r#"{"p":[7]}"#);
    let no = |found| no_object("merge", "root", found);
    for path in ["", r#","path":"""#, r#","path":[]"#, r#","path":null"#] {
        on_every_root(
            &format!(r#"{{"type":"merge"{path},"value":{{"p":[7]}}}}"#),
            [
                &merged,
                &no("null"),
                &no("boolean"),
                &no("number"),
                &no("string"),
                &no("array"),
                &merged,
                &wrote(r#"{"a":1,"p":[7]}"#),
            ],
        );
        on_every_root(
            &format!(r#"{{"type":"merge"{path},"value":{{}}}}"#),
            [
                &wrote("{}"),
                &no("null"),
                &no("boolean"),
                &no("number"),
                &no("string"),
                &no("array"),
                &unchanged(),
                &unchanged(),
            ],
        );
    }
    for (path, text) in [(r#""p""#, r#""p":{"x":1}"#), (r#"["p","q"]"#, r#""p":{"q":{"x":1}}"#)] {
        let (alone, beside) = (wrote(&format!("{{{text}}}")), wrote(&format!(r#"{{"a":1,{text}}}"#)));
        let op = format!(r#"{{"type":"merge","path":{path},"value":{{"x":1}}}}"#);
        on_every_root(&op, [&alone, &alone, &alone, &alone, &alone, &alone, &alone, &beside]);
    }
}

#[test]
fn merge_below_the_root_replaces_what_is_no_object() {
    for step in ["null", "true", "1", "\"s\"", "[{}]"] {
        let stored = format!(r#"{{"p":{step},"z":0}}"#);
        let merge = |path: &str, value: &str| format!(r#"[{{"type":"merge","path":{path},"value":{value}}}]"#);
        check(&stored, &merge(r#""p""#, r#"{"x":1}"#), &wrote(r#"{"p":{"x":1},"z":0}"#));
        check(&stored, &merge(r#""p""#, "{}"), &wrote(r#"{"p":{},"z":0}"#));
        check(&stored, &merge(r#"["p","q"]"#, "{}"), &wrote(r#"{"p":{"q":{}},"z":0}"#));
    }
    let stored = r#"{"p":{"q":{"x":1,"y":2}}}"#;
    let merge = |value: &str| format!(r#"[{{"type":"merge","path":["p","q"],"value":{value}}}]"#);
    check(stored, &merge(r#"{"y":{},"z":3}"#), &wrote(r#"{"p":{"q":{"x":1,"y":{},"z":3}}}"#));
    check(stored, &merge("{}"), &unchanged());
    check(stored, &merge(r#"{"n":1,"n":2}"#), &wrote(r#"{"p":{"q":{"x":1,"y":2,"n":2}}}"#));
}

#[test]
fn increment_and_decrement_on_every_root() {
    for (op, root, five, path) in [("increment", "3", "8", r#"{"p":3}"#), ("decrement", "-3", "2", r#"{"p":-3}"#)] {
        let no = |found| no_number(op, "root", found);
        on_every_root(
            &format!(r#"{{"type":"{op}","path":"","by":3}}"#),
            [
                &wrote(root),
                &no("null"),
                &no("boolean"),
                &wrote(five),
                &no("string"),
                &no("array"),
                &no("object"),
                &no("object"),
            ],
        );
        let no = |found| no_object(op, "p", found);
        on_every_root(
            &format!(r#"{{"type":"{op}","path":"p","by":3}}"#),
            [
                &wrote(path),
                &no("null"),
                &no("boolean"),
                &no("number"),
                &no("string"),
                &no("array"),
                &wrote(path),
                &wrote(&format!(r#"{{"a":1,{}"#, &path[1..])),
            ],
        );
        for (value, found) in
            [("null", "null"), ("true", "boolean"), ("\"1\"", "string"), ("[1]", "array"), ("{}", "object")]
        {
            let ops = format!(r#"[{{"type":"{op}","path":"p","by":1}}]"#);
            check(&format!(r#"{{"p":{value}}}"#), &ops, &no_number(op, "p", found));
        }
        let overflow = error(&format!("{op}.not_number"), "Number overflow at path 'p'.");
        let ops = format!(r#"[{{"type":"{op}","path":"p","by":18446744073709551616}}]"#);
        check(r#"{"p":1}"#, &ops, &overflow);
        check(NOTHING, &ops, &overflow);
        check(r#"{"p":1e400}"#, &format!(r#"[{{"type":"{op}","path":"p","by":0.5}}]"#), &overflow);
    }
    check(r#"{"p" : 1.50}"#, r#"[{"type":"increment","path":"p","by":-1e0}]"#, &wrote(r#"{"p" : 0.5}"#));
}

#[test]
fn append_on_every_root() {
    for path in ["", r#","path":"""#, r#","path":[]"#, r#","path":null"#] {
        let no = |found| no_target("root", found);
        let list = wrote("[[7]]");
        let wrong = error("append.type_mismatch", "Expected string append value at path 'root', got array.");
        on_every_root(
            &format!(r#"{{"type":"append"{path},"value":[7]}}"#),
            [&list, &list, &no("boolean"), &no("number"), &wrong, &wrote("[1,[7]]"), &no("object"), &no("object")],
        );
        let string = wrote("\"x\"");
        on_every_root(
            &format!(r#"{{"type":"append"{path},"value":"x"}}"#),
            [
                &string,
                &string,
                &no("boolean"),
                &no("number"),
                &wrote("\"sx\""),
                &wrote("[1,\"x\"]"),
                &no("object"),
                &no("object"),
            ],
        );
    }
    for (path, shown, leaf) in [
        (r#""p""#, "p", r#"{"p":"x"}"#),
        (r#"["p"]"#, "p", r#"{"p":"x"}"#),
        (r#"["p","q"]"#, "[p, q]", r#"{"p":{"q":["x"]}}"#),
    ] {
        let no = |found| no_object("append", shown, found);
        on_every_root(
            &format!(r#"{{"type":"append","path":{path},"value":"x"}}"#),
            [
                &wrote(leaf),
                &no("null"),
                &no("boolean"),
                &no("number"),
                &no("string"),
                &no("array"),
                &wrote(leaf),
                &wrote(&format!(r#"{{"a":1,{}"#, &leaf[1..])),
            ],
        );
    }
}

#[test]
fn append_to_every_leaf() {
    for (path, shown, open, close) in
        [(r#""p""#, "p", r#"{"p":"#, "}"), (r#"["p","q"]"#, "[p, q]", r#"{"p":{"q":"#, "}}")]
    {
        let around = |leaf: &str| format!("{open}{leaf}{close}");
        let append = |value: &str| format!(r#"[{{"type":"append","path":{path},"value":{value}}}]"#);
        for (leaf, value, new) in [
            ("null", "\"x\"", "\"x\""),
            ("null", "1", "[1]"),
            ("\"s\"", "\"x\"", "\"sx\""),
            ("[]", "null", "[null]"),
            ("[ ]", "[2]", "[[2] ]"),
            ("[ 1 , 2 ]", "\"x\"", "[ 1 , 2,\"x\" ]"),
        ] {
            check(&around(leaf), &append(value), &wrote(&around(new)));
        }
        for (leaf, found) in [("true", "boolean"), ("1", "number"), ("{}", "object")] {
            check(&around(leaf), &append("\"x\""), &no_target(shown, found));
        }
        let text = format!("Expected string append value at path '{shown}', got null.");
        check(&around("\"s\""), &append("null"), &error("append.type_mismatch", &text));
    }
    let deep = r#"[{"type":"append","path":["p","q","r"],"value":"x"}]"#;
    for step in ["1", "[]", "null", r#"{"q":2}"#] {
        check(&format!(r#"{{"p":{step}}}"#), deep, &wrote(r#"{"p":{"q":{"r":["x"]}}}"#));
    }
}

#[test]
fn remove_on_every_root() {
    let null = wrote("null");
    let all = [&unchanged(), &null, &null, &null, &null, &null, &null, &null];
    on_every_root(r#"{"type":"remove","path":""}"#, all);
    let no = |found| no_object("remove", "a", found);
    on_every_root(
        r#"{"type":"remove","path":"a"}"#,
        [
            &unchanged(),
            &no("null"),
            &no("boolean"),
            &no("number"),
            &no("string"),
            &no("array"),
            &unchanged(),
            &wrote("{}"),
        ],
    );
}

#[test]
fn operations_see_what_the_ones_before_made() {
    let ops = r#"[{"type":"increment","path":"n","by":1},{"type":"increment","path":"n","by":0.5},
        {"type":"append","path":"l","value":1},{"type":"append","path":"l","value":2},{"type":"append","path":"n","value":3},
        {"type":"merge","path":["o","i"],"value":{"x":1}},{"type":"append","path":["o","i","y"],"value":2},
        {"type":"set","path":"s","value":"a"},{"type":"append","path":"s","value":"\u00e9\""},
        {"type":"remove","path":"l"},{"type":"set","path":"l","value":{"k":1}},{"type":"merge","path":"l","value":{"k":2}}]"#;
    let text = r#"{"n":1.5,"o":{"i":{"x":1,"y":[2]}},"s":"a\u00e9\"","l":{"k":2}}"#;
    let message = "Cannot append at path 'n': target is number, expected array, string, null, or missing field.";
    check(NOTHING, ops, &wrote(text).with_error(4, "append.type_mismatch", message));
    // Replacing the root forgets everything below it.
    let ops = r#"[{"type":"set","path":"a","value":1},{"type":"set","path":"","value":{"a":{"b":2}}},
        {"type":"merge","path":["a","b"],"value":{}},{"type":"set","path":"","value":[]},{"type":"set","path":"a"},
        {"type":"append","value":1}]"#;
    let message = "Cannot set at path 'a': target is array, expected object.";
    check(r#"{"a":0}"#, ops, &wrote("[1]").with_error(4, "set.target_not_object", message));
    // Until something has changed there is nothing; then it is an object.
    let ops = r#"[{"type":"remove","path":"a"},{"type":"remove","path":""},{"type":"increment","path":"a","by":1e999},
        {"type":"increment","path":"","by":2}]"#;
    let expected = wrote("2").with_error(2, "increment.not_number", "Number overflow at path 'a'.");
    check(NOTHING, ops, &expected);
}

#[test]
fn text_that_is_not_named_stays() {
    let stored = "{ \"a\" : 1e2 ,\n \"\\u0062\":[ 1 ] , \"c\":{\"x\" :  0.10 } }";
    for (op, expected) in [
        (r#"{"type":"set","path":"a","value":[ ]}"#, "{ \"a\" : [ ] ,\n \"\\u0062\":[ 1 ] , \"c\":{\"x\" :  0.10 } }"),
        (
            r#"{"type":"append","path":"b","value":2}"#,
            "{ \"a\" : 1e2 ,\n \"\\u0062\":[ 1,2 ] , \"c\":{\"x\" :  0.10 } }",
        ),
        (
            r#"{"type":"merge","path":"c","value":{ "x" : 1.0, "y\u002f":2 }}"#,
            "{ \"a\" : 1e2 ,\n \"\\u0062\":[ 1 ] , \"c\":{\"x\" :  1.0,\"y/\":2 } }",
        ),
        (
            r#"{"type":"set","path":"n\n","value":null}"#,
            "{ \"a\" : 1e2 ,\n \"\\u0062\":[ 1 ] , \"c\":{\"x\" :  0.10 },\"n\\n\":null }",
        ),
        (r#"{"type":"remove","path":"a"}"#, "{ \"\\u0062\":[ 1 ] , \"c\":{\"x\" :  0.10 } }"),
        (r#"{"type":"remove","path":"b"}"#, "{ \"a\" : 1e2 , \"c\":{\"x\" :  0.10 } }"),
        (r#"{"type":"remove","path":"c"}"#, "{ \"a\" : 1e2 ,\n \"\\u0062\":[ 1 ] }"),
    ] {
        check(stored, &format!("[{op}]"), &wrote(expected));
    }
    let set = |name: &str| format!(r#"{{"type":"set","path":"{name}","value":1}}"#);
    let remove = |name: &str| format!(r#"{{"type":"remove","path":"{name}"}}"#);
    for (stored, ops, expected) in [
        ("{ }", set("a"), "{\"a\":1 }"),
        ("{ \"a\":0\n}", remove("a"), "{ \n}"),
        ("{ \"a\":0\n}", format!("{},{}", remove("a"), set("b")), "{\"b\":1 \n}"),
        ("{ \"a\":0\n}", format!("{},{}", set("b"), remove("a")), "{ \"b\":1\n}"),
        ("{ \"a\":0\n}", format!("{},{},{}", remove("a"), set("b"), remove("b")), "{ \n}"),
        ("{ \"a\":0, \"b\":0 ,\t\"c\":0 }", format!("{},{}", remove("b"), remove("a")), "{ \"c\":0 }"),
        ("{ \"a\":0, \"b\":0 ,\t\"c\":0 }", format!("{},{}", remove("a"), set("a")), "{ \"b\":0 ,\t\"c\":0,\"a\":1 }"),
    ] {
        check(stored, &format!("[{ops}]"), &wrote(expected));
    }
}

#[test]
fn of_duplicate_members_the_last_one_counts() {
    let stored = r#"{"a":1, "b":2, "\u0061":3, "a" : 4}"#;
    check(stored, r#"[{"type":"increment","path":"a","by":1}]"#, &wrote(r#"{"a":1, "b":2, "\u0061":3, "a" : 5}"#));
    check(stored, r#"[{"type":"remove","path":"a"}]"#, &wrote(r#"{"b":2}"#));
    check(stored, r#"[{"type":"remove","path":"a"},{"type":"set","path":"a"}]"#, &wrote(r#"{"b":2,"a":null}"#));
    let ops = r#"[{"type":"set","path":"a","value":0},{"type":"remove","path":"a"},{"type":"remove","path":"b"},{"type":"set","path":"c"}]"#;
    check(stored, ops, &wrote(r#"{"c":null}"#));
    check(
        r#"{"o":1,"o":{"x":1,"x":2}}"#,
        r#"[{"type":"merge","path":"o","value":{"x":3}}]"#,
        &wrote(r#"{"o":1,"o":{"x":1,"x":3}}"#),
    );
}

#[test]
fn paths_have_bounds() {
    let path = |segments: usize| format!("[{}]", vec!["\"s\""; segments].join(","));
    let long = |bytes: usize| format!("\"{}\"", "é".repeat(bytes / 2));
    let merge = |path: &str| format!(r#"[{{"type":"merge","path":{path},"value":{{"a":1}}}}]"#);
    let nested = |segments: usize| format!("{}{{\"a\":1}}{}", "{\"s\":".repeat(segments), "}".repeat(segments));
    check("{}", &merge(&path(32)), &wrote(&nested(32)));
    check("{}", &merge(&path(33)), &error("merge.path.too_deep", "Path depth 33 exceeds maximum of 32"));
    let empty = error("merge.path.empty_segment", "Path contains an empty segment");
    check("{}", &merge(r#"[""]"#), &empty);
    check("{}", &merge(r#"["a","","__proto__"]"#), &empty);
    check("{}", &merge(&long(256)), &wrote(&format!("{{{}:{{\"a\":1}}}}", long(256))));
    let too_long = error("merge.path.segment_too_long", "Path segment of 258 bytes exceeds maximum of 256");
    check("{}", &merge(&long(258)), &too_long);
    for name in ["__proto__", "constructor", "prototype"] {
        for (op, operand) in [
            ("set", r#""value":1"#),
            ("merge", r#""value":1"#),
            ("append", r#""value":1"#),
            ("increment", r#""by":1"#),
            ("decrement", r#""by":1"#),
            ("remove", r#""x":1"#),
        ] {
            let text = format!("Path segment '{name}' is not allowed (prototype pollution).");
            let ops = format!(r#"[{{"type":"{op}","path":"{name}",{operand}}}]"#);
            check("{}", &ops, &error(&format!("{op}.path.proto_polluted"), &text));
        }
    }
    // Literal: a dot is an ordinary character.
    check("{}", r#"[{"type":"set","path":"a.b","value":1}]"#, &wrote(r#"{"a.b":1}"#));
}

#[test]
fn values_have_bounds() {
    let merge = |value: &str| format!(r#"[{{"type":"merge","value":{value}}}]"#);
    for value in ["null", "[]", "1", "\"{}\""] {
        check("{}", &merge(value), &error("merge.value.not_an_object", "Merge value must be a JSON object"));
    }
    let members = |count: usize| (0..count).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(",");
    check("{}", &merge(&format!("{{{}}}", members(1024))), &wrote(&format!("{{{}}}", members(1024))));
    let text = "Merge value has 1025 top-level keys, exceeds maximum of 1024";
    check("{}", &merge(&format!("{{{}}}", members(1025))), &error("merge.value.too_many_keys", text));
    let doubled = format!("{{{},\"0\":1}}", members(1024));
    check("{}", &merge(&doubled), &wrote(&format!("{{\"0\":1,{}}}", &members(1024)[6..])));
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    check("{}", &merge(&deep(16)), &wrote(&deep(16)));
    let text = "Merge value JSON nesting depth 17 exceeds maximum of 16";
    check("{}", &merge(&deep(17)), &error("merge.value.too_deep", text));
    let text = "Merge value top-level key \"constructor\" is a prototype-pollution sink";
    let polluted = error("merge.value.proto_polluted", text);
    check("{}", &merge(r#"{"a":1,"constru\u0063tor":1,"__proto__":1}"#), &polluted);
    check("{}", &merge(r#"{"a":{"__proto__":1}}"#), &wrote(r#"{"a":{"__proto__":1}}"#));
    // Deeper than what can be delivered: 32 steps, the array, and the value.
    let append = |levels: usize| {
        let path = vec!["\"s\""; 32].join(",");
        format!(r#"[{{"type":"append","path":[{path}],"value":{}{}}}]"#, "[".repeat(levels), "]".repeat(levels))
    };
    let new = format!("{}[{}{}]{}", "{\"s\":".repeat(32), "[".repeat(87), "]".repeat(87), "}".repeat(32));
    check("{}", &append(87), &wrote(&new));
    let path = vec!["s"; 32].join(", ");
    let text = format!("Append value at path '[{path}]' would nest 121 levels, exceeds maximum of 120");
    check("{}", &append(88), &error("append.value.too_deep", &text));
}

#[test]
fn operations_as_iii_0_10_wrote_them() {
    check(r#"{"a":1}"#, r#"[{"set":[1]}]"#, &wrote("[1]"));
    check(r#"{"a":1}"#, r#"[{"merge":{"b":2}},{"merge":{"a":0}}]"#, &wrote(r#"{"a":0,"b":2}"#));
    check(
        r#"{"a":1}"#,
        r#"[{"increment":{"field":"a","by":2}},{"decrement":{"by":0.5,"field":"b"}}]"#,
        &wrote(r#"{"a":3,"b":-0.5}"#),
    );
    check(r#"{"a":1,"b":2}"#, r#"[{"remove":"a"}]"#, &wrote(r#"{"b":2}"#));
    check("{}", r#"[{"merge":1}]"#, &error("merge.value.not_an_object", "Merge value must be a JSON object"));
    let text = "Path segment 'prototype' is not allowed (prototype pollution).";
    check("{}", r#"[{"remove":"prototype"}]"#, &error("remove.path.proto_polluted", text));
    refused(r#"[{"increment":1}]"#, "field `ops[0].increment`: invalid type: number, expected an object");
    refused(r#"[{"set":1},{"decrement":{"by":1}}]"#, "field `ops[1].decrement.field`: missing");
    refused(r#"[{"increment":{"field":"a"}}]"#, "field `ops[0].increment.by`: missing");
    let by = "field `ops[0].increment.by`: invalid type: string, expected a number";
    refused(r#"[{"increment":{"field":"a","by":"1"}}]"#, by);
    refused(r#"[{"increment":{"field":"a","by":1,"by":2}}]"#, "field `ops[0].increment.by`: duplicate");
    refused(r#"[{"remove":1}]"#, "field `ops[0].remove`: invalid type: number, expected a string");
    for no_short_form in [r#"{"append":1}"#, r#"{"set":1,"merge":{}}"#, "{}", r#"{"other":1}"#] {
        refused(&format!("[{no_short_form}]"), "field `ops[0].type`: missing");
    }
}

#[test]
fn malformed_operations_fail_the_call() {
    for (ops, reason) in [
        ("[1]", "field `ops[0]`: invalid type: number, expected an object"),
        (r#"[{"type":"set","path":""},[]]"#, "field `ops[1]`: invalid type: array, expected an object"),
        (r#"[{"path":"a","value":1}]"#, "field `ops[0].type`: missing"),
        (r#"[{"type":1}]"#, "field `ops[0].type`: invalid type: number, expected a string"),
        (
            r#"[{"type":"b\u006fgus"}]"#,
            r#"field `ops[0].type`: unknown operation "b\u006fgus", expected one of set, merge, increment, decrement, append, remove"#,
        ),
        (r#"[{"type":"set","value":1}]"#, "field `ops[0].path`: missing"),
        (r#"[{"type":"increment","by":"x"}]"#, "field `ops[0].path`: missing"),
        (r#"[{"type":"set","path":null}]"#, "field `ops[0].path`: invalid type: null, expected a string"),
        (r#"[{"type":"remove","path":["a"]}]"#, "field `ops[0].path`: invalid type: array, expected a string"),
        (
            r#"[{"type":"merge","path":1}]"#,
            "field `ops[0].path`: invalid type: number, expected a string or an array of strings",
        ),
        (
            r#"[{"type":"append","path":["a",1],"value":1}]"#,
            "field `ops[0].path`: invalid type: array, expected a string or an array of strings",
        ),
        (r#"[{"type":"increment","path":"a"}]"#, "field `ops[0].by`: missing"),
        (r#"[{"type":"decrement","path":"a","by":"1"}]"#, "field `ops[0].by`: invalid type: string, expected a number"),
        (r#"[{"type":"merge"}]"#, "field `ops[0].value`: missing"),
        (r#"[{"type":"append"}]"#, "field `ops[0].value`: missing"),
        (r#"[{"type":"x","path":1,"path":2}]"#, "field `ops[0].path`: duplicate"),
        (r#"[{"type":"remove","path":"a","by":1,"\u0062y":2}]"#, "field `ops[0].by`: duplicate"),
    ] {
        refused(ops, reason);
    }
    // A bound that is exceeded skips one operation, but all are read before.
    refused(r#"[{"type":"set","path":"__proto__"},{"type":"set"}]"#, "field `ops[1].path`: missing");
    check("{}", r#"[{"type":"set","path":"a","value":1,"other":1,"other":2}]"#, &wrote(r#"{"a":1}"#));
}

#[test]
fn a_broken_stored_text_is_reported_and_kept() {
    let state = iii_fast_core::state::State::in_memory(1);
    for broken in ["{\"a\":", "{\"a\":1"] {
        state.set("s", "k", iii_fast_core::state::Stored::new(broken), None).unwrap();
        let update = iii_fast_core::state::Update::parse(r#"[{"type":"set","path":"a"}]"#).unwrap();
        let error = state.update("s", "k", &update, iii_fast_core::state::Expiry::Keep).unwrap_err();
        assert_eq!(error.code, "deserialization_error");
        assert!(error.message.starts_with("Failed to deserialize the stored value"), "{error}");
        assert_eq!(state.get("s", "k").unwrap().bytes(), broken.as_bytes());
    }
}
