// A described tool that the model should call. Prints {"request_id","finish_reason","content","calls"}, where each call is
// {"id","name","arguments"} with its arguments parsed, or {"broken"} when they are not JSON.

import { ask, client, flow, model } from "./client.mjs";

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

function parse(call) {
  const { name, arguments: text } = call.function;
  try {
    return { id: call.id, name, arguments: JSON.parse(text) };
  } catch {
    return { id: call.id, name, broken: text };
  }
}

await flow(async () => {
  const completion = await client().chat.completions.create({
    model: model(),
    messages: ask(process.env.QUESTION ?? "What is the weather in Paris?"),
    tools: [WEATHER],
    temperature: 0,
    max_tokens: 64,
  });
  const [choice] = completion.choices;
  return {
    request_id: completion._request_id,
    finish_reason: choice.finish_reason,
    content: choice.message.content,
    calls: (choice.message.tool_calls ?? []).map(parse),
  };
});
