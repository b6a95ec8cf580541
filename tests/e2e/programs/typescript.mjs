// The TypeScript SDK: does what its argument names, and prints what came of it as one JSON value.
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";

const client = new Anthropic({ timeout: 2000 });
const [what, prompt = "SCENARIO:hello Grüße, 你好", marking] = process.argv.slice(2);
const request = {
  model: "claude-opus-5-5",
  max_tokens: 1000,
  system: [{ type: "text", text: "Say what each file is for. ".repeat(600), cache_control: { type: "ephemeral" } }],
  messages: [{ role: "user", content: prompt }],
};

async function stream() {
  let text = "";
  const streamed = client.messages.stream(request).on("text", (piece) => (text += piece));
  return { message: await streamed.finalMessage(), text };
}

async function runner(streaming) {
  const read = [];
  const readFile = betaTool({
    name: "read_file",
    description: "Read a file.",
    inputSchema: { type: "object", properties: { path: { type: "string" } }, required: ["path"] },
    run: ({ path }) => (read.push(path), `what ${path} holds`),
  });
  const told = [];
  for await (const turn of client.beta.messages.toolRunner({ ...request, tools: [readFile], stream: streaming })) {
    told.push((streaming ? await turn.finalMessage() : turn).id);
  }
  return { read, told };
}

const mark = { cache_control: { type: "ephemeral" } };
const markings = {
  own: (messages) => {
    const [last, ...before] = messages.toReversed();
    const [block, ...others] = last.content.toReversed();
    return { messages: [...before.reverse(), { ...last, content: [...others.reverse(), { ...block, ...mark }] }] };
  },
  none: (messages) => ({ messages, system: [{ ...request.system[0], cache_control: null }] }),
  automatic: (messages) => ({ messages, system: [{ ...request.system[0], cache_control: null }], ...mark }),
};

async function loop() {
  const input_schema = { type: "object", properties: { command: { type: "string" } }, required: ["command"] };
  const tools = [{ name: "Bash", description: "Run a command.", input_schema }];
  const messages = [{ role: "user", content: [{ type: "text", text: prompt }] }];
  for (const said of messages.values()) {
    if (said.role === "assistant") continue;
    const { content } = await client.messages.create({ ...request, tools, ...markings[marking](messages) });
    messages.push({ role: "assistant", content });
    const ran = ({ id, input }) => ({ type: "tool_result", tool_use_id: id, content: `${input.command} `.repeat(200) });
    const results = content.filter((block) => block.type === "tool_use").map(ran);
    if (results.length) messages.push({ role: "user", content: results });
  }
  return { said: messages.map(({ content }) => content) };
}

const ways = {
  loop,
  create: async () => ({ message: await client.messages.create(request) }),
  raw: async () => {
    const { data, response } = await client.messages.create(request).withResponse();
    return { message: data, request_id: response.headers.get("request-id") };
  },
  beta: async () => ({ message: await client.beta.messages.create({ ...request, betas: ["a-beta-of-ours"] }) }),
  stream,
  pieces: async () => {
    const events = [];
    for await (const event of await client.messages.create({ ...request, stream: true })) events.push(event);
    return { events };
  },
  count: async () => {
    const { max_tokens, ...counted } = request;
    return { counted: (await client.messages.countTokens(counted)).input_tokens };
  },
  runner: () => runner(false),
  streamingRunner: () => runner(true),
};

async function told() {
  try {
    return await ways[what]();
  } catch (error) {
    return { raised: error.constructor.name, status: error.status ?? null, error: error.error ?? null };
  }
}

console.log(JSON.stringify(await told()));
