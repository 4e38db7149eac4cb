// Answers of a demanded form. Prints {"json","request_id","logprobs","call","bad"}: JSON of a strict schema, how likely its tokens were,
// a demanded tool call put together by the client's own stream reader, and the refusal of a schema that nothing satisfies.

import { ask, client, flow, model, refusal } from "./client.mjs";

const shape = (schema) => ({ type: "json_schema", json_schema: { name: "answer", strict: true, schema } });

const ANSWER = {
  type: "object",
  properties: { sum: { type: "integer" }, sure: { type: "boolean" } },
  required: ["sum", "sure"],
  additionalProperties: false,
};

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } }, required: ["city", "days"] },
  },
};

await flow(async () => {
  const openai = client();
  const base = { model: model(), messages: ask("What is 12 + 30?"), temperature: 0, max_tokens: 120 };
  const completion = await openai.chat.completions.parse({ ...base, response_format: shape(ANSWER), logprobs: true, top_logprobs: 3 });
  const [choice] = completion.choices;
  const called = await openai.chat.completions
    .stream({ ...base, tools: [WEATHER], tool_choice: { type: "function", function: { name: "get_weather" } } })
    .finalChatCompletion();
  return {
    request_id: completion._request_id,
    json: JSON.parse(choice.message.content),
    text: choice.message.content,
    logprobs: choice.logprobs.content.map(({ token, bytes, logprob, top_logprobs }) => ({ token, bytes, logprob, top: top_logprobs.length })),
    finish_reason: called.choices[0].finish_reason,
    call: called.choices[0].message.tool_calls[0].function,
    bad: await refusal(() => openai.chat.completions.create({ ...base, response_format: shape({ type: "array", uniqueItems: true }) })),
  };
});
