//! A worker on the published Rust SDK that a test steers: commands come as JSON lines on stdin, answers and events go
//! as JSON lines with an `@` in front to stdout. `tests/support/steered_worker.py` describes both; the Node and Python
//! programs do the same.

#![allow(deprecated)] // The trigger calls are deprecated in 0.25 and are what workers in the field use.

use std::collections::HashMap;
use std::io::Write;

use async_trait::async_trait;
use iii_sdk::protocol::{RegisterTriggerInput, TriggerRequest};
use iii_sdk::trigger::{Trigger, TriggerConfig, TriggerHandler};
use iii_sdk::{Error, IIIClient, InitOptions, RegisterFunction, RegisterTriggerType, TriggerAction, register_worker};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn std::error::Error>;

/// One line to stdout, whole: handlers run on several threads.
fn tell(message: &Value) {
    let mut out = std::io::stdout().lock();
    let line = format!("@{message}\n");
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0); // the test is gone
    }
}

fn text(command: &Value, name: &str) -> String {
    command[name].as_str().unwrap_or_default().to_owned()
}

/// What a registered function does with its data: the behaviours of `steered_worker.py`.
async fn behave(
    iii: IIIClient,
    id: String,
    command: Value,
    mut data: Value,
    metadata: Option<Value>,
) -> Result<Value, Error> {
    tell(&json!({"event": "delivered", "function_id": id, "data": data, "metadata": metadata}));
    match command["behaviour"].as_str() {
        Some("echo") => Ok(data),
        Some("reply") => Ok(command["value"].clone()),
        Some("fail") => Err(Error::Handler("boom".to_owned())),
        Some("forward") => {
            if let Some(trace) = data["trace"].as_array_mut() {
                trace.push(json!("rust"));
            }
            iii.trigger(TriggerRequest::new(text(&command, "to"), data)).await
        }
        other => Err(Error::Handler(format!("no such behaviour: {other:?}"))),
    }
}

/// A trigger type whose bindings the test sees; with `refuse` every binding is turned down.
struct Provider {
    type_id: String,
    refuse: bool,
}

impl Provider {
    fn event(&self, name: &str, config: &TriggerConfig) -> Value {
        json!({"event": name, "trigger_type": self.type_id, "id": config.id, "function_id": config.function_id,
               "config": config.config, "metadata": config.metadata})
    }
}

#[async_trait]
impl TriggerHandler for Provider {
    async fn register_trigger(&self, config: TriggerConfig) -> Result<(), Error> {
        tell(&self.event("bound", &config));
        if self.refuse { Err(Error::Handler("refused".to_owned())) } else { Ok(()) }
    }

    async fn unregister_trigger(&self, config: TriggerConfig) -> Result<(), Error> {
        tell(&self.event("unbound", &config));
        Ok(())
    }
}

fn describe(error: &Error) -> Value {
    match error.invocation_error() {
        Some(remote) => json!({"code": remote.code, "message": remote.message}),
        None => {
            json!({"code": if matches!(error, Error::Timeout) { "TIMEOUT" } else { "SDK" }, "message": error.to_string()})
        }
    }
}

async fn call(iii: &IIIClient, command: &Value) -> Result<Value, Error> {
    let request = TriggerRequest {
        function_id: text(command, "function_id"),
        payload: command["payload"].clone(),
        action: match (command["void"].as_bool(), command["queue"].as_str()) {
            (Some(true), _) => Some(TriggerAction::Void),
            (_, Some(queue)) => Some(TriggerAction::Enqueue { queue: queue.to_owned() }),
            _ => None,
        },
        timeout_ms: command["timeout_ms"].as_u64(),
    };
    match command.get("metadata") {
        Some(metadata) => iii.trigger(request.metadata(metadata.clone())).await,
        None => iii.trigger(request).await,
    }
}

fn register_function(iii: &IIIClient, command: &Value) {
    let (id, client, behaviour) = (text(command, "id"), iii.clone(), command.clone());
    let function_id = id.clone();
    iii.register_function(
        id,
        RegisterFunction::new_async(move |data: Value, metadata: Option<Value>| {
            behave(client.clone(), function_id.clone(), behaviour.clone(), data, metadata)
        }),
    );
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::var("III_URL")?;
    let iii = register_worker(&url, InitOptions::default());
    let mut triggers: HashMap<String, Trigger> = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    tell(&json!({"event": "ready"}));
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line)?;
        match command["do"].as_str() {
            Some("call") => {
                let iii = iii.clone();
                tokio::spawn(async move {
                    let n = &command["n"];
                    match call(&iii, &command).await {
                        Ok(value) => tell(&json!({"n": n, "ok": value})),
                        Err(error) => tell(&json!({"n": n, "error": describe(&error)})),
                    }
                });
                continue;
            }
            Some("function") => register_function(&iii, &command),
            Some("trigger") => {
                let trigger = iii.register_trigger(RegisterTriggerInput {
                    trigger_type: text(&command, "type"),
                    function_id: text(&command, "function_id"),
                    config: command["config"].clone(),
                    metadata: command.get("metadata").cloned(),
                    namespace: None,
                    trigger_namespace: None,
                })?;
                triggers.insert(text(&command, "handle"), trigger);
            }
            Some("untrigger") => {
                if let Some(trigger) = triggers.remove(&text(&command, "handle")) {
                    trigger.unregister();
                }
            }
            Some("trigger_type") => {
                let provider =
                    Provider { type_id: text(&command, "id"), refuse: command["refuse"].as_bool().unwrap_or(false) };
                iii.register_trigger_type(RegisterTriggerType::new(text(&command, "id"), "of a test", provider));
            }
            Some("untrigger_type") => iii.unregister_trigger_type(text(&command, "id")),
            other => return Err(format!("no such command: {other:?}").into()),
        }
        tell(&json!({"n": command["n"], "ok": null}));
    }
    iii.shutdown_async().await;
    Ok(())
}
