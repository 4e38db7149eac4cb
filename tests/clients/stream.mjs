// One streamed completion with its usage. Prints {"id","request_id","model","text","pieces","finish_reason","usage"}.

import { ask, client, flow, model } from "./client.mjs";

await flow(async () => {
  const { data: stream, request_id } = await client()
    .chat.completions.create({
      model: model(),
      messages: ask(process.env.QUESTION ?? "What is 12 + 30?"),
      temperature: 0,
      max_tokens: 64,
      stream: true,
      stream_options: { include_usage: true },
    })
    .withResponse();
  const found = { request_id, text: "", pieces: 0, finish_reason: null, usage: null };
  for await (const chunk of stream) {
    found.id ??= chunk.id;
    found.model ??= chunk.model;
    found.usage = chunk.usage ?? found.usage;
    const [choice] = chunk.choices;
    if (choice?.delta?.content) {
      found.text += choice.delta.content;
      found.pieces += 1;
    }
    found.finish_reason = choice?.finish_reason ?? found.finish_reason;
  }
  return found;
});
