// Two choices of one request, whole and streamed. Prints {"texts","indices","streamed","usage"}.

import { ask, client, flow, model } from "./client.mjs";

await flow(async () => {
  const base = { model: model(), messages: ask("What is 12 + 30?"), temperature: 0, max_tokens: 40, n: 2 };
  const completion = await client().chat.completions.create(base);
  const streamed = ["", ""];
  for await (const chunk of await client().chat.completions.create({ ...base, stream: true })) {
    for (const { index, delta } of chunk.choices) streamed[index] += delta.content ?? "";
  }
  return {
    texts: completion.choices.map(({ message }) => message.content),
    indices: completion.choices.map(({ index }) => index),
    streamed,
    usage: completion.usage,
  };
});
