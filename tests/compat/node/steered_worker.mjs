// A worker on a published Node SDK that a test steers: commands come as JSON lines on stdin, answers and events go as
// JSON lines with an `@` in front to stdout. `tests/support/steered_worker.py` describes both; the Python and Rust
// programs do the same. Arguments: the package name of the SDK, and "object" when its registerFunction takes an object.

import { createInterface } from 'node:readline'
import { writeSync } from 'node:fs'

const [, , packageName, registerStyle] = process.argv
const { registerWorker, TriggerAction } = await import(packageName)
const iii = registerWorker(process.env.III_URL)
const triggers = new Map()

const tell = (message) => writeSync(1, `@${JSON.stringify(message)}\n`)

const behaviours = {
  echo: async (data) => data,
  reply: async (_data, command) => command.value,
  fail: async () => {
    throw new Error('boom')
  },
  forward: async (data, command) => {
    data.trace.push('node')
    return iii.trigger({ function_id: command.to, payload: data })
  },
}

function registerFunction(command) {
  const handler = async (data, metadata) => {
    tell({ event: 'delivered', function_id: command.id, data: withoutChannels(data), metadata: metadata ?? null })
    return behaviours[command.behaviour](data, command)
  }
  if (registerStyle === 'object') iii.registerFunction({ id: command.id }, handler)
  else iii.registerFunction(command.id, handler)
}

// The SDK turns channel references of an http request into streams, which are not data.
const withoutChannels = (data) =>
  data?.trigger?.type === 'http' ? { ...data, request_body: undefined, response: undefined } : data

function registerTriggerType(command) {
  const event = (name, config) =>
    tell({ event: name, trigger_type: command.id, id: config.id, function_id: config.function_id, config: config.config, metadata: config.metadata ?? null })
  iii.registerTriggerType(
    { id: command.id, description: 'of a test' },
    {
      registerTrigger: async (config) => {
        event('bound', config)
        if (command.refuse) throw new Error('refused')
      },
      unregisterTrigger: async (config) => event('unbound', config),
    },
  )
}

async function call(command) {
  const request = { function_id: command.function_id, payload: command.payload }
  if (command.void) request.action = TriggerAction.Void()
  if (command.queue) request.action = TriggerAction.Enqueue({ queue: command.queue })
  if (command.metadata) request.metadata = command.metadata
  if (command.timeout_ms) request.timeoutMs = command.timeout_ms
  return iii.trigger(request)
}

const commands = {
  call,
  function: registerFunction,
  trigger: ({ type, function_id, config, metadata, handle }) =>
    void triggers.set(handle, iii.registerTrigger({ type, function_id, config, ...(metadata && { metadata }) })),
  untrigger: ({ handle }) => triggers.get(handle).unregister(),
  trigger_type: registerTriggerType,
  untrigger_type: ({ id }) => iii.unregisterTriggerType({ id, description: 'of a test' }),
}

async function obey(command) {
  try {
    tell({ n: command.n, ok: (await commands[command.do](command)) ?? null })
  } catch (error) {
    // Until 0.11 the SDK rejects with the wire's error object itself, later with an Error that carries its code.
    tell({ n: command.n, error: { code: error.code ?? 'SDK', message: String(error.message ?? error) } })
  }
}

tell({ event: 'ready' })
for await (const line of createInterface({ input: process.stdin })) void obey(JSON.parse(line))
await iii.shutdown()
process.exit(0)
